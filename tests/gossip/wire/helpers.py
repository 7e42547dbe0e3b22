"""What several tests of the wire share."""

import sys
from collections.abc import Generator
from typing import TypeVar

from gossip.lzw import Inflater

ResultT = TypeVar("ResultT")


def with_pauses(work: Generator[object, None, ResultT]) -> tuple[ResultT, int]:
    """Run work in turns to its end: what it gives, and how often it paused."""
    pauses = 0
    while True:
        try:
            next(work)
        except StopIteration as done:
            return done.value, pauses
        pauses += 1


def decompress_untrusted(data: bytes, limit: int) -> bytes:
    """The plain bytes of an LZW stream, in one step."""
    inflater = Inflater(data, limit)
    inflater.step(sys.maxsize)
    return inflater.output
