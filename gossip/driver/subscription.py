"""Events for one reader who may be slow."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from gossip.events import Event

MAX_UNREAD_EVENTS: Final = 4096
"""Events held for a subscriber that does not read; the oldest are dropped and counted."""


class Subscription:
    """One reader's events, oldest first; iterate over it. ``lost`` counts what was dropped because it was not
    read."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._arrived = trio.Event()
        self.lost = 0

    def put(self, event: Event) -> None:
        """Add an event."""
        if len(self._events) >= MAX_UNREAD_EVENTS:
            self._events.popleft()
            self.lost += 1
        self._events.append(event)
        self._arrived.set()

    @property
    def waiting(self) -> int:
        """Events that are there to be read."""
        return len(self._events)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            self._arrived = trio.Event()
            await self._arrived.wait()
        await trio.lowlevel.checkpoint()
        return self._events.popleft()
