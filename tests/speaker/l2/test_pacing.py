"""No faster than the rate, the urgent first, and as fast as the rate even where the timer is late."""

from __future__ import annotations

import itertools
import math

import pytest

from speaker.l2.pacing import BURST, MAX_CREDIT, Pacer

RATE = 1000.0


def test_it_wants_nothing_while_nothing_waits() -> None:
    pacer: Pacer[int] = Pacer(2, RATE)
    assert not pacer
    assert pacer.ready_at() == math.inf
    assert pacer.take(0.0) is None


def test_lanes_go_by_urgency_and_within_one_the_first_come_first() -> None:
    pacer: Pacer[str] = Pacer(3, RATE)
    for lane, job in ((2, "e"), (1, "c"), (0, "a"), (1, "d"), (0, "b")):
        pacer.put(lane, job, 0.0)
    assert "".join(iter(lambda: pacer.take(0.0) or "", "")) == "abcde"


def test_a_job_that_was_dropped_is_gone() -> None:
    pacer: Pacer[str] = Pacer(2, RATE)
    pacer.put(0, "a", 0.0)
    pacer.put(1, "b", 0.0)
    pacer.drop("a")
    pacer.drop("never there")
    assert pacer.take(0.0) == "b"
    assert not pacer


def spread(late: float, jobs: int = 2000, frames: int = 1) -> list[float]:
    """When each job went out, with a timer that is always late by as much."""
    pacer: Pacer[int] = Pacer(1, RATE)
    for job in range(jobs):
        pacer.put(0, job, 0.0)
    out: list[float] = []
    while (due := pacer.ready_at()) < math.inf:
        now = due + late
        assert pacer.take(now) is not None, "it is ready when it says so"
        pacer.charge(frames)
        out.append(now)
        while pacer.take(now) is not None:
            pacer.charge(frames)
            out.append(now)
    return out


def test_a_pause_gives_credit_for_one_burst_and_the_rate_holds_from_there() -> None:
    out = spread(late=0.0)
    assert out.count(0.0) == MAX_CREDIT
    assert out[-1] == pytest.approx((2000 - MAX_CREDIT) / RATE, abs=BURST / RATE)
    for early, late in zip(out[MAX_CREDIT:], out[MAX_CREDIT + 1000 :], strict=False):
        assert late - early == pytest.approx(1000 / RATE, abs=BURST / RATE)


@pytest.mark.parametrize("late", [0.001, (MAX_CREDIT - BURST - 1) / RATE])
def test_a_timer_that_is_late_does_not_slow_it_down(late: float) -> None:
    assert spread(late)[-1] == pytest.approx(spread(0.0)[-1], abs=late + 2 * BURST / RATE)


def test_a_long_job_leaves_a_debt_for_the_next() -> None:
    out = spread(late=0.0, jobs=10, frames=1000)
    assert out[0] == 0.0
    assert [late - early for early, late in itertools.pairwise(out[1:])] == pytest.approx([1.0] * 8)


def test_a_clock_that_goes_back_gives_no_credit() -> None:
    pacer: Pacer[int] = Pacer(1, RATE)
    pacer.put(0, 1, 10.0)
    assert pacer.take(10.0) == 1
    pacer.charge(MAX_CREDIT)
    pacer.put(0, 2, 5.0)
    assert pacer.take(5.0) is None
    assert pacer.ready_at() == pytest.approx(10.0 + BURST / RATE)
