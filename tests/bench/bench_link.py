"""The two processes of a speaker: what ten thousand services cost the fast one, and how soon the slow one is gone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from speaker.fast import garbage
from speaker.fast.child import Child
from speaker.fast.state import load_state
from speaker.link import Hello, SourceState, ToFast, Wanted
from speaker.settings import Settings
from tests.bench.measuring import RUNS, Row
from tests.interop.programs import GoPeer
from tests.speaker.fast.children import rename_into, services, settings_in
from tests.tree import ROOT

SERVICES = 10_000
FAST_PROCESS = """
import sys, trio
from speaker.fast.child import Child

async def main():
    async def take(message):
        print("told", flush=True)
    await Child(sys.argv[1]).run(take)

trio.run(main)
"""


async def measure(peer: GoPeer | None) -> AsyncIterator[Row]:
    """Nothing here has a counterpart: MetalLB's speaker is one process."""
    many = f"{SERVICES:,} services"
    import gc

    gc.disable()
    garbage.begin()
    with TemporaryDirectory() as folder:
        settings = settings_in(Path(folder))
        rename_into(Path(settings.source), "services.yaml", services(*range(SERVICES)))
        runs = [await _start(settings) for _ in range(RUNS)]
        yield Row(f"{many} over the link, CPU of the fast process", [run.total for run in runs])
        yield Row(f"{many} over the link, longest turn (CPU)", [run.longest for run in runs])
        loads = [await _load(settings) for _ in range(RUNS)]
        yield Row(f"{many} from the kept state, longest turn (CPU)", loads)
        yield Row("the slow process is gone, after its parent was killed", [await _kill(settings) for _ in range(RUNS)])


class Turns(trio.abc.Instrument):
    """The CPU time of the turns that tasks take."""

    def __init__(self) -> None:
        self.total = self.longest = 0.0
        self._began = time.thread_time()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A turn begins."""
        self._began = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """It ends."""
        took = time.thread_time() - self._began
        self.total += took
        self.longest = max(self.longest, took)


@contextmanager
def _turns() -> Iterator[Turns]:
    turns = Turns()
    trio.lowlevel.add_instrument(turns)
    try:
        yield turns
    finally:
        trio.lowlevel.remove_instrument(turns)


async def _start(settings: Settings) -> Turns:
    """The turns from the start of a slow process until everything was heard, the start left out."""
    child, groups = Child(settings.to_text()), 0
    with trio.CancelScope() as scope, _turns() as turns:

        async def take(message: ToFast) -> None:
            nonlocal groups
            match message:
                case Hello():
                    turns.total = turns.longest = 0.0
                case Wanted(change=change):
                    groups += len(change.groups)
                case SourceState():
                    await child.say_bye()
                    scope.cancel()

        await child.run(take)
    assert groups == SERVICES
    return turns


async def _load(settings: Settings) -> float:
    with _turns() as turns:
        kept = await load_state(settings, time.time())
    assert kept is not None
    return turns.longest


async def _kill(settings: Settings) -> float:
    """Seconds from the death of a fast process to that of its child, which parses at that time."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", FAST_PROCESS, settings.to_text()], stdout=subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout is not None
    await process.stdout.receive_some()
    children = await trio.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    watched = os.pidfd_open(int(children))
    try:
        process.kill()
        killed_at = time.perf_counter()
        await trio.lowlevel.wait_readable(watched)
        return time.perf_counter() - killed_at
    finally:
        os.close(watched)
        await process.wait()
