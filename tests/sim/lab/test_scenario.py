"""Scenario files: what is read, and every mistake with its place and cure."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.lab.faults import LAN_ACTIONS, NODE_ACTIONS
from sim.lab.scenario import (
    VERBS,
    VIRTUAL_ONLY,
    Expectation,
    Fault,
    Scenario,
    ScenarioError,
    decode_scenario_untrusted,
    unknown_names,
)
from sim.lab.scenario_shapes import Meaning, Reference
from tests.tree import ROOT

EXAMPLES = sorted((ROOT / "examples" / "scenarios").glob("*.yaml"))

WHOLE = """\
name: owner-dies
about: a story
nodes: 5
services: 3
profile: local
network: {latency: 0.2ms, jitter: 0.1ms, loss: 0.1%}
client: {every: 2ms}
for: 1m
faults:
  - {at: 30s, do: mend, node: was-owner(svc-1)}
  - {at: 10s, do: cut, node: owner(svc-1)}
  - {at: 40s, do: partition-oneway, nodes: [n1, n2], to: [n3]}
  - {at: 41s, do: loss, loss: 5%}
expect:
  - {outage: svc-1, below: 400ms}
  - {owners: svc-1, exactly: 1, from: 11s, to: 20s}
  - {moves: svc-2, at-most: 2}
  - {lost: svc-3, exactly: 0}
