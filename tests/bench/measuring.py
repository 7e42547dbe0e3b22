"""What a measurement is, and how one is taken."""

from __future__ import annotations

import statistics
import timeit
from collections.abc import Callable
from dataclasses import dataclass

RUNS = 5
"""How often everything is measured; the page shows the median and the worst."""
RUN_SECONDS = 0.1
"""A run of a short operation repeats it until it has taken this long."""


@dataclass(frozen=True)
class Row:
    """One measurement: seconds in each run, of ours and, where there is one, of memberlist's counterpart."""

    what: str
    ours: list[float]
    theirs: list[float] | None = None

    def cells(self) -> list[str]:
        """The columns of the page: what, ours median and worst, theirs, and ours as a multiple of theirs."""
        cells = [self.what, show(statistics.median(self.ours)), show(max(self.ours))]
        if self.theirs is None:
            return [*cells, "", "", ""]
        ratio = statistics.median(self.ours) / statistics.median(self.theirs)
        return [*cells, show(statistics.median(self.theirs)), show(max(self.theirs)), f"{ratio:.2g}"]


def show(seconds: float) -> str:
    """A duration in the unit that suits it, three digits."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def time_calls(operation: Callable[[], object]) -> list[float]:
    """Seconds a call, once for each run. The garbage collector is off meanwhile."""
    timer = timeit.Timer(operation)
    count = 1
    while (took := timer.timeit(count)) < RUN_SECONDS / 5:
        count *= 2
    count = max(1, round(count * RUN_SECONDS / took))
    return [timer.timeit(count) / count for _ in range(RUNS)]
