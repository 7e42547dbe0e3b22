"""Virtual time, nodes and streams, shown with a core that writes down what it hears."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest

from gossip import Address, CloseStream, OpenStream, StreamCommand, StreamId, WriteStream
from sim.engine import Engine
from sim.network import Link
from sim.node import Node
from sim.stage import MAX_WAITING_DATAGRAMS, Happening

SURE = Link(latency=0.01, jitter=0.0)


class Scribe:
    """A core that does nothing of itself: a test fills its outputs, and reads what it heard."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.datagrams: list[tuple[bytes, Address]] = []
        self.commands: list[StreamCommand] = []
        self.events: list[object] = []
        self.deadline = math.inf
        self.accepted = 100
        self.replies: dict[bytes, list[tuple[bytes, Address]]] = {}

    def receive_datagram(self, data: bytes, source: Address, now: float) -> None:
        self.heard.append(("datagram", data, source, round(now, 6)))

    def accept_stream(self, source: Address, now: float) -> StreamId:
        self.accepted += 1
        self.heard.append(("accept", self.accepted, source[0], round(now, 6)))
        return self.accepted

    def receive_stream(self, stream: StreamId, data: bytes, now: float) -> None:
        self.heard.append(("stream", stream, data, round(now, 6)))

    def stream_failed(self, stream: StreamId, reason: str, now: float) -> None:
        self.heard.append(("failed", stream, reason, round(now, 6)))

    def handle_timer(self, now: float) -> None:
        self.heard.append(("timer", round(now, 6)))
        self.deadline = math.inf

    def datagrams_to_send(self) -> list[tuple[bytes, Address]]:
        datagrams, self.datagrams = self.datagrams, []
        return datagrams

    def stream_commands(self) -> list[StreamCommand]:
        commands, self.commands = self.commands, []
        return commands

    def next_event(self) -> object | None:
        return self.events.pop(0) if self.events else None

    def next_timer(self) -> float:
        return self.deadline


class Pair:
    """Two scribes on one network, and how to make them act."""

    def __init__(self, link: Link = SURE, seed: int = 1) -> None:
        self.engine = Engine(seed, link)
        self.scribes: dict[str, list[Scribe]] = {"a": [], "b": []}
        self.addresses = {name: self.engine.add_node(name, self.boot).address for name in self.scribes}

    def boot(self, node: Node, rng: Random, now: float) -> Scribe:
        self.scribes[node.name].append(Scribe())
        return self.scribes[node.name][-1]

    def __getitem__(self, name: str) -> Scribe:
        return self.scribes[name][-1]

    def act(self, name: str, *commands: StreamCommand) -> None:
        """Have a core command something about streams, now."""
        self.engine.give(self.engine.nodes[name], self[name].commands.extend, commands)

    def send(self, name: str, data: bytes, address: Address) -> None:
        self.engine.give(self.engine.nodes[name], self[name].datagrams.append, (data, address))

    def wake(self, name: str, at: float) -> None:
        self.engine.give(self.engine.nodes[name], setattr, self[name], "deadline", at)

    def heard(self, name: str, *kinds: str) -> list[tuple[Any, ...]]:
        return [entry for entry in self[name].heard if not kinds or entry[0] in kinds]


# ---- time


def test_what_falls_on_one_instant_happens_in_the_order_in_which_it_was_said() -> None:
    engine, order = Engine(1), list[int]()
    for number in range(5):
        engine.at(2.0, order.append, number)
    engine.at(1.0, order.append, 9)
    engine.at(-5.0, order.append, 8)
    engine.run(2.0)
    assert order == [8, 9, 0, 1, 2, 3, 4]
    assert engine.now == 2.0


def test_time_goes_on_when_nothing_happens_and_never_back() -> None:
    engine = Engine(1)
    engine.run(10.0)
    engine.run(5.0)
    assert engine.now == 10.0


def test_a_core_is_woken_at_its_deadline_and_not_at_one_it_has_given_up() -> None:
    pair = Pair()
    pair.wake("a", 5.0)
    pair.wake("a", 3.0)
    pair.engine.run(4.0)
    pair.wake("a", 6.0)
    pair.engine.run(10.0)
    assert pair.heard("a") == [("timer", 3.0), ("timer", 6.0)]


def test_run_until_says_how_long_it_took_or_what_reproduces_the_failure() -> None:
    engine, seen = Engine(seed=42), list[int]()

    def has_happened() -> bool:
        return bool(seen)

    engine.at(1.23, seen.append, 1)
    assert engine.run_until(has_happened, within=5, every=0.1) == pytest.approx(1.3)
    seen.clear()
    with pytest.raises(TimeoutError, match=r"seed 42: has_happened does not hold 5 s after 1\.3"):
        engine.run_until(has_happened, within=5)


# ---- datagrams


def test_a_datagram_arrives_as_it_was_sent_after_the_latency() -> None:
    pair = Pair()
    pair.send("a", b"hello", pair.addresses["b"])
    pair.engine.run(1.0)
    assert pair.heard("b") == [("datagram", b"hello", pair.addresses["a"], 0.01)]


