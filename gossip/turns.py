"""Work cut into turns: generators that yield where a caller with other duties may pause."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator

ResultT = TypeVar("ResultT")


def run_to_end(work: Generator[object, None, ResultT]) -> ResultT:
    """The result of work that could pause, without pausing. What the work raises comes through."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: ResultT = done.value
            return result
