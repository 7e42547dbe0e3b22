"""Programs, the workload and the meters on a LAN, with an address put on a host by hand in place of a speaker."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio

from sim.lab.addresses import number_hosts
from sim.lab.lan import Lan, open_lan
from sim.lab.namespaces import run
from sim.lab.processes import Program, descendants, parents, start
from sim.lab.record import ANSWER_TIMEOUT, Ask, by_target, read_line, silences, tenures
from tests.sim.lab.helpers import eventually
from tests.tree import ROOT

pytestmark = [pytest.mark.needs("netns"), pytest.mark.slow]
ADDRESS = "10.225.28.200"
HERE = {"PYTHONPATH": str(ROOT)}
EVERY = {"udp": 0.005, "http": 0.02, "arp": 0.02}


class Bench:
    """Two hosts that can serve, one that asks, one that looks on."""

    def __init__(self, lan: Lan, folder: Path) -> None:
        self.lan = lan
        self.folder = folder

    async def start(self, host: str, name: str, *words: str) -> Program:
        return await start(self.lan, host, name, [sys.executable, "-P", "-m", *words], self.folder, HERE)

    async def measure(self, kind: str, host: str) -> None:
        source = self.lan.hosts[host].address
        words = (kind, "--every", str(EVERY[kind]), "--source", source, f"{ADDRESS}:80")
        await self.start(host, kind, "sim.lab.meter", *words)

    async def hold(self, host: str, verb: str = "add") -> None:
        prefix = self.lan.hosts[host].namespace.prefix
        await run(prefix, "ip", "address", verb, f"{ADDRESS}/32", "dev", "eth0")

    def asks(self, kind: str) -> list[Ask]:
        path = self.folder / f"{kind}.out"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return by_target(read_line(line) for line in lines if line.endswith("\n")).get(ADDRESS, [])

    async def sees(self, kind: str, what: Callable[[list[Ask]], bool]) -> list[Ask]:
        return await eventually(lambda: asks if what(asks := self.asks(kind)) else [])


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_lan(number_hosts(["a", "b", "client", "observer"])) as lan:
        bench = Bench(lan, tmp_path)
        await bench.hold("a")
        for name in ("a", "b"):
            await bench.start(name, f"service-{name}", "sim.lab.service", name, "80")
        yield bench


def is_answered(asks: list[Ask]) -> bool:
    return bool(asks) and asks[-1].answered_at is not None


def is_complete(asks: list[Ask]) -> bool:
    """No question of a silence can still be answered."""
    last = silences(asks)[-1]
    return last.ends_at is not None and asks[-1].asked_at > last.ends_at + 2 * ANSWER_TIMEOUT


@pytest.mark.parametrize("kind", ["udp", "http"])
async def test_a_client_hears_who_serves_and_how_long_nobody_did(bench: Bench, kind: str) -> None:
    await bench.measure(kind, "client")
    await bench.sees(kind, is_answered)
    await bench.lan.cut("a")
    await bench.sees(kind, lambda asks: len(asks) > 1 and asks[-1].answered_at is None)
    await bench.lan.mend("a")
    asks = await bench.sees(kind, is_complete)
    assert {tenure.nodes for tenure in tenures(asks)} == {("a",)}
    lost = silences(asks)[-1]
    assert lost.ends_at is not None
    assert lost.lost >= 2
    assert lost.lasts(0.0) == pytest.approx(lost.lost * EVERY[kind], rel=0.5)


async def test_an_answer_comes_from_the_address_that_was_asked(bench: Bench) -> None:
    await bench.measure("udp", "client")  # takes no answer from another address
    asks = await bench.sees("udp", is_answered)
    assert asks[-1].by == ("a",)


async def test_an_observer_sees_whose_hardware_address_answers_and_when_two_do(bench: Bench) -> None:
    a, b = bench.lan.hosts["a"].mac, bench.lan.hosts["b"].mac
    await bench.measure("arp", "observer")
    assert (await bench.sees("arp", is_answered))[-1].by == (a,)
    await bench.hold("b")
    await bench.sees("arp", lambda asks: set(asks[-1].by) == {a, b})
    await bench.hold("a", "del")
    asks = await bench.sees("arp", lambda asks: asks[-1].by == (b,))
    assert [tenure.nodes for tenure in tenures(asks)] == [(a,), tuple(sorted((a, b))), (b,)]


async def test_a_program_is_stopped_paused_resumed_and_killed_with_all_that_it_started(bench: Bench) -> None:
    text = "trap 'echo stopped; exit' TERM; sleep 4321 & echo started; while :; do wait; done"
    program = await start(bench.lan, "a", "tree", ["sh", "-c", text], bench.folder)
    (child,) = await eventually(lambda: descendants(program.pid, parents()))

    def states() -> list[str]:
        return [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in (program.pid, child)]

    program.pause()
    await eventually(lambda: states() == ["T", "T"])
    program.resume()
    await eventually(lambda: "T" not in states())
    program.ask_to_stop()
    with trio.fail_after(20):
        await program.wait()
    assert program.output.read_text() == "started\nstopped\n"

    program = await start(bench.lan, "a", "tree", ["sh", "-c", text], bench.folder)
    (child,) = await eventually(lambda: descendants(program.pid, parents()))
    program.pause()
    program.kill()
    with trio.fail_after(20):
        await program.wait()
    await eventually(lambda: child not in parents() or states()[1] == "Z")
    program.ask_to_stop()  # it has gone; nobody else is asked
    program.close()


async def test_a_program_that_cannot_be_started_has_said_why(bench: Bench) -> None:
    program = await start(bench.lan, "a", "none", ["/nonsense"], bench.folder)
    with trio.fail_after(20):
        await program.wait()
    assert "/nonsense" in program.last_words()
