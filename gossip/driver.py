"""One member on trio: the sockets, the clock and the randomness that the core does without.

Rules kept here:

* All waiting datagrams are read before any timer fires: a process that was paused hears what was said meanwhile
  before it judges anyone.
* Whoever changes the core flushes it, at once and without a checkpoint in between; nobody else drains.
* The timer task sleeps until the core's one deadline and is woken early only when that has moved forward.
* Everything is bounded: reads per turn, a subscriber's unread events, a stream's bytes (by the core). Leaving the
  context ends every task and socket.
"""

from __future__ import annotations

import errno
import math
import os
import random
import socket
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from gossip.addresses import Address, JoinTarget, pack_host, parse_join_target, unpack_host
from gossip.core import Membership
from gossip.errors import LocalError, RemoteError
from gossip.events import BroadcastSpread, Event, JoinCompleted, PingCompleted, PingTimedOut, StreamMessageSent
from gossip.outbox import OpenStream, StreamCommand, StreamId, WriteStream
from gossip.policy import ACCEPT_ALL, Policy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from gossip.config import GossipConfig
    from gossip.keyring import Keyring
    from gossip.statistics import Statistics
    from gossip.view import View

MAX_DATAGRAM: Final = 65_536
MAX_DATAGRAMS_PER_TURN: Final = 1024
"""Datagrams read before others get a turn; timers wait for the rest all the same."""
MAX_UNREAD_EVENTS: Final = 4096
"""Events held for a subscriber that does not read; the oldest are dropped and counted."""
RECEIVE_BUFFER: Final = 2 * 1024 * 1024
STREAM_CHUNK: Final = 65_536
LINGER: Final = 1.0
"""Seconds for which a closed stream is still read, so that a last answer is not lost to a reset."""
ACCEPT_BACKOFF_MIN: Final = 0.005
ACCEPT_BACKOFF_MAX: Final = 1.0
PORT_TRIES: Final = 10


@dataclass(frozen=True, slots=True)
class JoinReport:
    """How a join went: the addresses that answered, and (text or address, reason) for the others."""

    joined: tuple[Address, ...]
    refused: tuple[tuple[str, str], ...]


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

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            self._arrived = trio.Event()
            await self._arrived.wait()
        await trio.lowlevel.checkpoint()
        return self._events.popleft()


class _Stream:
    """What is to be written on a stream, and whether it is to be closed after that."""

    def __init__(self) -> None:
        self.outgoing: deque[bytes] = deque()
        self.closing = False
        self.wake = trio.Event()
        self.scope = trio.CancelScope()


