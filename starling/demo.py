"""`starling demo`: a cluster on this machine, an address, a client; its owner's cable is cut, and the address moves.

Rules kept here:

* Everything is real: the speakers and the controller that users run, a bridge, cables, ARP, a web client. Only the
  machines are network namespaces. Nothing else on this machine is touched, and nothing is left.
* The outage is what the client measured, whatever it is.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import trio

from sim.lab.clients import Clients
from sim.lab.endings import refusing, until_signalled
from sim.lab.errors import LabError
from sim.lab.faults import NODE_ACTIONS
from sim.lab.folders import open_folder
from sim.lab.namespaces import run
from sim.lab.nodes import Lab, environment, open_lab, python, starling, write_manifests
from sim.lab.plan import render_manifests
from sim.lab.record import ANSWER_TIMEOUT, Ask, silences
from starling.scene import NodeSeen, Scene

SERVICE: Final = "hostnames"
POOL: Final = ("10.225.28.229-10.225.28.229", "10.225.28.239-10.225.28.239")
"""As in examples/hostnames."""
EVERY: Final = {"udp": 0.005, "arp": 0.01, "http": 0.2}
"""Kind of question -> seconds between two of them."""
MOVE_TIMEOUT: Final = 60.0
"""Seconds for another node to take the address, and for a node to come back."""
SETTLED: Final = ANSWER_TIMEOUT + 0.5
"""Seconds for which one node has to answer before a move is over: what became of every question is known then."""
LOOK_EVERY: Final = 0.3
"""Seconds between two looks at who is in the ring."""
FRAMES: Final = 0.1
"""Seconds between two frames of the live view."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done to the owner, how it is undone, and what shows it."""

    do: str
    undo: str
    """Verbs, as in scenario files."""
    done: str
    undone: str
    """The same for people."""
    kinds: tuple[str, ...]
    """Kinds of question of which the worst outage counts: udp is a client that knows the address, arp a new one."""
    speaker: str = "runs"
    """The speaker's state in between."""
    has_cable: bool = True


AGAIN: Final = "the speaker of {} is started again"
FAULTS: Final = {
    "cut": Fault("cut", "mend", "the cable of {} is cut", "the cable of {} is back", ("udp",), has_cable=False),
    "kill": Fault("kill", "restart", "the speaker of {} is killed", AGAIN, ("udp", "arp"), "killed"),
    "stop": Fault("stop", "restart", "the speaker of {} is told to stop", AGAIN, ("udp", "arp"), "stopped"),
}


@dataclass(frozen=True, slots=True)
class Round:
    """What came of one fault."""

    outage_ms: float
    before: str
    after: str
    lost: int
    """Datagrams of the client without an answer."""
    failed_requests: int
    """Requests over HTTP without an answer."""

    def as_json(self) -> dict[str, Any]:
        """The object in `rounds`."""
        return {
            "outage_ms": self.outage_ms,
            "from": self.before,
            "to": self.after,
            "lost": self.lost,
            "failed_requests": self.failed_requests,
        }