def test_datagrams_to_nobody_to_a_dead_process_and_into_a_partition_are_lost_and_counted() -> None:
    pair = Pair()
    pair.send("a", b"1", ("192.0.2.1", 7946))
    pair.engine.network.partition(["a"], ["b"])
    pair.send("a", b"2", pair.addresses["b"])
    pair.engine.network.repair()
    pair.engine.kill("b")
    pair.send("a", b"3", pair.addresses["b"])
    pair.engine.run(1.0)
    statistics = pair.engine.statistics()
    assert (statistics.datagrams_sent, statistics.datagrams_lost, statistics.datagrams_delivered) == (3, 3, 0)


def test_what_a_core_leaves_undrained_is_found() -> None:
    pair = Pair()
    scribe = pair["a"]
    scribe.next_event = lambda: scribe.datagrams.append((b"late", pair.addresses["b"]))  # type: ignore[method-assign]  # a core that breaks the contract
    with pytest.raises(AssertionError, match="a is not drained"):
        pair.wake("a", 1.0)


# ---- streams


def opened(pair: Pair, *data: bytes, stream: StreamId = 1, deadline: float = 10.0) -> None:
    pair.act("a", OpenStream(stream, pair.addresses["b"], deadline), *(WriteStream(stream, piece) for piece in data))


def test_a_stream_connects_is_accepted_and_carries_both_ways() -> None:
    pair = Pair()
    opened(pair, b"hel", b"lo")
    pair.engine.run(1.0)
    assert pair.heard("b") == [("accept", 101, pair.addresses["a"][0], 0.03), ("stream", 101, b"hello", 0.03)]
    pair.act("b", WriteStream(101, b"bye"), CloseStream(101))
    pair.engine.run(2.0)
    assert pair.heard("a") == [("stream", 1, b"bye", 1.01), ("stream", 1, b"", 1.01)]


def test_a_stream_on_which_nothing_is_written_is_accepted_all_the_same() -> None:
    pair = Pair()
    opened(pair)
    pair.engine.run(1.0)
    assert pair.heard("b") == [("accept", 101, pair.addresses["a"][0], 0.03)]


def test_after_closing_a_core_hears_nothing_more_of_a_stream() -> None:
    pair = Pair()
    opened(pair, b"hello")
    pair.engine.run(1.0)
    pair.act("a", CloseStream(1), WriteStream(1, b"too late"), CloseStream(1))
    pair.act("b", WriteStream(101, b"answer"))
    pair.engine.run(2.0)
    assert pair.heard("a") == []
    assert pair.heard("b")[-1] == ("stream", 101, b"", 1.01)


def test_a_process_that_ended_refuses_and_a_host_that_is_gone_says_nothing() -> None:
    pair = Pair()
    pair.engine.kill("b")
    opened(pair)
    pair.engine.run(1.0)
    assert pair.heard("a") == [("failed", 1, "b refused the connection", 0.02)]
    pair.engine.crash("b")
    opened(pair, stream=2, deadline=5.0)
    pair.act("a", OpenStream(3, ("192.0.2.1", 7946), 4.0))
    pair.engine.run(20.0)
    assert pair.heard("a")[1:] == [
        ("failed", 3, "no connection in time", 4.0), ("failed", 2, "no connection in time", 5.0),
    ]  # fmt: skip  # two short rows
    statistics = pair.engine.statistics()
    assert (statistics.streams_refused, statistics.streams_timed_out, statistics.streams_opened) == (1, 2, 0)


@pytest.mark.parametrize("way", ["there", "back"])
def test_a_connection_needs_both_directions_and_is_tried_again(way: str) -> None:
    pair = Pair()
    sources, targets = (["a"], ["b"]) if way == "there" else (["b"], ["a"])
    pair.engine.network.partition_oneway(sources, targets)
    opened(pair, b"hello")
    pair.engine.at(2.0, pair.engine.network.repair)
    pair.engine.run(10.0)
    assert pair.heard("b", "stream") == [("stream", 101, b"hello", 3.03)]


def test_lost_segments_are_sent_again_and_everything_arrives_in_order() -> None:
    pair = Pair(Link(latency=0.01, jitter=0.05, loss=0.3))
    opened(pair, b"0,")
    for number in range(1, 200):
        pair.engine.at(number * 0.01, pair.act, "a", WriteStream(1, b"%d," % number))
    pair.engine.at(3.0, pair.act, "a", CloseStream(1))
    pair.engine.run(100.0)
    pieces = [data for _, _, data, _ in pair.heard("b", "stream")]
    assert b"".join(pieces) == b"".join(b"%d," % number for number in range(200))
    assert pieces[-1] == b""


def test_a_connection_that_gets_nothing_through_breaks_on_the_side_that_tries() -> None:
    pair = Pair()
    opened(pair, b"hello")
    pair.engine.run(1.0)
    pair.engine.network.partition(["a"], ["b"])
    pair.act("a", WriteStream(1, b"?"))
    pair.engine.run(200.0)
    assert [entry[:3] for entry in pair.heard("a")] == [("failed", 1, "the connection broke: timed out")]
    assert pair.heard("b", "failed") == []


