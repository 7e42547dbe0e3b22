"""The slow process: follows the source, tells the fast process what is wanted, writes the log, keeps the state.

Rules kept here:

* Whatever takes long (reading, parsing, comparing, writing files) is done in threads: the link is heard all the time.
* A new process tells everything first, as a reset; from there on what changed.
* It ends with the link. Nobody waits for a thread then, and nothing is half written by that.

Source: design.md §8.
"""

from __future__ import annotations

import os
import time
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NoReturn

import trio

from cluster.folder_source import FolderSource
from cluster.model import Configuration
from speaker.demand import Demand, DemandChange, changes, demand
from speaker.link import (
    BEAT_INTERVAL,
    BadMessage,
    Bye,
    Hello,
    LogRecord,
    Report,
    SourceHealth,
    SourceState,
    Unframer,
    Wanted,
    divide,
    encode,
)
from speaker.slow.keeper import Keeper
from telemetry.logs import LineWriter, Log

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from cluster.model import Snapshot
    from cluster.source import Source, SourceReading
    from speaker.link import ToFast
    from speaker.settings import Settings

RECEIVE_CHUNK: Final = 65_536
FLUSH_WITHIN: Final = 0.5
"""Seconds in which the state, and then the last log lines, may be written."""
HANG_UP_WITHIN: Final = 0.05
"""The same for the lines when the link ended without a goodbye."""
UNCONFIGURED: Final = (
    "there is no ConfigMap metallb-system/config: write one; until then the pools stay as they were last"
)
MAX_REASONS: Final = 20
"""Problems that are told one by one; of the others the number."""


async def run(settings: Settings, link: socket.socket, output: int, end: Callable[[], NoReturn]) -> NoReturn:
    """Serve the fast process at the other end of the link until that ends, and then ``end``.

    Log lines go to the descriptor ``output``, which may block for as long as it likes.
    """
    writer = LineWriter(output)
    log = Log(writer.send, time.time)
    keeper = Keeper(settings, log)
    async with trio.SocketStream(trio.socket.from_stdlib_socket(link)) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        follower = Follower(settings, FolderSource(settings.source), stream, log, keeper)
        nursery.start_soon(follower.run)
        nursery.start_soon(follower.beat)
        is_orderly = await obey(stream, log, keeper)
        if is_orderly:
            with trio.move_on_after(FLUSH_WITHIN):
                await keeper.keep()
        # Not by cancelling: a thread that parses would be waited for.
        writer.close(FLUSH_WITHIN if is_orderly else HANG_UP_WITHIN)
        end()


async def obey(stream: trio.SocketStream, log: Log, keeper: Keeper) -> bool:
    """Do what the fast process tells, until it ends; whether it said goodbye."""
    unframer = Unframer()
    with suppress(trio.BrokenResourceError, BadMessage):  # a fast process that makes no sense is none
        while data := await stream.receive_some(RECEIVE_CHUNK):
            unframer.feed(bytes(data))
            while (message := unframer.next_message()) is not None:
                match message:
                    case LogRecord(at=at, level=level, event=event, fields=fields):
                        log.write(level, event, at, **fields)
                    case Report():
                        keeper.hear(message)
                    case Bye():
                        return True
                    case _:
                        return False
    return False


