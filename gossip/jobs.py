"""Work that is too long for one turn: generators, resumed one step at a time by a timer that is due at once.

Rules kept here:

* A step is at most about 2 ms: what a step does is counted in bytes and members by those who write the generators.
* While one job waits, datagrams are read and other timers fire; jobs take turns.
* A job is sent the time of each turn: ``now = yield``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import TypeAlias

from gossip.timers import TimerKind, Timers

Job: TypeAlias = Generator[None, float, None]


class Jobs:
    """The queue of unfinished jobs."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._waiting: deque[Job] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def run(self, job: Job, now: float) -> None:
        """Take the first step at once; what is left goes on in later turns."""
        try:
            next(job)
        except StopIteration:
            return
        self._waiting.append(job)
        if len(self._waiting) == 1:
            self._timers.schedule(now, TimerKind.WORK)

    def take_turn(self, now: float) -> None:
        """One step of the job that has waited longest."""
        if not self._waiting:
            return
        job = self._waiting.popleft()
        try:
            job.send(now)
        except StopIteration:
            pass
        else:
            self._waiting.append(job)
        if self._waiting:
            self._timers.schedule(now, TimerKind.WORK)
