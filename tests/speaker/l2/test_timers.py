"""Deadlines come up in order, once, and only while they are wanted."""

from __future__ import annotations

import math

from speaker.l2.timers import MIN_SWEEP, Timers


def taken(timers: Timers[str], now: float) -> list[str]:
    return list(iter(lambda: timers.take_due(now), None))


def test_they_come_up_by_time_and_then_in_the_order_in_which_they_were_set() -> None:
    timers: Timers[str] = Timers()
    for at, name in ((2.0, "late"), (1.0, "first"), (1.0, "second"), (-5.0, "early"), (1.5, "not yet")):
        timers.schedule(at, name)
    assert timers.next_at() == -5.0
    assert taken(timers, 1.0) == ["early", "first", "second"]
    assert timers.next_at() == 1.5


def test_a_cancelled_one_never_comes_up_and_is_not_waited_for() -> None:
    timers: Timers[str] = Timers()
    gone = timers.schedule(1.0, "gone")
    timers.schedule(2.0, "there")
    gone.cancel()
    assert timers.next_at() == 2.0
    assert taken(timers, 9.0) == ["there"]
    assert timers.next_at() == math.inf
    gone.cancel()


def test_those_cancelled_long_before_they_are_due_do_not_pile_up() -> None:
    timers: Timers[int] = Timers()
    for number in range(20 * MIN_SWEEP):
        timers.schedule(1e9 + number, number).cancel()
    assert len(timers) <= MIN_SWEEP + 1
