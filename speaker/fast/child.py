"""The slow process as the fast one sees it: started, heard, told, and started again when it dies.

Rules kept here:

* The fast process never waits for the slow one. What it tells goes into a queue of limited length: of log records the
  oldest make room, and are counted; a child that takes no reports for that long is replaced.
* One child at a time, reaped when it dies. It ends with us, however we end: the link closes, and it asked the kernel to
  be killed with the thread that started it, so that must be the one that lives longest, the main thread.
* SIGINT and SIGTERM are for us alone, although a terminal or a supervisor sends them to both: they are blocked in the
  child from its first instruction on.

Source: design.md §8.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

import trio

from speaker.fast.environment import own_environment
from speaker.link import (
    BEAT_INTERVAL,
    MAX_PART_BYTES,
    VERSION,
    BadMessage,
    Bye,
    Hello,
    LogRecord,
    Message,
    Report,
    SourceHealth,
    SourceState,
    ToFast,
    ToSlow,
    Unframer,
    Value,
    Wanted,
    encode,
)
from telemetry.levels import Level

MAX_UNSENT_RECORDS: Final = 16_384
"""Log records that wait for the child."""
MAX_UNSENT_REPORTS: Final = 65_536
"""Reports that do: one for each address of a /16."""
RESTART_MIN: Final = 0.1
"""Seconds before a child that died is started again; doubled each time."""
RESTART_MAX: Final = 10.0
HEALTHY_AFTER: Final = 60.0
"""Seconds of life after which a death is the first one again."""
END_WITHIN: Final = 1.0
"""Seconds in which the child may write what is to be written, after a goodbye and after the end of the link."""
RECEIVE_CHUNK: Final = 65_536
SILENT_FOR: Final = 4 * BEAT_INTERVAL
"""Seconds without a word after which the child is taken for hung (on a stalled file system, say) and replaced."""
NOT_FOR_IT: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Received = Callable[[ToFast], Awaitable[None]]


class Outbox:
    """What waits to be told: reports, then lines, a goodbye last.

    A report is only worth telling to a child that was told all those before it.
    """

    def __init__(self) -> None:
        self._records: deque[LogRecord] = deque()
        self._reports: deque[Report] = deque()
        self._byes: deque[Bye] = deque()
        self._lost = 0
        self._arrived = trio.Event()
        self.is_heard = False
        """Whether there is a child that said Hello."""

    def put(self, message: ToSlow) -> bool:
        """Add a message; a log record makes room for itself. False when there is none for a report."""
        if isinstance(message, LogRecord):
            if len(self._records) == MAX_UNSENT_RECORDS:
                self._records.popleft()
                self._lost += 1
            self._records.append(message)
        elif isinstance(message, Bye):
            self._byes.append(message)
        elif self.is_heard:
            if len(self._reports) == MAX_UNSENT_REPORTS:
                return False
            self._reports.append(message)
        self._arrived.set()
        return True

    def begin(self) -> None:
        """Nobody is heard any more: whoever comes next gets everything again."""
        self.is_heard = False
        self._reports.clear()

    def take(self, limit: int) -> bytes:
        """The next messages, of about so many bytes; empty when nothing waits."""
        taken = bytearray()
        while len(taken) < limit and (message := self._next()) is not None:
            with suppress(BadMessage):  # nothing that is needed is longer than the link takes
                taken += encode(message)
        return bytes(taken)

    def _next(self) -> ToSlow | None:
        if self._reports:
            return self._reports.popleft()
        if self._lost and self._records:
            lost, self._lost = self._lost, 0
            fields: dict[str, Value] = {"count": lost, "msg": "the slow process took them too slowly"}
            return LogRecord(at=self._records[0].at, level=Level.WARN, event="linesLost", fields=fields)
        for waiting in (self._records, self._byes):
            if waiting:
                return waiting.popleft()
        return None

    async def wait(self) -> None:
        """Until something was put."""
        await self._arrived.wait()
        self._arrived = trio.Event()


class Child:
    """The slow process. :meth:`run` keeps it running; it must be called from the main thread.

    ``settings_text`` is :meth:`speaker.settings.Settings.to_text`.
    """

    def __init__(
        self,
        settings_text: str,
        *,
        command: Sequence[str] = (sys.executable, "-P", "-m", "speaker.slow"),
        silent_for: float = SILENT_FOR,
    ) -> None:
        self._command = (*command, settings_text)
        self._silent_for = silent_for
        self._outbox = Outbox()
        self._process: subprocess.Popen[bytes] | None = None
        self._as_of: float | None = None
        self._ending = trio.Event()
        self._reaped = trio.Event()
        """Of the child that runs now."""

    @property
    def pid(self) -> int | None:
        """Of the child that runs now."""
        return None if self._process is None else self._process.pid

    def send(self, message: ToSlow) -> None:
        """Tell it something as soon as it takes it. Never waits.

        A report is told to a child that said Hello only, since to it everything is reported from there on.
        """
        if not self._outbox.put(message) and self._process is not None:
            self._process.kill()

    async def say_bye(self, within: float = END_WITHIN) -> None:
        """Tell it to end, and wait so many seconds for it to have done so. :meth:`run` then returns."""
        self._ending.set()
        if self._process is None:
            return
        self.send(Bye())
        with trio.move_on_after(within):
            await self._reaped.wait()

    async def run(self, received: Received) -> None:
        """Start it, hand out what it tells, one message a turn, and start it again when it dies.

        Its first message is Hello; everything is then to be reported to it again. When it dies, `received` gets a
        SourceState that says so.
        """
        delay = RESTART_MIN
        while not self._ending.is_set():
            began_at = trio.current_time()
            end = await self._live(received)
            if self._ending.is_set():
                return
            if trio.current_time() - began_at >= HEALTHY_AFTER:
                delay = RESTART_MIN
            reason = f"the slow process {end}; started again in {delay:g} s"
            self.send(LogRecord(at=time.time(), level=Level.ERROR, event="slowProcessEnded", fields={"error": reason}))
            await received(SourceState(health=SourceHealth.STALE, reasons=(reason,), as_of=self._as_of))
            with trio.move_on_after(delay):
                await self._ending.wait()
            delay = min(delay * 2, RESTART_MAX)

    async def _live(self, received: Received) -> str:
        """One child, from its start to its end; how it ended."""
        self._outbox.begin()
        try:
            process, link = self._start()
        except OSError as exc:
            return f"cannot be started ({exc.strerror})"
        self._process, self._reaped, trouble = process, trio.Event(), None
        try:
            async with (
                trio.SocketStream(trio.socket.from_stdlib_socket(link)) as stream,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(self._tell, stream)
                try:
                    await self._hear(stream, received)
                except BadMessage as reason:
                    trouble = str(reason)
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await self._reap(process)
        return f"was ended: {trouble}" if trouble is not None else _describe(process.returncode)

    def _start(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        """The process and our end of the link. Takes a millisecond or two; raises OSError."""
        ours, theirs = socket.socketpair()
        with theirs:
            before = signal.pthread_sigmask(signal.SIG_BLOCK, NOT_FOR_IT)
            try:
                descriptor = theirs.fileno()
                process = subprocess.Popen(  # noqa: S603  # the command is ours
                    (*self._command, str(descriptor)),
                    stdin=subprocess.DEVNULL,
                    pass_fds=(descriptor,),
                    env=own_environment(),
                )
            except BaseException:
                ours.close()
                raise
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return process, ours

    async def _reap(self, process: subprocess.Popen[bytes]) -> None:
        """The link is at its end, and so is the process: by itself, or else killed."""
        watched = os.pidfd_open(process.pid)
        try:
            with trio.move_on_after(END_WITHIN) as patience:
                await trio.lowlevel.wait_readable(watched)
            if patience.cancelled_caught:
                process.kill()
                await trio.lowlevel.wait_readable(watched)
        finally:
            os.close(watched)
        process.wait()
        self._process = None
        self._reaped.set()

    async def _tell(self, stream: trio.SocketStream) -> None:
        try:
            while True:
                while data := self._outbox.take(MAX_PART_BYTES):
                    await stream.send_all(data)
                await self._outbox.wait()
        except trio.BrokenResourceError:
            return  # the reader notices

    async def _hear(self, stream: trio.SocketStream, received: Received) -> None:
        unframer = Unframer()
        while True:
            with trio.move_on_after(self._silent_for) as patience:
                data = await _receive(stream)
            if patience.cancelled_caught:
                raise BadMessage(f"nothing was heard of it for {self._silent_for:g} s")
            if not data:
                return
            unframer.feed(data)
            while (message := unframer.next_message()) is not None:
                await received(self._checked(message))
                await trio.lowlevel.checkpoint()

    def _checked(self, message: Message) -> ToFast:
        """What a slow process may say here. Raises BadMessage."""
        match message:
            case Hello(version=version) if version == VERSION:
                self._outbox.is_heard = True
                return message
            case Hello(version=version):
                raise BadMessage(f"it speaks version {version} and this process {VERSION}: restart the speaker")
            case SourceState():
                self._as_of = message.as_of
                return message
            case Wanted():
                return message
            case other:
                raise BadMessage(f"a {type(other).__name__} came from it")


async def _receive(stream: trio.SocketStream) -> bytes:
    """What came next; empty at the end."""
    try:
        return bytes(await stream.receive_some(RECEIVE_CHUNK))
    except trio.BrokenResourceError:
        return b""


def _describe(returncode: int) -> str:
    if returncode >= 0:
        return f"ended with code {returncode}"
    return f"was ended by {signal.Signals(-returncode).name}"
