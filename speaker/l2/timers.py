"""Deadlines of one kind, in one heap.

Rules kept here:

* Cancelling marks a timer; the heap drops it when it comes up, or when the cancelled ones may outnumber the live. A
  timer that is taken was wanted until that moment.
* Timers due at the same instant are taken in the order in which they were set.
"""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar

SubjectT = TypeVar("SubjectT")

MIN_SWEEP: Final = 1024
"""Timers, live or cancelled, up to which none are looked for to be dropped."""


class Timer(Generic[SubjectT]):
    """One deadline (seconds) and what it is about."""

    __slots__ = ("at", "is_live", "subject")

    def __init__(self, at: float, subject: SubjectT) -> None:
        self.at: Final = at
        self.subject: Final = subject
        self.is_live = True

    def cancel(self) -> None:
        """Make it never fire. Harmless when it already has."""
        self.is_live = False


class Timers(Generic[SubjectT]):
    """The heap."""

    __slots__ = ("_heap", "_sequence", "_sweep_at")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer[SubjectT]]] = []
        self._sequence = 0
        self._sweep_at = MIN_SWEEP

    def __len__(self) -> int:
        """Timers held, those cancelled and not yet dropped included."""
        return len(self._heap)

    def schedule(self, at: float, subject: SubjectT) -> Timer[SubjectT]:
        """Set a timer for the instant ``at``."""
        timer = Timer(at, subject)
        self._sequence += 1
        heappush(self._heap, (at, self._sequence, timer))
        if len(self._heap) > self._sweep_at:
            self._sweep()
        return timer

    def _sweep(self) -> None:
        self._heap = [entry for entry in self._heap if entry[2].is_live]
        heapify(self._heap)
        self._sweep_at = max(MIN_SWEEP, 2 * len(self._heap))

    def next_at(self) -> float:
        """The earliest live deadline, ``math.inf`` when there is none."""
        heap = self._heap
        while heap and not heap[0][2].is_live:
            heappop(heap)
        return heap[0][0] if heap else math.inf

    def take_due(self, now: float) -> SubjectT | None:
        """What the earliest timer due by ``now`` is about, or None; that timer is done."""
        if self.next_at() > now:
            return None
        return heappop(self._heap)[2].subject
