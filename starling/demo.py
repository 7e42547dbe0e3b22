"""`starling demo`: a ring of real processes on this machine, one of which is killed or stopped, and who notices when.

Rules: members are `starling ring agent` processes on loopback, told apart by name only; nothing else on the machine
is touched, and all of them are ended by their own process id whatever happens. The times are the members' own, from
the events that they print.
"""

import json
import math
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any, Final

import click
import trio

from starling.cli import EXIT_UNAVAILABLE

PROFILE: Final = "lan"
START_DEADLINE: Final = 60.0
"""Seconds for all members to know each other."""
FOUND_DEADLINE: Final = 60.0
"""Seconds for all survivors to reach their verdict."""
MAX_LINE: Final = 64 * 1024

FAULTS: Final = {"kill": (signal.SIGKILL, "failed"), "stop": (signal.SIGTERM, "left")}
"""What is done to a member -> the signal, and the event that the others then print."""


@dataclass(frozen=True, slots=True)
class Report:
    """One line that a member printed."""

    by: str
    at: float
    event: str
    member: str


@dataclass(slots=True)
class Agent:
    """A member's process; `port` is 0 until it has told where it listens."""

    name: str
    port: int = 0
    process: trio.Process | None = None


@dataclass(slots=True)
class Round:
    """What came of one fault: after how many milliseconds each survivor had its verdict."""

    member: str
    found_ms: dict[str, float] = field(default_factory=dict)

    @property
    def last_ms(self) -> float:
        """When the last survivor knew."""
        return max(self.found_ms.values())

    def as_json(self) -> dict[str, Any]:
        """The object in `rounds`."""
        return {"member": self.member, "found_ms": self.found_ms, "last_ms": self.last_ms}


class DemoError(Exception):
    """The demonstration could not be held; the text says why."""


class Stage:
    """The members, and what they report."""

    def __init__(self, nursery: trio.Nursery, folder: str, say: Callable[[str], None], names: list[str]) -> None:
        self._folder = folder
        self.agents = {name: Agent(name) for name in names}
        self._nursery = nursery
        self._say = say
        self._began = time.time()
        self._reports_in, self._reports = trio.open_memory_channel[Report](math.inf)
        self._live: dict[str, list[str]] = {name: [] for name in names}

    def tell(self, at: float, text: str) -> None:
        """One line of the story, with the time since it began."""
        self._say(f"{at - self._began:7.2f} s  {text}")

    async def start(self, name: str) -> None:
        """Start a member and wait until it listens. Its first port is any free one; it keeps that for its next
        life."""
        agent = self.agents[name]
        seeds = [f"127.0.0.1:{other.port}" for other in self.agents.values() if other is not agent and other.port]
        command = [sys.executable, "-P", "-m", "starling", "ring", "agent", "--json", "--name", name]
        command += ["--bind", f"127.0.0.1:{agent.port}", "--profile", PROFILE, "--api", f"{self._folder}/{name}.sock"]
        command += [word for seed in seeds[:1] for word in ("--join", seed)]
        self._live[name] = []
        agent.process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
        listening = trio.Event()
        self._nursery.start_soon(self._read, agent, agent.process, listening)
        await listening.wait()

    async def _read(self, agent: Agent, process: trio.Process, listening: trio.Event) -> None:
        """Pass on what a member prints, line by line, until it ends."""
        assert process.stdout is not None
        rest = b""
        async for chunk in process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                notice = json.loads(line)
                if notice["event"] == "listening":
                    agent.port = notice["port"]
                    listening.set()
                else:
                    self._reports_in.send_nowait(
                        Report(agent.name, notice["at"], notice["event"], notice["member"] or "")
                    )
            if len(rest) > MAX_LINE:
                raise DemoError(f"{agent.name} printed a line of more than {MAX_LINE} bytes")
        if not listening.is_set():
            raise DemoError(f"{agent.name} ended before it listened; its reason stands above")

    async def next_report(self) -> Report:
        """The next thing a member says; who knows whom is kept along the way."""
        report = await self._reports.receive()
        known = self._live[report.by]
        if report.event == "joined" and report.member not in known:
            known.append(report.member)
        elif report.event in ("failed", "left") and report.member in known:
            known.remove(report.member)
        return report

    async def wait_until_all_know_each_other(self) -> float:
        """Read on until every member lists every other; gives the time of the report that made it so."""
        at = time.time()
        while any(len(known) < len(self.agents) for known in self._live.values()):
            at = (await self.next_report()).at
        return at

    async def strike(self, name: str, fault: str) -> Round:
        """Do a fault to a member and wait for the verdict of every other."""
        number, verdict = FAULTS[fault]
        process = self.agents[name].process
        assert process is not None
        struck_at = time.time()
        process.send_signal(number)
        self.tell(struck_at, f"{fault} {name} ({number.name} to process {process.pid})")
        outcome = Round(name)
        while len(outcome.found_ms) < len(self.agents) - 1:
            report = await self.next_report()
            if report.member != name or report.by == name or report.at < struck_at:
                continue
            if report.event == "suspected":
                self.tell(report.at, f"{report.by} suspects {name}")
            elif report.event == verdict:
                outcome.found_ms[report.by] = round(1000 * (report.at - struck_at), 1)
                self.tell(report.at, f"{report.by} knows that {name} has {verdict}")
        await process.wait()
        return outcome

    def end(self) -> None:
        """End every process that is left."""
        for agent in self.agents.values():
            if agent.process is not None and agent.process.poll() is None:
                agent.process.kill()


