"""What several tests of the wire share."""

from collections.abc import Generator
from typing import TypeVar

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
