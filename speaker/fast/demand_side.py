"""The demand's side of a speaker: what the last run kept, and then what the slow process tells.

Rules kept here:

* What was kept is told first and as a whole. The slow process is heard after that: nothing old comes upon what is
  newer, and what it has half told takes nothing away of what was whole.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio

from speaker.fast import garbage
from speaker.link import SourceHealth, SourceState, Wanted

if TYPE_CHECKING:
    from speaker.fast.health import Health
    from speaker.fast.pump import Pump
    from speaker.fast.state import KeptState


class DemandSide:
    """Tells the core what is wanted."""

    def __init__(self, pump: Pump, health: Health, kept: KeptState | None) -> None:
        self._pump = pump
        self._health = health
        self._kept = kept
        self._restored = trio.Event()
        self._is_long = False
        """A whole demand is being told."""

    async def restore(self) -> None:
        """Begin with what the last run kept, part by part."""
        kept, self._kept = self._kept, None
        if kept is not None:
            for part in kept.parts:
                self._pump.tell(partial(self._pump.core.demand_changed, part))
                await trio.lowlevel.checkpoint()
            self._health.source_changed(SourceState(health=SourceHealth.LOADING, as_of=kept.saved_at))
        self._restored.set()

    async def take(self, message: Wanted | SourceState) -> None:
        """What the slow process tells; waits until what was kept is in."""
        await self._restored.wait()
        if isinstance(message, SourceState):
            self._health.source_changed(message)
            return
        change, is_reset = message.change, message.is_reset
        self._is_long = self._is_long or is_reset
        self._pump.tell(partial(self._pump.core.demand_changed, change, is_reset=is_reset))
        if change.is_complete and self._is_long:
            self._is_long = False
            garbage.settle()
