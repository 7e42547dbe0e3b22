"""Spreading news: the gossip tick (memberlist-protocol.md §10.3).

The tick is armed only while there is news, on the phase drawn at the start, so that an idle ring costs no wake-ups
and a busy one behaves as if it ticked all the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gossip.broadcasts import MAX_QUEUED_USER_MESSAGES
from gossip.messages import State
from gossip.timers import Timer, TimerKind, Timers

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from gossip.broadcasts import Broadcasts
    from gossip.config import GossipTickConfig
    from gossip.members import Record, Roster
    from gossip.outbox import Outbox


class Gossiper:
    """Queues news and tells it to random members."""

    def __init__(
        self,
        config: GossipTickConfig,
        own: Record,
        roster: Roster,
        broadcasts: Broadcasts,
        outbox: Outbox,
        timers: Timers,
        rng: Random,
    ) -> None:
        self._config = config
        self._own = own
        self._roster = roster
        self._broadcasts = broadcasts
        self._outbox = outbox
        self._timers = timers
        self._last_at = rng.random() * config.interval  # a tick, past or future: all others are whole intervals away
        self._tick: Timer | None = None

    def spread(self, message: bytes, key: str, now: float, done: Callable[[], None] | None = None) -> None:
        """Queue membership news about the member ``key``, in place of older news about it."""
        self._broadcasts.membership.queue(message, key, done)
        self._arm(now)

    def spread_user(self, message: bytes, now: float, done: Callable[[], None] | None = None) -> None:
        """Queue an encoded user message; of too many, those sent most go."""
        self._broadcasts.user.queue(message, None, done)
        self._broadcasts.user.prune(MAX_QUEUED_USER_MESSAGES)
        self._arm(now)

    def handle_tick(self, at: float, now: float) -> None:
        """Tell up to ``gossip.nodes`` members what is new. ``at`` is when the tick was due."""
        self._tick, self._last_at = None, at
        listeners = self._roster.pick(self._config.nodes, lambda record: self._wants_news(record, now))
        for record in listeners:
            messages = self._broadcasts.fill(self._outbox.room)
            if not messages:
                break
            self._outbox.send_alone(messages, record.address, record)
        if self._broadcasts and (listeners or self._is_wanted(now)):
            self._arm(now)

    def _is_wanted(self, now: float) -> bool:
        """Whether anybody listens: a random draw misses the few among many. News for nobody waits, as whoever comes is
        news and arms the tick."""
        return any(self._wants_news(record, now) for record in self._roster.listed())

    def _wants_news(self, record: Record, now: float) -> bool:
        if record is self._own or record.state is State.LEFT:
            return False
        return record.state is not State.DEAD or now - record.changed_at <= self._config.to_the_dead_time

    def _arm(self, now: float) -> None:
        interval = self._config.interval
        if self._tick is not None or interval <= 0 or self._config.nodes <= 0:
            return
        self._tick = self._timers.schedule(now + interval - (now - self._last_at) % interval, TimerKind.GOSSIP_TICK)