def test_the_end_of_a_process_resets_its_connections_and_the_end_of_a_host_is_silent() -> None:
    pair = Pair()
    opened(pair, b"hello")
    pair.engine.run(1.0)
    pair.engine.kill("b")
    pair.engine.run(2.0)
    assert pair.heard("a") == [("failed", 1, "the connection broke: reset", 1.01)]
    pair.engine.restart("b")
    opened(pair, b"again", stream=2)
    pair.engine.run(3.0)
    pair.engine.crash("b")
    pair.engine.run(4.0)
    assert len(pair.heard("a")) == 1


def test_a_connection_never_reaches_a_later_process() -> None:
    pair = Pair()
    opened(pair, b"hello")
    pair.engine.run(1.0)
    pair.engine.crash("b")
    pair.engine.restart("b")
    pair.act("a", WriteStream(1, b"are you still there?"))
    pair.engine.run(2.0)
    assert len(pair.scribes["b"]) == 2
    assert pair.heard("b") == []
    assert pair.heard("a") == [("failed", 1, "the connection broke: reset", 1.02)]


def test_an_end_of_a_process_while_it_connects_is_the_end_of_the_attempt() -> None:
    pair = Pair()
    opened(pair, b"hello")
    pair.engine.restart("a")
    pair.engine.run(20.0)
    assert pair.heard("b") == []
    assert pair.heard("a") == []


# ---- nodes


def test_a_paused_process_hears_all_that_waited_before_its_timers_fire() -> None:
    pair = Pair()
    pair.wake("b", 2.0)
    pair.engine.pause("b")
    pair.send("a", b"1", pair.addresses["b"])
    opened(pair, b"2")
    pair.engine.run(5.0)
    assert pair.heard("b") == []
    pair.engine.resume("b")
    pair.engine.run(6.0)
    assert [entry[0] for entry in pair.heard("b")] == ["datagram", "accept", "stream", "timer"]
    assert pair.heard("b")[-1] == ("timer", 5.0)


def test_the_kernel_keeps_so_many_datagrams_for_a_paused_process() -> None:
    pair = Pair()
    pair.engine.pause("b")
    for number in range(MAX_WAITING_DATAGRAMS + 5):
        pair.send("a", b"%d" % number, pair.addresses["b"])
    pair.engine.run(1.0)
    pair.engine.resume("b")
    assert [entry[1] for entry in pair.heard("b")] == [b"%d" % number for number in range(MAX_WAITING_DATAGRAMS)]
    assert pair.engine.statistics().datagrams_lost == 5


def test_a_restart_boots_a_new_core_with_randomness_of_its_own() -> None:
    engine, drawn = Engine(1), list[float]()

    def boot(node: Node, rng: Random, now: float) -> Scribe:
        drawn.append(rng.random())
        return Scribe()

    engine.add_node("a", boot)
    engine.restart("a")
    engine.crash("a")
    engine.restart("a")
    engine.add_node("b", boot, after=3.0)
    engine.run(2.0)
    assert len(drawn) == len(set(drawn)) == 3
    engine.run(3.0)
    assert len(set(drawn)) == 4


def test_a_name_is_given_once() -> None:
    pair = Pair()
    with pytest.raises(ValueError, match="'a' already"):
        pair.engine.add_node("a", pair.boot)


# ---- what happened


def test_the_trace_tells_everything_and_the_digest_covers_it() -> None:
    traced: list[Happening] = []
    pair = Pair()
    empty = pair.engine.digest
    assert Pair().engine.digest == empty
    assert Engine(1, SURE).digest != empty
    engine = Engine(1, SURE, traced.append)
    scribe = Scribe()
    node = engine.add_node("a", lambda node, rng, now: scribe)
    engine.give(node, scribe.datagrams.append, (b"x", node.address))
    engine.give(node, scribe.events.append, "an event")
    engine.run(1.0)
    engine.kill("a")
    assert [(entry.what, entry.about, entry.data) for entry in traced] == [
        ("boot", "1", b""), ("event", "'an event'", b""), ("datagram", "a", b"x"), ("kill", "", b""),
    ]  # fmt: skip  # four short rows
    assert [(told.node, told.event) for told in engine.told] == [("a", "an event")]
    assert engine.statistics().events == {"str": 1}


def digest(data: bytes = b"x", at: float = 1.0, event: str = "e") -> str:
    pair = Pair()
    pair.engine.at(at, pair.send, "a", data, pair.addresses["b"])
    pair.engine.at(5.0, pair.engine.give, pair.engine.nodes["a"], pair["a"].events.append, event)
    pair.engine.run(10.0)
    return pair.engine.digest


def test_any_difference_changes_the_digest() -> None:
    assert digest() == digest()
    assert len({digest(), digest(data=b"y"), digest(at=1.000001), digest(event="f")}) == 4
