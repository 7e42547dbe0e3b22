"""When Python looks for garbage in cycles: not while this process has better things to do.

A full collection looks at every object: 10 to 40 ms with ten thousand services, which are forever alive. Young objects
are collected as always, which takes microseconds.

Rules kept here:

* No full collection by itself: one a minute, and what was there when everything had been taken in is left out of it.
* What is left out is freed as ever when nobody refers to it; only cycles among it would stay.
"""

from __future__ import annotations

import gc
from typing import Final

import trio

FULL_INTERVAL: Final = 60.0
"""Seconds between two full collections."""
NEVER: Final = 1_000_000_000
"""Collections of the middle generation that would bring a full one."""


def begin() -> None:
    """Leave out everything that was imported, and have no full collection by itself from now on."""
    youngest, middle, _ = gc.get_threshold()
    gc.set_threshold(youngest, middle, NEVER)
    settle()


def settle() -> None:
    """Leave out everything that there is. For the moments at which much was taken in that will stay; microseconds."""
    gc.freeze()


async def collect() -> None:
    """Collect everything now and then, until cancelled."""
    while True:
        await trio.sleep(FULL_INTERVAL)
        gc.collect()
