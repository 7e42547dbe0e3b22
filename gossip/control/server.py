"""The control socket: requests in, answers out, a line each.

Rules kept here:

* The socket is its user's alone (mode 0600). A dead agent's is replaced, a live one's never.
* A request that fails changes nothing else: the error goes to who asked, and the ring goes on.
* Clients, their lines and their time are bounded; none waits for another.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from gossip.control.handlers import RING_DESK, Desk
from gossip.control.notices import printable
from gossip.control.requests import (
    EXIT_NO,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    MAX_LINE,
    Leave,
    decode_request,
    error_line,
    item_line,
    result_line,
)
from gossip.errors import LocalError, RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gossip.control.agent import Agent

MAX_CLIENTS: Final = 32
CLIENT_WITHIN: Final = 10.0
"""Seconds in which a client must take a line."""
IDLE_WITHIN: Final = 60.0
"""Seconds after which a client that asks nothing is hung up on."""
RECEIVE_CHUNK: Final = 65_536


@contextmanager
def listen_at(path: str) -> Iterator[socket.socket]:
    """A listening Unix socket at ``path``, removed at the end. Raises :class:`LocalError` when there cannot be one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            _bind_alone(listener, path)
            listener.listen(MAX_CLIENTS)
            made = os.lstat(path).st_ino
        except OSError as exc:
            raise LocalError(f"no control socket at {path}: {exc.strerror}; choose another path with --api") from exc
        try:
            yield listener
        finally:
            with suppress(OSError):
                if os.lstat(path).st_ino == made:
                    os.unlink(path)


def _bind_alone(listener: socket.socket, path: str) -> None:
    """Bind, in place of a dead agent's socket if need be. The folder is locked meanwhile: of two agents one wins."""
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
    before = os.umask(0o177)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        _remove_stale(path)
        listener.bind(path)
    finally:
        os.umask(before)
        os.close(folder)


def _remove_stale(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise LocalError(f"{path} is there and is no socket; choose another path with --api")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # its queue is full: there is somebody
    raise LocalError(f"another agent answers at {path}; end it with `ring leave`, or choose another path with --api")


async def serve(agent: Agent, control: socket.socket, desk: Desk = RING_DESK) -> None:
    """Answer everybody who connects what the desk has an answer to, until cancelled."""
    control.setblocking(False)
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(control))
    await trio.serve_listeners(partial(_serve_client, agent, desk, trio.Semaphore(MAX_CLIENTS)), [listener])


async def _serve_client(agent: Agent, desk: Desk, places: trio.Semaphore, stream: trio.SocketStream) -> None:
    """Answer one client's requests, one after the other, until it hangs up or is too slow."""
    client = _Client(stream)
    try:
        places.acquire_nowait()
    except trio.WouldBlock:
        await client.send(error_line(f"the agent has {MAX_CLIENTS} clients already", EXIT_UNAVAILABLE))
        return
    try:
        while (line := await client.next_line()) is not None:
            await _answer(agent, desk, client, line)
    except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
        pass  # it is its own loss
    finally:
        places.release()


async def _answer(agent: Agent, desk: Desk, client: _Client, line: bytes) -> None:
    try:
        request = decode_request(line, desk.requests)
    except LocalError as reason:
        await client.send(error_line(str(reason), EXIT_USAGE))
        return
    try:
        answer = result_line(await desk.handlers[type(request)](agent, request, client))
    except LocalError as reason:
        answer = error_line(printable(str(reason)), EXIT_NO)
    except RemoteError as reason:
        answer = error_line(printable(str(reason)), EXIT_UNAVAILABLE)
    try:
        await client.send(answer)
    finally:
        if isinstance(request, Leave):
            agent.ended.set()


class _Client:
    """One connection, line by line."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._unread = bytearray()

    async def next_line(self) -> bytes | None:
        """The next request; ``None`` when the client hung up, is idle for too long or does not end its line."""
        with trio.move_on_after(IDLE_WITHIN):
            while (end := self._unread.find(b"\n")) < 0 and len(self._unread) <= MAX_LINE:
                data = await self._stream.receive_some(RECEIVE_CHUNK)
                if not data:
                    return None
                self._unread += data
            if end < 0:
                await self.send(error_line(f"a request of more than {MAX_LINE} bytes", EXIT_USAGE))
                return None
            line = bytes(self._unread[:end])
            del self._unread[: end + 1]
            return line
        return None

    async def send(self, line: bytes) -> None:
        with trio.fail_after(CLIENT_WITHIN):
            await self._stream.send_all(line)

    async def item(self, value: object) -> None:
        """One part of an answer."""
        await self.send(item_line(value))

    async def hung_up(self) -> None:
        """Wait until the client hangs up; what it still says is not read as requests."""
        while await self._stream.receive_some(RECEIVE_CHUNK):
            pass