@dataclass(slots=True)
class Stage:
    """The lab, who looks on, and what is shown of it."""

    lab: Lab
    clients: Clients
    scene: Scene
    say: Callable[[str], None]
    service: str = f"default/{SERVICE}"
    rounds: list[Round] = field(default_factory=list)

    def tell(self, text: str, at: float | None = None) -> None:
        """One line of the story."""
        self.say(self.scene.tell(time.monotonic() if at is None else at, text))

    def is_held(self, since: float, by: Callable[[str], bool]) -> bool:
        """Whether both clients are answered by one node, a certain one, for long enough, and have been since."""
        known, new = (self.clients.sight(kind, self.service) for kind in ("udp", "arp"))
        if known is None or new is None or known.by != new.by or len(known.by) != 1 or not by(known.by[0]):
            return False
        begins_at = max(since, known.since, new.since)
        return min(known.at, new.at) >= begins_at + SETTLED

    async def strike(self, fault: Fault) -> Round:
        """Do a fault to the owner and wait until another node has the address."""
        before = self.clients.owner(self.service)
        if before is None:
            raise LabError(f"nobody has {self.scene.address} now")
        at = time.monotonic()
        await NODE_ACTIONS[fault.do](self.lab, before)
        node = self.scene.node(before)
        node.has_cable, node.speaker = fault.has_cable, fault.speaker
        self.tell(fault.done.format(before), at)
        with within(MOVE_TIMEOUT, f"nobody took {self.scene.address} from {before}"):
            await self.clients.wait_for(partial(self.is_held, at, lambda name: name != before))
        after = self.clients.owner(self.service) or ""
        outage = max(longest(self.asked(kind, at)) for kind in fault.kinds)
        lost, failed = (lost_of(self.asked(kind, at)) for kind in ("udp", "http"))
        outcome = Round(round(1000 * outage, 1), before, after, lost, failed)
        self.rounds.append(outcome)
        taken = self.clients.sight("udp", self.service)
        self.tell(f"{self.scene.address} moved to {after} in {outage_text(outage)}", taken.since if taken else None)
        return outcome

    async def undo(self, fault: Fault, name: str) -> None:
        """Bring a node back and wait until everybody knows and the address has settled."""
        at = time.monotonic()
        await NODE_ACTIONS[fault.undo](self.lab, name)
        node = self.scene.node(name)
        node.has_cable, node.speaker = True, "runs"
        self.tell(fault.undone.format(name), at)
        with within(MOVE_TIMEOUT, f"{name} did not come back"):
            await self._wait_known(name)
            await self.clients.wait_for(partial(self.is_held, time.monotonic(), lambda name: True))
        lost = lost_of(self.asked("udp", at))
        self.tell(f"{name} is back in the ring")
        self.tell(f"{self.clients.owner(self.service)} answers; {lost or 'no'} datagrams were lost on the way back")

    def asked(self, kind: str, since: float) -> list[Ask]:
        """The questions from an instant on."""
        asks = self.clients.asks[kind][self.service]
        return sorted((ask for ask in asks if ask.asked_at >= since), key=lambda ask: ask.asked_at)

    async def _wait_known(self, name: str) -> None:
        """Wait until a node's speaker lists every node as alive."""
        words = python("starling", "ring", "members", "--api", str(self.lab.api(name)), "--json")
        while True:
            with suppress(LabError, ValueError):  # it does not listen yet
                members = json.loads(await run((), *words, environment=environment()))
                if [member["state"] for member in members].count("alive") == len(self.lab.nodes):
                    return
            await trio.sleep(LOOK_EVERY)

    def heard(self, kind: str, service: str, ask: Ask) -> None:
        """What a meter told goes into the scene."""
        if service != self.service:
            return
        if kind == "http" and (ask.by or self.scene.beats):
            self.scene.beat(ask.asked_at, ask.by[0] if ask.by else "")
        elif kind == "arp" and ask.by:
            self.scene.owners = ask.by
        elif kind == "udp" and ask.answered_at is not None:
            self.scene.answer(ask.answered_at)


def longest(asks: list[Ask]) -> float:
    """The longest silence among questions, in seconds."""
    return max((silence.lasts(asks[-1].asked_at) for silence in silences(asks)), default=0.0)


def outage_text(seconds: float) -> str:
    """An outage for people, in whole milliseconds."""
    return f"{1000 * seconds:.0f} ms"


def lost_of(asks: list[Ask]) -> int:
    """How many questions had no answer."""
    return sum(ask.answered_at is None for ask in asks)


@contextmanager
def within(seconds: float, otherwise: str) -> Iterator[None]:
    """A time limit whose passing is a LabError with a reason."""
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError as exc:
        raise LabError(f"{otherwise} within {seconds:g} s") from exc


@asynccontextmanager
async def open_stage(folder: Path, nodes: int, scene: Scene, say: Callable[[str], None]) -> AsyncIterator[Stage]:
    """The cluster, settled, and its clients."""
    names = [f"rain-kubernetes-{number}" for number in range(1, nodes + 1)]
    texts = render_manifests(names, [SERVICE], POOL)
    write_manifests({name: text.encode() for name, text in texts.items()}, folder)
    async with open_lab(folder, starling()) as lab, trio.open_nursery() as nursery:
        scene.nodes = [NodeSeen(name, node.host.address) for name, node in lab.nodes.items()]
        say(scene.tell(time.monotonic(), f"{nodes} speakers, a controller and a client are started"))
        await lab.while_all_run(lab.wait_assigned)
        stage = Stage(lab, Clients(lab), scene, say)
        stage.clients.heard = stage.heard
        scene.service, scene.address = stage.service, lab.addresses[stage.service]
        stage.tell(f"the controller gave {stage.service} the address {scene.address}")
        for kind, every in EVERY.items():
            await stage.clients.ask(kind, every, nursery)
        await lab.while_all_run(stage.clients.wait_settled)
        await stage.clients.wait_for(partial(stage.is_held, 0.0, lambda name: True))
        stage.tell(f"{stage.clients.owner(stage.service)} answers; the client asks every {1000 * EVERY['udp']:g} ms")
        try:
            yield stage
        finally:
            scene.ended_at = time.monotonic()
        nursery.cancel_scope.cancel()


