"""Messages to bytes and back: a table of what is on the wire, and coders made from it (memberlist-protocol.md §3, 4.2).

Rules kept here:

* Written byte for byte as memberlist writes: keys sorted, optional fields left out when zero, signed fields in a form
  of their own.
* Read as liberally as memberlist reads (§3.4) and not more so. What is well formed but makes no sense (an address of
  three bytes, an empty name) passes: judging it is the business of whoever acts on it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

from gossip.errors import BadPacket, LocalError
from gossip.messages import (
    Ack,
    Alive,
    Compressed,
    Dead,
    ErrorReply,
    IndirectPing,
    MessageType,
    Nack,
    NodeState,
    PacketMessage,
    Ping,
    PushPullHeader,
    Suspect,
    UserMessage,
    UserMessageHeader,
)
from gossip.packing import Buffer, Unpacked, pack, unpack_untrusted, walk_untrusted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Fragment: TypeAlias = PushPullHeader | NodeState | UserMessageHeader
"""Maps that stand on a stream without a type byte of their own."""
MapMessage: TypeAlias = Ping | IndirectPing | Ack | Nack | Suspect | Alive | Dead | ErrorReply | Compressed
"""Messages that are a type byte and one map."""
MapT = TypeVar("MapT")

MAX_COMPOUND_PARTS: Final = 255
"""The count is one byte on the wire (§4.2)."""
LZW: Final = 0
"""The only compression there is (§6.1)."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """How values of one type are written and read, and what stands for a missing one."""

    zero: object
    write: Callable[[Any], bytes]
    read: Callable[[Unpacked], object]


def _told(value: Unpacked) -> str:
    """A hostile value for an error text: numbers as they are, anything that may be long or deep by its type."""
    return repr(value) if type(value) in (int, float, bool) else type(value).__name__


def _unsigned(bits: int) -> _Kind:
    highest = (1 << bits) - 1

    def write(value: int) -> bytes:
        if not 0 <= value <= highest:
            raise LocalError(f"{value} is not in 0..{highest}")
        return pack(value)

    def read(value: Unpacked) -> int:
        if type(value) is int and 0 <= value <= highest:
            return value
        if value is None:
            return 0
        raise BadPacket(f"{_told(value)} is not an integer of {bits} bits")

    return _Kind(0, write, read)


def _write_signed(value: int) -> bytes:
    """The form that marks a signed field: memberlist writes no unsigned form for these, even above 127 (§3.3)."""
    if 0 <= value <= 0x7F:
        return value.to_bytes(1, "big")
    for head, size in ((b"\xd1", 2), (b"\xd2", 4), (b"\xd3", 8)):
        if -1 << (8 * size - 1) <= value < 1 << (8 * size - 1):
            return head + value.to_bytes(size, "big", signed=True)
    raise LocalError(f"{value} does not fit 64 bits")


def _read_signed(value: Unpacked) -> int:
    if type(value) is int and value < 1 << 63:
        return value
    if value is None:
        return 0
    raise BadPacket(f"{_told(value)} is not a signed integer")


def _read_text(value: Unpacked) -> str:
    if type(value) is bytes:
        return value.decode("utf-8", "surrogateescape")
    if value is None:
        return ""
    raise BadPacket(f"{_told(value)} is not a string")


def _read_bytes(value: Unpacked) -> bytes:
    if type(value) is bytes:
        return value
    if value is None:
        return b""
    if type(value) is list and all(type(item) is int and 0 <= item <= 0xFF for item in value):
        return bytes(value)
    raise BadPacket(f"{_told(value)} is not a byte string")


def _read_nilable(value: Unpacked) -> bytes | None:
    return None if value is None else _read_bytes(value)


def _read_flag(value: Unpacked) -> bool:
    if value is True or value is False:
        return value
    if value is None:
        return False
    if type(value) is int and value in (0, 1):
        return value == 1
    raise BadPacket(f"{_told(value)} is not a boolean")


_U8: Final = _unsigned(8)
_U16: Final = _unsigned(16)
_U32: Final = _unsigned(32)
_SIGNED: Final = _Kind(0, _write_signed, _read_signed)
_TEXT: Final = _Kind("", pack, _read_text)
_BYTES: Final = _Kind(b"", pack, _read_bytes)
_NILABLE: Final = _Kind(None, pack, _read_nilable)
_FLAG: Final = _Kind(False, pack, _read_flag)


@dataclass(frozen=True, slots=True)
class _Field:
    """One key of a map. Optional ones are left out when zero."""

    key: str
    kind: _Kind
    optional: bool = False


_SOURCE: Final = (
    _Field("SourceAddr", _BYTES, optional=True),
    _Field("SourcePort", _U16, optional=True),
    _Field("SourceNode", _TEXT, optional=True),
)
_ACCUSATION: Final = (_Field("Incarnation", _U32), _Field("Node", _TEXT), _Field("From", _TEXT))

_WIRE: Final[dict[type, tuple[MessageType | None, tuple[_Field, ...]]]] = {
    Ping: (MessageType.PING, (_Field("SeqNo", _U32), _Field("Node", _TEXT), *_SOURCE)),
    IndirectPing: (
        MessageType.INDIRECT_PING,
        (
            _Field("SeqNo", _U32),
            _Field("Target", _BYTES),
            _Field("Port", _U16),
            _Field("Node", _TEXT),
            _Field("Nack", _FLAG),
            *_SOURCE,
        ),
    ),
    Ack: (MessageType.ACK, (_Field("SeqNo", _U32), _Field("Payload", _NILABLE))),
    Nack: (MessageType.NACK, (_Field("SeqNo", _U32),)),
    Suspect: (MessageType.SUSPECT, _ACCUSATION),
    Dead: (MessageType.DEAD, _ACCUSATION),
    Alive: (
        MessageType.ALIVE,
        (
            _Field("Incarnation", _U32),
            _Field("Node", _TEXT),
            _Field("Addr", _BYTES),
            _Field("Port", _U16),
            _Field("Meta", _NILABLE),
            _Field("Vsn", _NILABLE),
        ),
    ),
    ErrorReply: (MessageType.ERROR, (_Field("Error", _TEXT),)),
    Compressed: (MessageType.COMPRESS, (_Field("Algo", _U8), _Field("Buf", _BYTES))),
    PushPullHeader: (
        None,
        (_Field("Nodes", _SIGNED), _Field("UserStateLen", _SIGNED), _Field("Join", _FLAG)),
    ),
    NodeState: (
        None,
        (
            _Field("Name", _TEXT),
            _Field("Addr", _BYTES),
            _Field("Port", _U16),
            _Field("Meta", _NILABLE),
            _Field("Incarnation", _U32),
            _Field("State", _SIGNED),
            _Field("Vsn", _NILABLE),
        ),
    ),
    UserMessageHeader: (None, (_Field("UserMsgLen", _SIGNED),)),
}
"""Every map of the protocol (§3.2): its type byte, and its fields in the order of the array form (§3.4)."""


class _Layout:
    """The coder of one row of the table."""

    def __init__(self, cls: type, message_type: MessageType | None, rows: tuple[_Field, ...]) -> None:
        self._cls = cls
        prefix = b"" if message_type is None else bytes((message_type,))
        self._heads = tuple(prefix + bytes((0x80 | count,)) for count in range(len(rows) + 1))
        attributes = [field.name for field in fields(cls)]
        wire_order = sorted(zip(rows, attributes, strict=True), key=lambda pair: pair[0].key)
        self._writers = tuple((pack(row.key), name, row.kind.write, row.optional) for row, name in wire_order)
        self._readers = tuple(row.kind.read for row in rows)
        self._slots = {row.key.encode(): (index, row.kind.read) for index, row in enumerate(rows)}
        self._zeros = [row.kind.zero for row in rows]
        self.attributes = {row.key: name for row, name in wire_order}

    def encode(self, message: object) -> bytes:
        parts = [b""]
        left_out = 0
        for key, name, write, optional in self._writers:
            value = getattr(message, name)
            if optional and not value:
                left_out += 1
            else:
                parts.append(key)
                parts.append(write(value))
        parts[0] = self._heads[len(self._writers) - left_out]
        return b"".join(parts)

    def decode_untrusted(self, data: Buffer) -> Any:
        value, _ = unpack_untrusted(data)
        if type(value) is tuple:
            return self._cls(*self._read_map(value, data))
        if type(value) is list:
            return self._cls(*self._read_array(value))
        if value is None:
            return self._cls(*self._zeros)
        raise BadPacket(f"{_told(value)} where a map should be")

    def _read_map(self, pairs: tuple[tuple[Unpacked, Unpacked], ...], data: Buffer) -> list[object]:
        values = self._zeros.copy()
        slots = self._slots
        nested = False
        for key, value in pairs:
            if type(key) is not bytes:
                raise BadPacket(f"{self._cls.__name__}: a key that is {type(key).__name__}, not a string")
            slot = slots.get(key)
            if slot is None:
                nested = nested or type(value) in (tuple, list)
                continue
            index, read = slot
            try:
                values[index] = read(value)
            except BadPacket as reason:
                raise BadPacket(f"{self._cls.__name__} {key.decode()}: {reason}") from None
        if nested:
            walk_untrusted(data)  # only unknown keys may nest, and even they not for ever
        return values

    def _read_array(self, items: list[Unpacked]) -> list[object]:
        read = [read(item) for read, item in zip(self._readers, items, strict=False)]
        return read + self._zeros[len(read) :]


_LAYOUTS: Final = {cls: _Layout(cls, *row) for cls, row in _WIRE.items()}
_PACKET_LAYOUTS: Final = {
    int(message_type): _LAYOUTS[cls]
    for cls, (message_type, _) in _WIRE.items()
    if message_type is not None and message_type not in (MessageType.ERROR, MessageType.COMPRESS)
}


def encode(message: PacketMessage | ErrorReply | Compressed) -> bytes:
    """Type byte and map; for a user message type byte and payload, which is its form in packets (§3.1).

    Raises :class:`LocalError` for an integer out of its field's range or text that no bytes decode to.
    """
    if type(message) is UserMessage:
        return _USER + message.payload
    return _encode(message)


def encode_fragment(fragment: Fragment) -> bytes:
    """The bare map. Raises :class:`LocalError` as :func:`encode` does."""
    return _encode(fragment)


def _encode(message: object) -> bytes:
    try:
        return _LAYOUTS[type(message)].encode(message)
    except UnicodeEncodeError as reason:
        raise LocalError(f"text that is no bytes: {reason}") from None


_USER: Final = bytes((MessageType.USER,))


def decode_message_untrusted(data: bytes) -> PacketMessage:
    """One message of a packet with its type byte. Bytes after its map are ignored.

    Compounds and compressed messages are not messages in this sense: :mod:`gossip.packets` unpacks them. Raises
    :class:`BadPacket` for anything §3.4 tells to reject, and for types that have no place in a packet.
    """
    if not data:
        raise BadPacket("empty message")
    layout = _PACKET_LAYOUTS.get(data[0])
    if layout is not None:
        return cast("PacketMessage", layout.decode_untrusted(data[1:]))
    if data[0] == MessageType.USER:
        return UserMessage(data[1:])
    raise BadPacket(f"a message of type {data[0]} has no place here")


def decode_map_untrusted(cls: type[MapT], data: Buffer) -> MapT:
    """The message of class ``cls`` from its map or array form, without type byte; bytes after it are ignored.

    Raises :class:`BadPacket` for anything §3.4 tells to reject.
    """
    return cast("MapT", _LAYOUTS[cls].decode_untrusted(data))


def wire_fields(message: MapMessage | Fragment) -> dict[str, object]:
    """The fields of a message under their names on the wire, in wire order."""
    return {key: getattr(message, name) for key, name in _LAYOUTS[type(message)].attributes.items()}


def encode_compressed(buf: bytes) -> bytes:
    """The ``compress`` message round an LZW stream, with its type byte."""
    return _encode(Compressed(LZW, buf))


def decode_compressed_untrusted(data: Buffer) -> bytes:
    """The LZW stream in a ``compress`` message's map (without type byte). Raises :class:`BadPacket`."""
    compressed = decode_map_untrusted(Compressed, data)
    if compressed.algo != LZW:
        raise BadPacket(f"unknown compression algorithm {compressed.algo}")
    return compressed.buf


