"""Whole stories, with a stand-in for the speaker whose behaviour is known: every fault, and what clients say of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from sim.lab.errors import LabError
from sim.lab.nodes import MANIFESTS, Commands
from sim.lab.plan import Plan
from sim.lab.scenario import ScenarioError, decode_scenario_untrusted
from sim.lab.story import run_scenario, write_plan
from sim.lab.verdicts import tell
from tests.sim.lab import stand_in
from tests.tree import ROOT

pytestmark = [pytest.mark.needs("netns"), pytest.mark.slow]
STAND_IN = [sys.executable, "-P", stand_in.__file__]
FIRST = 100
SLOW_TO_NOTICE = 200.0
"""Milliseconds: far more than the stand-in takes to follow a fault that it sees."""


def stand_ins(shared: bool = False) -> Commands:
    def addresses(plan: Plan) -> dict[str, str]:
        return {
            service.name: f"10.225.28.{FIRST if shared else FIRST + place}"
            for place, service in enumerate(plan.services)
        }

    def speaker(plan: Plan, folder: Path, name: str) -> list[str]:
        return [*STAND_IN, "speaker", str(folder / "lock"), *addresses(plan).values()]

    def controller(plan: Plan, folder: Path) -> list[str]:
        words = [f"{name}={address}" for name, address in addresses(plan).items()]
        return [*STAND_IN, "controller", str(folder / MANIFESTS), *words]

    return Commands(speaker, controller)


async def tell_story(folder: Path, *lines: str, shared: bool = False) -> dict[str, Any]:
    """Run a story; its first lines are given here."""
    text = "\n".join(("name: story", "nodes: 3", "services: 2", *lines))
    scenario = decode_scenario_untrusted(text.encode(), "story.yaml")
    write_plan(scenario, ROOT, folder)
    return await run_scenario(scenario, folder, stand_ins(shared), lambda line: None)


def owners(told: dict[str, Any], service: str = "default/svc-1") -> list[str]:
    return [" ".join(tenure["nodes"]) for tenure in told["services"][service]["owners"]]


def silences(told: dict[str, Any], service: str = "default/svc-1") -> list[dict[str, Any]]:
    return [silence for silence in told["services"][service]["silences"] if silence["ms"] > SLOW_TO_NOTICE]


async def test_whoever_has_the_address_then_loses_its_cable_and_gets_it_back(tmp_path: Path) -> None:
    told = await tell_story(
        tmp_path,
        "for: 5s",
        "faults:",
        "- {at: 1s, do: stop, nodes: [n1]}",
        "- {at: 3s, do: cut, node: owner(svc-1)}",
        "- {at: 4s, do: mend, node: was-owner(svc-1)}",
        "expect:",
        "- {owners: svc-1, exactly: 1, from: 4s}",
        "- {outage: svc-2, below: 1s}",
        "- {moves: svc-2, exactly: 0}",
    )
    assert set(told["versions"]) == {"starling", "python", "linux"}
    *_, cut, mended = told["faults"]
    assert cut["nodes"] == mended["nodes"] != ["n1"]  # it was stopped
    before, after = told["services"]["default/svc-1"]["owners"][-2:]
    assert before["nodes"] == cut["nodes"] != after["nodes"]
    assert after["from"] > before["to"] >= 2.5
    assert after["cause"] == f"cut {cut['nodes'][0]}"
    assert [one["passed"] for one in told["expectations"]] == [True, True, False]
    assert not told["passed"]
    lines = list(tell(told))
    assert any(line.endswith(f"cut {cut['nodes'][0]}") for line in lines)
    moves = told["services"]["default/svc-2"]["moves"]
    assert moves >= 1
    assert lines[-1] == f"FAIL  moves of svc-2 exactly 0, from 0 s to 5 s: {moves}"


async def test_a_program_that_is_killed_stopped_or_started_again_is_followed(tmp_path: Path) -> None:
    told = await tell_story(
        tmp_path,
        "for: 6s",
        "faults:",
        "- {at: 1s, do: stop, node: owner(svc-1)}",
        "- {at: 2s, do: restart, node: was-owner(svc-1)}",
        "- {at: 4s, do: kill, node: owner(svc-1)}",
    )
    assert [fault["do"] for fault in told["faults"]] == ["stop", "restart", "kill"]
    stopped, killed = told["faults"][0]["nodes"], told["faults"][2]["nodes"]
    assert stopped != killed
    first, second, *_ = owners(told)
    assert [[first], [second]] == [stopped, killed]
    assert (
        told["services"]["default/svc-1"]["moves"] >= 1
    )  # killed, its kernel goes on answering: nobody took that away


async def test_a_pause_is_nothing_that_a_kernel_notices_and_a_resume_no_more(tmp_path: Path) -> None:
    told = await tell_story(
        tmp_path,
        "for: 4s",
        "faults: [{at: 1s, do: pause, node: owner(svc-1)}, {at: 2s, do: resume, node: was-owner(svc-1)}]",
        "expect: [{moves: svc-1, exactly: 0}, {owners: svc-1, exactly: 1}]",
    )
    assert told["passed"]


async def test_a_partition_silences_whoever_is_on_the_other_side_until_it_is_repaired(tmp_path: Path) -> None:
    told = await tell_story(
        tmp_path,
        "for: 6s",
        "faults: [{at: 1s, do: partition, node: owner(svc-1)}, {at: 2s, do: repair}]",
        "expect: [{outage: svc-1, below: 100ms}, {moves: svc-1, exactly: 0}]",
    )
    (silence,) = silences(told)
    assert silence["from"] == pytest.approx(1.0, abs=0.5)
    assert silence["ms"] > 500
    assert silence["cause"].startswith("partition")
    assert [one["passed"] for one in told["expectations"]] == [False, True]
    assert told["expectations"][0]["measured"] == silence["ms"]


async def test_a_one_way_partition_and_loss_are_done_to_those_named(tmp_path: Path) -> None:
    told = await tell_story(
        tmp_path,
        "network: {loss: 0.5%, latency: 1ms}",
        "for: 4s",
        "faults:",
        "- {at: 1s, do: partition-oneway, nodes: [n1, n2], to: [n3]}",
        "- {at: 2s, do: loss, loss: 100%}",
        "- {at: 3s, do: loss, loss: 0%, nodes: [n1, n2, n3]}",
    )
    assert told["not_applied"] == ["network.latency"]
    (silence,) = silences(told)
    assert silence["cause"] == "loss 100%"
    assert any("loss 100.0%" in line for line in tell(told))
    assert silence["ms"] > 500


async def test_services_that_share_an_address_share_what_is_seen_of_it(tmp_path: Path) -> None:
    told = await tell_story(tmp_path, "for: 1s", "expect: [{owners: svc-2, exactly: 1}]", shared=True)
    first, second = told["services"].values()
    assert first == second
    assert first["asked"] > 0
    assert told["passed"]


async def test_a_lab_that_does_not_come_up_says_whose_fault_it_is(tmp_path: Path) -> None:
    scenario = decode_scenario_untrusted(b"name: x\nnodes: 1\nfor: 1s\n", "x.yaml")
    write_plan(scenario, ROOT, tmp_path)
    works = stand_ins()
    broken = Commands(lambda plan, folder, name: ["sh", "-c", "echo I will not >&2"], works.controller)
    with pytest.RaisesGroup(pytest.RaisesExc(LabError, match="speaker-n1 ended: I will not"), flatten_subgroups=True):
        await run_scenario(scenario, tmp_path, broken, lambda line: None)


async def test_a_name_that_the_manifests_lack_is_a_mistake_of_the_file(tmp_path: Path) -> None:
    text = "name: x\nservices: examples/hostnames\nfor: 1s\nfaults: [{at: 1s, do: cut, node: n1}]\n"
    scenario = decode_scenario_untrusted(text.encode(), "x.yaml")
    write_plan(scenario, ROOT, tmp_path)
    with pytest.RaisesGroup(pytest.RaisesExc(ScenarioError, match="no node 'n1'; write"), flatten_subgroups=True):
        await run_scenario(scenario, tmp_path, stand_ins(), lambda line: None)
