"""Our ring with hashicorp/memberlist itself, in the version that MetalLB runs and in the newest.

Each conversation ends with a look at both logs: a peer that warned, or a packet that we could not read, is a failure
even where everything else went well.
"""

from __future__ import annotations

import dataclasses
import random
import socket
from typing import TYPE_CHECKING, Any

import pytest

from gossip import (
    GossipConfig,
    Keyring,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberSuspected,
    MemberUpdated,
    NameConflict,
    PingCompleted,
    ProbeConfig,
    RemoteError,
    State,
    UserMessageReceived,
    UserStateReceived,
    profile,
)
from gossip.codec import encode
from gossip.messages import Suspect
from tests.interop.peers import GO_VERSIONS
from tests.interop.programs import PORT, PeerError

if TYPE_CHECKING:
    from tests.interop.peers import Peers
    from tests.interop.programs import GoPeer, OurMember

pytestmark = pytest.mark.needs("go-peers")

KEYS = {bits: bytes(range(bits // 8)) for bits in (128, 192, 256)}
OTHER_KEY = bytes(range(100, 132))
LONG = random.Random(1).randbytes(30_000) + bytes(70_000)
PROBES = ProbeConfig(interval=0.5, timeout=0.25)
"""Twice as quick as the local profile, for the tests' sake."""
both_versions = pytest.mark.parametrize("version", GO_VERSIONS)


@dataclasses.dataclass(frozen=True)
class Setup:
    """One way to run a ring, told to both sides. Packets have checksums in each: both sides announce version 5."""

    key: bytes = b""
    label: str = ""
    compression: bool = False
    protocol: int = 2

    @property
    def flags(self) -> dict[str, Any]:
        probes = {"probe_interval": round(PROBES.interval * 1000), "probe_timeout": round(PROBES.timeout * 1000)}
        flags = {"label": self.label, "compress": self.compression, "protocol": self.protocol, **probes}
        return {**flags, "key": self.key.hex()} if self.key else flags

    @property
    def config(self) -> GossipConfig:
        return dataclasses.replace(profile("local"), probe=PROBES).with_wire(
            label=self.label.encode(), compression=self.compression, protocol_version=self.protocol
        )

    @property
    def keyring(self) -> Keyring:
        return Keyring([self.key] if self.key else [])


SETUPS = {
    "plain": Setup(),
    "aes-128": Setup(key=KEYS[128]),
    "aes-192": Setup(key=KEYS[192]),
    "aes-256": Setup(key=KEYS[256]),
    "label": Setup(label="flock"),
    "compressed": Setup(compression=True),
    "everything": Setup(key=KEYS[256], label="flock", compression=True),
    "padded": Setup(key=KEYS[128], protocol=1),
}


async def start_both(peers: Peers, version: str, setup: Setup = SETUPS["plain"]) -> tuple[GoPeer, OurMember]:
    go = await peers.go("go", version, meta="676f", user_state="00ff", ack_payload="acc0", **setup.flags)
    ours = await peers.ring("ours", setup.config, keyring=setup.keyring, meta=b"ours")
    ours.ring.attach(user_state=b"\xfe\x01", ack_payload=b"\x0a")
    return go, ours


async def join(go: GoPeer, ours: OurMember, *, we_join: bool = True) -> None:
    if we_join:
        report = await ours.ring.join([f"{go.address}:{PORT}"])
        assert report.joined == ((go.address, PORT),)
    else:
        await go.command("join", addrs=[ours.target])
    await ours.event(MemberJoined, member="go")
    await go.event("join", node="ours", addr=ours.target, meta=b"ours".hex())


def assert_nobody_complains(go: GoPeer, ours: OurMember) -> None:
    assert go.complaints() == []
    statistics = ours.ring.statistics()
    assert (statistics.datagram_problems, statistics.stream_problems) == (0, 0)
    assert (statistics.suspicions_raised, statistics.refutations) == (0, 0)


@both_versions
@pytest.mark.parametrize("name", SETUPS)
@pytest.mark.parametrize("we_join", [True, False], ids=["we-join", "we-are-joined"])
async def test_a_conversation(peers: Peers, version: str, name: str, we_join: bool) -> None:
    go, ours = await start_both(peers, version, SETUPS[name])
    await join(go, ours, we_join=we_join)
    assert (await ours.event(UserStateReceived)).state == b"\x00\xff"
    assert (await go.event("user-state"))["payload"] == "fe01"

    for reliable, payload in ((False, b""), (False, b"short"), (True, LONG)):
        await go.command("send", to="ours", payload=payload.hex(), reliable=reliable)
        await ours.event(UserMessageReceived, payload=payload, reliable=reliable)
        await ours.ring.send("go", payload, reliable=reliable)
        await go.event("message", payload=payload.hex())
    await go.command("broadcast", payload="b0")
    ours.ring.broadcast(b"\xb1")
    await ours.event(UserMessageReceived, payload=b"\xb0", reliable=False)
    await go.event("message", payload="b1")

    await go.command("update", meta="6732")
    updated = await ours.event(MemberUpdated, member="go")
    assert (updated.previous.meta, updated.member.meta) == (b"go", b"g2")
    ours.ring.set_meta(b"o2")
    await go.event("update", node="ours", meta=b"o2".hex())

    await ours.event(PingCompleted, name="go", payload=b"\xac\xc0")
    await go.event("ping-complete", node="ours", payload="0a")
    assert_nobody_complains(go, ours)
    if we_join:
        await ours.ring.leave()
        await go.event("leave", node="ours")
        await go.holds("ours", "left")
    else:
        await go.command("leave")
        await ours.event(MemberLeft, member="go")
        assert ours.states() == {"go": State.LEFT, "ours": State.ALIVE}


@both_versions
async def test_keys_are_rotated_while_running(peers: Peers, version: str) -> None:
    go, ours = await start_both(peers, version, Setup(key=KEYS[128]))
    await join(go, ours)

    async def speak(payload: bytes) -> None:
        await go.command("send", to="ours", payload=payload.hex())
        await ours.event(UserMessageReceived, payload=payload)
        await ours.ring.send("go", payload, reliable=True)
        await go.event("message", payload=payload.hex())

    await go.command("keys", action="add", key=OTHER_KEY.hex())
    ours.ring.keyring.add(OTHER_KEY)
    await speak(b"both know it")
    ours.ring.keyring.use(OTHER_KEY)
    await speak(b"we use it")
    await go.command("keys", action="use", key=OTHER_KEY.hex())
    await speak(b"both use it")
    ours.ring.keyring.remove(KEYS[128])
    assert (await go.command("keys", action="remove", key=KEYS[128].hex()))["keys"] == [OTHER_KEY.hex()]
    await speak(b"the old one is gone")
    assert_nobody_complains(go, ours)


@both_versions
async def test_a_running_plain_ring_is_given_its_first_key(peers: Peers, version: str) -> None:
    """Upstream's own way: first everybody takes both, then everybody sends encrypted, then everybody demands it."""
    lenient = profile("local").with_wire(verify_incoming=False, verify_outgoing=False)
    go = await peers.go("go", version, key=KEYS[128].hex(), verify_incoming=False, verify_outgoing=True)
    ours = await peers.ring("ours", lenient, keyring=Keyring([KEYS[128]]))
    await ours.ring.send((go.address, PORT), b"plain")
    await go.event("message", payload=b"plain".hex())
    await go.command("join", addrs=[ours.target])
    await ours.event(MemberJoined, member="go")
    await go.command("send", to="ours", payload=b"sealed".hex())
    await ours.event(UserMessageReceived, payload=b"sealed")


@both_versions
@pytest.mark.parametrize(
    ("theirs", "mine"),
    [
        (Setup(label="theirs"), Setup(label="ours")),
        (Setup(key=KEYS[128]), Setup(key=OTHER_KEY)),
        (Setup(key=KEYS[128]), Setup()),
        (Setup(), Setup(key=KEYS[128])),
    ],
    ids=["labels", "keys", "we-have-none", "they-have-none"],
)
async def test_strangers_stay_strangers(peers: Peers, version: str, theirs: Setup, mine: Setup) -> None:
    go = await peers.go("go", version, **theirs.flags)
    ours = await peers.ring("ours", mine.config, keyring=mine.keyring)
    with pytest.raises(RemoteError, match="could not join"):
        await ours.ring.join([f"{go.address}:{PORT}"])
    with pytest.raises(PeerError):
        await go.command("join", addrs=[ours.target])
    assert ours.states() == {"ours": State.ALIVE}
    assert list(await go.members()) == ["go"]


@both_versions
async def test_a_ring_of_two_hundred_is_exchanged_whole(peers: Peers, version: str) -> None:
    """Every way in which a push/pull of 201 states can go between the two implementations."""
    go, ours = await start_both(peers, version, Setup(compression=True))
    await go.command("populate", count=200, prefix="many-")
    await join(go, ours)
    everybody = {"go", "ours", *(f"many-{i:04}" for i in range(200))}
    assert {name for name, state in ours.states().items() if state is State.ALIVE} == everybody

    late = await peers.go("late", version)
    await late.command("join", addrs=[ours.target])
    assert set(await late.members()) >= everybody
    fresh = await peers.ring("fresh", SETUPS["plain"].config)
    await go.command("join", addrs=[fresh.target])
    await fresh.event(MemberJoined, member="many-0199")
    assert set(fresh.states()) >= everybody


@both_versions
async def test_an_accusation_is_refuted_by_both(peers: Peers, version: str) -> None:
    go, ours = await start_both(peers, version)
    await join(go, ours)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger:
        forger.sendto(encode(Suspect(1, "ours", "nobody")), (go.address, PORT))
        refuted = await go.holds("ours", "alive", least=2)
        assert refuted["meta"] == b"ours".hex()
        assert ours.ring.statistics().refutations == 1

        forger.sendto(encode(Suspect(1, "go", "nobody")), (ours.address, PORT))
        await ours.event(MemberSuspected, member="go", accuser="nobody")
        await go.holds("go", "alive", least=2)
    ours.events.items.clear()
    for _ in range(2):  # a probe's time, and gossip is ten times as quick
        await ours.event(PingCompleted, name="go")
    acquitted = ours.ring.view.member("go")
    assert acquitted is not None
    assert (acquitted.state, acquitted.incarnation) == (State.ALIVE, 2)
    assert all("Refuting a suspect message" in line for line in go.complaints())


@both_versions
@pytest.mark.parametrize("victim", ["theirs", "one-of-ours"])
async def test_a_member_that_dies_is_held_dead_on_both_sides(peers: Peers, version: str, victim: str) -> None:
    go, ours = await start_both(peers, version)
    mortal: GoPeer | OurMember = (
        await peers.go(victim, version, **SETUPS["plain"].flags)
        if victim == "theirs"
        else await peers.ring(victim, SETUPS["plain"].config)
    )
    await go.command("join", addrs=[ours.target, f"{mortal.address}:{PORT}"])
    await ours.event(MemberJoined, member=victim)

    await mortal.kill()
    await ours.event(MemberFailed, member=victim, within=30)
    await go.event("leave", node=victim, within=30)
    await go.holds(victim, "dead")
    await go.holds("ours", "alive")
    assert ours.states() == {"go": State.ALIVE, "ours": State.ALIVE, victim: State.DEAD}


@both_versions
async def test_a_member_that_returns_at_once_is_alive_again(peers: Peers, version: str) -> None:
    """A restart forgets the incarnation: the others' word makes it raise its own."""
    go, ours = await start_both(peers, version)
    await join(go, ours)
    ours.ring.set_meta(b"second")
    await go.holds("ours", "alive", least=2)
    await ours.kill()
    again = await peers.ring("ours", SETUPS["plain"].config, address=ours.address, meta=b"again")
    await again.ring.join([f"{go.address}:{PORT}"])
    back = await go.holds("ours", "alive", least=3)
    assert back["meta"] == b"again".hex()


@both_versions
async def test_a_name_that_is_taken_stays_with_its_holder(peers: Peers, version: str) -> None:
    go, ours = await start_both(peers, version)
    await join(go, ours)
    second_go = await peers.ring("go", SETUPS["plain"].config)
    await second_go.ring.join([ours.target])
    await ours.event(NameConflict, member="go", address=(second_go.address, PORT))
    assert {member.name: member.address for member in ours.ring.view.members()}["go"] == (go.address, PORT)
    second_ours = await peers.ring("ours", SETUPS["plain"].config)
    await second_ours.ring.join([f"{go.address}:{PORT}"])
    await go.event("conflict", node="ours", other=second_ours.target)
    assert (await go.members())["ours"]["addr"] == ours.address
