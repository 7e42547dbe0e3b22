"""Our ring with Debian's serf agent, whose memberlist is the oldest that we meet."""

from __future__ import annotations

import dataclasses
import signal
import socket
from typing import TYPE_CHECKING, Any

import pytest

from gossip import (
    Keyring,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberUpdated,
    RemoteError,
    State,
    UserMessageReceived,
    UserStateReceived,
    profile,
)
from gossip.codec import encode
from gossip.messages import Suspect
from gossip.serf import DELEGATE_VERSIONS, SerfSide, UserEvent, decode_tags_untrusted, encode_tags
from tests.interop.programs import PORT, PeerError

if TYPE_CHECKING:
    from tests.interop.peers import Peers
    from tests.interop.programs import OurAgent, OurMember, SerfAgent

pytestmark = pytest.mark.needs("serf")

KEY = bytes(range(16))
plain_and_encrypted = pytest.mark.parametrize("key", [b"", KEY], ids=["plain", "encrypted"])
TAGS = {"role": "web", "zone": "east"}
FOREIGN_ACK = b"\x00"
"""An ack payload that serf complains about: a line in its log for each ack that it gets to a probe of us."""
COMPLAINT = "Unsupported ping version"


async def start_both(peers: Peers, key: bytes = b"", **options: Any) -> tuple[SerfAgent, OurMember]:
    base = profile("local")
    config = dataclasses.replace(base, identity=dataclasses.replace(base.identity, delegate_versions=DELEGATE_VERSIONS))
    serf = await peers.serf("serf", "-tag", "role=db", key=key)
    ours = await peers.ring("ours", config, keyring=Keyring([key] if key else []), meta=encode_tags(TAGS), **options)
    return serf, ours


async def join(serf: SerfAgent, ours: OurMember) -> SerfSide:
    """Join the agent, and take its clocks."""
    await ours.ring.join([f"{serf.address}:{PORT}"])
    await serf.saw("Join", "ours")
    side = SerfSide("ours")
    side.hear_state_untrusted((await ours.event(UserStateReceived)).state)
    return side


async def status(serf: SerfAgent) -> str:
    return str((await serf.members())["ours"]["status"])


@plain_and_encrypted
@pytest.mark.parametrize("we_join", [True, False], ids=["we-join", "we-are-joined"])
async def test_each_sees_the_other_with_its_tags(peers: Peers, key: bytes, we_join: bool) -> None:
    serf, ours = await start_both(peers, key)
    if we_join:
        await ours.ring.join([f"{serf.address}:{PORT}"])
    else:
        await serf.run("join", ours.target)
    joined = await ours.event(MemberJoined, member="serf")
    assert decode_tags_untrusted(joined.member.meta) == {"role": "db"}
    await serf.saw("Join", "ours")
    shown = (await serf.members())["ours"]
    assert (shown["addr"], shown["tags"], shown["status"]) == (ours.target, TAGS, "alive")
    assert shown["protocol"] == {"min": 2, "max": 5, "version": 5}
    assert serf.complaints() == []
    assert ours.ring.statistics().datagram_problems == 0


@plain_and_encrypted
async def test_new_tags_are_seen_by_the_other(peers: Peers, key: bytes) -> None:
    serf, ours = await start_both(peers, key)
    await join(serf, ours)
    await serf.run("tags", "-set", "role=cache")
    updated = await ours.event(MemberUpdated, member="serf")
    assert decode_tags_untrusted(updated.member.meta) == {"role": "cache"}
    ours.ring.set_meta(encode_tags({"role": "proxy"}))
    await serf.saw("Update", "ours")
    assert (await serf.members())["ours"]["tags"] == {"role": "proxy"}


@plain_and_encrypted
async def test_user_events_reach_the_other(peers: Peers, key: bytes) -> None:
    serf, ours = await start_both(peers, key)
    side = await join(serf, ours)
    await serf.run("event", "-coalesce=false", "deploy", "v7")
    heard = side.hear_untrusted((await ours.event(UserMessageReceived)).payload)
    assert isinstance(heard, UserEvent)
    assert (heard.name, heard.payload, heard.coalesce) == ("deploy", b"v7", False)
    ours.ring.broadcast(side.user_event("rollback", b"v6"))
    await serf.logged("Received event: user-event: rollback")
    await serf.logged("script output: v6")


@plain_and_encrypted
async def test_a_goodbye_after_the_intent_is_shown_as_left(peers: Peers, key: bytes) -> None:
    serf, ours = await start_both(peers, key)
    side = await join(serf, ours)
    ours.ring.broadcast(side.leave_intent())
    await ours.ring.leave()
    await serf.saw("Leave", "ours")
    assert await status(serf) == "left"


