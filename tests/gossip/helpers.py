"""The whole network of a unit test: members built from a seed, and a wire that carries what they say to each
other."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from gossip import (
    Address,
    CloseStream,
    Event,
    GossipConfig,
    Keyring,
    Membership,
    OpenStream,
    Policy,
    StreamId,
    WriteStream,
    profile,
)
from gossip.policy import ACCEPT_ALL

EventT = TypeVar("EventT")
FIXED_NONCE = bytes(range(0xA0, 0xAC))
VSN = bytes((1, 5, 2, 0, 0, 0))


def make_member(
    name: str = "a",
    address: Address = ("127.0.0.1", 7946),
    config: GossipConfig | None = None,
    *,
    seed: int = 1,
    keyring: Keyring | None = None,
    meta: bytes | None = None,
    policy: Policy = ACCEPT_ALL,
    started_at: float | None = 0.0,
) -> Membership:
    """A member with a generator of its own, started unless told otherwise, its first event and datagrams left in
    place."""
    member = Membership(
        name,
        address,
        config if config is not None else profile("memberlist"),
        rng=random.Random(f"{seed}/{name}"),
        nonce=lambda size: FIXED_NONCE[:size],
        keyring=keyring,
        meta=meta,
        policy=policy,
    )
    if started_at is not None:
        member.start(started_at)
    return member


def events_of(member: Membership) -> list[Event]:
    """Drain the events."""
    return list(iter(member.next_event, None))


@dataclass
class Wire:
    """Joins members by address: datagrams arrive at once, streams too. ``drops`` decides which datagrams get lost.

    ``step`` carries until nobody says anything more; ``run`` also fires timers, in order, until an instant.
    """

    members: list[Membership]
    now: float = 0.0
    drops: Callable[[bytes, Address, Address], bool] = lambda data, source, target: False
    refuses: Callable[[Address, Address], bool] = lambda source, target: False
    datagrams: list[tuple[Address, Address, bytes]] = field(default_factory=list)
    events: dict[str, list[Event]] = field(default_factory=dict)
    _peers: dict[tuple[str, StreamId], tuple[Membership, StreamId]] = field(default_factory=dict)

    def _at(self, address: Address) -> Membership | None:
        return next((member for member in self.members if member.local.address == address), None)

    def step(self) -> None:
        """Carry everything, and what follows from it, until all is quiet."""
        busy = True
        while busy:
            busy = False
            for member in self.members:
                busy |= self._carry(member)

    def run(self, until: float) -> None:
        """Let time pass."""
        self.step()
        while (due := min((member.next_timer() for member in self.members), default=until)) <= until:
            self.now = max(self.now, due)
            for member in self.members:
                if member.next_timer() <= self.now:
                    member.handle_timer(self.now)
                    self.step()
        self.now = until

    def _carry(self, member: Membership) -> bool:
        own = member.local.address
        self.events.setdefault(member.local.name, []).extend(events_of(member))
        datagrams = member.datagrams_to_send()
        for data, address in datagrams:
            self.datagrams.append((own, address, data))
            target = self._at(address)
            if target is not None and not self.drops(data, own, address):
                target.receive_datagram(data, own, self.now)
        commands = member.stream_commands()
        for command in commands:
            key = (member.local.name, command.stream)
            if isinstance(command, OpenStream):
                peer = self._at(command.address)
                if peer is None or self.refuses(own, command.address):
                    member.stream_failed(command.stream, "connection refused", self.now)
                else:
                    number = peer.accept_stream((own[0], 40_000), self.now)
                    self._peers[key] = (peer, number)
                    self._peers[(peer.local.name, number)] = (member, command.stream)
            elif key in self._peers:
                other, number = self._peers[key]
                other.receive_stream(number, command.data if isinstance(command, WriteStream) else b"", self.now)
                if isinstance(command, CloseStream):
                    del self._peers[key]
        return bool(datagrams or commands)


def linked(*members: Membership) -> Wire:
    """The members on one wire, all joined to the first and settled."""
    wire = Wire(list(members))
    for member in members[1:]:
        member.join([members[0].local.address], wire.now)
        wire.step()
    return wire


def of_type(events: list[Event], kind: type[EventT]) -> Iterator[EventT]:
    """The events of one kind."""
    return (event for event in events if isinstance(event, kind))


def live_names(member: Membership) -> list[str]:
    """Whom a member holds for alive or suspect."""
    return [other.name for other in member.live_members()]


def views(wire: Wire) -> list[list[str]]:
    """The same of every member on the wire."""
    return [live_names(member) for member in wire.members]
