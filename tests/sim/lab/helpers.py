"""What tests of the lab share: asking a host's neighbours, finding processes, waiting for lines in files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import trio

from sim.lab.lan import Host
from sim.lab.namespaces import run

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
