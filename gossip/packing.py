"""msgpack for hostile bytes: the one place that touches the msgpack library, which ships no types.

Rules kept here:

* Written: the old raw family for text and bytes alike, as memberlist's encoder does (memberlist-protocol.md §3.3). Text
  that was never UTF-8 is ``surrogateescape``d and comes out as it went in.
* Read: maps become tuples of pairs, so nothing is hashed and duplicates keep their order; arrays become lists; text
  stays bytes.
* What a peer declares is checked before anything is built from it. Short values go straight to the C parser, whose cost
  they bound; longer ones, and whatever grows on a stream, are walked first, which builds nothing at all.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgpack

from gossip.errors import BadPacket

MAX_ITEMS: Final = 1024
"""Values in one message, nested ones and keys counted. Ours have 17 at most; metadata as an array would have 512."""
MAX_NESTING: Final = 16
"""Containers inside containers. Nothing of ours nests; unknown keys may."""
WALK_ABOVE: Final = 1500
"""Bytes up to which the C parser alone is trusted: at this size it can be made to hold 4 MB for a moment."""

Unpacked: TypeAlias = Any
"""What comes out: maps are tuples of pairs, arrays lists, text ``bytes``, the rest as the library makes it."""
Buffer: TypeAlias = bytes | bytearray | memoryview

_packer: Final = msgpack.Packer(use_bin_type=False, unicode_errors="surrogateescape")


def pack(value: str | bytes | int | bool | None) -> bytes:
    """One value in the encoding of §3.3, integers as unsigned ones.

    Raises :class:`UnicodeEncodeError` for text that no bytes decode to, :class:`OverflowError` beyond 64 bits.
    """
    packed: bytes = _packer.pack(value)
    return packed


def unpack_untrusted(data: Buffer, max_items: int = MAX_ITEMS) -> tuple[Unpacked, int]:
    """One value from the start of ``data``, and how many bytes follow it. Raises :class:`BadPacket`."""
    if len(data) > WALK_ABOVE:
        walk_untrusted(data, max_items)
    try:
        return (
            msgpack.unpackb(
                data,
                raw=True,
                strict_map_key=False,
                object_pairs_hook=tuple,
                max_array_len=max_items,
                max_map_len=max_items,
            ),
            0,
        )
    except msgpack.ExtraData as rest:
        return rest.unpacked, len(rest.extra)
    except (ValueError, msgpack.UnpackException) as reason:
        raise BadPacket(f"not msgpack: {str(reason) or type(reason).__name__}") from None


def walk_untrusted(data: Buffer, max_items: int = MAX_ITEMS) -> int:
    """The length of the value at the start of ``data``. Raises :class:`BadPacket` if cut short or over a limit."""
    walker = Walker(0, len(data), max_items)
    if not walker.advance(data):
        raise BadPacket("not msgpack: incomplete input")
    return walker.position


class _Shape:
    """How a value goes on after its first byte: a length field, then bytes, or children."""

    __slots__ = ("children", "length_bytes", "payload", "per_item")

    def __init__(self, *, payload: int = 0, children: int = 0, length_bytes: int = 0, per_item: int = 0) -> None:
        self.payload = payload
        self.children = children
        self.length_bytes = length_bytes
        self.per_item = per_item


def _shapes() -> tuple[_Shape | None, ...]:
    """By first byte. The one byte that starts nothing has none."""
    shapes: list[_Shape | None] = [_Shape() for _ in range(0x80)]
    shapes += [_Shape(children=2 * n) for n in range(16)]
    shapes += [_Shape(children=n) for n in range(16)]
    shapes += [_Shape(payload=n) for n in range(32)]
    shapes += [_Shape(), None, _Shape(), _Shape()]
    shapes += [_Shape(length_bytes=n) for n in (1, 2, 4)]  # bin
    shapes += [_Shape(length_bytes=n, payload=1) for n in (1, 2, 4)]  # ext: a type byte before the content
    shapes += [_Shape(payload=n) for n in (4, 8, 1, 2, 4, 8, 1, 2, 4, 8)]  # floats, unsigned, signed
    shapes += [_Shape(payload=1 + n) for n in (1, 2, 4, 8, 16)]  # fixext
    shapes += [_Shape(length_bytes=n) for n in (1, 2, 4)]  # str
    shapes += [_Shape(length_bytes=n, per_item=1) for n in (2, 4)]  # array
    shapes += [_Shape(length_bytes=n, per_item=2) for n in (2, 4)]  # map
    shapes += [_Shape() for _ in range(32)]
    return tuple(shapes)


_SHAPES: Final = _shapes()


class Walker:
    """Finds the end of one value in a buffer that may still be growing, without building anything.

    ``position`` is where it stands: the value's end once :meth:`advance` has returned true. No byte is looked at twice,
    so feeding a value byte by byte costs no more than feeding it whole.
    """

    __slots__ = ("_items", "_left", "_limit", "_max_items", "position")

    def __init__(self, start: int, max_bytes: int, max_items: int = MAX_ITEMS) -> None:
        self.position = start
        self._limit = start + max_bytes
        self._max_items = max_items
        self._left = [1]
        self._items = 0

    def advance(self, buffer: Buffer) -> bool:
        """Walk on as far as the buffer goes; return whether the value is whole.

        Raises :class:`BadPacket` for a byte that starts nothing, and as soon as a declared size passes a limit.
        """
        position, size, left = self.position, len(buffer), self._left
        while left and position < size:
            shape = _SHAPES[buffer[position]]
            if shape is None:
                raise BadPacket("not msgpack: byte 0xc1")
            stop = position + 1 + shape.payload
            children = shape.children
            if shape.length_bytes:
                start, stop = position + 1, stop + shape.length_bytes
                # Cut off, it reads as a smaller number, and the value's end is beyond the buffer's all the same.
                count = int.from_bytes(buffer[start : start + shape.length_bytes], "big")
                if shape.per_item:
                    children = count * shape.per_item
                else:
                    stop += count
            if stop > self._limit or self._items + children >= self._max_items or len(left) > MAX_NESTING:
                raise BadPacket("a message with too many values, nested too deep, or too long")
            if stop > size:
                break
            self._items += 1
            position = stop
            left[-1] -= 1
            if children:
                left.append(children)
            else:
                while left and not left[-1]:
                    left.pop()
        self.position = position
        return not left
