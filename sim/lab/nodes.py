"""A whole cluster in a lab: on each node a speaker and a workload, one controller, and two hosts that ask.

Rules kept here:

* Everything that is written is below one folder: the manifests (a copy), statuses, sockets, states and what each
  program printed.
* Speakers and controller are the commands that users run, with the options that users give.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from cluster.folder import find_files, read_files
from cluster.folder_source import STATUS_FOLDER, FolderSource
from cluster.manifests import read_manifests
from cluster.model import Snapshot
from sim.lab import service
from sim.lab.addresses import INTERFACE
from sim.lab.errors import LabError
from sim.lab.lan import Host, Lan, open_lan
from sim.lab.plan import CLIENT, Plan, plan_of
from sim.lab.processes import Program, start

MANIFESTS: Final = "manifests"
"""The copy that the cluster reads, in the lab's folder; statuses are written into it."""
PACKAGES: Final = Path(__file__).resolve().parent.parent.parent
"""Where the packages are imported from, here and in every program of the lab."""
MAX_SEEDS: Final = 3
"""Other nodes that a speaker is told to join; the first that answers is enough."""
ASSIGN_TIMEOUT: Final = 60.0
"""Seconds for the controller to give every service its address."""
STOP_TIMEOUT: Final = 10.0
"""Seconds that a restart waits for an orderly end before it kills."""


@dataclass(slots=True)
class Node:
    """A host and what runs on it."""

    host: Host
    command: list[str]
    """Its speaker's."""
    speaker: Program
    workload: Program

    @property
    def name(self) -> str:
        """The node's, and its host's."""
        return self.host.name


@dataclass(slots=True)
class Lab:
    """A cluster that runs."""

    lan: Lan
    folder: Path
    plan: Plan
    controller: Program = field(init=False)
    nodes: dict[str, Node] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    """Service -> the address that the controller gave it."""
    _started: list[Program] = field(default_factory=list)

    def api(self, node: str) -> Path:
        """The socket of a node's speaker."""
        return self.folder / f"{node}.sock"

    async def start(self, host: str, name: str, command: list[str]) -> Program:
        """Start a program on a host, its output in the lab's folder."""
        program = await start(self.lan, host, name, command, self.folder, environment())
        self._started.append(program)
        return program

    def close(self) -> None:
        """Watch no program any longer."""
        for program in self._started:
            program.close()

    async def restart(self, name: str) -> None:
        """Start a node's speaker again; one that still runs is asked to end, and killed if it does not."""
        node = self.nodes[name]
        node.speaker.ask_to_stop()
        with trio.move_on_after(STOP_TIMEOUT):
            await node.speaker.wait()
        node.speaker.kill()
        await node.speaker.wait()
        node.speaker = await self.start(name, f"speaker-{name}", node.command)

    def last_words(self) -> str:
        """What the programs said last on standard error, those that said anything."""
        programs = [self.controller, *(node.speaker for node in self.nodes.values())]
        return "; ".join(f"{program.name}: {words}" for program in programs if (words := program.last_words()))

    async def while_all_run(self, waiting: Callable[[], Awaitable[None]]) -> None:
        """Wait for something that needs every program. Raises LabError as soon as one ends."""
        programs = [self.controller, *(node.speaker for node in self.nodes.values())]
        ended: list[Program] = []
        async with trio.open_nursery() as nursery:

            async def watch(program: Program) -> None:
                await program.wait()
                ended.append(program)
                nursery.cancel_scope.cancel()

            for program in programs:
                nursery.start_soon(watch, program)
            await waiting()
            nursery.cancel_scope.cancel()
        if ended:
            raise LabError(f"{ended[0].name} ended: {ended[0].last_words() or 'it said nothing'}")

    async def wait_assigned(self) -> None:
        """Wait until every planned service has its address. Raises LabError when that takes too long."""
        source = FolderSource(str(self.folder / MANIFESTS))
        wanted = [service.name for service in self.plan.services]
        with trio.move_on_after(ASSIGN_TIMEOUT):
            async with aclosing(source.snapshots()) as readings:
                async for reading in readings:
                    self.addresses = assigned(reading.snapshot or Snapshot(), wanted)
                    if len(self.addresses) == len(wanted):
                        return
        missing = ", ".join(name for name in wanted if name not in self.addresses)
        raise LabError(f"no address for {missing} within {ASSIGN_TIMEOUT:g} s; {self.last_words()}")


