"""A controller on a real folder: what it gives, what it says, and what survives its death."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from cluster.folder_source import FolderSource
from controller.notices import Notices
from controller.reconciler import Reconciler
from controller.run import follow
from telemetry.logs import Log
from tests.cluster.helpers import wrap
from tests.controller.folders import configure, replace, service, written
from tests.tree import ROOT

DEADLINE = 30
"""Seconds; a machine that is busy is slow, not wrong."""


class Said:
    """The lines of a log, to be waited for one after the other."""

    def __init__(self) -> None:
        self._send, self._lines = trio.open_memory_channel[Any](10_000)
        self.lines: list[Any] = []

    def send(self, line: str) -> bool:
        self._send.send_nowait(json.loads(line))
        return True

    async def until(self, event: str, **fields: object) -> Any:
        """The next line of this event with these fields; the lines before it are taken too."""
        while True:
            line = await self._lines.receive()
            self.lines.append(line)
            if line["event"] == event and fields.items() <= line.items():
                return line


@asynccontextmanager
async def controlling(folder: Path, load_balancer_class: str | None = None) -> AsyncIterator[Said]:
    said = Said()
    source = FolderSource(str(folder), exclusive=True)
    notices = Notices(Log(said.send, lambda: 0.0))
    with trio.fail_after(DEADLINE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow, source, Reconciler(load_balancer_class), notices)
            yield said
            nursery.cancel_scope.cancel()


async def test_services_get_addresses_and_it_is_said(tmp_path: Path) -> None:
    configure(tmp_path, "192.0.2.10-192.0.2.11")
    replace(tmp_path / "web.yaml", service("web"))
    async with controlling(tmp_path) as said:
        line = await said.until("ipAllocated")
        assert {key: line[key] for key in ("level", "service", "ip", "pool", "msg")} == {
            "level": "info",
            "service": "default/web",
            "ip": ["192.0.2.10"],
            "pool": "p",
            "msg": 'Assigned IP ["192.0.2.10"]',
        }
        await said.until("serviceUpdated", service="default/web", ip=["192.0.2.10"])
        assert written(tmp_path) == {"web": ["192.0.2.10"]}


async def test_a_service_without_an_address_is_told_why_in_the_log_and_in_its_status(tmp_path: Path) -> None:
    configure(tmp_path, "192.0.2.10/32")
    replace(tmp_path / "a.yaml", service("a"))
    replace(tmp_path / "b.yaml", service("b"))
    async with controlling(tmp_path) as said:
        line = await said.until("allocationFailed")
        await said.until("serviceUpdated", service="default/b")
        assert (line["level"], line["service"]) == ("warn", "default/b")
        assert line["error"].startswith('Failed to allocate IP for "default/b": no available IPs')
        text = (tmp_path / "status" / "default.b.yaml").read_text()
        assert "reason: AllocationFailed\n" in text
        assert line["error"] in text
        (tmp_path / "a.yaml").unlink()
        await said.until("serviceDeleted", service="default/a", ip=["192.0.2.10"])
        await said.until("ipAllocated", service="default/b", ip=["192.0.2.10"])


async def test_a_change_of_the_configuration_is_picked_up_while_services_come_and_go(tmp_path: Path) -> None:
    configure(tmp_path, "192.0.2.0/28")
    for number in range(5):
        replace(tmp_path / f"s{number}.yaml", service(f"s{number}"))
    async with controlling(tmp_path) as said:
        for number in range(5):
            await said.until("serviceUpdated", service=f"default/s{number}")
        configure(tmp_path, "198.51.100.0/28", name="q")
        replace(tmp_path / "s5.yaml", service("s5"))
        (tmp_path / "s0.yaml").unlink()
        for number in range(1, 6):
            await said.until("serviceUpdated", service=f"default/s{number}", pool="q")
        assert written(tmp_path) == {f"s{number}": [f"198.51.100.{number - 1}"] for number in range(1, 6)}


async def test_a_broken_configuration_is_said_with_its_cure_and_changes_nothing(tmp_path: Path) -> None:
    configure(tmp_path, "192.0.2.0/28")
    replace(tmp_path / "web.yaml", service("web"))
    async with controlling(tmp_path) as said:
        await said.until("serviceUpdated")
        replace(
            tmp_path / "config.yaml", wrap("address-pools:\n- name: p\n  protocol: arp\n  addresses: [192.0.2.0/28]\n")
        )
        line = await said.until("configStale")
        assert {key: value for key, value in line.items() if key != "ts"} == {
            "level": "error",
            "event": "configStale",
            "file": str(tmp_path / "config.yaml"),
            "line": 8,
            "column": 17,
            "error": "address-pools[0].protocol: 'arp' is not a value of this field",
            "hint": "write layer2 or bgp",
            "msg": "what was in force before stays",
        }
        replace(tmp_path / "api.yaml", service("api"))
        configure(tmp_path, "192.0.2.0/28")
        await said.until("configLoaded")
        await said.until("serviceUpdated", service="default/api", ip=["192.0.2.1"])
        assert written(tmp_path) == {"api": ["192.0.2.1"], "web": ["192.0.2.0"]}
        assert [line["event"] for line in said.lines].count("configStale") == 1


async def test_a_configuration_that_is_broken_from_the_start_is_waited_for(tmp_path: Path) -> None:
    replace(tmp_path / "config.yaml", wrap("address-pools: none\n"))
    replace(tmp_path / "web.yaml", service("web"))
    async with controlling(tmp_path) as said:
        assert (await said.until("configStale"))["msg"] == "nothing is in force"
        assert written(tmp_path) == {}
        configure(tmp_path, "192.0.2.0/28")
        await said.until("serviceUpdated", service="default/web", ip=["192.0.2.0"])
    assert [line["event"] for line in said.lines] == ["configStale", "configLoaded", "ipAllocated", "serviceUpdated"]


async def test_without_a_configuration_nothing_is_given_and_it_is_said(tmp_path: Path) -> None:
    replace(tmp_path / "web.yaml", service("web"))
    async with controlling(tmp_path) as said:
        assert "write the ConfigMap metallb-system/config" in (await said.until("noConfig"))["error"]
        configure(tmp_path, "192.0.2.0/28")
        await said.until("serviceUpdated")


async def test_of_very_many_mistakes_the_first_are_told_and_the_others_counted(tmp_path: Path) -> None:
    replace(tmp_path / "bad.yaml", "---\n".join("apiVersion: v1\nkind: Node\nmetadata: {}\n" for _ in range(50)))
    async with controlling(tmp_path) as said:
        assert (await said.until("configStale", hint="see `starling check`"))["error"] == "and 30 more"
        assert len(said.lines) == 21


async def test_only_services_of_its_class_are_served(tmp_path: Path) -> None:
    configure(tmp_path, "192.0.2.0/28")
    replace(tmp_path / "a.yaml", service("a"))
    replace(tmp_path / "b.yaml", service("b", spec="loadBalancerClass: mine, ports: [{port: 80}]"))
    async with controlling(tmp_path, "mine") as said:
        await said.until("serviceUpdated")
        assert written(tmp_path) == {"b": ["192.0.2.0"]}


@pytest.mark.slow
async def test_a_status_that_cannot_be_written_is_said_and_said_to_be_over(tmp_path: Path) -> None:
    configure(tmp_path, "192.0.2.0/28")
    replace(tmp_path / "web.yaml", service("web"))
    (tmp_path / "status" / "default.web.yaml").mkdir(parents=True)
    async with controlling(tmp_path) as said:
        line = await said.until("sourceFailed")
        assert line["error"] == "the status of default/web cannot be written: Is a directory"
        assert line["hint"] == "take the folder of that name away; it is tried again"
        (tmp_path / "status" / "default.web.yaml").rmdir()
        await said.until("sourceRestored")
        assert written(tmp_path) == {"web": ["192.0.2.0"]}


async def test_addresses_are_kept_over_restarts_even_if_lower_ones_are_free(tmp_path: Path) -> None:
    configure(tmp_path, "192.0.2.0/28")
    for name in "abc":
        replace(tmp_path / f"{name}.yaml", service(name))
    async with controlling(tmp_path) as said:
        await said.until("serviceUpdated", service="default/c")
    (tmp_path / "a.yaml").unlink()
    replace(tmp_path / "0.yaml", service("a0"))
    async with controlling(tmp_path) as said:
        await said.until("serviceUpdated", service="default/a0")
        assert written(tmp_path) == {"a0": ["192.0.2.0"], "b": ["192.0.2.1"], "c": ["192.0.2.2"]}


# ---- the process


@contextmanager
def running(folder: Path, *arguments: str, **options: Any) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-P", "-m", "starling", "controller", "--source", str(folder), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd="/", env=environment, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: "subprocess.Popen[bytes]", event: str, **fields: object) -> Any:
    assert process.stdout
    for line in process.stdout:
        record = json.loads(line)
        if record["event"] == event and fields.items() <= record.items():
            return record
    raise AssertionError(f"it ended before {event}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.slow
def test_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    configure(tmp_path, "192.0.2.0/28")
    replace(tmp_path / "web.yaml", service("web"))
    with running(tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        read_until(process, "serviceUpdated")
        process.send_signal(number)
        _, errors = process.communicate(timeout=DEADLINE)
    assert (process.returncode, errors) == (0, b"")


@pytest.mark.slow
def test_a_second_one_is_refused(tmp_path: Path) -> None:
    configure(tmp_path, "192.0.2.0/28")
    replace(tmp_path / "web.yaml", service("web"))
    with running(tmp_path, stdout=subprocess.PIPE) as first:
        read_until(first, "configLoaded")
        with running(tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as second:
            output, errors = second.communicate(timeout=DEADLINE)
        first.terminate()
    assert (second.returncode, output) == (3, b"")
    assert errors.decode() == (
        f"starling controller: another controller writes the statuses of {tmp_path}; stop it, or use another folder\n"
    )


def kill_in_the_middle(process: "subprocess.Popen[bytes]", statuses: Path, changes: int) -> None:
    """Kill it when it has written this many new files."""
    before, deadline = set(os.listdir(statuses)), time.monotonic() + DEADLINE
    while len({name for name in os.listdir(statuses) if name[0] != "."} - before) < changes:
        assert time.monotonic() < deadline
    process.kill()


@pytest.mark.slow
def test_whoever_has_an_address_keeps_it_through_sudden_deaths(tmp_path: Path) -> None:
    """Killed in the middle of its work again and again, while services come, go and move."""
    chance = random.Random(20)
    folder = tmp_path / "manifests"
    (folder / "status").mkdir(parents=True)
    configure(folder, "192.0.2.0-192.0.2.150")
    alive: list[str] = []
    before: dict[str, list[str]] = {}
    deaths_at_work = 0
    for turn in range(12):
        new = [f"s{turn}-{number}" for number in range(20)]
        for name in new:
            replace(folder / f"{name}.yaml", service(name))
        alive += new
        for _ in range(chance.randint(5, 15)):
            (folder / f"{alive.pop(chance.randrange(len(alive)))}.yaml").unlink()
        with running(folder, stdout=subprocess.DEVNULL) as process:
            kill_in_the_middle(process, folder / "status", chance.randint(1, len(set(alive) - set(before))))
        after = written(folder)
        deaths_at_work += not set(alive) <= set(after)
        owners = Counter(address for addresses in after.values() for address in addresses)
        assert [address for address, number in owners.items() if number > 1] == []
        kept = {name: addresses for name, addresses in before.items() if name in alive and addresses}
        assert {name: after.get(name) for name in kept} == kept
        before = after
    assert deaths_at_work >= 6, "hardly ever killed in the middle"
    with running(folder, "--once", stderr=subprocess.DEVNULL) as process:
        assert process.wait(DEADLINE) in (0, 1)
    assert sorted(written(folder)) == sorted(alive)
    assert [path.name for path in (folder / "status").iterdir() if path.name.startswith(".")] == []
