"""From an unwrapped packet to its messages: compounds split, compressed messages inflated, in any nesting (§4.2, 4.4,
6.1).

Rules kept here:

* One bad part spoils nothing but itself: what is readable is read, the rest is reported as problems.
* Depth, number and expanded size are bounded for the packet as a whole, failed attempts included.
* The work is cut into turns: a caller with timers to serve may leave the generator and come back to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gossip.codec import decode_compressed_untrusted, decode_message_untrusted, split_compound_untrusted
from gossip.errors import BadPacket
from gossip.lzw import Inflater
from gossip.messages import MessageType, PacketMessage

if TYPE_CHECKING:
    from collections.abc import Generator

MAX_PACKET_DEPTH: Final = 8
"""Compounds and compressed messages inside each other. Real senders nest two."""
MAX_PACKET_INFLATED: Final = 128 * 1024
"""Bytes that everything compressed in one packet may expand to together: twice the largest datagram."""
MAX_PACKET_MESSAGES: Final = 1024
"""Parts of any kind in one packet. A real sender's compound has at most 255."""
INFLATE_TURN: Final = 8 * 1024
"""Bytes inflated between two pauses: one or two milliseconds."""
MESSAGE_WORK: Final = 40
"""What reading one message counts as, in inflated bytes."""


_COMPOUND: Final = bytes((MessageType.COMPOUND,))
_COMPRESS: Final = bytes((MessageType.COMPRESS,))


@dataclass(frozen=True, slots=True)
class PacketContents:
    """What a packet held, in order."""

    messages: tuple[PacketMessage, ...]
    problems: tuple[str, ...]
    """A line for every part that could not be read."""
    layers: tuple[str, ...] = ()
    """``compound`` and ``compress``, as they were met."""


def read_packet_untrusted(body: bytes) -> Generator[None, None, PacketContents]:
    """Read all messages of an unwrapped packet; yields after every :data:`INFLATE_TURN` of work if there is more to do.

    Raises :class:`BadPacket` if there were problems and nothing else.
    """
    if body[:1] not in (_COMPOUND, _COMPRESS):
        return PacketContents((decode_message_untrusted(body),), ())
    packet = _Packet(body)
    while packet.pending:
        if packet.turn <= 0:
            packet.turn = INFLATE_TURN
            yield
        yield from packet.read_next_untrusted()
    if packet.problems and not packet.messages:
        raise BadPacket("; ".join(packet.problems[:3]))
    return PacketContents(tuple(packet.messages), tuple(packet.problems), tuple(packet.layers))


class _Packet:
    """The state of one reading."""

    def __init__(self, body: bytes) -> None:
        self.pending = [(body, 0)]  # parts with their depths, the next one last
        self.turn = INFLATE_TURN  # work left until the next pause
        self.messages: list[PacketMessage] = []
        self.problems: list[str] = []
        self.layers: list[str] = []
        self._parts = 0
        self._room = MAX_PACKET_INFLATED

    def read_next_untrusted(self) -> Generator[None, None, None]:
        """Read the next part, or note why it cannot be read. Yields within a long one."""
        part, depth = self.pending.pop()
        self._parts += 1
        if self._parts > MAX_PACKET_MESSAGES:
            self.problems.append(f"more than {MAX_PACKET_MESSAGES} parts")
            self.pending.clear()
            return
        self.turn -= MESSAGE_WORK
        try:
            if part[:1] == _COMPOUND:
                self._split_untrusted(part, depth + 1)
            elif part[:1] == _COMPRESS:
                yield from self._inflate_untrusted(part, depth + 1)
            else:
                self.messages.append(decode_message_untrusted(part))
        except BadPacket as reason:
            self.problems.append(str(reason))

    def _split_untrusted(self, part: bytes, depth: int) -> None:
        self._enter_untrusted("compound", depth)
        parts, cut_off = split_compound_untrusted(part)
        self.pending.extend((inner, depth) for inner in reversed(parts))
        if cut_off:
            self.problems.append(f"{cut_off} parts of a compound are cut off")

    def _inflate_untrusted(self, part: bytes, depth: int) -> Generator[None, None, None]:
        self._enter_untrusted("compress", depth)
        inflater = Inflater(decode_compressed_untrusted(part[1:]), self._room)
        before = 0
        try:
            while not inflater.step(max(self.turn, 1)):
                before, self.turn = inflater.produced, INFLATE_TURN
                yield
        finally:  # a part that fails has used up as much as it could
            self._room -= inflater.produced
            self.turn -= inflater.produced - before
        if not inflater.produced:
            raise BadPacket("a compressed message with nothing in it")
        self.pending.append((inflater.output, depth))

    def _enter_untrusted(self, layer: str, depth: int) -> None:
        if depth > MAX_PACKET_DEPTH:
            raise BadPacket(f"nested deeper than {MAX_PACKET_DEPTH}")
        self.layers.append(layer)
