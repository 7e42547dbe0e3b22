"""The deadlines of one member, in one heap.

Rules kept here:

* Each kind of timer is listed with what it is for; nothing else wakes the core.
* Cancelling marks a timer; the heap drops it when it comes up, or when the cancelled ones may outnumber the live. A
  timer that fires was wanted until that moment.
* Timers due at the same instant fire in the order in which they were set.
"""

from __future__ import annotations

import math
from enum import Enum
from heapq import heapify, heappop, heappush
from typing import Final

MIN_SWEEP: Final = 1024
"""Timers, live or cancelled, up to which none are looked for to be dropped."""


class TimerKind(Enum):
    """What a timer is for."""

    PROBE_TICK = "start the next probe"
    PROBE_DIRECT = "the direct ack is late: ask others"
    PROBE_DEADLINE = "nobody heard the probed member"
    RELAY_DEADLINE = "a ping made for somebody else went unanswered: nack"
    PING_DEADLINE = "a ping the application asked for went unanswered"
    SUSPICION = "a suspected member did not refute"
    GOSSIP_TICK = "tell some members the news"
    PUSH_PULL_TICK = "exchange the whole view with one member"
    STREAM_DEADLINE = "a stream took too long"
    RECONNECT = "ping a dead member again"
    SEEDS = "ping the seeds that are not members"
    WORK = "go on with what was too long for one turn"


class Timer:
    """One deadline. ``subject`` names what it is about: a member's name, a sequence number, a stream."""

    __slots__ = ("at", "kind", "live", "subject")

    def __init__(self, at: float, kind: TimerKind, subject: str | int) -> None:
        self.at: Final = at
        self.kind: Final = kind
        self.subject: Final = subject
        self.live = True

    def cancel(self) -> None:
        """Make it never fire. Harmless when it already has."""
        self.live = False


def next_tick(at: float, interval: float, now: float) -> float:
    """When a tick that was due ``at`` comes again: on its phase, and later than ``now``. Missed ticks are not made
    up for."""
    following = at + interval
    if following <= now:
        following = now + interval - (now - at) % interval
    return following if following > now else following + interval  # the remainder rounds up to a whole interval


class Timers:
    """The heap."""

    __slots__ = ("_heap", "_sequence", "_sweep_at")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._sequence = 0
        self._sweep_at = MIN_SWEEP

    def __len__(self) -> int:
        """Timers held, those cancelled and not yet dropped included."""
        return len(self._heap)

    def schedule(self, at: float, kind: TimerKind, subject: str | int = 0) -> Timer:
        """Set a timer for the instant ``at`` (seconds)."""
        timer = Timer(at, kind, subject)
        self._sequence += 1
        heappush(self._heap, (at, self._sequence, timer))
        if len(self._heap) > self._sweep_at:
            self._sweep()
        return timer

    def _sweep(self) -> None:
        self._heap = [entry for entry in self._heap if entry[2].live]
        heapify(self._heap)
        self._sweep_at = max(MIN_SWEEP, 2 * len(self._heap))

    def next_at(self) -> float:
        """The earliest live deadline, ``math.inf`` when there is none."""
        heap = self._heap
        while heap and not heap[0][2].live:
            heappop(heap)
        return heap[0][0] if heap else math.inf

    def due(self, now: float) -> list[Timer]:
        """Take out every live timer due by ``now``, earliest first. One may still be cancelled by another: look at
        ``live``."""
        heap, ready = self._heap, []
        while heap and heap[0][0] <= now:
            timer = heappop(heap)[2]
            if timer.live:
                ready.append(timer)
        return ready
