"""What tests of the whole measured on the way: said at the end of the run, whether or not a bound was held."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import TypeAlias

Measured: TypeAlias = Callable[[str, float], None]
"""Notes a duration, in seconds, under what it was measured of."""


class Figures:
    """All that was measured, in the order in which it was first."""

    def __init__(self) -> None:
        self._seconds: dict[str, list[float]] = {}

    def note(self, what: str, seconds: float) -> None:
        self._seconds.setdefault(what, []).append(seconds)

    def lines(self) -> list[str]:
        """One for each thing that was measured: median and worst, in milliseconds."""
        return [
            f"{what}: {1000 * statistics.median(times):.0f} ms, worst {1000 * max(times):.0f} ms of {len(times)}"
            for what, times in self._seconds.items()
        ]
