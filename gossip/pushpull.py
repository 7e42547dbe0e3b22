"""When to exchange views without being asked (memberlist-protocol.md §10.4)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from gossip.messages import State
from gossip.timers import TimerKind, Timers

if TYPE_CHECKING:
    from random import Random

    from gossip.config import PushPullConfig
    from gossip.conversations import Conversations
    from gossip.members import Record, Roster

SCALE_THRESHOLD: Final = 32
"""Members up to which the interval is not stretched."""


def push_pull_scale(n: int) -> int:
    """By what the interval is multiplied in a ring of ``n``, so that the load stays flat."""
    if n <= SCALE_THRESHOLD:
        return 1
    return math.ceil(math.log2(n) - math.log2(SCALE_THRESHOLD)) + 1


class PushPullSchedule:
    """Exchanges with one random live member at a time."""

    def __init__(
        self,
        config: PushPullConfig,
        own: Record,
        roster: Roster,
        conversations: Conversations,
        timers: Timers,
        rng: Random,
    ) -> None:
        self._config = config
        self._own = own
        self._roster = roster
        self._conversations = conversations
        self._timers = timers
        self._rng = rng

    def start(self, now: float) -> None:
        """Begin after a random part of the interval, and one whole one."""
        if self._config.interval > 0:
            self._arm(now + self._rng.random() * self._config.interval)

    def handle_tick(self, now: float) -> None:
        """Exchange with somebody, and set the next time for the ring as it is now."""
        for record in self._roster.pick(1, lambda record: record.state is State.ALIVE and record is not self._own):
            self._conversations.push_pull(record.address, False, now, lambda reason, now: None)
        self._arm(now)

    def _arm(self, since: float) -> None:
        interval = self._config.interval * push_pull_scale(len(self._roster))
        self._timers.schedule(since + interval, TimerKind.PUSH_PULL_TICK)