class Ring:
    """A running member, as :func:`open_ring` makes it. All methods may be called from any task of the same trio
    run."""

    def __init__(
        self, core: Membership, datagrams: socket.socket, listener: trio.SocketListener, nursery: trio.Nursery
    ) -> None:
        self._core = core
        self._socket = datagrams
        self._listener = listener
        self._nursery = nursery
        self._is_ipv6 = datagrams.family == socket.AF_INET6
        self._streams: dict[StreamId, _Stream] = {}
        self._subscriptions: list[Subscription] = []
        self._waiting: dict[int, Callable[[Event], None]] = {}
        self._wake_timers = trio.Event()
        self._sleeping_until = -math.inf

    # ---- what users call

    @property
    def view(self) -> View:
        """The queries: ``local``, ``members()``, ``statistics()`` …"""
        return self._core

    @property
    def keyring(self) -> Keyring:
        """The keys; change them while running."""
        return self._core.keyring

    def statistics(self) -> Statistics:
        """The core's counts."""
        return self._core.statistics()

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[Subscription]:
        """The events from now on."""
        subscription = Subscription()
        self._subscriptions.append(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.remove(subscription)

    async def join(self, targets: Sequence[str], *, as_seeds: bool = False) -> JoinReport:
        """Join whoever answers at ``[name/]host[:port]``; names are resolved to all their addresses.

        Raises :class:`RemoteError` when nobody does, and :class:`LocalError` for text that is no target.
        """
        addresses, refused = await resolve(targets, self._core.local.address[1])
        joined: tuple[Address, ...] = ()
        if addresses:
            event = await self._ask(lambda now: self._core.join(addresses, now, as_seeds=as_seeds))
            assert isinstance(event, JoinCompleted)
            joined = event.joined
            refused += [(f"{host}:{port}", reason) for (host, port), reason in event.refused]
        if targets and not joined:
            raise RemoteError("could not join: " + "; ".join(f"{target}: {reason}" for target, reason in refused))
        return JoinReport(joined, tuple(refused))

    async def leave(self) -> None:
        """Say goodbye, and wait until it has spread. Bound the wait with a cancel scope; the goodbye is out all the
        same."""
        await self._ask(self._core.leave)

    def set_meta(self, meta: bytes | None) -> None:
        """Change our metadata. Raises :class:`LocalError` when it is too long."""
        self._tell(lambda now: self._core.set_meta(meta, now))

    def attach(self, *, user_state: bytes = b"", ack_payload: bytes | None = None) -> None:
        """See :meth:`gossip.Membership.attach`."""
        self._core.attach(user_state=user_state, ack_payload=ack_payload)

    def broadcast(self, payload: bytes) -> None:
        """Spread a user message, best effort. Raises :class:`LocalError` when it does not fit into a packet."""
        self._tell(lambda now: self._core.broadcast(payload, now))

    async def spread(self, payload: bytes) -> None:
        """As :meth:`broadcast`, and wait until it was sent as often as the ring's size asks; for ever if nobody is
        there."""
        await self._ask(lambda now: self._core.broadcast(payload, now))

    async def send(self, to: str | Address, payload: bytes, *, reliable: bool = False) -> None:
        """Send a user message to one member. Raises :class:`RemoteError` when a reliable one could not be handed
        over."""
        if not reliable:
            self._tell(lambda now: self._core.send(to, payload, now))
            await trio.lowlevel.checkpoint()
            return
        event = await self._ask(lambda now: self._core.send(to, payload, now, reliable=True))
        assert isinstance(event, StreamMessageSent)
        if event.reason is not None:
            raise RemoteError(f"the message could not be sent: {event.reason}")

    async def ping(self, to: str | Address) -> float:
        """The round-trip time to a member in seconds. Raises :class:`RemoteError` when it does not answer in time."""
        event = await self._ask(lambda now: self._core.ping(to, now))
        if not isinstance(event, PingCompleted):
            raise RemoteError(f"no answer to a ping within {self._core.config.probe.timeout:g} s")
        return event.rtt

    def forget(self, name: str) -> None:
        """Drop a dead or left member that will not come back."""
        self._core.forget(name)

    def network_changed(self) -> None:
        """Look for lost members at once."""
        self._tell(self._core.network_changed)

    # ---- the pump

    def start(self) -> None:
        """Announce the member and start the tasks; :func:`open_ring` does this once."""
        self._tell(self._core.start)
        for task in (self._run_datagrams, self._run_timers, self._run_listener):
            self._nursery.start_soon(task)

    def _tell(self, call: Callable[[float], object]) -> None:
        call(trio.current_time())
        self._flush()

    async def _ask(self, call: Callable[[float], int]) -> Event:
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
        """Carry out everything the core has to say."""
        core = self._core
        for data, address in core.datagrams_to_send():
            self._send_datagram(data, address)
        for command in core.stream_commands():
            self._carry_out(command)
        while (event := core.next_event()) is not None:
            self._publish(event)
        if core.next_timer() < self._sleeping_until:
            self._wake_timers.set()

    def _send_datagram(self, data: bytes, address: Address) -> None:
        try:
            self._socket.sendto(data, self._to_sockaddr(address))
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._nursery.start_soon(self._report_failed_send, address)

    async def _report_failed_send(self, address: Address) -> None:
        self._tell(lambda now: self._core.sending_failed(address, now))
        await trio.lowlevel.checkpoint()

    def _publish(self, event: Event) -> None:
        if isinstance(event, BroadcastSpread | JoinCompleted | StreamMessageSent | PingCompleted | PingTimedOut):
            take = None if event.token is None else self._waiting.get(event.token)
            if take is not None:
                take(event)
        for subscription in self._subscriptions:
            subscription.put(event)

    def _read_datagrams(self) -> bool:
        """Feed what waits on the socket to the core. False when there was more than one turn's worth."""
        now = trio.current_time()
        for _ in range(MAX_DATAGRAMS_PER_TURN):
            try:
                data, sockaddr = self._socket.recvfrom(MAX_DATAGRAM)
            except BlockingIOError:
                return True
            except OSError:
                continue
            self._core.receive_datagram(data, _from_sockaddr(sockaddr), now)
        return False

    async def _run_datagrams(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            self._read_datagrams()
            self._flush()

    async def _run_timers(self) -> None:
        while True:
            self._wake_timers = trio.Event()
            self._sleeping_until = self._core.next_timer()
            with trio.move_on_at(self._sleeping_until) as scope:
                await self._wake_timers.wait()
            if scope.cancelled_caught:
                due, self._sleeping_until = self._sleeping_until, -math.inf
                if self._read_datagrams():
                    self._core.handle_timer(max(due, trio.current_time()))
                self._flush()

    # ---- streams

    async def _run_listener(self) -> None:
        backoff = ACCEPT_BACKOFF_MIN
        while True:
            try:
                stream = await self._listener.accept()
            except OSError as exc:
                if exc.errno == errno.EBADF:
                    return
                await trio.sleep(backoff)
                backoff = min(backoff * 2, ACCEPT_BACKOFF_MAX)
                continue
            backoff = ACCEPT_BACKOFF_MIN
            try:
                source = _from_sockaddr(stream.socket.getpeername())
            except OSError:
                await trio.aclose_forcefully(stream)
                continue
            number = self._core.accept_stream(source, trio.current_time())
            self._streams[number] = _Stream()
            self._nursery.start_soon(self._run_stream, number, self._streams[number], stream)
            self._flush()

    def _carry_out(self, command: StreamCommand) -> None:
        if isinstance(command, OpenStream):
            self._streams[command.stream] = _Stream()
            self._nursery.start_soon(self._run_outgoing, command, self._streams[command.stream])
            return
        stream = self._streams.get(command.stream)
        if stream is None:
            return
        if isinstance(command, WriteStream):
            stream.outgoing.append(command.data)
        else:
            stream.closing = True
        stream.wake.set()

    async def _run_outgoing(self, command: OpenStream, stream: _Stream) -> None:
        host, port = command.address
        try:
            with trio.move_on_at(command.deadline):
                connection = await self._connect(self._to_sockaddr((host, port)))
                await self._run_stream(command.stream, stream, connection)
                return
            self._end_stream(command.stream, "no connection in time")
        except OSError as exc:
            self._end_stream(command.stream, _reason(exc))

    async def _connect(self, sockaddr: tuple[str, int]) -> trio.SocketStream:
        connection = trio.socket.socket(self._socket.family, socket.SOCK_STREAM)
        try:
            await connection.connect(sockaddr)
        except BaseException:
            connection.close()
            raise
        return trio.SocketStream(connection)

    async def _run_stream(self, number: StreamId, stream: _Stream, connection: trio.SocketStream) -> None:
        """Both directions of one stream, until it is closed by the core, or by the network."""
        async with connection:
            try:
                with stream.scope:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._read_stream, number, connection)
                        await self._write_stream(stream, connection)
                        nursery.cancel_scope.cancel()
                await self._linger(connection)
            except* (trio.BrokenResourceError, trio.ClosedResourceError) as group:
                self._end_stream(number, f"the connection broke: {group.exceptions[0].__cause__ or 'reset'}")
            finally:
                self._streams.pop(number, None)

    async def _write_stream(self, stream: _Stream, connection: trio.SocketStream) -> None:
        while stream.outgoing or not stream.closing:
            if stream.outgoing:
                await connection.send_all(stream.outgoing.popleft())
            else:
                stream.wake = trio.Event()
                await stream.wake.wait()

    async def _read_stream(self, number: StreamId, connection: trio.SocketStream) -> None:
        while True:
            data = await connection.receive_some(STREAM_CHUNK)
            self._core.receive_stream(number, data, trio.current_time())
            self._flush()
            if not data:
                return

    async def _linger(self, connection: trio.SocketStream) -> None:
        with trio.move_on_after(LINGER):
            await connection.send_eof()
            while await connection.receive_some(STREAM_CHUNK):
                pass

    def _end_stream(self, number: StreamId, reason: str) -> None:
        self._streams.pop(number, None)
        self._tell(lambda now: self._core.stream_failed(number, reason, now))

    # ---- addresses as sockets want them

    def _to_sockaddr(self, address: Address) -> Address:
        host, port = address
        return (f"::ffff:{host}", port) if self._is_ipv6 and ":" not in host else (host, port)


def _from_sockaddr(sockaddr: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    host = sockaddr[0]
    return (unpack_host(pack_host(host)) if ":" in host else host), sockaddr[1]


@asynccontextmanager
async def open_ring(
    name: str,
    bind: Address,
    config: GossipConfig,
    *,
    advertise: Address | None = None,
    keyring: Keyring | None = None,
    meta: bytes | None = None,
    policy: Policy = ACCEPT_ALL,
    rng: random.Random | None = None,
    nonce: Callable[[int], bytes] = os.urandom,
) -> AsyncIterator[Ring]:
    """Run a member on UDP and TCP at ``bind`` (port 0: any free one) until the context is left.

    Leaving the context says nothing to the others; call :meth:`Ring.leave` first. Raises :class:`LocalError` when
    the port is in use, the address is not this machine's, or a wildcard is bound and no address to advertise can be
    found.
    """
    datagrams, listener = _bind(bind)
    with datagrams:
        async with trio.SocketListener(listener) as tcp:
            own = advertise if advertise is not None else _advertised(datagrams)
            chance = rng if rng is not None else random.SystemRandom()
            core = Membership(name, own, config, rng=chance, nonce=nonce, keyring=keyring, meta=meta, policy=policy)
            failure: Exception | None = None
            async with trio.open_nursery() as nursery:
                ring = Ring(core, datagrams, tcp, nursery)
                ring.start()
                try:
                    yield ring
                except (
                    Exception
                ) as exc:  # the user's own, raised again below: not wrapped in a group for our nursery's sake
                    failure = exc
                nursery.cancel_scope.cancel()
            if failure is not None:
                raise failure


def _bind(bind: Address) -> tuple[socket.socket, trio.socket.SocketType]:
    """A datagram socket and a listening one on the same port."""
    host, port = bind
    family = socket.AF_INET6 if len(pack_host(host)) == 16 else socket.AF_INET
    for attempt in range(PORT_TRIES):
        listener = socket.socket(family, socket.SOCK_STREAM)
        datagrams = socket.socket(family, socket.SOCK_DGRAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            datagrams.bind((host, listener.getsockname()[1]))
            listener.listen(128)
        except OSError as exc:
            listener.close()
            datagrams.close()
            if port == 0 and exc.errno == errno.EADDRINUSE and attempt + 1 < PORT_TRIES:
                continue
            raise LocalError(f"cannot listen on {host}:{port}: {_bind_cure(exc)}") from exc
        listener.setblocking(False)
        datagrams.setblocking(False)
        _widen(datagrams)
        return datagrams, trio.socket.from_stdlib_socket(listener)
    raise AssertionError("the last try returns or raises")


def _reason(exc: OSError) -> str:
    """The system's own words, without what a library wrapped round them."""
    return os.strerror(exc.errno) if exc.errno else str(exc)


def _bind_cure(exc: OSError) -> str:
    cures = {
        errno.EADDRINUSE: "the port is in use; stop what holds it, or bind another port",
        errno.EADDRNOTAVAIL: "the address is not this machine's; bind one of its own addresses",
        errno.EACCES: "not permitted; ports below 1024 need CAP_NET_BIND_SERVICE",
    }
    return cures.get(exc.errno or 0, _reason(exc))


def _widen(datagrams: socket.socket) -> None:
    """Ask for the largest receive buffer that the kernel gives, so that a stall loses little."""
    size = RECEIVE_BUFFER
    while size >= MAX_DATAGRAM:
        try:
            datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        except OSError:
            size //= 2
        else:
            return


WILDCARDS: Final = {
    b"\0" * 4: (("192.0.2.1", socket.AF_INET),),
    b"\0" * 16: (("2001:db8::1", socket.AF_INET6), ("192.0.2.1", socket.AF_INET)),
}
"""For each wildcard the documentation addresses whose route tells an address of this machine; nothing is sent to
them."""


def _advertised(datagrams: socket.socket) -> Address:
    """The bound address; for a wildcard the one that this machine's default route uses."""
    host, port = datagrams.getsockname()[:2]
    routes = WILDCARDS.get(pack_host(host))
    if routes is None:
        return host, port
    for probe, family in routes:
        with socket.socket(family, socket.SOCK_DGRAM) as routed:
            try:
                routed.connect((probe, 9))
            except OSError:
                continue
            return routed.getsockname()[0], port
    raise LocalError(f"bound to {host} and no default route tells which address others reach; say which to advertise")


async def resolve(targets: Sequence[str], default_port: int) -> tuple[list[Address], list[tuple[str, str]]]:
    """All addresses of the targets, in order and once each, and (text, reason) for each that cannot be resolved.

    Raises :class:`LocalError` for text that is no ``[name/]host[:port]``.
    """
    parsed: list[tuple[str, JoinTarget]] = [(text, parse_join_target(text, default_port)) for text in targets]
    addresses: list[Address] = []
    failed: list[tuple[str, str]] = []
    for text, target in parsed:
        try:
            found = await trio.socket.getaddrinfo(target.host, target.port, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError) as exc:
            failed.append(
                (text, f"cannot resolve {target.host!r}: {exc.strerror if isinstance(exc, OSError) else exc}")
            )
            continue
        for *_, sockaddr in found:
            address = _from_sockaddr((str(sockaddr[0]), int(sockaddr[1])))
            if address not in addresses:
                addresses.append(address)
    return addresses, failed
