"""One real member among peers that the test plays: what it says is recorded with its instant, what it hears is the
test's choice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from gossip import (
    Address,
    Event,
    GossipConfig,
    GossipTickConfig,
    Member,
    Membership,
    OpenStream,
    Policy,
    ProbeConfig,
    PushPullConfig,
    ReconnectConfig,
    Refusal,
    State,
    StreamCommand,
    WriteStream,
    profile,
)
from gossip.codec import encode
from gossip.envelope import Envelope, strip_crc_untrusted
from gossip.messages import Ack, Alive, Dead, NodeState, PacketMessage, Ping, PushPull, StreamMessage, Suspect
from gossip.packets import read_packet_untrusted
from gossip.streams import StreamReader, Want, encode_push_pull
from gossip.turns import run_to_end
from tests.gossip.helpers import VSN, events_of, make_member

MessageT = TypeVar("MessageT")

PLAIN = replace(profile("lan"), reconnect=ReconnectConfig(interval=0.0))
"""memberlist's timings, uncompressed, without reconnecting."""
STILL = replace(
    PLAIN,
    probe=ProbeConfig(interval=0.0),
    gossip=GossipTickConfig(interval=0.0),
    push_pull=PushPullConfig(interval=0.0),
)
"""Speaks only when spoken to. Suspicions end at once in it, as memberlist's do without a probe interval."""
PROBING = replace(STILL, probe=ProbeConfig())
"""Probes, and says nothing else unasked."""
OWN = ("127.0.0.1", 7946)


def opened(data: bytes) -> tuple[PacketMessage, ...]:
    """The messages of an unencrypted datagram, compounds flattened."""
    return run_to_end(read_packet_untrusted(strip_crc_untrusted(data))).messages


def packed(address: Address) -> bytes:
    """An IPv4 address as the wire has it."""
    return bytes(int(part) for part in address[0].split("."))


@dataclass(frozen=True)
class Said:
    """One datagram of the member's."""

    at: float
    to: Address
    messages: tuple[PacketMessage, ...]
    data: bytes


@dataclass
class Bench:
    """``member`` is at :data:`OWN`; each peer has an address of its own. Peers ack pings at once unless ``silent``."""

    member: Membership
    now: float = 0.0
    silent: list[str] = field(default_factory=list)
    peers: dict[str, Address] = field(default_factory=dict)
    said: list[Said] = field(default_factory=list)
    commands: list[StreamCommand] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def add(self, *names: str, incarnation: int = 1, meta: bytes | None = None, vsn: bytes | None = VSN) -> None:
        """Peers show themselves alive."""
        for name in names:
            self.peers.setdefault(name, (f"127.0.0.{10 + len(self.peers)}", 7946))
            self.tell(self.alive(name, incarnation, meta, vsn))

    def alive(self, name: str, incarnation: int = 1, meta: bytes | None = None, vsn: bytes | None = VSN) -> Alive:
        return Alive(incarnation, name, packed(self.address(name)), self.address(name)[1], meta, vsn)

    def address(self, name: str) -> Address:
        return OWN if name == self.member.local.name else self.peers[name]

    def tell(self, *messages: PacketMessage, source: Address = ("127.0.0.9", 7946)) -> None:
        """The member receives these messages, each in a packet."""
        for message in messages:
            self.member.receive_datagram(encode(message), source, self.now)
            self.settle()

    def raise_score(self, times: int = 1) -> None:
        """Make the member refute, so that its health score rises."""
        for _ in range(times):
            self.tell(Suspect(self.member.local.incarnation, self.member.local.name, "x"))

    def settle(self) -> None:
        """Record what is said; peers ack."""
        while datagrams := self.member.datagrams_to_send():
            for data, address in datagrams:
                said = Said(self.now, address, opened(data), data)
                self.said.append(said)
                for ping in of_kind(said.messages, Ping):
                    if ping.node not in self.silent and self.peers.get(ping.node) == address:
                        self.member.receive_datagram(encode(Ack(ping.seq_no)), address, self.now)
        self.commands += self.member.stream_commands()
        self.events += events_of(self.member)

    def run(self, until: float) -> None:
        """Let time pass."""
        self.settle()
        while (due := self.member.next_timer()) <= until:
            self.now = max(self.now, due)
            self.member.handle_timer(self.now)
            self.settle()
        self.now = until

    def run_to_ping(self, name: str) -> Said:
        """Let time pass until the member pings that peer, and give what it sent."""
        seen = len(self.said)
        while not (found := [said for said in self.said[seen:] if self._is_ping(said, name)]):
            assert self.now < 1000.0, f"{name} is never pinged"
            self.run(max(self.now, self.member.next_timer()))
        return found[0]

    def _is_ping(self, said: Said, name: str) -> bool:
        return said.to == self.peers[name] and any(ping.node == name for ping in of_kind(said.messages, Ping))

    def take_events(self, kind: type[MessageT]) -> list[MessageT]:
        """The events of one kind since the last look; the others are dropped."""
        self.settle()
        taken = list(of_kind(self.events, kind))
        self.events.clear()
        return taken

    def messages(self, kind: type[MessageT], to: str | None = None) -> list[MessageT]:
        """What the member said of one kind, to a peer or to anybody."""
        return [
            message
            for said in self.said
            if to is None or said.to == self.address(to)
            for message in of_kind(said.messages, kind)
        ]

    def state(self, name: str) -> State | None:
        found = self.member.member(name)
        return None if found is None else found.state

    def score(self) -> int:
        return self.member.statistics().health_score

    def queued(self) -> list[PacketMessage]:
        """The news that waits, by asking for as much as one ack carries."""
        self.settle()
        seen = len(self.said)
        self.tell(Ping(4_000_000, self.member.local.name))
        return [m for said in self.said[seen:] for m in said.messages if m != Ack(4_000_000)]

    def push_pull(self, nodes: list[NodeState], *, join: bool = False, user_state: bytes = b"") -> PushPull | None:
        """A peer connects and exchanges views; gives the member's answer."""
        self.settle()
        stream = self.member.accept_stream(("127.0.0.9", 40_000), self.now)
        self.member.receive_stream(stream, encode_push_pull(join, nodes, user_state), self.now)
        answer = read_stream(self.member, written(self.member, stream))
        self.settle()
        return answer if isinstance(answer, PushPull) else None


