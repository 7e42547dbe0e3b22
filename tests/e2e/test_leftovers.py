"""After a lab nothing of it is left, however it ended: no process, no namespace, no socket, no address."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from sim.lab.nodes import PACKAGES, write_manifests
from tests.e2e.clusters import cluster
from tests.e2e.speakers import eventually

pytestmark = [pytest.mark.needs("netns"), pytest.mark.slow]

PROGRAM = """
import sys, trio
from pathlib import Path
from sim.lab.nodes import open_lab, starling
from tests.e2e.recorder import record
from tests.e2e.stage import Stage

async def main():
    async with open_lab(Path(sys.argv[1]), starling("local")) as lab:
        await lab.while_all_run(lab.wait_assigned)
        stage = Stage(lab)
        async with record(stage.observer) as (recorder,):
            await stage.settled(recorder)
        print(lab.lan.root.pid, *(host.namespace.pid for host in lab.lan.hosts.values()), flush=True)
        if sys.stdin.read(1):
            raise RuntimeError("as a test that fails")

trio.run(main)
"""
ENDS = ["in order", "with an exception", "killed"]


def networks() -> set[str]:
    """The network namespaces that processes of this machine are in."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                found.add(str((entry / "ns/net").readlink()))
    return found


def processes_with(word: str) -> list[int]:
    """Processes, but this one, with a word in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if word.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def network_of(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/net").readlink())


def shown(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("end", ENDS)
async def test_nothing_is_left_of_a_lab_that_ended(tmp_path: Path, end: str) -> None:
    write_manifests({name: text.encode() for name, text in cluster(2, 2).items()}, tmp_path)
    links, addresses, rules = shown("ip", "link"), shown("ip", "address"), shown("nft", "list", "ruleset")
    process = await trio.lowlevel.open_process(
        [sys.executable, "-P", "-c", PROGRAM, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PYTHONPATH": str(PACKAGES), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        with trio.fail_after(60):
            pids = [int(word) for word in (await process.stdout.receive_some()).split()]
        made = {network_of(pid) for pid in pids}
        assert len(made) == len(pids) == 5
        match end:
            case "in order":
                await process.stdin.aclose()
            case "with an exception":
                await process.stdin.send_all(b"x")
            case _:
                process.send_signal(signal.SIGKILL)
        await process.wait()
        await eventually(lambda: not made & networks())
    finally:
        process.kill()
        await process.wait()
    assert not processes_with(str(tmp_path))
    assert (shown("ip", "link"), shown("ip", "address")) == (links, addresses)
    assert shown("nft", "list", "ruleset") == rules