class Follower:
    """Follows a source, and tells what changes."""

    def __init__(self, settings: Settings, source: Source, stream: trio.SocketStream, log: Log, keeper: Keeper) -> None:
        self._settings = settings
        self._source = source
        self._stream = stream
        self._log = log
        self._keeper = keeper
        self._snapshot: Snapshot | None = None
        self._config = Configuration()
        """The last one that there was: that it is missing is no wish to withdraw everything."""
        self._told: Demand | None = None
        self._state: SourceState | None = None
        self._warnings: tuple[str, ...] = ()
        self._sending = trio.Lock()

    async def beat(self) -> None:
        """Say how the source fares again and again, for as long as it is heard."""
        with suppress(trio.BrokenResourceError):
            while True:
                await trio.sleep(BEAT_INTERVAL)
                state = self._state or SourceState(health=SourceHealth.LOADING)
                if state.health is SourceHealth.CURRENT:
                    state = replace(state, as_of=time.time())
                await self._send(encode(state))

    async def run(self) -> None:
        """Tell what the source gives, for as long as it is heard."""
        with suppress(trio.BrokenResourceError):  # whoever hears the link knows, and ends us
            await self._tell(Hello(pid=os.getpid()))
            async with aclosing(self._source.snapshots()) as readings:
                async for reading in readings:
                    await self._take(reading)

    async def _take(self, reading: SourceReading) -> None:
        trouble = ""
        snapshot = reading.snapshot
        if snapshot is not None and not snapshot.is_configured:
            trouble = UNCONFIGURED
        if snapshot is not None and snapshot is not self._snapshot:
            if snapshot.is_configured:
                self._config = snapshot.config
            try:
                await self._want(replace(snapshot, config=self._config))
            except BadMessage as reason:
                trouble = f"services that share an address are too many, or on too many nodes: {reason}"
            else:
                self._snapshot = snapshot
        state = state_of(reading, self._state, time.time(), trouble)
        self._keeper.date(state)
        self._say(state)
        self._say_warnings(tuple(map(str, reading.warnings))[:MAX_REASONS])
        self._state = state
        await self._tell(state)

    async def _want(self, snapshot: Snapshot) -> None:
        """Tell what this snapshot changes. Raises BadMessage when the link cannot take it; then nothing was told."""
        wanted, frames = await trio.to_thread.run_sync(self._compare, snapshot, abandon_on_cancel=True)
        for frame in frames:
            await self._send(frame)
        self._told = wanted
        self._keeper.want(wanted)

    def _compare(self, snapshot: Snapshot) -> tuple[Demand, list[bytes]]:
        """What is wanted now, and the messages that say so to whom was told the last demand."""
        settings = self._settings
        wanted = demand(snapshot, settings.load_balancer_class)
        is_new = self._told is None
        told = changes(self._told if self._told is not None else Demand(), wanted)
        if is_new and not told:
            told = (DemandChange(),)
        parts = [part for change in told for part in divide(change)]
        return wanted, [encode(Wanted(change=part, is_reset=is_new and not i)) for i, part in enumerate(parts)]

    def _say(self, state: SourceState) -> None:
        """Log what is wrong when it is another thing than before, and that nothing is."""
        before = self._state
        if before is not None and (before.health, before.reasons) == (state.health, state.reasons):
            return
        if state.health is SourceHealth.STALE:
            for reason in state.reasons:
                self._log.error("configStale", error=reason)
        elif state.health is SourceHealth.CURRENT:
            self._log.info("configLoaded", msg=f"what {self._settings.source} says is in force")

    def _say_warnings(self, warnings: tuple[str, ...]) -> None:
        """Log each once, and that it is over."""
        for text in warnings:
            if text not in self._warnings:
                self._log.warning("sourceWarning", error=text)
        for text in self._warnings:
            if text not in warnings:
                self._log.info("sourceWarningOver", error=text)
        self._warnings = warnings

    async def _tell(self, message: ToFast) -> None:
        await self._send(encode(message))

    async def _send(self, frame: bytes) -> None:
        async with self._sending:
            await self._stream.send_all(frame)


def state_of(reading: SourceReading, before: SourceState | None, now: float, trouble: str = "") -> SourceState:
    """What a reading says about the source, after what the one before it said; ``now`` in seconds since the epoch.

    ``trouble``: why what was read is not in force although nothing is wrong with it.
    """
    problems = [*map(str, reading.problems), *([trouble] if trouble else [])]
    warnings = _told([str(warning) for warning in reading.warnings], "warnings")
    if problems:
        was_current = before is not None and before.health is SourceHealth.CURRENT
        as_of = now if was_current else before.as_of if before is not None else None
        reasons = _told(problems, "problems")
        return SourceState(health=SourceHealth.STALE, reasons=reasons, as_of=as_of, warnings=warnings)
    if reading.snapshot is None:
        return SourceState(health=SourceHealth.LOADING, warnings=warnings)
    return SourceState(health=SourceHealth.CURRENT, as_of=now, warnings=warnings)


def _told(texts: list[str], kind: str) -> tuple[str, ...]:
    """The first of them, and of the others the number."""
    more = len(texts) - MAX_REASONS
    return (*texts[:MAX_REASONS], f"and {more} more {kind}") if more > 0 else tuple(texts)