"""


def read(text: str) -> Scenario:
    return decode_scenario_untrusted(text.encode(), "s.yaml")


def problems_of(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as raised:
        read(text)
    return [str(problem) for problem in raised.value.problems]


def node(name: str) -> Reference:
    return Reference(Meaning.NAME, name)


def test_everything_that_can_be_written_is_read() -> None:
    owner, was = Reference(Meaning.OWNER, "svc-1"), Reference(Meaning.WAS_OWNER, "svc-1")
    assert read(WHOLE) == Scenario(
        name="owner-dies",
        about="a story",
        nodes=("n1", "n2", "n3", "n4", "n5"),
        services=("svc-1", "svc-2", "svc-3"),
        profile="local",
        per_mille=1,
        every=0.002,
        length=60.0,
        faults=(
            Fault(at=10.0, verb="cut", nodes=(owner,)),
            Fault(at=30.0, verb="mend", nodes=(was,)),
            Fault(at=40.0, verb="partition-oneway", nodes=(node("n1"), node("n2")), others=(node("n3"),)),
            Fault(at=41.0, verb="loss", per_mille=50),
        ),
        expectations=(
            Expectation(subject="outage", service="svc-1", bound="below", value=0.4, ends_at=60.0),
            Expectation(subject="owners", service="svc-1", bound="exactly", value=1, begins_at=11.0, ends_at=20.0),
            Expectation(subject="moves", service="svc-2", bound="at-most", value=2, ends_at=60.0),
            Expectation(subject="lost", service="svc-3", bound="exactly", value=0, ends_at=60.0),
        ),
        not_applied=("network.latency", "network.jitter"),
    )


def test_little_has_to_be_written() -> None:
    assert read("name: quiet\nnodes: [{name: left, version: starling}, right]\nfor: 1s\n") == Scenario(
        name="quiet", nodes=("left", "right"), services=("svc-1",), profile="lan", every=0.005, length=1.0
    )
    told = read("name: folder\nservices: ../hostnames\nfor: 1s\n")
    assert (told.manifests, told.nodes, told.services) == ("../hostnames", (), ())


SMALL = "name: x\nnodes: 3\nfor: 10s\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "s.yaml:1:1: holds 0 documents, not one; write one scenario a file"),
        ("name: x\nfor: 1s\n", "s.yaml:1:1: nodes is missing; add `nodes: 3`, or a folder of manifests as `services`"),
        ("name: x\nnodes: 3\n", "s.yaml:1:1: for is missing; add `for: 60s`"),
        ("name: x\nnodes: 51\nfor: 1s\n", "s.yaml:2:8: nodes: 51 is out of range; write 1 to 50"),
        ("name: x\nnodes: yes\nfor: 1s\n", "nodes: is neither a number nor a list; write how many there are, 1 to 50"),
        ("name: x\nnodes: [a, a]\nfor: 1s\n", "no list of different names; write 1 to 50 entries such as {name: n1}"),
        ("name: x\nnodes: [{name: a, version: memberlist}]\nfor: 1s\n", "does not serve the key 'version' of a node"),
        ("name: x\nnodes: 1\nservices: d\nfor: 1s\n", "2:8: nodes: the manifests of `services` say which nodes there"),
        ("name: x\nnodes: 1\nfor: 25h\n", "3:6: for: '25h' is out of range; write 0s to 24h"),
        (SMALL + "profile: lann\n", "4:10: profile: 'lann' is no profile; write memberlist, lan, wan or local"),
        (SMALL + "client: {every: 1us}\n", "4:17: client.every: is too often; write 1ms or more"),
        (
            "name: x\nnodes: 1\nfor: 24h\n",
            "the client ask 17280000 questions; 2000000 are the most; write a longer",
        ),
        (SMALL + "network: {loss: 0.05%}\n", "'0.05%' is no share of frames; write 0% to 100%, in steps of 0.1%"),
        (SMALL + "netwrok: {}\n", "4:1: 'netwrok' is no key of this mapping; did you mean network?"),
        (SMALL + "faults: [{at: 1s, do: clock, node: n1}]\n", "the lab cannot do 'clock'; leave it to `starling sim`"),
        (SMALL + "faults: [{at: 1s, do: fly, node: n1}]\n", "4:23: faults[0].do: 'fly' is no fault; write one of cut,"),
        (SMALL + "faults: [{at: 11s, do: repair}]\n", "faults[0].at: is after the end of the story; make `for` longer"),
        (SMALL + "faults: [{at: 1s, do: cut}]\n", "faults[0]: node is missing; add `node: n1` or `nodes: [n1, n2]`"),
        (SMALL + "faults: [{at: 1s, do: cut, node: n4}]\n", "4:10: there is no node 'n4'; write n1, n2 or n3"),
        (SMALL + "faults: [{at: 1s, do: cut, node: 'a b'}]\n", "'a b' names no node; write its name, owner(SERVICE)"),
        (SMALL + "faults: [{at: 1s, do: cut, node: owner(x)}]\n", "there is no service 'x'; write svc-1"),
        (
            SMALL + "faults: [{at: 1s, do: cut, node: n1, nodes: [n2]}]\n",
            "node: stands beside nodes; write them in one",
        ),
        (SMALL + "faults: [{at: 1s, do: loss}]\n", "loss is missing; loss has the keys at, do, loss"),
        (SMALL + "faults: [{at: 1s, do: repair, node: n1}]\n", "repair has no key node; leave it out"),
        (SMALL + "faults: [{at: 1s, do: cut, nodes: n1}]\n", "'n1' is text, not a list; begin each entry with a dash"),
        (
            SMALL + "faults: [{at: 1s, do: mend, node: was-owner(svc-1)}]\n",
            "was-owner(svc-1) comes before any owner(svc-1)",
        ),
        (SMALL + "expect: [{below: 1s}]\n", "does not name one thing that is expected; write outage, owners, moves or"),
        (SMALL + "expect: [{outage: svc-1, at-most: 1}]\n", "expect[0]: outage needs one bound; write below"),
        (SMALL + "expect: [{moves: svc-1}]\n", "moves needs one bound; write at-most or exactly"),
        (SMALL + "expect: [{moves: svc-1, exactly: 1, from: 5s, to: 5s}]\n", "is about no part of the story"),
        (SMALL + "expect: [{moves: svc-9, exactly: 1}]\n", "4:10: there is no service 'svc-9'; write svc-1"),
    ],
)
def test_a_mistake_is_said_with_its_place_and_cure(text: str, said: str) -> None:
    (problem,) = problems_of(text)
    assert said in problem
    assert problem.startswith("s.yaml:")


def test_all_mistakes_of_a_file_are_said_at_once() -> None:
    text = SMALL + "faults:\n- {at: 1s, do: fly}\n- {at: 1s, do: cut}\nexpect:\n- {moves: svc-9, exactly: 1}\n"
    assert len(problems_of(text)) == 3


def test_names_of_given_manifests_are_checked_when_they_are_known() -> None:
    text = "faults: [{at: 1s, do: cut, node: owner(hostnames)}]\nexpect: [{moves: default/coffee, exactly: 1}]\n"
    told = read("name: x\nservices: folder\nfor: 2s\n" + text)
    assert unknown_names(told, ("n1",), ("default/hostnames", "default/coffee")) == []
    assert len(unknown_names(told, ("n1",), ("default/other",))) == 2


def test_each_verb_that_is_read_can_be_done_and_none_is_also_refused() -> None:
    assert sorted([*NODE_ACTIONS, *LAN_ACTIONS]) == sorted(VERBS)
    assert not set(VERBS) & set(VIRTUAL_ONLY)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 4


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_can_be_told(path: Path) -> None:
    told = decode_scenario_untrusted(path.read_bytes(), path.name)
    assert told.name == path.stem
    assert told.about
    assert told.faults
    assert told.expectations


BEGINNINGS = st.integers(0, len(WHOLE)).map(lambda length: WHOLE[:length])
MIXTURES = st.lists(st.sampled_from(WHOLE.replace("\n", " \n ").split(" ")), max_size=30).map(" ".join)


@given((BEGINNINGS | MIXTURES | st.text()).map(str.encode) | st.binary())
def test_any_bytes_are_a_scenario_or_problems(data: bytes) -> None:
    with suppress(ScenarioError):
        decode_scenario_untrusted(data, "s.yaml")


def test_an_error_holds_every_problem_and_says_them() -> None:
    with pytest.raises(ScenarioError, match=r"s.yaml:1:1: nodes is missing") as raised:
        read("name: x\nfor: 1s\n")
    assert len(raised.value.problems) == 1
