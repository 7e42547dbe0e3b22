"""The controller's life: what the source says goes through the reconciler and back to the source, and is told.

Nothing is decided here: `controller.reconciler` does. Source: design.md §9.
"""

from __future__ import annotations

import os
import time
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from cluster.folder_source import FolderSource
from cluster.source import SourceTaken
from controller.notices import NOT_CONFIGURED, Notices
from controller.reconciler import Reconciler
from telemetry.endings import end_signals
from telemetry.logs import LineWriter, Log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from cluster.source import Source

EXIT_NO: Final = 1
EXIT_UNAVAILABLE: Final = 3
LAST_WORDS_TIMEOUT: Final = 1.0
"""Seconds that the last log lines have to be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerSettings:
    """What `starling controller` was told."""

    folder: str
    load_balancer_class: str | None = None


def run_controller(settings: ControllerSettings, complain: Callable[[str], None], output: int) -> int:
    """Run a controller until SIGINT or SIGTERM and give back the exit code. Log lines go to the descriptor `output`."""
    lines = LineWriter(output)
    try:
        notices = Notices(Log(lines.send, time.time))
        source = FolderSource(settings.folder, exclusive=True)
        taken = trio.run(_until_signal, source, Reconciler(settings.load_balancer_class), notices)
    finally:
        lines.close(LAST_WORDS_TIMEOUT)
    if taken is None:
        return 0
    complain(str(taken))
    return EXIT_UNAVAILABLE


async def _until_signal(source: Source, reconciler: Reconciler, notices: Notices) -> SourceTaken | None:
    taken = None
    with trio.open_signal_receiver(*end_signals()) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_on, signals, nursery.cancel_scope)
            try:
                await follow(source, reconciler, notices)
            except SourceTaken as reason:
                taken = reason
            nursery.cancel_scope.cancel()
    return taken


async def _cancel_on(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    await anext(signals)
    scope.cancel()


async def follow(source: Source, reconciler: Reconciler, notices: Notices) -> None:
    """Give addresses to services for as long as the source has something to say. Raises SourceTaken."""
    async with aclosing(source.snapshots()) as readings:
        async for reading in readings:
            notices.hear(reading)
            if reading.snapshot is not None:
                outcome = reconciler.reconcile(reading.snapshot)
                await source.report(*outcome.statuses)
                notices.tell(outcome)


def run_once(settings: ControllerSettings, complain: Callable[[str], None]) -> int:
    """Let one pass be made and give back the exit code; every reason why it is not 0 is complained of.

    1: the manifests are wrong, or a service is without an address. 3: the folder cannot be used.
    """
    if not os.path.isdir(settings.folder):
        complain(f"{settings.folder} is no folder")
        return EXIT_UNAVAILABLE
    source = FolderSource(settings.folder, exclusive=True)
    try:
        code, complaints = trio.run(_pass, source, Reconciler(settings.load_balancer_class))
    except SourceTaken as reason:
        code, complaints = EXIT_UNAVAILABLE, [str(reason)]
    for complaint in complaints:
        complain(complaint)
    return code


async def _pass(source: Source, reconciler: Reconciler) -> tuple[int, list[str]]:
    async with aclosing(source.snapshots()) as readings:
        reading = await anext(readings)
        if reading.snapshot is None:
            return EXIT_NO, [str(problem) for problem in reading.problems]
        outcome = reconciler.reconcile(reading.snapshot)
        unwritten = await source.report(*outcome.statuses)
    complaints = [str(problem) for problem in (*reading.warnings, *unwritten)]
    if not reading.snapshot.is_configured:
        complaints.append(NOT_CONFIGURED)
    without = [status.message or "" for status in outcome.statuses if status.reason is not None]
    code = EXIT_UNAVAILABLE if unwritten else EXIT_NO if without or not reading.snapshot.is_configured else 0
    return code, complaints + without
