"""Speakers as their users start them, in namespaces: what a start costs, and how soon moved addresses are announced."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from sim.lab.nodes import Lab, starling
from tests.bench.measuring import RUNS, Row
from tests.e2e.clusters import MANY, cluster, many
from tests.e2e.recorder import Recorder, record
from tests.e2e.speakers import at_of, eventually
from tests.e2e.stage import Stage, open_stage
from tests.interop.programs import GoPeer

TICKS = os.sysconf("SC_CLK_TCK")
WITHIN = 60.0


async def measure(peer: GoPeer | None) -> AsyncIterator[Row]:
    """Nothing of memberlist's compares with it. Needs root."""
    with tempfile.TemporaryDirectory() as folder, open_stage(Path(folder), cluster(2, 1), starling("lan")) as stage:
        await stage_ready(stage)
        yield Row("speaker, CPU from exec to the first ring ack", [await start(stage) for _ in range(RUNS)])
    with tempfile.TemporaryDirectory() as folder, open_stage(Path(folder), many(), starling("lan")) as stage:
        await stage_ready(stage)
        async with record(stage.observer) as (observer,):
            rounds = [await take_over(stage, observer) for _ in range(RUNS)]
    what = f"{MANY} addresses on 5 nodes, one leaves: from hearing it to the"
    yield Row(f"{what} first frame", [first for first, _ in rounds])
    yield Row(f"{what} last moved address's first frame", [last for _, last in rounds])


async def stage_ready(stage: Stage) -> None:
    """Return when every address is where it belongs."""
    async with record(stage.observer) as (observer,):
        await stage.settled(observer, {address: stage.winner(address) for address in stage.addresses}, WITHIN)


async def start(stage: Stage) -> float:
    """CPU seconds of the fast process, the reading of options included, when its first ping has been answered."""
    name = stage.nodes[-1]
    await stage.lab.restart(name)
    await eventually(lambda: is_answered(stage.lab, name), WITHIN)
    return cpu_seconds(stage.lab.nodes[name].speaker.pid)


def cpu_seconds(pid: int) -> float:
    """What a process has used so far, those not counted that it started."""
    fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def is_answered(lab: Lab, name: str) -> bool:
    """Whether a member has answered a ping of this node."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
        try:
            asked.connect(str(lab.api(name)))
        except OSError:
            return False
        asked.sendall(b'{"do": "info"}\n')
        told = json.loads(asked.makefile("rb").readline())
    return bool(told["result"]["statistics"]["probes_answered"])


async def take_over(stage: Stage, observer: Recorder) -> tuple[float, float]:
    """Seconds from when the heirs heard that a node leaves to the first frame of an heir, and to the first frame of the
    last address that moved; of several heirs the worst."""
    goer = max(stage.nodes, key=lambda node: len(stage.owned_by(node)))
    rest = [node for node in stage.nodes if node != goer]
    heirs = {address: stage.winner(address, rest) for address in stage.owned_by(goer)}
    since = len(observer.frames)
    stage.stop(goer)
    heard = {node: at_of(await stage.speakers.logged(node, "memberLeft", member=goer)) for node in rest}
    await stage.settled(observer, {address: stage.winner(address, rest) for address in stage.addresses}, WITHIN)
    waits: dict[str, list[float]] = {}
    for address, heir in heirs.items():
        frames = [one.at for one in observer.announcements(address, since) if one.ether.src == stage.mac(heir)]
        waits.setdefault(heir, []).append(min(frames) - heard[heir])
    await stage.tidy()
    await stage.settled(observer, {address: stage.winner(address) for address in stage.addresses}, WITHIN)
    return max(map(min, waits.values())), max(map(max, waits.values()))
