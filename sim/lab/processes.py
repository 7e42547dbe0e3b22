"""Programs on a host of the lab: started with their output in files, and signalled with all that they started.

Rules kept here:

* A program is found by its process id and watched by a pidfd; so is, while it is signalled, whatever the program
  started. An id that was given to somebody else meanwhile is never signalled.
* Killing, pausing and resuming mean the whole tree, as when a machine's power or its memory goes; an orderly stop is
  asked of the program alone.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import trio

from sim.lab.lan import Lan

MAX_PROCESSES: Final = 1_000
"""Processes of one program's tree."""


class Program:
    """One program that runs or has run. `close` gives its watch back."""

    def __init__(self, name: str, pid: int, output: Path) -> None:
        self.name = name
        self.pid = pid
        self.output = output
        self._pidfd = os.pidfd_open(pid)

    @property
    def errors(self) -> Path:
        """The file with its standard error."""
        return self.output.with_name(f"{self.output.name}.err")

    def ask_to_stop(self) -> None:
        """SIGTERM, to the program alone."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, to all of it."""
        self._signal_tree(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP, to all of it."""
        self._signal_tree(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT, to all of it."""
        self._signal_tree(signal.SIGCONT)

    async def wait(self) -> None:
        """Wait until the program itself has ended."""
        await trio.lowlevel.wait_readable(self._pidfd)

    def close(self) -> None:
        """Watch it no longer."""
        os.close(self._pidfd)

    def last_words(self) -> str:
        """The last line of its standard error, or nothing."""
        with suppress(OSError):
            lines = self.errors.read_text(errors="replace").split("\n")
            return next((line for line in reversed(lines) if line.strip()), "")
        return ""

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def _signal_tree(self, number: signal.Signals) -> None:
        with ExitStack() as stack:
            held = {self.pid: self._pidfd}
            parents_of = parents()
            for pid in descendants(self.pid, parents_of):
                with suppress(OSError, KeyError):  # it, or its parent, has ended meanwhile
                    held[pid] = stack.enter_context(_held_child(pid, parents_of[pid], held[parents_of[pid]]))
            for pidfd in held.values():
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, number)


async def start(
    lan: Lan,
    host: str,
    name: str,
    command: Sequence[str | Path],
    folder: Path,
    environment: Mapping[str, str] | None = None,
) -> Program:
    """Start a program on a host. What it prints is appended to `NAME.out` and `NAME.out.err` in the folder, an
    absolute path."""
    output = folder / f"{name}.out"
    pid = await lan.keeper.start(lan.hosts[host].namespace, command, output, environment or {})
    return Program(name, pid, output)


def parents() -> dict[int, int]:
    """Every process of the machine that we may see -> its parent."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            with suppress(OSError):  # it has ended meanwhile
                found[int(entry)] = _parent_of(int(entry))
    return found


def _parent_of(pid: int) -> int:
    return int(Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[1])


@contextmanager
def _held_child(pid: int, parent: int, parent_pidfd: int) -> Iterator[int]:
    """A pidfd of a child of a process that is held already. Raises OSError if it is not its child, or one has ended."""
    pidfd = os.pidfd_open(pid)
    try:
        if _parent_of(pid) != parent:
            raise ProcessLookupError(pid)
        signal.pidfd_send_signal(parent_pidfd, 0)  # its id was its own all the time, and so was the child's
        yield pidfd
    finally:
        os.close(pidfd)


def descendants(pid: int, parents_of: Mapping[int, int]) -> list[int]:
    """All that a process started and what they started, parents before children."""
    return list(_descend(pid, parents_of))[:MAX_PROCESSES]


def _descend(pid: int, parents_of: Mapping[int, int]) -> Iterator[int]:
    waiting = [pid]
    while waiting:
        parent = waiting.pop(0)
        children = sorted(child for child, its_parent in parents_of.items() if its_parent == parent)
        yield from children
        waiting += children
