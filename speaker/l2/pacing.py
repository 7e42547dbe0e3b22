"""Frames that nobody waits for, no faster than a rate, the urgent ones first.

Rules kept here:

* A job is begun when there is credit for at least one frame, and charged for what it took afterwards: a long one leaves
  a debt that the next waits for.
* Within a lane the first come are the first served; a lane is served only when those before it are empty.
* A job that is withdrawn leaves at once; nothing is kept of it.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Final, Generic, TypeVar

JobT = TypeVar("JobT")

MAX_CREDIT: Final = 128
"""Frames that may go out at once after a pause. At 8,000 a second these are 16 ms: a timer that is late by as much does
not slow the whole down."""
BURST: Final = 32
"""Frames of credit to wait for when there is none: the timer fires every few milliseconds, not for each frame."""


class Pacer(Generic[JobT]):
    """Jobs in ``lanes`` lanes, 0 the most urgent, for ``rate`` frames a second. A job waits in one lane at most."""

    __slots__ = ("_as_of", "_credit", "_lanes", "_rate")

    def __init__(self, lanes: int, rate: float) -> None:
        self._lanes: Final[tuple[OrderedDict[JobT, None], ...]] = tuple(OrderedDict() for _ in range(lanes))
        self._rate: Final = rate
        self._credit = float(MAX_CREDIT)
        self._as_of = -math.inf

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return any(self._lanes)

    def put(self, lane: int, job: JobT, now: float) -> None:
        """Let the job wait in this lane."""
        self._lanes[lane][job] = None
        self._grow(now)

    def drop(self, job: JobT) -> None:
        """Withdraw the job, if it waits."""
        for lane in self._lanes:
            lane.pop(job, None)

    def take(self, now: float) -> JobT | None:
        """The most urgent job, if there is one and credit for it."""
        self._grow(now)
        if self._credit < 1:
            return None
        for lane in self._lanes:
            if lane:
                return lane.popitem(last=False)[0]
        return None

    def charge(self, frames: int) -> None:
        """The job just taken was this many frames."""
        self._credit -= frames

    def ready_at(self) -> float:
        """When :meth:`take` gives a job; ``math.inf`` when none waits, in the past if at once."""
        if not self:
            return math.inf
        return self._as_of if self._credit >= 1 else self._as_of + (BURST - self._credit) / self._rate

    def _grow(self, now: float) -> None:
        self._credit = min(MAX_CREDIT, self._credit + (now - self._as_of) * self._rate)
        self._as_of = now
