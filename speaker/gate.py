"""When addresses may be announced: not before the ring was heard, and not without a carrier.

Rules kept here:

* Whoever starts, or has a carrier again, waits to hear another member, for PATIENCE at most: others may have taken over
  what seems to be nobody's.
* Without a carrier it is closed: nobody would hear what is said, and it might not be true any more once somebody does.

Source: design.md §5, "Start and return", "Isolated".
"""

from __future__ import annotations

import math
from typing import Final

PATIENCE: Final = 2.0
"""Seconds for which a node that starts, or has a carrier again, waits to hear the ring."""


class Gate:
    """Whether it is open."""

    def __init__(self) -> None:
        self.has_carrier = False
        self._is_running = False
        self._was_heard = False
        """Another member was heard before the start."""
        self._open_at = math.inf

    def start(self, now: float, *, has_seeds: bool) -> None:
        """The node starts. Without seeds there is nobody to be heard."""
        self._is_running = True
        self._open_at = now + PATIENCE if has_seeds and not self._was_heard else now

    def stop(self) -> None:
        """The node ends."""
        self._is_running = False
        self._open_at = math.inf

    def set_carrier(self, has_carrier: bool, now: float) -> None:
        """Some interface has a carrier, or none."""
        had_carrier, self.has_carrier = self.has_carrier, has_carrier
        if has_carrier and not had_carrier and self._is_running:
            self._open_at = now + PATIENCE

    def hear(self, now: float) -> None:
        """Another member was heard."""
        self._was_heard = True
        if self._is_running and self.has_carrier:
            self._open_at = min(self._open_at, now)

    def opens_at(self) -> float:
        """When it is open; ``math.inf`` if that hangs on something else than time."""
        return self._open_at if self.has_carrier else math.inf

    def is_open(self, now: float) -> bool:
        """Whether addresses may be announced."""
        return now >= self.opens_at()
