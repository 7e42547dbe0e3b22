"""Streams on real connections: what the core commands is done, what the network brings is told to it.

Rules kept here:

* One task a stream reads, one writes. A stream that the core has closed gets :data:`CLOSE_TIMEOUT` to send what is
  left, and is then read for a moment longer, so that a last answer is not lost to a reset.
* A peer that does not read, does not write or does not close costs one connection for a bounded time; connections
  are bounded.
"""

from __future__ import annotations

import socket
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from gossip.driver.sockets import from_sockaddr, is_wildcard, reason_of, to_sockaddr
from gossip.outbox import OpenStream, StreamCommand, StreamId, WriteStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from gossip.core import Membership

CHUNK: Final = 65_536
MAX_CONNECTIONS: Final = 1024
"""Connections, in either direction and those being closed included, beyond which none is accepted. How many are opened
is for the core to bound."""
CLOSE_TIMEOUT: Final = 5.0
LINGER: Final = 1.0
"""Seconds for which a closed stream is still read."""
ACCEPT_BACKOFF_MIN: Final = 0.005
ACCEPT_BACKOFF_MAX: Final = 1.0


class _Stream:
    """What is to be written, and whether the stream is to be closed after that."""

    def __init__(self) -> None:
        self.outgoing: deque[bytes] = deque()
        self.closing = False
        self.wake = trio.Event()
        self.scope = trio.CancelScope()


class Streams:
    """All connections of a member. ``tell`` makes a call on the core and flushes what follows from it."""

    def __init__(
        self,
        core: Membership,
        listener: trio.SocketListener,
        nursery: trio.Nursery,
        tell: Callable[[Callable[[float], object]], None],
    ) -> None:
        self._core = core
        self._listener = listener
        self._nursery = nursery
        self._tell = tell
        self._family = listener.socket.family
        host: str = listener.socket.getsockname()[0]
        self._local = None if is_wildcard(host) else (host, 0)  # what connections come from: the bound address, if any
        self._streams: dict[StreamId, _Stream] = {}

    def carry_out(self, command: StreamCommand) -> None:
        """Do what the core wants; nothing happens for a stream that is gone."""
        if isinstance(command, OpenStream):
            self._streams[command.stream] = _Stream()
            self._nursery.start_soon(self._connect, command, self._streams[command.stream])
            return
        stream = self._streams.get(command.stream)
        if stream is None:
            return
        if isinstance(command, WriteStream):
            stream.outgoing.append(command.data)
        else:
            stream.closing = True
            stream.scope.deadline = trio.current_time() + CLOSE_TIMEOUT
        stream.wake.set()

    async def accept(self) -> None:
        """Take connections until cancelled; what keeps failing is tried less often."""
        backoff = ACCEPT_BACKOFF_MIN
        while True:
            try:
                connection = await self._listener.accept()
            except OSError:
                await trio.sleep(backoff)
                backoff = min(backoff * 2, ACCEPT_BACKOFF_MAX)
                continue
            backoff = ACCEPT_BACKOFF_MIN
            try:
                source = from_sockaddr(connection.socket.getpeername())
            except OSError:  # it has gone already
                await trio.aclose_forcefully(connection)
                continue
            if len(self._streams) >= MAX_CONNECTIONS:
                await trio.aclose_forcefully(connection)
                continue
            stream = _Stream()
            number = self._core.accept_stream(source, trio.current_time())
            self._streams[number] = stream
            self._nursery.start_soon(self._run, number, stream, connection)
            self._tell(lambda now: None)

    async def _connect(self, command: OpenStream, stream: _Stream) -> None:
        connection: trio.SocketStream | None = None
        reason = "no connection in time"
        try:
            with trio.move_on_at(command.deadline), stream.scope:
                connection = await self._dial(to_sockaddr(command.address, self._family))
        except OSError as exc:
            reason = reason_of(exc)
        if connection is None:
            self._end(command.stream, reason)
        else:
            await self._run(command.stream, stream, connection)

    async def _dial(self, sockaddr: tuple[str, int]) -> trio.SocketStream:
        connection = trio.socket.socket(self._family, socket.SOCK_STREAM)
        try:
            if self._local is not None:
                await connection.bind(self._local)
            await connection.connect(sockaddr)
        except BaseException:
            connection.close()
            raise
        return trio.SocketStream(connection)

    async def _run(self, number: StreamId, stream: _Stream, connection: trio.SocketStream) -> None:
        """Both directions of one stream, until the core closes it or the network does."""
        stream.scope = trio.CancelScope(deadline=stream.scope.deadline)
        try:
            async with connection:
                with stream.scope:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._read, number, connection)
                        await self._write(stream, connection)
                        nursery.cancel_scope.cancel()
                await self._linger(connection)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            self._end(number, "the connection broke")
        finally:
            self._streams.pop(number, None)

    async def _write(self, stream: _Stream, connection: trio.SocketStream) -> None:
        while stream.outgoing or not stream.closing:
            if stream.outgoing:
                await connection.send_all(stream.outgoing.popleft())
            else:
                stream.wake = trio.Event()
                await stream.wake.wait()

    async def _read(self, number: StreamId, connection: trio.SocketStream) -> None:
        while data := await connection.receive_some(CHUNK):
            self._tell(partial(self._core.receive_stream, number, bytes(data)))
        self._tell(partial(self._core.receive_stream, number, b""))

    async def _linger(self, connection: trio.SocketStream) -> None:
        with trio.move_on_after(LINGER):
            await connection.send_eof()
            while await connection.receive_some(CHUNK):
                pass

    def _end(self, number: StreamId, reason: str) -> None:
        self._streams.pop(number, None)
        self._tell(partial(self._core.stream_failed, number, reason))
