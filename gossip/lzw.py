"""LZW, the GIF variety, as memberlist's ``compress`` message carries it (memberlist-protocol.md §6.1).

Rules kept here:

* The compressor's output is byte for byte what memberlist writes, a clear code at the very end included.
* Work is done in steps, so that a caller with other duties can pause between them. A step is bounded by its budget
  whatever the bytes are: codes that yield nothing are counted too.
* Output is bounded while it grows, and the decoder's table is positions in that output: it costs the same for every
  input.
"""

from __future__ import annotations

import sys
from typing import Final

from gossip.errors import BadPacket

_CLEAR: Final = 256
_END: Final = 257
_FIRST: Final = 258
_MIN_WIDTH: Final = 9
_MAX_WIDTH: Final = 12
_LAST: Final = (1 << _MAX_WIDTH) - 1
_FLUSH_BITS: Final = 48
_FLUSH_MASK: Final = (1 << _FLUSH_BITS) - 1
_REFILL: Final = 6
"""Bytes moved into the bit buffer at once: four codes' worth, and the buffer stays a small integer."""


class Inflater:
    """Decompression of one stream in steps: call :meth:`step` until it is true, then read :attr:`output`."""

    def __init__(self, data: bytes, limit: int) -> None:
        self._data = data
        self._limit = limit
        self._out = bytearray()
        self._position = 0
        self._bits = 0
        self._held = 0
        self._width = _MIN_WIDTH
        self._starts: list[int] = []
        self._finished = False

    @property
    def output(self) -> bytes:
        """The plain bytes, once finished."""
        return bytes(self._out)

    @property
    def produced(self) -> int:
        """Bytes of output so far, also after a failure."""
        return len(self._out)

    def take(self) -> bytearray:
        """The plain bytes without a copy, once finished. The inflater is of no use afterwards."""
        out, self._out = self._out, bytearray()
        return out

    def step(self, budget: int) -> bool:
        """Read on for about ``budget`` bytes of output, and at most ``budget`` codes. Return whether the end code was
        read.

        Raises :class:`BadPacket` when the output passes the limit, the input ends without an end code, or a code is
        unknown.
        """
        data, out, starts = self._data, self._out, self._starts
        position, bits, held, width = self._position, self._bits, self._held, self._width
        size = len(out)
        target = min(size + budget, self._limit + 1)
        mask = (1 << width) - 1
        grow_at = mask - _END  # as many codes since the last clear fill what this width can name
        for _ in range(budget):
            if held < width:
                refill = data[position : position + _REFILL]
                bits |= int.from_bytes(refill, "little") << held
                held += 8 * len(refill)
                position += _REFILL
                if held < width:
                    raise BadPacket("LZW stream ends without an end code")
            code = bits & mask
            bits >>= width
            held -= width
            if code == _END:
                self._finished = True
                break
            if code == _CLEAR:
                starts.clear()
                width, mask, grow_at = _MIN_WIDTH, (1 << _MIN_WIDTH) - 1, (1 << _MIN_WIDTH) - 1 - _END
                continue
            # Entry n is what the n-th code since the clear stood for, and one byte more: the first of what came next.
            used = len(starts)
            if used <= _LAST - _END:
                starts.append(size)
                if used == grow_at and width < _MAX_WIDTH:
                    width += 1
                    mask = (1 << width) - 1
                    grow_at = mask - _END
            if code < _CLEAR:
                out.append(code)
                size += 1
            else:
                entry = code - _FIRST
                try:
                    start, end = starts[entry], starts[entry + 1] + 1
                except IndexError:
                    raise BadPacket(f"LZW code {code} is not in the table") from None
                out += out[start:end]
                if end > size:  # the newest entry: its last byte is its own first
                    out.append(out[start])
                size += end - start
            if size >= target:
                break
        if size > self._limit:
            raise BadPacket(f"inflates to more than {self._limit} bytes")
        self._position, self._bits, self._held, self._width = position, bits, held, width
        return self._finished


class Deflater:
    """Compression of one buffer in steps: call :meth:`step` until it is true, then read :attr:`output`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._out = bytearray()
        self._position = 1
        self._prefix = data[0] if data else -1
        self._table: dict[int, int] = {}  # (code of a known string) << 8 | next byte → code of the longer string
        self._bits = _CLEAR
        self._held = _MIN_WIDTH
        self._width = _MIN_WIDTH
        self._newest = _END
        self._finished = False

    @property
    def output(self) -> bytes:
        """The LZW stream, once finished."""
        return bytes(self._out)

    def step(self, budget: int) -> bool:
        """Take the next ``budget`` bytes of input. Return whether all of it is written."""
        if self._finished:
            return True
        data, table = self._data, self._table
        prefix = self._prefix
        stop = min(self._position + budget, len(data))
        for byte in data[self._position : stop]:
            key = prefix << 8 | byte
            longer = table.get(key)
            if longer is not None:
                prefix = longer
                continue
            if self._emit_string(prefix):
                table[key] = self._newest
            prefix = byte
        self._position, self._prefix = stop, prefix
        if stop >= len(data):
            self._finish()
        return self._finished

    def _emit_string(self, code: int) -> bool:
        """Write a code; return false when the table is full and was cleared instead of taking a new string."""
        self._emit(code)
        self._newest = newest = self._newest + 1
        if newest == 1 << self._width:
            self._width += 1
        if newest < _LAST:
            return True
        self._emit(_CLEAR)
        self._table.clear()
        self._width, self._newest = _MIN_WIDTH, _END
        return False

    def _emit(self, code: int) -> None:
        bits, held = self._bits | code << self._held, self._held + self._width
        if held >= _FLUSH_BITS:
            self._out += (bits & _FLUSH_MASK).to_bytes(_FLUSH_BITS // 8, "little")
            bits, held = bits >> _FLUSH_BITS, held - _FLUSH_BITS
        self._bits, self._held = bits, held

    def _finish(self) -> None:
        if self._data:
            self._emit_string(self._prefix)
        self._emit(_END)
        self._out += self._bits.to_bytes((self._held + 7) // 8, "little")
        self._finished = True


def compress(data: bytes) -> bytes:
    """The LZW stream of ``data``; never empty."""
    deflater = Deflater(data)
    deflater.step(sys.maxsize)
    return deflater.output
