"""Who is signalled with a program: what it started, and never who has got an id since."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from sim.lab import processes
from sim.lab.processes import Program, descendants, parents
from tests.sim.lab.helpers import eventually

if TYPE_CHECKING:
    import pytest

STARTS_ANOTHER = ["sh", "-c", "sleep 4321 & wait $!"]
"""Ends as its child does."""


@contextmanager
def started(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command) as process:
        try:
            yield process
        finally:
            process.kill()


async def test_who_has_got_the_id_of_a_child_is_not_signalled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As it looks when a child ended, and its id was given away, after the machine's processes were listed."""
    with started(*STARTS_ANOTHER) as ours, started("sleep", "4321") as stranger:
        program = Program("ours", ours.pid, tmp_path / "out")
        (child,) = await eventually(lambda: descendants(ours.pid, parents()))
        pidfd = os.pidfd_open(child)
        seen = parents() | {stranger.pid: ours.pid}
        monkeypatch.setattr(processes, "parents", lambda: seen)
        program.kill()
        with trio.fail_after(20):
            await program.wait()
            await trio.lowlevel.wait_readable(pidfd)
        os.close(pidfd)
        program.close()
        stranger.terminate()
        assert stranger.wait() == -signal.SIGTERM  # a SIGKILL before that would have been first


async def test_the_children_of_who_has_got_the_id_of_a_program_are_not_signalled(tmp_path: Path) -> None:
    with started("true") as gone, started(*STARTS_ANOTHER) as other:
        program = Program("gone", gone.pid, tmp_path / "out")
        gone.wait()
        (child,) = await eventually(lambda: descendants(other.pid, parents()))
        program.pid = other.pid  # as if that had been given away, too
        program.kill()
        program.close()
        os.kill(child, signal.SIGTERM)
        assert other.wait() == 128 + signal.SIGTERM
