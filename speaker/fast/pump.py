"""What keeps the core going: one timer, frames in and out, commands carried out, events passed on.

Rules kept here:

* Whoever changes the core flushes it, at once and without a checkpoint in between; nobody else drains.
* The timer task sleeps until the core's one deadline and is woken early only when that has moved forward. Between two
  turns of long work everybody else gets a turn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from speaker.commands import Command
    from speaker.core import Speaker
    from speaker.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlets:
    """Where what the core gives goes. None of them waits."""

    send_frame: Callable[[int, bytes], None]
    """A frame, on the interface of that index."""
    carry_out: Callable[[Command], None]
    pass_on: Callable[[Event], None]


class Pump:
    """Drives one core. :meth:`tell` is how anybody else reaches it."""

    def __init__(self, core: Speaker, outlets: Outlets) -> None:
        self.core = core
        self._outlets = outlets
        self._wake = trio.Event()
        self._sleeping_until = -math.inf

    def tell(self, call: Callable[[float], object]) -> None:
        """Make a call on the core, given the time, and carry out what follows from it."""
        call(trio.current_time())
        self._flush()

    def hear(self, index: int, frame: bytes) -> None:
        """A frame came on an interface."""
        self.core.receive_frame(index, frame, trio.current_time())
        self._flush()

    async def run(self) -> None:
        """Wake the core whenever it wants to be, for ever."""
        while True:
            self._wake = trio.Event()
            self._sleeping_until = self.core.next_timer()
            with trio.move_on_at(self._sleeping_until) as scope:
                await self._wake.wait()
            if scope.cancelled_caught:
                due, self._sleeping_until = self._sleeping_until, -math.inf
                self.core.handle_timer(max(due, trio.current_time()))
                self._flush()

    def _flush(self) -> None:
        core, outlets = self.core, self._outlets
        for index, frame in core.frames_to_send():
            outlets.send_frame(index, frame)
        while (command := core.next_command()) is not None:
            outlets.carry_out(command)
        while (event := core.next_event()) is not None:
            outlets.pass_on(event)
        if core.next_timer() < self._sleeping_until:
            self._wake.set()
