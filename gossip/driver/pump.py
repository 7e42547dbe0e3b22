"""What keeps a core going: datagrams in and out, its one timer, its streams, its events.

Rules kept here:

* All waiting datagrams are read before any timer fires: a process that was paused hears what was said meanwhile
  before it judges anyone.
* Whoever changes the core flushes it, at once and without a checkpoint in between; nobody else drains.
* The timer task sleeps until the core's one deadline and is woken early only when that has moved forward.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import trio

from gossip.driver.sockets import MAX_DATAGRAM, from_sockaddr, to_sockaddr
from gossip.driver.streams import Streams
from gossip.events import BroadcastSpread, Event, JoinCompleted, PingCompleted, PingTimedOut, StreamMessageSent

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from gossip.addresses import Address
    from gossip.core import Membership
    from gossip.driver.subscription import Subscription

MAX_DATAGRAMS_PER_TURN: Final = 1024
"""Datagrams read before others get a turn; timers wait for the rest all the same."""
MAX_DEFERRALS: Final = 8
"""Turns for which a due timer waits: the receive buffer holds no more datagrams than are read in them, so all that
were waiting are read, and a flood cannot silence the member."""


class Pump:
    """Drives one core. ``tell`` and ``ask`` are how anybody else reaches it."""

    def __init__(
        self, core: Membership, datagrams: socket.socket, listener: trio.SocketListener, nursery: trio.Nursery
    ) -> None:
        self._core = core
        self._socket = datagrams
        self._family = datagrams.family
        self._nursery = nursery
        self._streams = Streams(core, listener, nursery, self.tell)
        self.subscriptions: list[Subscription] = []
        self._waiting: dict[int, Callable[[Event], None]] = {}
        self._wake_timers = trio.Event()
        self._sleeping_until = -math.inf

    def start(self) -> None:
        """Announce the member and start the tasks."""
        self.tell(self._core.start)
        for task in (self._run_datagrams, self._run_timers, self._streams.accept):
            self._nursery.start_soon(task)

    def tell(self, call: Callable[[float], object]) -> None:
        """Make a call on the core, given the time, and carry out what follows from it."""
        call(trio.current_time())
        self._flush()

    async def ask(self, call: Callable[[float], int]) -> Event:
        """Make a call that gives back a token, and wait for the event that carries it."""
        answer: list[Event] = []
        arrived = trio.Event()

        def take(event: Event) -> None:
            answer.append(event)
            arrived.set()

        token = call(trio.current_time())
        self._waiting[token] = take
        try:
            self._flush()
            await arrived.wait()
        finally:
            del self._waiting[token]
        return answer[0]

    def _flush(self) -> None:
        core = self._core
        for data, address in core.datagrams_to_send():
            self._send(data, address)
        for command in core.stream_commands():
            self._streams.carry_out(command)
        while (event := core.next_event()) is not None:
            self._publish(event)
        if core.next_timer() < self._sleeping_until:
            self._wake_timers.set()

    def _send(self, data: bytes, address: Address) -> None:
        try:
            self._socket.sendto(data, to_sockaddr(address, self._family))
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._nursery.start_soon(self._report_failed_send, address)

    async def _report_failed_send(self, address: Address) -> None:
        self.tell(lambda now: self._core.sending_failed(address, now))
        await trio.lowlevel.checkpoint()

    def _publish(self, event: Event) -> None:
        if isinstance(event, BroadcastSpread | JoinCompleted | StreamMessageSent | PingCompleted | PingTimedOut):
            take = None if event.token is None else self._waiting.get(event.token)
            if take is not None:
                take(event)
        for subscription in self.subscriptions:
            subscription.put(event)

    async def _run_datagrams(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            self._read_waiting()
            self._flush()

    async def _run_timers(self) -> None:
        deferrals = 0
        while True:
            self._wake_timers = trio.Event()
            self._sleeping_until = self._core.next_timer()
            with trio.move_on_at(self._sleeping_until) as scope:
                await self._wake_timers.wait()
            if scope.cancelled_caught:
                due, self._sleeping_until = self._sleeping_until, -math.inf
                if self._read_waiting() or deferrals >= MAX_DEFERRALS:
                    deferrals = 0
                    self._core.handle_timer(max(due, trio.current_time()))
                else:
                    deferrals += 1
                self._flush()

    def _read_waiting(self) -> bool:
        """Feed what waits on the socket to the core. False when there was more than one turn's worth."""
        now = trio.current_time()
        for _ in range(MAX_DATAGRAMS_PER_TURN):
            try:
                data, sockaddr = self._socket.recvfrom(MAX_DATAGRAM)
            except BlockingIOError:
                return True
            except OSError:
                continue
            self._core.receive_datagram(data, from_sockaddr(sockaddr), now)
        return False
