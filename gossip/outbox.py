"""Everything that leaves the core: datagrams, events, commands about streams. Drained by whoever drives it.

Rules kept here:

* Nobody else wraps a packet. A datagram never exceeds ``gossip.packet_budget`` through what is piggybacked on it:
  the crc and the first message's length entry are counted too (memberlist-protocol.md §4.1, §16 row 19).
* A crc goes where memberlist puts it: to a member known to understand it (§4.3).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from gossip.broadcasts import COMPOUND_ENTRY_BYTES
from gossip.codec import MAX_COMPOUND_PARTS, encode, make_compound, make_compounds
from gossip.events import BroadcastSpread
from gossip.versions import CRC_SINCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from gossip.addresses import Address
    from gossip.broadcasts import Broadcasts
    from gossip.envelope import Envelope
    from gossip.events import Event
    from gossip.members import Record, Roster
    from gossip.messages import PacketMessage

CRC_BYTES: Final = 5
COMPOUND_HEADER_BYTES: Final = 2

StreamId: TypeAlias = int


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Connect to ``address`` by the instant ``deadline``. What is written meanwhile goes out once connected;
    ``stream_failed`` tells when that cannot be."""

    stream: StreamId
    address: Address
    deadline: float


@dataclass(frozen=True, slots=True)
class WriteStream:
    """Send ``data``."""

    stream: StreamId
    data: bytes


@dataclass(frozen=True, slots=True)
class CloseStream:
    """Close once everything written has gone; nothing more is said about this stream by either side."""

    stream: StreamId


StreamCommand: TypeAlias = OpenStream | WriteStream | CloseStream


class Outbox:
    """The queues, and the one way to send a packet."""

    def __init__(self, envelope: Envelope, roster: Roster, broadcasts: Broadcasts, packet_budget: int) -> None:
        self._envelope = envelope
        self._roster = roster
        self._broadcasts = broadcasts
        self._packet_budget = packet_budget
        self._datagrams: list[tuple[bytes, Address]] = []
        self._events: deque[Event] = deque()
        self._commands: list[StreamCommand] = []
        self._tokens = 0
        self.datagrams_sent = 0
        self.bytes_sent = 0

    def send(self, message: PacketMessage, address: Address, record: Record | None = None) -> None:
        """Send one message with whatever news fits beside it."""
        primary = encode(message)
        extras: list[bytes] = []
        if self._broadcasts:
            room = self.room - COMPOUND_ENTRY_BYTES - len(primary)
            extras = self._broadcasts.fill(room, MAX_COMPOUND_PARTS - 1)
        self.send_packet(make_compound([primary, *extras]) if extras else primary, address, record)

    def send_alone(self, parts: list[bytes], address: Address, record: Record | None = None) -> None:
        """Send encoded messages as they are: one bare, several as compounds of at most 255 parts."""
        for body in make_compounds(parts):
            self.send_packet(body, address, record)

    def send_packet(self, body: bytes, address: Address, record: Record | None) -> None:
        """Put the layers round ``body`` and queue it. ``record`` is the member it is for, if the sender knows it as
        one."""
        known = record if record is not None else self._roster.get(address[0])
        data = self._envelope.wrap_packet(body, crc=known is not None and known.protocol_max >= CRC_SINCE)
        self.datagrams_sent += 1
        self.bytes_sent += len(data)
        self._datagrams.append((data, address))

    @property
    def room(self) -> int:
        """Bytes that the parts of a compound may have together in one packet, each with its length entry."""
        return self._packet_budget - COMPOUND_HEADER_BYTES - CRC_BYTES - self._envelope.packet_overhead

    def emit(self, event: Event) -> None:
        """Queue an event."""
        self._events.append(event)

    def next_token(self) -> int:
        """A number that an event will carry back, so that its asker knows it."""
        self._tokens += 1
        return self._tokens

    def spread_event(self, token: int) -> Callable[[], None]:
        """What to call when the broadcast that ``token`` stands for is done with."""
        return lambda: self.emit(BroadcastSpread(token))

    def command(self, command: StreamCommand) -> None:
        """Queue a command about a stream."""
        self._commands.append(command)

    def take_datagrams(self) -> list[tuple[bytes, Address]]:
        """Drain the datagrams."""
        datagrams, self._datagrams = self._datagrams, []
        return datagrams

    def take_commands(self) -> list[StreamCommand]:
        """Drain the stream commands, in order."""
        commands, self._commands = self._commands, []
        return commands

    def take_event(self) -> Event | None:
        """Drain one event, ``None`` when there are no more."""
        return self._events.popleft() if self._events else None
