"""Every row of the recorded state machine and function tables (memberlist-protocol.md §8.6, 9.5, 10, 13)."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from gossip import MemberFailed, MemberJoined, MemberLeft, MemberUpdated, NameConflict, State
from gossip.broadcasts import BroadcastQueue, retransmit_limit
from gossip.codec import decode_message_untrusted
from gossip.config import IdentityRules, memberlist
from gossip.keyring import Keyring
from gossip.members import Record
from gossip.messages import Alive, Dead, PacketMessage, Suspect
from gossip.parts import Parts
from gossip.policy import ACCEPT_ALL
from gossip.pushpull import push_pull_scale
from gossip.suspicion import remaining_suspicion_time, suspicion_timeout
from tests.gossip.helpers import VSN

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "memberlist-vectors.json").read_text())
REMOTE: list[dict[str, Any]] = VECTORS["state_machine"]["remote"]
SELF: list[dict[str, Any]] = VECTORS["state_machine"]["self"]
FUNCTIONS: dict[str, Any] = VECTORS["functions"]

EVENT_NAMES = {MemberJoined: "join", MemberUpdated: "update", MemberFailed: "leave", MemberLeft: "leave"}
START, INCARNATION = 100.0, 5


def test_there_are_vectors() -> None:
    """As many as were recorded: the tests below go over rows, and over none if there is none."""
    assert {"remote": len(REMOTE), "self": len(SELF)} == {"remote": 114, "self": 51}
    assert {name: len(rows) for name, rows in FUNCTIONS.items() if isinstance(rows, list)} == {
        "push_pull_scale": 15,
        "remaining_suspicion_time": 108,
        "retransmit_limit": 60,
        "suspicion_timeout": 192,
    }
    assert len(FUNCTIONS["broadcast_queue_scenario"]["steps"]) == 14


def host(last: int) -> bytes:
    return bytes((127, 0, 0, last))


def make_parts(reclaim: float = 0.0) -> Parts:
    """A member called ``self`` at 127.0.0.1, listed, at the recorded incarnation, in a ring large enough for
    confirmations."""
    base = memberlist()
    config = base.__class__(
        probe=base.probe, gossip=base.gossip, reconnect=base.reconnect, wire=base.wire,
        identity=IdentityRules(version_check=base.identity.version_check, dead_reclaim_time=reclaim),
    )  # fmt: skip
    own = Record("self", host(1), 7946, 0.0)
    own.vsn = VSN
    parts = Parts(config, own, Keyring(), ACCEPT_ALL, random.Random(1), bytes)
    for _ in range(INCARNATION):
        parts.claims.announce(b"m", 0.0, lambda: None)
    for number in range(20, 24):
        parts.claims.hear_alive(Alive(1, f"other-{number}", host(number), 7946, b"", VSN), 0.0)
    return parts


def settle(parts: Parts) -> None:
    parts.broadcasts.membership.prune(0)
    while parts.outbox.take_event() is not None:
        pass


def observed(parts: Parts) -> tuple[list[str], int, list[PacketMessage]]:
    """Events by their recorded names, conflicts, and the queued broadcasts."""
    events = list(iter(parts.outbox.take_event, None))
    names = [EVENT_NAMES[type(event)] for event in events if type(event) in EVENT_NAMES]
    conflicts = sum(isinstance(event, NameConflict) for event in events)
    queued = [decode_message_untrusted(message) for message in parts.broadcasts.membership.take(10_000)]
    return names, conflicts, queued


def claim(parts: Parts, text: str, node: str, incarnation: int, now: float) -> None:
    """Make the claim that a row describes in words."""
    address = host(1) if node == "self" else host(9)
    alive = {
        "alive same addr, same meta": (address, b"m", VSN),
        "alive same addr, new meta": (address, b"m2", VSN),
        "alive different addr": (host(10), b"m", VSN),
        "alive same addr, bad vsn pmin=0": (address, b"m", bytes((0, 5, 2, 0, 0, 0))),
        "alive identical meta+vsn": (address, b"m", VSN),
        "alive different meta": (address, b"other", VSN),
        "alive different vsn": (address, b"m", bytes((1, 5, 3, 0, 0, 0))),
    }
    if text in alive:
        addr, meta, vsn = alive[text]
        parts.claims.hear_alive(Alive(incarnation, node, addr, 7946, meta, vsn), now)
    elif text.startswith("suspect"):
        parts.claims.hear_suspect(Suspect(incarnation, node, "x" if "from x" in text else "y"), now)
    else:
        assert text.startswith("dead from ")
        parts.claims.hear_dead(Dead(incarnation, node, text.split()[2]), now)


def expected_broadcasts(row: dict[str, Any]) -> list[tuple[str, str, int]]:
    return [(entry["type"], entry["Node"], entry["Incarnation"]) for entry in row["broadcast"]]


def described(messages: list[PacketMessage]) -> list[tuple[str, str, int]]:
    described = []
    for message in messages:
        assert isinstance(message, Alive | Suspect | Dead)
        described.append((type(message).__name__.lower(), message.node, message.incarnation))
    return described


def put_into(parts: Parts, start: str) -> None:
    if start == "unknown":
        return
    parts.claims.hear_alive(Alive(INCARNATION, "n", host(9), 7946, b"m", VSN), START)
    if start == "suspect":
        parts.claims.hear_suspect(Suspect(INCARNATION, "n", "x"), START)
    elif start in ("dead", "left"):
        parts.claims.hear_dead(Dead(INCARNATION, "n", "x" if start == "dead" else "n"), START)


@pytest.mark.rule("8.6a")
@pytest.mark.parametrize("row", REMOTE, ids=lambda row: f"{row['start']}-{row['message']}@{row['message_incarnation']}")
def test_a_claim_about_another_member(row: dict[str, Any]) -> None:
    parts = make_parts(reclaim=1.0 if row["dead_node_reclaim"] else 0.0)
    put_into(parts, row["start"])
    settle(parts)
    claim(parts, row["message"], "n", row["message_incarnation"], START + 10)
    events, conflicts, queued = observed(parts)
    assert events == row["events"]
    assert conflicts == row["conflicts"]
    assert described(queued) == expected_broadcasts(row)
    record = parts.roster.get("n")
    if row["end"] == "unknown":
        assert record is None
        return
    assert record is not None
    assert record.state is State[row["end"].upper()]
    assert record.incarnation == row["end_incarnation"]
    assert record.member().address[0] == row["end_addr"]
    assert record.member().meta == row["end_meta"].encode()
    if "suspicion_timer" in row:
        assert (record.suspicion is not None) == row["suspicion_timer"]
    if record.suspicion is not None and "confirmations" in row:
        assert record.suspicion.confirmations == row["confirmations"]


@pytest.mark.rule("8.6b")
@pytest.mark.parametrize(
    "row", SELF, ids=lambda row: f"{row['message']}@{row['message_incarnation']}{'-leaving' if row['leaving'] else ''}"
)
def test_a_claim_about_ourselves(row: dict[str, Any]) -> None:
    parts = make_parts()
    parts.claims.leaving = row["leaving"]
    settle(parts)
    claim(parts, row["message"], "self", row["message_incarnation"], START)
    events, conflicts, queued = observed(parts)
    assert events == row["events"]
    assert conflicts == row["conflicts"]
    assert described(queued) == expected_broadcasts(row)
    own = parts.own
    assert own.state is State[row["end"].upper()]
    assert own.incarnation == row["end_incarnation"]
    assert own.member().meta == row["end_meta"].encode()
    assert parts.awareness.score == row["health_score"]


@pytest.mark.rule("9.5a")
@pytest.mark.upstream("TestSuspicionTimeout")
def test_suspicion_timeouts() -> None:
    for row in FUNCTIONS["suspicion_timeout"]:
        assert suspicion_timeout(row["mult"], row["n"], row["interval_ns"] / 1e9) == pytest.approx(
            row["timeout_ns"] / 1e9, abs=2e-9
        ), row


@pytest.mark.rule("9.5c")
@pytest.mark.upstream("TestSuspicion_remainingSuspicionTime")
def test_remaining_suspicion_times() -> None:
    for row in FUNCTIONS["remaining_suspicion_time"]:
        remaining = remaining_suspicion_time(
            row["n"], row["k"], row["elapsed_ns"] / 1e9, row["min_ns"] / 1e9, row["max_ns"] / 1e9
        )
        assert remaining == pytest.approx(row["remaining_ns"] / 1e9, abs=2e-9), row


@pytest.mark.rule("10.4b")
@pytest.mark.upstream("TestPushPullScale")
def test_push_pull_scales() -> None:
    for row in FUNCTIONS["push_pull_scale"]:
        assert push_pull_scale(row["n"]) == row["multiplier"], row


@pytest.mark.rule("10.1d")
@pytest.mark.upstream("TestRetransmitLimit")
def test_retransmit_limits() -> None:
    for row in FUNCTIONS["retransmit_limit"]:
        assert retransmit_limit(row["mult"], row["n"]) == row["limit"], row


@pytest.mark.rule("10.1e", "10.1f")
@pytest.mark.upstream("TestTransmitLimited_GetBroadcasts")
def test_the_recorded_queue_scenario() -> None:
    scenario = FUNCTIONS["broadcast_queue_scenario"]
    queue = BroadcastQueue(lambda: retransmit_limit(scenario["retransmit_mult"], scenario["num_nodes"]))
    for step in scenario["steps"]:
        if step["op"] == "queue":
            queue.queue(step["name"].encode().ljust(step["len"], b"."), step["name"])
        elif step["op"] == "get":
            got = queue.take(step["limit"], step["overhead"])
            assert [message[:2].decode() for message in got] == step["got"], step
            assert len(queue) == step["remaining"], step
        else:
            pytest.fail(f"unknown step {step['op']}")
