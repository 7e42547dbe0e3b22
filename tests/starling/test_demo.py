"""The demonstration: what it shows, what it says, and that it leaves nothing."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from cluster.folder import read_files
from cluster.manifests import parse_manifests
from sim.lab import folders
from sim.lab.plan import render_manifests
from starling.demo import FAULTS, POOL, SERVICE, Round, as_json
from starling.scene import MAX_BEATS, SILENT_AFTER, NodeSeen, Scene
from starling.screen import CELL, draw, picture
from tests.sim.lab.helpers import first_line, processes_with, running
from tests.tree import ROOT

NAMES = ["rain-kubernetes-1", "rain-kubernetes-2", "rain-kubernetes-3"]
TIMEOUT = 110


# ---- what is shown


def scene(nodes: int = 3) -> Scene:
    """In the middle of an outage, with a long story."""
    shown = Scene(100.0, "default/hostnames", "10.225.28.229")
    shown.nodes = [NodeSeen(f"rain-kubernetes-{n}", f"10.225.28.{20 + n}") for n in range(1, nodes + 1)]
    shown.nodes[1].has_cable = False
    shown.nodes[0].speaker = "killed"
    shown.owners = ("rain-kubernetes-2",)
    shown.answer(104.0)
    for number in range(2 * MAX_BEATS):
        shown.beat(100.0 + number / 10, "rain-kubernetes-2" if number % 2 else "")
    for number in range(30):
        shown.tell(100.0 + number, f"line {number} " + "x" * 100)
    return shown


def text(shown: Scene, now: float = 106.5) -> list[str]:
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(draw(shown, now))
    return console.export_text().rstrip("\n").split("\n")


@pytest.mark.parametrize("nodes", [2, 3, 8, 11])
def test_the_view_fits_a_small_terminal_with_room_for_what_comes_after(nodes: int) -> None:
    lines = text(scene(nodes))
    assert len(lines) <= 23
    assert max(map(len, lines)) <= 80


def test_the_view_says_who_has_the_address_what_is_broken_and_how_long_nobody_answers() -> None:
    lines = text(scene())
    (owner,) = [line for line in lines if "●" in line]
    assert "rain-kubernetes-2" in owner
    assert "CUT" in owner
    assert [line for line in lines if "killed" in line and "rain-kubernetes-1" in line]
    assert [line for line in lines if "no answer for 2.5 s" in line]
    assert [line for line in lines if "×2×2×2" in line]
    assert "line 29" in lines[-2]
    assert not [line for line in lines if "line 5 " in line]


def test_that_nobody_asks_any_more_is_no_silence() -> None:
    shown = scene()
    shown.ended_at = 104.0 + SILENT_AFTER / 2
    assert not [line for line in text(shown) if "no answer" in line]
    shown.ended_at = 105.0
    assert [line for line in text(shown) if "no answer for 1.0 s" in line]


def test_a_scene_that_has_not_begun_is_drawn_too() -> None:
    lines = text(Scene(0.0), now=0.0)
    assert "waiting for an address" in lines[0]
    assert not [line for line in lines if "no answer" in line]


def test_answers_may_be_told_in_any_order() -> None:
    shown = Scene(0.0)
    shown.answer(2.0)
    shown.answer(1.0)
    assert shown.silent_for(2.0 + SILENT_AFTER / 2) == 0
    assert shown.silent_for(3.0) == pytest.approx(1.0)
    for at in (3.0, 1.0, 2.0):
        shown.beat(at, "a")
    assert [at for at, _ in shown.beats] == [1.0, 2.0, 3.0]


def test_the_picture_is_whole_in_itself_and_the_same_each_time() -> None:
    drawn = picture(scene(), 106.5)
    assert drawn == picture(scene(), 106.5)
    assert "rain-kubernetes-2" in drawn
    assert "url(http" not in drawn
    assert drawn.startswith("<svg")


def test_the_story_of_a_picture_is_aligned_by_where_its_texts_begin() -> None:
    """Some programs that show pictures leave out blanks at the beginning of a text."""
    shown = Scene(0.0)
    for at, told in ((9.5, "one"), (10.5, "other")):
        shown.tell(at, told)
    begins = re.findall(
        r'x="([\d.]+)" y="[\d.]+" textLength="([\d.]+)"[^>]*>(?:9.50|10.50)&#160;s', picture(shown, 11.0)
    )
    (nine, its_length), (ten, other_length) = (map(float, one) for one in begins)
    assert nine - ten == pytest.approx(CELL)
    assert other_length - its_length == pytest.approx(3 * CELL)  # "10.50 s  other", "9.50 s  one"


def test_the_cluster_is_that_of_the_example() -> None:
    example = parse_manifests(read_files([str(ROOT / "examples" / "hostnames")]).read)
    made = parse_manifests((name, text.encode()) for name, text in render_manifests(NAMES, [SERVICE], POOL).items())
    assert [node.name for node in made.nodes] == [node.name for node in example.nodes]
    assert [node.internal_addresses for node in made.nodes] == [node.internal_addresses for node in example.nodes]
    assert [pool.networks for pool in made.config.pools] == [pool.networks for pool in example.config.pools]
    (service,) = made.services
    assert service in example.services


# ---- what is said


def test_the_object_has_what_scripts_rely_on() -> None:
    outcomes = [Round(300.0, "a", "b", 60, 1), Round(100.0, "b", "a", 20, 0), Round(250.0, "a", "c", 50, 1)]
    told = as_json("10.0.0.1", 3, "cut", outcomes)
    assert told["rounds"][0] == {"outage_ms": 300.0, "from": "a", "to": "b", "lost": 60, "failed_requests": 1}
    del told["rounds"]
    assert told == {
        "schema": 1,
        "address": "10.0.0.1",
        "nodes": 3,
        "fault": "cut",
        "median_ms": 250.0,
        "worst_ms": 300.0,
    }


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short path for temporary files that nobody else uses."""
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)
        for pid in folders.running("*").values():
            os.kill(pid, signal.SIGKILL)


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "starling", "demo", *words]


def nothing_is_left(folder: Path) -> bool:
    return not list(folder.glob("starling-lab-*")) and not processes_with(str(folder))


@pytest.mark.needs("netns")
@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_the_address_moves_and_the_outage_is_told(temporary: Path, fault: str) -> None:
    called = command("--fault", fault, "--json", "--picture", str(temporary / "demo.svg"))
    result = subprocess.run(called, capture_output=True, text=True, check=False, timeout=TIMEOUT, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    (outcome,) = told["rounds"]
    assert outcome["from"] != outcome["to"]
    assert {outcome["from"], outcome["to"]} <= set(NAMES)
    assert told["address"] == "10.225.28.229"
    assert 0 <= outcome["outage_ms"] == told["median_ms"] == told["worst_ms"]
    assert (outcome["lost"] > 0) == (fault == "cut")  # a host that lives goes on serving whoever knows it
    assert f"{outcome['from']} is back" in result.stderr
    assert "what happened" in (temporary / "demo.svg").read_text().replace("&#160;", " ")
    assert nothing_is_left(temporary)


@pytest.mark.needs("netns")
@pytest.mark.slow
async def test_an_interrupted_demonstration_leaves_nothing(temporary: Path) -> None:
    async with running(*command()) as process:
        assert "started" in await first_line(process)
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 128 + signal.SIGINT
    assert nothing_is_left(temporary)
