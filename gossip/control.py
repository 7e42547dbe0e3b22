"""An agent: one member that runs until it is told to leave, tells what it sees, and obeys over a Unix socket.

Rules kept here:

* Nobody who listens to the agent can hold up the ring: readers have bounded queues, clients bounded lines, times and
  numbers, and the standard output is written to in a thread.
* A request that fails changes nothing else: the error goes to who asked, and the ring goes on.
* The socket is its user's alone (mode 0600). A dead agent's is replaced, a live one's never.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import stat
import time
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio

from gossip.driver import open_ring
from gossip.errors import LocalError, RemoteError
from gossip.handlers import HANDLERS
from gossip.keyring import Keyring
from gossip.notices import Notice, notice_of_user_event, printable, render_json, render_line
from gossip.reporter import Reporter
from gossip.requests import (
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
from gossip.serf import SerfSide, UserEvent, decode_untrusted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from gossip.addresses import Address
    from gossip.config import GossipConfig
    from gossip.driver import Ring, Subscription
    from gossip.handlers import Replies
    from gossip.reporter import Report

LEAVE_WITHIN: Final = 5.0
"""Seconds that the intent to leave, and then the goodbye, may take to spread."""
FLUSH_WITHIN: Final = 1.0
"""Seconds in which readers may take what was told last."""
SEED_RETRY_MIN: Final = 1.0
SEED_RETRY_MAX: Final = 30.0
CHECK_INTERVAL: Final = 1.0
"""Seconds between two looks at the counts of what could not be read."""
MAX_UNREAD_NOTICES: Final = 1024
"""Notices kept for a reader that is behind; what is lost beyond that is counted, and the count is told."""
MAX_CLIENTS: Final = 32
CLIENT_WITHIN: Final = 10.0
"""Seconds in which a client must take a line."""
IDLE_WITHIN: Final = 60.0
"""Seconds after which a client that asks nothing is hung up on."""
RECEIVE_CHUNK: Final = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """What an agent is started with, all of it checked."""

    name: str
    bind: Address
    config: GossipConfig
    profile: str
    advertise: Address | None = None
    keys: tuple[bytes, ...] = ()
    meta: bytes | None = None
    seeds: tuple[str, ...] = ()
    compat: str | None = None
    """``serf``, ``metallb`` or ``None``."""
    api: str
    """The path of the control socket."""
    api_required: bool = True
    """Whether the agent must not run without its control socket."""
    as_json: bool = True
    complain: Callable[[str], None]
    """Tells the operator what is no event of the ring. May block."""


class Feed:
    """Notices on their way to one reader."""

    def __init__(self) -> None:
        self._send, self.notices = trio.open_memory_channel[Notice](MAX_UNREAD_NOTICES)
        self._lost = 0

    def put(self, notice: Notice) -> None:
        """Add one if there is room."""
        try:
            if self._lost:
                self._send.send_nowait(Notice(notice.at, "lost", evidence={"notices": self._lost}))
                self._lost = 0
            self._send.send_nowait(notice)
        except trio.WouldBlock:
            self._lost += 1

    def close(self) -> None:
        """Nothing more will come; what is left can still be read."""
        self._send.close()


class Agent:
    """A running member and those who listen to it. ``ended`` is set when it is to stop."""

    def __init__(self, ring: Ring, settings: AgentSettings, api: str | None) -> None:
        self.ring = ring
        self.settings = settings
        self.api = api
        self.serf = SerfSide(settings.name) if settings.compat == "serf" else None
        self.ended = trio.Event()
        self._reporter = Reporter(settings.name, self.serf)
        self._feeds: list[Feed] = []
        self._all_read = trio.Event()
        self._left = trio.Event()
        self._patience = trio.CancelScope()
        """What is waited for under it ends when nobody is left to be told."""

    # ---- telling

    @asynccontextmanager
    async def follow(self) -> AsyncIterator[Feed]:
        """The notices from now on."""
        feed = Feed()
        self._feeds.append(feed)
        try:
            yield feed
        finally:
            self._feeds.remove(feed)
            if not self._feeds:
                self._all_read.set()

    async def pass_notices(self, replies: Replies) -> None:
        """Give a client the notices from now on, until it hangs up or the agent ends."""
        async with self.follow() as feed, trio.open_nursery() as nursery:

            async def wait_for_hangup() -> None:
                await replies.hung_up()
                nursery.cancel_scope.cancel()

            nursery.start_soon(wait_for_hangup)
            async for notice in feed.notices:
                await replies.item(notice.as_json())
            nursery.cancel_scope.cancel()

    async def let_readers_finish(self) -> None:
        """Close the feeds, and wait a moment until they have been read."""
        for feed in self._feeds:
            feed.close()
        with trio.move_on_after(FLUSH_WITHIN if self._feeds else 0):
            await self._all_read.wait()

    def tell(self, *notices: Notice) -> None:
        """Give notices to every reader."""
        for notice in notices:
            for feed in self._feeds:
                feed.put(notice)

    def introduce(self) -> None:
        """What is told first: that the agent listens, and who is a member already."""
        at, local = time.time(), self.ring.view.local
        self.tell(Notice(at, "listening", local.name, local.address, self.describe()))
        self.tell(*(Notice(at, "joined", member.name, member.address) for member in self.ring.view.members()))

    def describe(self) -> dict[str, Any]:
        """How it runs, for ``listening`` and ``ring info``."""
        return {
            "profile": self.settings.profile,
            "compat": self.settings.compat,
            "encrypted": self.ring.keyring.encrypts,
            "label": printable(self.settings.config.wire.label.decode("utf-8", "surrogateescape")),
            "api": self.api,
        }

    # ---- listening

    async def hear(self, events: Subscription) -> None:
        """Act upon the ring's events, for ever."""
        async for event in events:
            self._carry_out(self._reporter.hear(event, time.time(), trio.current_time()))
            if self._reporter.leaving and not self._has_company():
                self._patience.cancel()

    async def watch_problems(self) -> None:
        """Warn of what cannot be read, for ever."""
        while True:
            await trio.sleep(CHECK_INTERVAL)
            self._carry_out(self._reporter.check(self.ring.statistics(), time.time(), trio.current_time()))

    def _carry_out(self, report: Report) -> None:
        self.tell(*report.notices)
        for payload in report.spread:
            try:
                self.ring.broadcast(payload)
            except LocalError:
                continue  # it came by stream and is too long for a packet: passing it on is the sender's business

    def fire_event(self, name: str, payload: bytes, *, coalesce: bool) -> int:
        """Spread a user event and give back its Lamport time. Raises :class:`LocalError` without serf's habits."""
        if self.serf is None:
            raise LocalError(
                "only an agent started with --compat serf fires events; others have `ring send --broadcast`"
            )
        encoded = self.serf.user_event(name, payload, coalesce=coalesce)
        self.ring.broadcast(encoded)
        event = decode_untrusted(encoded)
        assert isinstance(event, UserEvent)
        self.tell(notice_of_user_event(event, time.time()))
        return event.ltime

    # ---- coming and going

    async def find_seeds(self) -> None:
        """Join the seeds; as long as none answers, try again."""
        said, delay = "", SEED_RETRY_MIN
        while True:
            try:
                report = await self.ring.join(self.settings.seeds, as_seeds=True)
            except RemoteError as reason:
                trouble, done = f"{reason}; trying again", False
            else:
                trouble = "; ".join(f"could not join {target}: {reason}" for target, reason in report.refused)
                done = True
            if trouble and trouble != said:
                await trio.to_thread.run_sync(self.settings.complain, trouble, abandon_on_cancel=True)
            if done:
                return
            said = trouble
            await trio.sleep(delay)
            delay = min(delay * 2, SEED_RETRY_MAX)

    async def leave(self) -> None:
        """Say goodbye, and wait until it has spread or takes too long. Called twice it is said once."""
        if self._reporter.leaving:
            await self._left.wait()
            return
        self._reporter.leaving = True
        if self.serf is not None and self._has_company():
            with trio.move_on_after(LEAVE_WITHIN) as self._patience:
                await self.ring.spread(self.serf.leave_intent())
        with trio.move_on_after(LEAVE_WITHIN) as self._patience:
            await self.ring.leave()
        self._left.set()

    def _has_company(self) -> bool:
        return any(member.name != self.settings.name for member in self.ring.view.live_members())

    async def obey_signals(self) -> None:
        """Leave at the first signal. Comes back at the second, which does not wait for the goodbye."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                await anext(signals)
                nursery.start_soon(self._leave_and_end)
                await anext(signals)
                nursery.cancel_scope.cancel()

    async def _leave_and_end(self) -> None:
        await self.leave()
        self.ended.set()


# ---- running


async def run_agent(settings: AgentSettings, output: int) -> int:
    """Run an agent until it is told to leave, and give back the exit code. Notices go to the descriptor ``output``.

    Raises :class:`LocalError` when it cannot start: the port is in use, another agent has the socket.
    """
    with _control_socket(settings) as control:
        async with (
            open_ring(
                settings.name,
                settings.bind,
                settings.config,
                advertise=settings.advertise,
                keyring=Keyring(settings.keys),
                meta=settings.meta,
            ) as ring,
            ring.subscribe() as events,
            trio.open_nursery() as nursery,
        ):
            agent = Agent(ring, settings, None if control is None else settings.api)
            await nursery.start(_print_notices, agent, output)
            agent.introduce()
            nursery.start_soon(agent.hear, events)
            nursery.start_soon(agent.watch_problems)
            if settings.seeds:
                nursery.start_soon(agent.find_seeds)
            if control is not None:
                nursery.start_soon(_serve, agent, control)
            await _wait_for_end(agent)
            if agent.ended.is_set():
                await agent.let_readers_finish()
            nursery.cancel_scope.cancel()
    return 0 if agent.ended.is_set() else EXIT_NO


async def _wait_for_end(agent: Agent) -> None:
    async with trio.open_nursery() as nursery:

        async def obey() -> None:
            await agent.obey_signals()
            nursery.cancel_scope.cancel()

        nursery.start_soon(obey)
        await agent.ended.wait()
        nursery.cancel_scope.cancel()


async def _print_notices(agent: Agent, output: int, task_status: trio.TaskStatus[None]) -> None:
    """Write notices to a file descriptor, a line each, in a thread: it may block for as long as it likes."""
    render = render_json if agent.settings.as_json else render_line
    is_read = True
    async with agent.follow() as feed:
        task_status.started()
        async for notice in feed.notices:
            lines = [render(notice)]
            with suppress(trio.WouldBlock, trio.EndOfChannel):
                while True:
                    lines.append(render(feed.notices.receive_nowait()))
            if is_read:
                data = "".join(lines).encode()
                is_read = await trio.to_thread.run_sync(_write_all, output, data, abandon_on_cancel=True)


def _write_all(output: int, data: bytes) -> bool:
    """Whether there is still somebody who reads it."""
    try:
        while data:
            data = data[os.write(output, data) :]
    except OSError:
        return False
    return True


# ---- the socket


@contextmanager
def _control_socket(settings: AgentSettings) -> Iterator[socket.socket | None]:
    """The control socket, or ``None`` where there can be none and there need not be one."""
    with ExitStack() as stack:
        control = None
        try:
            control = stack.enter_context(listen_at(settings.api))
        except LocalError as reason:
            if settings.api_required:
                raise
            settings.complain(f"running without a control socket: {reason}")
        yield control


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


async def _serve(agent: Agent, control: socket.socket) -> None:
    control.setblocking(False)
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(control))
    await trio.serve_listeners(partial(_serve_client, agent, trio.Semaphore(MAX_CLIENTS)), [listener])


async def _serve_client(agent: Agent, places: trio.Semaphore, stream: trio.SocketStream) -> None:
    """Answer one client's requests, one after the other, until it hangs up or is too slow."""
    client = _Client(stream)
    try:
        places.acquire_nowait()
    except trio.WouldBlock:
        await client.send(error_line(f"the agent has {MAX_CLIENTS} clients already", EXIT_UNAVAILABLE))
        return
    try:
        while (line := await client.next_line()) is not None:
            await _answer(agent, client, line)
    except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
        pass  # it is its own loss
    finally:
        places.release()


async def _answer(agent: Agent, client: _Client, line: bytes) -> None:
    try:
        request = decode_request(line)
    except LocalError as reason:
        await client.send(error_line(str(reason), EXIT_USAGE))
        return
    try:
        answer = result_line(await HANDLERS[type(request)](agent, request, client))
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
