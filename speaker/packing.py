"""MessagePack: the one place of the speaker that touches the library, which ships no types.

Text and bytes are two kinds; the keys of maps are text or bytes. What comes out is of the library's choosing, so
whoever reads it checks every type.
"""

from __future__ import annotations

import msgpack


class BadPacking(Exception):
    """These bytes are no MessagePack value, or too many."""


def pack(value: object) -> bytes:
    """One value of None, bool, int, float, text, bytes, and of lists, tuples and dicts of them.

    Raises :class:`TypeError` for anything else, :class:`OverflowError` for integers beyond 64 bits.
    """
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def unpack_untrusted(data: bytes, max_bytes: int) -> object:
    """The one value that the bytes are; tuples come out as lists. Raises :class:`BadPacking`, and nothing else.

    What the bytes declare is bounded by their length, so ``max_bytes`` bounds the memory too.
    """
    if len(data) > max_bytes:
        raise BadPacking(f"{len(data)} bytes; {max_bytes} is the limit")
    try:
        value: object = msgpack.unpackb(data)
    except (ValueError, msgpack.UnpackException) as reason:
        raise BadPacking(f"not msgpack: {str(reason) or type(reason).__name__}") from None
    return value