@dataclass(frozen=True, slots=True)
class Commands:
    """What is run: from the plan and the lab's folder (and a node's name) to an argument list."""

    speaker: Callable[[Plan, Path, str], list[str]]
    controller: Callable[[Plan, Path], list[str]]


def starling(profile: str = "lan") -> Commands:
    """The commands that users run, the ring with these timings."""

    def speaker(plan: Plan, folder: Path, name: str) -> list[str]:
        seeds = [str(interface.ip) for node, interface in plan.nodes.items() if node != name][:MAX_SEEDS]
        return python(
            *("starling", "speaker", "--node", name, "--source", str(folder / MANIFESTS)),
            *("--bind", str(plan.nodes[name].ip), *(word for seed in seeds for word in ("--join", seed))),
            *("--interface", INTERFACE, "--local-address", "--profile", profile),
            *("--api", str(folder / f"{name}.sock"), "--state", str(folder / f"state-{name}")),
        )

    def controller(plan: Plan, folder: Path) -> list[str]:
        return python("starling", "controller", "--source", str(folder / MANIFESTS))

    return Commands(speaker, controller)


def read_plan(folder: Path) -> Plan:
    """The lab that a folder of manifests describes. Raises LabError with what is wrong in it."""
    files = read_files([str(folder)])
    reading = read_manifests(files.read)
    wrong = [f"{entry.path}: {entry.reason}" for entry in files.unreadable] + [str(one) for one in reading.problems]
    if wrong:
        raise LabError("\n".join(wrong))
    return plan_of(reading.snapshot)


def copy_manifests(source: Path, folder: Path) -> None:
    """Copy the files that count as manifests, flat; statuses that stand beside them are not. Raises LabError."""
    found = find_files([str(source)], without=str(source / STATUS_FOLDER))
    files = read_files(path for path, _ in found.found)
    if wrong := found.unreadable + files.unreadable:
        raise LabError("\n".join(f"{entry.path}: {entry.reason}" for entry in wrong))
    write_manifests({f"{number:04}-{Path(path).name}": data for number, (path, data) in enumerate(files.read)}, folder)


def write_manifests(texts: dict[str, bytes], folder: Path) -> None:
    """Write manifests into a lab's folder."""
    target = folder / MANIFESTS
    target.mkdir(parents=True)
    for name, data in texts.items():
        (target / name).write_bytes(data)


def assigned(snapshot: Snapshot, services: Iterable[str]) -> dict[str, str]:
    """The first IPv4 address of each of these services that has one."""
    ingress = {str(service.name): service.ingress for service in snapshot.services}
    found = {name: next((str(one) for one in ingress.get(name, ()) if one.version == 4), None) for name in services}
    return {name: address for name, address in found.items() if address is not None}


def python(module: str, *words: str) -> list[str]:
    """This interpreter with a module of ours."""
    return [sys.executable, "-P", "-m", module, *words]


def environment() -> dict[str, str]:
    """What makes the packages found there that are running here."""
    path = os.pathsep.join(filter(None, (str(PACKAGES), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


@asynccontextmanager
async def open_lab(folder: Path, commands: Commands) -> AsyncIterator[Lab]:
    """A cluster of what the folder's manifests say, started; it need not have settled. Raises LabError."""
    plan = read_plan(folder / MANIFESTS)
    async with open_lan({**plan.nodes, **plan.askers}) as lan:
        lab = Lab(lan, folder, plan)
        with closing(lab):
            lab.controller = await lab.start(CLIENT, "controller", commands.controller(plan, folder))
            for name in plan.nodes:
                ports = [str(port) for port in plan.ports]
                workload = await lab.start(name, f"workload-{name}", python(service.__name__, name, *ports))
                command = commands.speaker(plan, folder, name)
                speaker = await lab.start(name, f"speaker-{name}", command)
                lab.nodes[name] = Node(lan.hosts[name], command, speaker, workload)
            yield lab