def written(member: Membership, stream: int) -> bytes:
    """What the member wrote on a stream since the last drain; other commands are lost."""
    return b"".join(c.data for c in member.stream_commands() if isinstance(c, WriteStream) and c.stream == stream)


def read_stream(member: Membership, data: bytes) -> StreamMessage | None:
    """The reply that a member wrote on a stream, ``None`` if nothing."""
    reader = StreamReader(Envelope(member.config.wire, member.keyring, bytes), labelled=False)
    reader.feed(data)
    answer = reader.next_message()
    return None if isinstance(answer, Want) else answer


def of_kind(items: object, kind: type[MessageT]) -> Iterator[MessageT]:
    """Those of one type."""
    assert isinstance(items, list | tuple)
    return (item for item in items if isinstance(item, kind))


def opened_streams(bench: Bench) -> list[OpenStream]:
    """The connections the member asked for."""
    return list(of_kind(bench.commands, OpenStream))


def make_bench(
    *names: str, config: GossipConfig = STILL, silent: tuple[str, ...] = (), seed: int = 1, name: str = "a"
) -> Bench:
    """A bench with these peers alive, the news of them spread, and nothing recorded yet."""
    bench = Bench(make_member(name, OWN, config, seed=seed), silent=list(silent))
    bench.add(*names)
    while bench.member.statistics().queued_broadcasts:
        bench.queued()
    for record in (bench.said, bench.commands, bench.events):
        record.clear()
    return bench


def node_state(bench: Bench, name: str, state: State, incarnation: int = 1, meta: bytes | None = None) -> NodeState:
    """A row of a push/pull."""
    bench.peers.setdefault(name, (f"127.0.0.{10 + len(bench.peers)}", 7946))
    return NodeState(name, packed(bench.address(name)), 7946, meta, incarnation, int(state), VSN)


def dead(name: str, incarnation: int = 1, accuser: str = "x") -> Dead:
    return Dead(incarnation, name, accuser)


def suspect(name: str, incarnation: int = 1, accuser: str = "x") -> Suspect:
    return Suspect(incarnation, name, accuser)


def states(bench: Bench) -> dict[str, tuple[State, int]]:
    """Everybody's state and incarnation."""
    return {member.name: (member.state, member.incarnation) for member in bench.member.members()}


def refusing(seen: list[list[str]], reason: str) -> Policy:
    """A merge veto that notes whom it was asked about."""

    def merge(members: Sequence[Member]) -> Refusal:
        seen.append([f"{member.name} {member.state.name} {member.versions[1]}" for member in members])
        return Refusal(reason)

    return Policy(merge=merge)
