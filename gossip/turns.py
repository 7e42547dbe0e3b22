"""Work cut into turns: generators that yield where a caller with other duties may pause, and return their result.

What is sent to them is ignored, so that any other work takes them in with ``yield from``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def run_to_end(work: Generator[object, None, ResultT]) -> ResultT:
    """The result of work that could pause, without pausing. What the work raises comes through."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: ResultT = done.value
            return result


def map_in_turns(
    act: Callable[[ItemT], ResultT], items: Sequence[ItemT], per_turn: int
) -> Generator[None, object, list[ResultT]]:
    """What ``act`` makes of each item, pausing between every ``per_turn`` of them."""
    results: list[ResultT] = []
    for start in range(0, len(items), per_turn):
        if start:
            yield
        results += map(act, items[start : start + per_turn])
    return results