def make_compound(parts: Sequence[bytes]) -> bytes:
    """All parts in one compound (§4.2). Raises :class:`LocalError` for more than 255, or one above 65,535 bytes."""
    if len(parts) > MAX_COMPOUND_PARTS:
        raise LocalError(f"a compound has at most {MAX_COMPOUND_PARTS} parts, not {len(parts)}")
    try:
        lengths = [len(part).to_bytes(2, "big") for part in parts]
    except OverflowError:
        raise LocalError("a part of a compound has at most 65535 bytes") from None
    return bytes((MessageType.COMPOUND, len(parts))) + b"".join((*lengths, *parts))


def make_compounds(parts: Sequence[bytes]) -> list[bytes]:
    """As many compounds as it takes, 255 parts each; a single part is returned bare, as memberlist sends it (§4.2)."""
    if len(parts) == 1:
        return [parts[0]]
    return [make_compound(parts[i : i + MAX_COMPOUND_PARTS]) for i in range(0, len(parts), MAX_COMPOUND_PARTS)]


def split_compound_untrusted(data: bytes) -> tuple[list[bytes], int]:
    """The whole parts of a compound (given with its type byte), and how many more were announced but cut off.

    Raises :class:`BadPacket` when the count or the lengths themselves are cut off.
    """
    if len(data) < 2 or len(data) < 2 + 2 * data[1]:
        raise BadPacket("a compound cut off within its lengths")
    count = data[1]
    parts: list[bytes] = []
    start = 2 + 2 * count
    for at in range(2, 2 + 2 * count, 2):
        stop = start + (data[at] << 8 | data[at + 1])
        if stop > len(data):
            break
        parts.append(data[start:stop])
        start = stop
    return parts, count - len(parts)
