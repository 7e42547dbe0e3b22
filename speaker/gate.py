"""When addresses may be gained: not before the ring was heard, and not without a carrier.

Rules kept here:

* Whoever starts, or has a carrier again, waits to hear another member, for PATIENCE at most: others may have taken over
  what seems to be nobody's.
* Without a carrier nothing is gained: nobody would hear it, and it might not be true any more once somebody does.

Source: design.md §5, "Start and return", "Isolated".
"""

from __future__ import annotations

import math
from typing import Final

PATIENCE: Final = 2.0
"""Seconds for which a node that starts, or has a carrier again, waits to hear the ring."""


class Gate:
    """Whether it is open, and when something that waits behind it is to be looked at again."""

    def __init__(self) -> None:
        self.has_carrier = False
        self._is_running = False
        self._open_at = math.inf
        self._look_at = math.inf

    def start(self, now: float, *, has_seeds: bool) -> None:
        """The node starts. Without seeds there is nobody to be heard."""
        self._is_running = True
        self._open_from(now + PATIENCE if has_seeds else now, now)

    def stop(self) -> None:
        """The node ends."""
        self._is_running = False
        self._open_at = math.inf

    def set_carrier(self, has_carrier: bool, now: float) -> bool:
        """Some interface has a carrier, or none. Whether the last one was just lost."""
        had_carrier, self.has_carrier = self.has_carrier, has_carrier
        if has_carrier and not had_carrier and self._is_running:
            self._open_from(now + PATIENCE, now)
        return had_carrier and not has_carrier

    def hear(self, now: float) -> None:
        """Another member was heard."""
        if self._is_running and now < self._open_at:
            self._open_from(now, now)

    def look_again(self, at: float) -> None:
        """What waits is to be looked at then, if the gate is open."""
        self._look_at = min(self._look_at, at)

    def looked(self) -> None:
        """Nothing waits any more."""
        self._look_at = math.inf

    def is_open(self, now: float) -> bool:
        """Whether addresses may be gained."""
        return self.has_carrier and now >= self._open_at

    def is_due(self, now: float) -> bool:
        """Whether what waits is to be looked at."""
        return now >= self._look_at and self.is_open(now)

    def next_look(self) -> float:
        """When what waits is to be looked at."""
        return max(self._look_at, self._open_at) if self.has_carrier else math.inf

    def _open_from(self, at: float, now: float) -> None:
        self._open_at = at
        self.look_again(now)
