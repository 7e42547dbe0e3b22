"""A scenario told in a lab: the cluster settles, the faults are done at their times, the clients look on.

Rules kept here:

* The story begins when every address is answered by one node, to every kind of question. What was asked before does not
  count.
* A fault waits for nothing but its time; one that takes long does not put off the others.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from sim.lab.addresses import INTERFACE
from sim.lab.clients import EVERY, Clients
from sim.lab.errors import LabError
from sim.lab.faults import do
from sim.lab.lan import Host
from sim.lab.namespaces import run
from sim.lab.nodes import Commands, Lab, copy_manifests, environment, open_lab, python, write_manifests
from sim.lab.plan import render_manifests
from sim.lab.record import ANSWER_TIMEOUT, Ask
from sim.lab.scenario import Fault, Scenario, ScenarioError, unknown_names
from sim.lab.scenario_shapes import Meaning, Reference
from sim.lab.verdicts import Deed, Judgement, Seen, judge, report

COUNTERS: Final = {"rx": "received", "tx": "sent"}


class Story:
    """One telling."""

    def __init__(self, scenario: Scenario, lab: Lab, clients: Clients, say: Callable[[str], None]) -> None:
        self._scenario = scenario
        self._lab = lab
        self._clients = clients
        self._say = say
        self._meant: dict[str, str] = {}
        self._began = time.monotonic()
        self.deeds: list[Deed] = []

    async def tell(self) -> None:
        """Do every fault at its time and let the rest of the story pass."""
        self._began = time.monotonic()
        begin = trio.current_time()
        async with trio.open_nursery() as nursery:
            for fault in self._scenario.faults:
                await trio.sleep_until(begin + fault.at)
                nursery.start_soon(self._do, fault, self._resolve(fault.nodes), self._resolve(fault.others))
        await trio.sleep_until(begin + self._scenario.length)
        await trio.sleep(2 * ANSWER_TIMEOUT)  # until it is known of every question what came of it

    def _resolve(self, references: tuple[Reference, ...]) -> list[str]:
        """The nodes that are meant now."""
        return list(dict.fromkeys(self._node(reference) for reference in references))

    def _node(self, reference: Reference) -> str:
        match reference.meaning:
            case Meaning.NAME:
                return reference.name
            case Meaning.WAS_OWNER:
                return self._meant[reference.name]
            case Meaning.OWNER:
                service = self._lab.plan.service(reference.name)
                owner = self._clients.owner(service.name) if service else None
                if owner is None:
                    raise LabError(f"{reference} is nobody now: no single node answers for it")
                self._meant[reference.name] = owner
                return owner

    async def _do(self, fault: Fault, nodes: list[str], others: list[str]) -> None:
        began = time.monotonic()
        share = fault.per_mille if fault.verb == "loss" else None
        deed = Deed(began - self._began, 0.0, fault.verb, tuple(nodes), share)
        self._say(f"{deed.at:9.3f} s  {deed}")
        self.deeds.append(deed)
        place = len(self.deeds) - 1
        await do(self._lab, fault, nodes, others)
        self.deeds[place] = replace(deed, took=time.monotonic() - began)

    def seen(self) -> dict[str, Seen]:
        """What the clients saw, by service."""
        return {
            service: Seen(address, self._asks("udp", service), self._asks("arp", service))
            for service, address in self._lab.addresses.items()
        }

    def _asks(self, kind: str, service: str) -> list[Ask]:
        moved = [_moved(ask, -self._began) for ask in self._clients.asks[kind][service]]
        inside = [ask for ask in moved if 0 <= ask.asked_at <= self._scenario.length]
        return sorted(inside, key=lambda ask: ask.asked_at)

    def judgements(self, seen: Mapping[str, Seen]) -> list[Judgement]:
        """Every expectation, judged."""
        plan = self._lab.plan
        found = [(one, plan.service(one.service)) for one in self._scenario.expectations]
        return [judge(one, seen[service.name]) for one, service in found if service is not None]


def _moved(ask: Ask, by: float) -> Ask:
    answered_at = None if ask.answered_at is None else ask.answered_at + by
    return replace(ask, due_at=ask.due_at + by, asked_at=ask.asked_at + by, answered_at=answered_at)


def write_plan(scenario: Scenario, beside: Path, folder: Path) -> None:
    """Put the scenario's manifests into a lab's folder. `beside` is where its file is. Raises LabError."""
    if scenario.manifests is not None:
        copy_manifests(beside / scenario.manifests, folder)
    else:
        texts = render_manifests(scenario.nodes, scenario.services)
        write_manifests({name: text.encode() for name, text in texts.items()}, folder)


async def run_scenario(
    scenario: Scenario, folder: Path, commands: Commands, say: Callable[[str], None]
) -> dict[str, Any]:
    """Tell a scenario whose manifests are in the lab's folder, and give the report.

    Raises LabError when the lab cannot be had or does not settle, ScenarioError for a name that the manifests lack.
    """
    async with open_lab(folder, commands) as lab, trio.open_nursery() as nursery:
        names = tuple(service.name for service in lab.plan.services)
        if problems := unknown_names(scenario, tuple(lab.nodes), names):
            raise ScenarioError(tuple(problems))
        say(f"{len(lab.nodes)} nodes and {len(names)} services; waiting until they have settled")
        await lab.while_all_run(lab.wait_assigned)
        for name in lab.nodes:
            await lab.lan.lose(name, scenario.per_mille)
        clients = Clients(lab)
        await clients.ask("udp", scenario.every, nursery)
        await clients.ask("arp", EVERY["arp"], nursery)
        await lab.while_all_run(clients.wait_settled)
        before = await _traffic(lab)
        story = Story(scenario, lab, clients, say)
        await story.tell()
        traffic = _difference(before, await _traffic(lab))
        nursery.cancel_scope.cancel()
    seen = story.seen()
    version = (await run((), *python("starling", "--version"), environment=environment())).split()[-1]
    versions = {"starling": version, "python": platform.python_version(), "linux": platform.release()}
    return report(scenario, versions, story.deeds, seen, traffic, story.judgements(seen))


async def _traffic(lab: Lab) -> dict[str, dict[str, int]]:
    """What each node has sent and received up to now."""
    found: dict[str, dict[str, int]] = {name: {} for name in lab.nodes}
    async with trio.open_nursery() as nursery:
        for name, node in lab.nodes.items():
            nursery.start_soon(partial(_count, node.host, found[name]))
    return found


async def _count(host: Host, into: dict[str, int]) -> None:
    (link,) = json.loads(await run(host.namespace.prefix, "ip", "-json", "-statistics", "link", "show", INTERFACE))
    for key, word in COUNTERS.items():
        for unit in ("packets", "bytes"):
            into[f"{unit}_{word}"] = int(link["stats64"][key][unit])


def _difference(before: Mapping[str, dict[str, int]], after: Mapping[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    return {name: {key: value - before[name][key] for key, value in after[name].items()} for name in after}