@asynccontextmanager
async def _open_stage(say: Callable[[str], None], names: list[str]) -> AsyncIterator[Stage]:
    with TemporaryDirectory(prefix="starling-") as folder:
        async with trio.open_nursery() as nursery:
            stage = Stage(nursery, folder, say, names)
            try:
                yield stage
            finally:
                stage.end()
            nursery.cancel_scope.cancel()


async def hold(nodes: int, fault: str, rounds: int, say: Callable[[str], None]) -> list[Round]:
    """The whole story. Raises :class:`DemoError` when the ring does not form, or a fault goes unnoticed."""
    names = [f"n{number}" for number in range(1, nodes + 1)]
    outcomes: list[Round] = []
    async with _open_stage(say, names) as stage:
        with _within(START_DEADLINE, "the members did not all find each other"):
            for name in names:
                await stage.start(name)
            stage.tell(
                await stage.wait_until_all_know_each_other(), f"{nodes} members know each other: {', '.join(names)}"
            )
        for number in range(rounds):
            victim = names[(nodes // 2 + number) % nodes]
            with _within(FOUND_DEADLINE, f"not everybody noticed that {victim} is gone"):
                outcomes.append(await stage.strike(victim, fault))
            if number + 1 < rounds:
                with _within(START_DEADLINE, f"{victim} did not come back"):
                    await stage.start(victim)
                    stage.tell(await stage.wait_until_all_know_each_other(), f"{victim} is back, and everybody knows")
    return outcomes


@contextmanager
def _within(seconds: float, otherwise: str) -> Iterator[None]:
    """A time limit whose passing is a :class:`DemoError` with a reason."""
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError as exc:
        raise DemoError(f"{otherwise} within {seconds:g} s") from exc


def as_json(nodes: int, fault: str, outcomes: list[Round]) -> dict[str, Any]:
    """What `--json` prints last."""
    found = [ms for outcome in outcomes for ms in outcome.found_ms.values()]
    return {
        "schema": 1,
        "nodes": nodes,
        "fault": fault,
        "rounds": [outcome.as_json() for outcome in outcomes],
        "median_ms": round(statistics.median(found), 1),
        "worst_ms": max(found),
    }


@click.command()
@click.option("--nodes", type=click.IntRange(2, 20), default=5, show_default=True, help="Members of the ring.")
@click.option("--rounds", type=click.IntRange(1, 100), default=1, show_default=True, help="Faults, one after another.")
@click.option(
    "--fault",
    type=click.Choice(list(FAULTS)),
    default="kill",
    show_default=True,
    help="kill: SIGKILL, the others must find out. stop: SIGTERM, the member says goodbye.",
)
@click.option("--json", "with_json", is_flag=True, help="Print one object at the end, and nothing else on stdout.")
def demo(nodes: int, rounds: int, fault: str, with_json: bool) -> None:
    """A ring of real processes on loopback, one of which is killed; who notices when."""
    try:
        outcomes = trio.run(hold, nodes, fault, rounds, lambda line: click.echo(line, err=with_json))
    except* DemoError as group:
        raise click.exceptions.Exit(_refuse(group)) from None
    result = as_json(nodes, fault, outcomes)
    if with_json:
        click.echo(json.dumps(result))
    else:
        click.echo(
            f"Every survivor knew after {result['median_ms'] / 1000:.2f} s (median of {nodes - 1} x {rounds}), "
            f"the last after {result['worst_ms'] / 1000:.2f} s."
        )


def _refuse(group: BaseExceptionGroup[DemoError]) -> int:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            _refuse(error)
        else:
            click.echo(f"starling demo: {error}", err=True)
    return EXIT_UNAVAILABLE
