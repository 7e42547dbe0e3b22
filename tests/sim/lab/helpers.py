"""What tests of the lab share: asking a host's neighbours, finding processes, waiting for lines in files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import trio

from sim.lab.lan import Host
from sim.lab.namespaces import run
from tests.tree import ROOT

T = TypeVar("T")
LOOK_EVERY = 0.01
ARP_RETRY_MS = 50


async def reaches(here: Host, there: Host) -> bool:
    """Whether an ARP request of one host's kernel is answered by the other."""
    prefix = here.namespace.prefix
    await run(prefix, "sh", "-c", f"echo {ARP_RETRY_MS} >/proc/sys/net/ipv4/neigh/eth0/retrans_time_ms")
    await run(prefix, "ip", "neigh", "flush", "dev", "eth0")
    await run(prefix, "ip", "neigh", "replace", there.address, "dev", "eth0", "use")
    entry = ""
    with trio.fail_after(20):
        while not any(state in entry for state in ("REACHABLE", "FAILED")):
            entry = await run(prefix, "ip", "neigh", "show", there.address)
    return "REACHABLE" in entry


async def eventually(look: Callable[[], T], within: float = 20.0) -> T:
    """Wait until something is true, and give it."""
    with trio.fail_after(within):
        while True:
            if found := look():
                return found
            await trio.sleep(LOOK_EVERY)


@asynccontextmanager
async def running(*command: str) -> AsyncIterator[trio.Process]:
    """A process with a pipe for what it prints, killed at the end if it still runs."""
    process = await trio.lowlevel.open_process(command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()
            assert process.stdout is not None
            await process.stdout.aclose()


async def first_line(process: trio.Process) -> str:
    """The first line that a process prints."""
    assert process.stdout is not None
    text = b""
    with trio.fail_after(60):
        while b"\n" not in text and (chunk := await process.stdout.receive_some()):
            text += chunk
    return text.decode().partition("\n")[0]


def network_of(pid: int) -> str:
    """The network namespace of a process; empty when there is none or it may not be seen."""
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return ""


def networks() -> list[str]:
    """The network namespaces of all processes of this machine."""
    return [network_of(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def processes_with(word: str) -> list[int]:
    """Processes of this machine, zombies aside, whose command line has a word in it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                if word.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found