async def hold(
    folder: Path, nodes: int, fault: str, rounds: int, scene: Scene, say: Callable[[str], None]
) -> list[Round]:
    """The whole story. Raises LabError when it cannot be told here."""
    async with open_stage(folder, nodes, scene, say) as stage:
        for _ in range(rounds):
            outcome = await stage.strike(FAULTS[fault])
            await stage.undo(FAULTS[fault], outcome.before)
        return stage.rounds


def as_json(address: str, nodes: int, fault: str, outcomes: list[Round]) -> dict[str, Any]:
    """What `--json` prints last."""
    outages = [outcome.outage_ms for outcome in outcomes]
    return {
        "schema": 1,
        "address": address,
        "nodes": nodes,
        "fault": fault,
        "rounds": [outcome.as_json() for outcome in outcomes],
        "median_ms": round(statistics.median(outages), 1),
        "worst_ms": max(outages),
    }


@click.command()
@click.option("--nodes", type=click.IntRange(2, 20), default=3, show_default=True, help="Machines of the cluster.")
@click.option("--rounds", type=click.IntRange(1, 100), default=1, show_default=True, help="Faults, one after another.")
@click.option(
    "--fault",
    type=click.Choice(list(FAULTS)),
    default="cut",
    show_default=True,
    help="What the owner suffers. cut: its cable; kill: its speaker, by SIGKILL; stop: its speaker, in good order.",
)
@click.option("--json", "with_json", is_flag=True, help="Print one object at the end, and nothing else on stdout.")
@click.option("--plain", is_flag=True, help="Lines instead of the live view, on a terminal too.")
@click.option("--picture", type=click.Path(dir_okay=False, path_type=Path), help="Write the last view as SVG.")
def demo(nodes: int, rounds: int, fault: str, with_json: bool, plain: bool, picture: Path | None) -> None:
    """A cluster on this machine: a node loses its cable, and its address moves to another.

    Three nodes as in examples/hostnames, each with a speaker; a client that fetches the service's address and measures
    how long nobody answers. Needs root, or user namespaces; nothing is left on the machine.
    """
    scene = Scene(time.monotonic())
    is_live = sys.stdout.isatty() and not (plain or with_json)
    outcomes: list[Round] = []

    def say(line: str) -> None:
        if not is_live:
            click.echo(line, err=with_json)

    async def tell_it(folder: Path) -> None:
        async with AsyncExitStack() as stack:
            if is_live:
                await stack.enter_async_context(shown_live(scene))
            outcomes.extend(await hold(folder, nodes, fault, rounds, scene, say))

    with refusing("demo"), open_folder("demo") as folder:
        trio.run(until_signalled, partial(tell_it, folder))
    if picture is not None:
        from starling.screen import picture as render

        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_text(render(scene, time.monotonic()))
    result = as_json(scene.address, nodes, fault, outcomes)
    if with_json:
        click.echo(json.dumps(result))
        return
    for outcome in outcomes:
        text = outage_text(outcome.outage_ms / 1000)
        click.echo(f"{scene.address} moved from {outcome.before} to {outcome.after} in {text}")
    if rounds > 1:
        click.echo(f"median {result['median_ms']:.0f} ms, worst {result['worst_ms']:.0f} ms")


@asynccontextmanager
async def shown_live(scene: Scene) -> AsyncIterator[None]:
    """A live view while it lasts; its last frame stays."""
    from rich.live import Live

    from starling.screen import draw

    with Live(auto_refresh=False) as live:
        async with trio.open_nursery() as nursery:

            async def refresh() -> None:
                while True:
                    live.update(draw(scene, time.monotonic()), refresh=True)
                    await trio.sleep(FRAMES)

            nursery.start_soon(refresh)
            yield
            nursery.cancel_scope.cancel()
        live.update(draw(scene, time.monotonic()), refresh=True)
