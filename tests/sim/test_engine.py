"""Rings on the engine: how a scenario is set up, and what the engine says about it."""

from __future__ import annotations

import pytest

from gossip import JoinCompleted, MemberJoined, Membership, State, profile
from sim.engine import Engine
from sim.network import Link
from sim.stage import Happening

CONFIG = profile("lan")


def test_a_scenario_takes_a_few_lines_and_says_how_long_things_took() -> None:
    engine = Engine(seed=1)
    ring = engine.add_ring(5, CONFIG)
    assert 0 < engine.run_until(engine.is_converged, within=60) < 60
    engine.crash(ring[2])
    assert not engine.is_converged()
    assert 4 < engine.run_until(engine.is_converged, within=60) < 30
    found = engine.member(ring[0]).member(ring[2])
    assert found is not None
    assert found.state is State.DEAD


def test_members_start_one_after_the_other_when_asked() -> None:
    engine = Engine(seed=1)
    engine.add_ring(4, CONFIG, every=2.0)
    engine.run(5.0)
    assert engine.running() == ["node-0", "node-1", "node-2"]
    engine.run(10.0)
    own = [(at, node) for at, node, event in engine.events(MemberJoined) if event.member.name == node]
    assert own == [(0.0, "node-0"), (2.0, "node-1"), (4.0, "node-2"), (6.0, "node-3")]


def test_two_rings_on_one_network_do_not_mix() -> None:
    engine = Engine(seed=1)
    for prefix in ("red", "blue"):
        engine.add_ring(3, CONFIG.with_wire(label=prefix.encode()), prefix=prefix)
    engine.add_member("stranger", CONFIG, join=["red-0"])
    engine.run(40.0)
    assert [member.name for member in engine.member("blue-1").members()] == ["blue-0", "blue-1", "blue-2"]
    refusals = [event.refused for _, node, event in engine.events(JoinCompleted) if node == "stranger"]
    assert len(refusals[0]) == 1


def test_a_restarted_member_joins_again_those_it_joined_at_first() -> None:
    engine = Engine(seed=1)
    engine.add_member("a", CONFIG)
    engine.add_member("b", CONFIG, join=["a"])
    engine.run(5.0)
    engine.restart("b")
    engine.run(10.0)
    joined = [event.joined for _, node, event in engine.events(JoinCompleted) if node == "b"]
    assert joined == [(engine.nodes["a"].address,)] * 2


def test_what_happens_to_a_ring_does_not_depend_on_another_on_the_same_network() -> None:
    def heard_by_red(others: int) -> list[Happening]:
        heard = list[Happening]()
        engine = Engine(1, Link(loss=0.1), heard.append)
        engine.add_ring(5, CONFIG.with_wire(label=b"red"), prefix="red")
        engine.add_ring(others, CONFIG.with_wire(label=b"blue"), prefix="blue")
        engine.run(120.0)
        return [entry for entry in heard if entry.node.startswith("red")]

    assert len(heard_by_red(0)) > 1000
    assert heard_by_red(0) == heard_by_red(5)


def test_who_does_not_run_cannot_be_told_anything() -> None:
    engine = Engine(seed=1)
    engine.add_member("a", CONFIG)
    engine.pause("a")
    with pytest.raises(ValueError, match="'a' is paused"):
        engine.tell("a", Membership.leave)
    engine.crash("a")
    with pytest.raises(ValueError, match="no membership runs on 'a'"):
        engine.tell("a", Membership.leave)
    with pytest.raises(KeyError):
        engine.member("b")
    assert engine.running() == []


def test_views_that_differ_from_the_truth_are_not_converged() -> None:
    engine = Engine(seed=1)
    engine.add_member("a", CONFIG)
    assert engine.is_converged()
    engine.add_member("b", CONFIG)
    assert not engine.is_converged()
    engine.tell("b", lambda member, now: member.join([engine.nodes["a"].address], now))
    engine.run_until(engine.is_converged, within=2)
    engine.kill("b")
    assert not engine.is_converged()