@plain_and_encrypted
async def test_an_agent_that_leaves_is_left(peers: Peers, key: bytes) -> None:
    serf, ours = await start_both(peers, key)
    await join(serf, ours)
    await serf.run("leave")
    await ours.event(MemberLeft, member="serf")
    assert ours.states() == {"ours": State.ALIVE, "serf": State.LEFT}


async def test_it_probes_us_and_we_answer_every_time(peers: Peers) -> None:
    serf, ours = await start_both(peers)
    await join(serf, ours)
    ours.ring.attach(ack_payload=FOREIGN_ACK)
    for _ in range(4):
        await serf.logged(COMPLAINT)
    assert await status(serf) == "alive"
    assert serf.count_logged("Suspect ours") == 0
    assert ours.ring.statistics().refutations == 0


async def test_an_accusation_of_us_is_refuted_before_it_expires(peers: Peers) -> None:
    serf, ours = await start_both(peers)
    await join(serf, ours)
    ours.ring.attach(ack_payload=FOREIGN_ACK)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger:
        forger.sendto(encode(Suspect(1, "ours", "nobody")), (serf.address, PORT))
    for _ in range(4):  # probes of a second each: the suspicion would have lasted three
        await serf.logged(COMPLAINT)
    assert ours.ring.statistics().refutations == 1
    assert serf.count_logged("EventMemberFailed") == 0
    assert await status(serf) == "alive"


@pytest.mark.parametrize("victim", ["ours", "serf"])
async def test_a_member_that_dies_is_failed(peers: Peers, victim: str) -> None:
    serf, ours = await start_both(peers)
    await join(serf, ours)
    if victim == "ours":
        await ours.kill()
        await serf.saw("Failed", "ours", within=30)
        assert await status(serf) == "failed"
    else:
        await serf.kill()
        await ours.event(MemberFailed, member="serf", within=30)
        assert ours.states() == {"ours": State.ALIVE, "serf": State.DEAD}


async def test_without_the_key_nobody_gets_in(peers: Peers) -> None:
    _, ours = await start_both(peers, KEY)
    stranger = await peers.serf("stranger", key=bytes(16))
    with pytest.raises(PeerError):
        await stranger.run("join", ours.target)
    with pytest.raises(RemoteError, match="could not join"):
        await ours.ring.join([f"{stranger.address}:{PORT}"])
    assert list(await stranger.members()) == ["stranger"]
    assert ours.states() == {"ours": State.ALIVE}


# ---- our agent, as an operator runs it


async def start_agents(peers: Peers) -> tuple[SerfAgent, OurAgent]:
    serf = await peers.serf("serf")
    agent = await peers.ours("agent", "--compat", "serf", "--tag", "role=web", "--join", f"{serf.address}:{PORT}")
    await serf.saw("Join", "agent")
    await agent.notice("joined", "serf")
    return serf, agent


async def test_an_agent_that_is_paused_refutes_the_suspicion(peers: Peers) -> None:
    serf, agent = await start_agents(peers)
    agent.signal(signal.SIGSTOP)
    await serf.logged("Suspect agent has failed, no acks received")
    agent.signal(signal.SIGCONT)
    await serf.run("event", "still", "there")
    assert (await agent.notice("user-event"))["evidence"]["name"] == "still"
    assert (await agent.run("info"))["statistics"]["refutations"] > 0
    assert (await serf.members())["agent"]["status"] == "alive"
    assert serf.count_logged("EventMemberFailed") == 0


async def test_an_agent_that_is_killed_is_failed(peers: Peers) -> None:
    serf, agent = await start_agents(peers)
    await agent.kill()
    await serf.saw("Failed", "agent", within=30)
    assert (await serf.members())["agent"]["status"] == "failed"


async def test_an_agent_that_is_told_to_end_has_left(peers: Peers) -> None:
    serf, agent = await start_agents(peers)
    assert (await serf.members())["agent"]["tags"] == {"role": "web"}
    agent.signal(signal.SIGTERM)
    assert await agent.wait() == 0
    await serf.saw("Leave", "agent")
    assert (await serf.members())["agent"]["status"] == "left"


async def test_an_event_that_our_command_fires_reaches_serf(peers: Peers) -> None:
    serf, agent = await start_agents(peers)
    await agent.run("event", "deploy", "v9")
    await serf.logged("Received event: user-event: deploy")
    await serf.logged("script output: v9")
