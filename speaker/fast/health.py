"""Whether this node could announce now, and what is wrong with it: for the supervisor, the log and `status`."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

import trio

from speaker.explain import Finding, Verdict
from speaker.fast import notify
from speaker.link import SourceHealth, SourceState
from telemetry.levels import Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from speaker.core import Speaker
    from speaker.fast.journal import Journal

CHECK_INTERVAL: Final = 0.5
"""Seconds between two looks."""
TROUBLE_LASTS: Final = 60.0
"""Seconds for which a trouble is shown that has no end of its own."""


class Health:
    """What is known about how this node does, outside of the core."""

    def __init__(self, core: Speaker, journal: Journal) -> None:
        self._core = core
        self._journal = journal
        self._source = SourceState(health=SourceHealth.LOADING)
        self.troubles: dict[str, str] = {}
        """Something that can go wrong -> what is wrong with it now."""
        self._passing: dict[str, float] = {}

    def source_changed(self, state: SourceState) -> None:
        """The source of what is wanted fares like this."""
        self._source = state
        if state.health is SourceHealth.CURRENT:
            self._core.arbiter.source_changed(math.inf)
        elif state.as_of is not None:
            self._core.arbiter.source_changed(trio.current_time() - (time.time() - state.as_of))

    def set_trouble(self, subject: str, text: str) -> None:
        """This is wrong with the subject from now on; empty: nothing any more. The log has every change."""
        if text == self.troubles.get(subject, ""):
            return
        if text:
            self.troubles[subject] = text
            self._journal.say(Level.ERROR, "trouble", subject=subject, error=text)
        else:
            del self.troubles[subject]
            self._journal.say(Level.INFO, "troubleOver", subject=subject)

    def note_trouble(self, subject: str, text: str) -> None:
        """Something went wrong that nobody will tell the end of: it counts for TROUBLE_LASTS."""
        self.set_trouble(subject, text)
        self._passing[subject] = trio.current_time() + TROUBLE_LASTS

    def _forget_old_troubles(self, now: float) -> None:
        for subject in [subject for subject, until in self._passing.items() if until <= now]:
            del self._passing[subject]
            self.set_trouble(subject, "")

    def findings(self) -> Iterator[Finding]:
        """What is wrong."""
        if self._source.health is not SourceHealth.CURRENT:
            reasons = "; ".join(self._source.reasons) or "it was not read yet"
            yield Finding(Verdict.WARNING, f"what is wanted may be out of date: {reasons}")
        for text in self._source.warnings:
            yield Finding(Verdict.WARNING, text)
        for text in self.troubles.values():
            yield Finding(Verdict.WARNING, text)

    async def watch(self) -> None:
        """Tell the supervisor and the log when this node becomes ready, or is not any more, for ever."""
        told: tuple[str, ...] | None = None
        was_ready = False
        alive_after = notify.watchdog_interval()
        interval = min(CHECK_INTERVAL, alive_after or CHECK_INTERVAL)
        while True:
            self._forget_old_troubles(trio.current_time())
            obstacles = self._core.obstacles(trio.current_time())
            if obstacles != told:
                told = obstacles
                notify.tell_status("; ".join(obstacles) or "ready to announce")
                if obstacles:
                    self._journal.say(Level.WARN if was_ready else Level.INFO, "notReady", reason="; ".join(obstacles))
                else:
                    self._journal.say(Level.INFO, "ready")
                    notify.tell_ready()
                    was_ready = True
            if alive_after is not None:
                notify.tell_alive()
            await trio.sleep(interval)
