"""Garbage: what stays is not looked at, and what goes in cycles is found."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

import pytest
import trio

from speaker.fast import garbage

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)
    gc.unfreeze()


class Thing:
    """Refers to itself, so that only a collection frees it."""

    def __init__(self) -> None:
        self.itself = self


def test_what_stays_is_left_out_of_full_collections() -> None:
    garbage.begin()
    things = [Thing() for _ in range(10_000)]
    before = gc.get_freeze_count()
    garbage.settle()
    assert gc.get_freeze_count() >= before + len(things)


def test_many_new_objects_bring_no_full_collection() -> None:
    garbage.begin()
    before = gc.get_stats()[2]["collections"]
    things: list[list[list[None]]] = [[[]] for _ in range(500_000)]
    assert len(things) == 500_000
    assert gc.get_stats()[2]["collections"] == before


async def test_cycles_are_found_within_a_minute(autojump_clock: object) -> None:
    garbage.begin()
    aged = Thing()
    for _ in range(2):
        gc.collect(1)  # it survives, and is of the oldest generation now
    thing = weakref.ref(aged)
    del aged
    gc.collect(1)
    assert thing() is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(garbage.collect)
        await trio.sleep(garbage.FULL_INTERVAL + 1)
        nursery.cancel_scope.cancel()
    assert thing() is None
