"""The failure detector, sentence by sentence: schedule, one probe, relaying, health score (memberlist-protocol.md
§9.1 to 9.4)."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from gossip import MemberSuspected, PingCompleted, PingTimedOut, ProbeConfig, State
from gossip.awareness import Awareness
from gossip.codec import encode
from gossip.messages import Ack, Alive, IndirectPing, Nack, Ping, Suspect, UserMessage
from gossip.streams import encode_user_stream
from tests.gossip.bench import (
    OWN,
    PROBING,
    Bench,
    Said,
    dead,
    make_bench,
    of_kind,
    opened,
    opened_streams,
    packed,
    suspect,
)
from tests.gossip.helpers import Wire, linked, make_member, of_type

OLD = {pmax: bytes((1, pmax, 2, 0, 0, 0)) for pmax in range(1, 6)}
REQUESTER = ("127.0.0.9", 7946)


def pinged(bench: Bench) -> list[tuple[float, str]]:
    """When the member pinged whom."""
    names = {address: name for name, address in bench.peers.items()}
    return [(said.at, names[said.to]) for said in bench.said if any(of_kind(said.messages, Ping))]


def begin_probe(bench: Bench, target: str = "b") -> tuple[Said, int]:
    """Let the member begin to probe the target, all silent from then on; gives its packet and the ping's number."""
    bench.silent = [target]
    said = bench.run_to_ping(target)
    bench.silent = list(bench.peers)
    (ping,) = of_kind(said.messages, Ping)
    bench.said.clear()
    bench.commands.clear()
    bench.events.clear()
    return said, ping.seq_no


# ---- schedule


@pytest.mark.rule("9.1a", "9.3f")
@pytest.mark.upstream("TestMemberList_Probe", "TestMemberList_ProbeNode", "TestMemberList_NextSeq")
def test_one_member_is_probed_each_interval_with_numbers_from_1() -> None:
    bench = make_bench("b", config=PROBING)
    bench.run(10.5)
    instants = [at for at, _ in pinged(bench)]
    assert len(instants) in (10, 11)
    assert [later - earlier for earlier, later in pairwise(instants)] == pytest.approx([1.0] * (len(instants) - 1))
    assert [ping.seq_no for ping in bench.messages(Ping)] == list(range(1, len(instants) + 1))
    assert bench.state("b") is State.ALIVE


@pytest.mark.rule("9.1e")
@pytest.mark.upstream("TestRandomOffset", "TestRandomOffset_Zero")
def test_the_first_probe_comes_after_a_random_part_of_the_interval() -> None:
    firsts = []
    for seed in range(40):
        bench = make_bench("b", config=PROBING, seed=seed)
        firsts.append(bench.run_to_ping("b").at)
    assert all(0 <= first < 1 for first in firsts)
    assert min(firsts) < 0.2
    assert max(firsts) > 0.8
    assert len(firsts) == len(set(firsts))


@pytest.mark.rule("9.1c", "9.1d")
@pytest.mark.upstream("TestShuffleNodes")
def test_every_round_probes_each_live_member_once_in_an_order_of_its_own() -> None:
    bench = make_bench("b", "c", "d", "e", "gone", "left", config=PROBING)
    bench.tell(dead("gone"), dead("left", accuser="left"))
    bench.run(40.0)
    bench.said.clear()
    bench.run(80.0)
    names = [name for _, name in pinged(bench)]
    rounds = [names[i : i + 4] for i in range(0, 40, 4)]
    starts = [[names[i : i + 4] for i in range(offset, 36 + offset, 4)] for offset in range(4)]
    assert any(all(sorted(one) == ["b", "c", "d", "e"] for one in start) for start in starts), rounds
    assert len({tuple(one) for one in rounds}) > 1


@pytest.mark.rule("9.1b")
def test_ticks_within_a_running_probe_are_one_probe_right_after_it() -> None:
    bench = make_bench("b", "c", config=PROBING, silent=("b",))
    bench.raise_score(2)
    said, seq_no = begin_probe(bench)
    bench.silent = ["b"]
    bench.run(said.at + 2.5)
    assert pinged(bench) == []
    bench.tell(Ack(seq_no))
    bench.run(said.at + 4.1)
    assert [at - said.at for at, _ in pinged(bench)] == pytest.approx([2.5, 3.0, 4.0])


@pytest.mark.rule("9.1f")
def test_a_ring_without_anybody_to_probe_is_no_trouble() -> None:
    bench = make_bench("b", "c", config=PROBING)
    bench.tell(dead("b"), dead("c", accuser="c"))
    bench.said.clear()
    bench.run(100.0)
    assert bench.said == []
    bench.add("b", incarnation=2)
    bench.run(102.0)
    assert {name for _, name in pinged(bench)} == {"b"}


# ---- one probe


@pytest.mark.rule("9.2a", "9.4b")
@pytest.mark.upstream("TestMemberList_ProbeNode_Awareness_Degraded")
@pytest.mark.parametrize("score", [0, 1, 3])
def test_the_deadline_is_stretched_by_the_score_and_the_direct_wait_is_not(score: int) -> None:
    bench = make_bench("b", "c", config=PROBING, silent=("b",))
    bench.raise_score(score)
    said, seq_no = begin_probe(bench)
    bench.run(said.at + 0.49)
    assert bench.messages(IndirectPing) == []
    bench.run(said.at + 0.51)
    assert len(bench.messages(IndirectPing)) == 1
    bench.tell(Nack(seq_no))
    bench.run(said.at + score + 0.99)
    assert bench.state("b") is State.ALIVE
    bench.run(said.at + score + 1.01)
    assert bench.state("b") is State.SUSPECT
    assert bench.score() == score
    (suspected,) = bench.take_events(MemberSuspected)
    assert suspected.expires_at - suspected.member.changed_at == pytest.approx(4.0)


@pytest.mark.rule("9.2b", "4.1a")
def test_an_alive_target_gets_news_beside_its_ping_and_a_suspect_its_accusation_alone() -> None:
    bench = make_bench("b", "c", config=PROBING, silent=("b",))
    bench.tell(suspect("c"))
    said, _ = begin_probe(bench, "b")
    assert [type(message) for message in said.messages] == [Ping, Suspect]
    bench.tell(suspect("b", accuser="c"), bench.alive("c", 2))
    assert bench.member.statistics().queued_broadcasts == 2
    said, _ = begin_probe(bench, "b")
    ping, accusation = said.messages
    assert isinstance(ping, Ping)
    assert (ping.node, ping.source_addr, ping.source_port, ping.source_node) == ("b", packed(OWN), 7946, "a")
    assert accusation == Suspect(1, "b", "a")


@pytest.mark.rule("4.1b")
@pytest.mark.upstream("TestMemberList_ProbeNode_Buddy")
def test_a_suspect_that_is_probed_answers_and_refutes() -> None:
    wire = linked(*(make_member(name, (f"127.0.0.{i}", 7946), PROBING) for i, name in enumerate("ab", start=1)))
    member, target = wire.members
    member.receive_datagram(encode(Suspect(1, "b", "x")), ("127.0.0.9", 7946), wire.now)
    answered = member.statistics().probes_answered
    wire.run(wire.now + 1.0)
    found = member.member("b")
    assert found is not None
    assert (found.state, found.incarnation) == (State.ALIVE, 2)
    assert target.statistics().refutations == 1
    assert member.statistics().probes_answered > answered


@pytest.mark.rule("9.2c", "14k")
@pytest.mark.upstream("TestMemberList_ProbeNode_Awareness_Improved", "TestMemberlist_PingDelegate")
def test_a_direct_ack_tells_time_and_payload_and_lowers_the_score_by_one() -> None:
    bench = make_bench("b", config=PROBING, silent=("b",))
    bench.raise_score(3)
    said, seq_no = begin_probe(bench)
    bench.run(said.at + 0.125)
    bench.tell(Ack(seq_no, b"coordinate"))
    (completed,) = bench.take_events(PingCompleted)
    assert (completed.name, completed.address, completed.payload) == ("b", bench.peers["b"], b"coordinate")
    assert completed.rtt == pytest.approx(0.125)
    assert completed.token is None
    assert bench.score() == 2
    bench.run(said.at + 3.9)
    assert bench.state("b") is State.ALIVE


@pytest.mark.rule("9.2d")
@pytest.mark.upstream("TestMemberlist_FailedRemote")
def test_a_local_failure_to_send_asks_others_at_once_and_lowers_no_score() -> None:
    bench = make_bench("b", "c", config=PROBING, silent=("b",))
    bench.raise_score(2)
    said, seq_no = begin_probe(bench)
    bench.member.sending_failed(bench.peers["c"], bench.now)
    bench.settle()
    assert bench.messages(IndirectPing) == []
    bench.member.sending_failed(bench.peers["b"], bench.now)
    bench.settle()
    assert [request.seq_no for request in bench.messages(IndirectPing, "c")] == [seq_no]
    bench.tell(Ack(seq_no))
    assert bench.score() == 2
    assert bench.take_events(PingCompleted) == []
    bench.run(said.at + 3.5)
    assert bench.state("b") is State.ALIVE


@pytest.mark.rule("9.2e", "10.3e")
@pytest.mark.upstream("TestMemberList_ProbeNode_Suspect", "TestKRandomNodes")
def test_without_an_ack_up_to_three_alive_members_are_asked_and_then_the_target_is_suspect() -> None:
    asked = []
    for seed in range(12):
        bench = make_bench("b", "c", "d", "e", "f", "s", "gone", config=PROBING, silent=("b", "s"), seed=seed)
        bench.tell(suspect("s"), dead("gone"))
        said, seq_no = begin_probe(bench)
        bench.run(said.at + 0.6)
        requests = bench.messages(IndirectPing)
        relays = [said.to for said in bench.said if any(of_kind(said.messages, IndirectPing))]
        assert len(set(relays)) == len(requests) == 3
        assert set(relays) <= {bench.peers[name] for name in "cdef"}
        assert {(r.seq_no, r.target, r.port, r.node) for r in requests} == {
            (seq_no, packed(bench.peers["b"]), 7946, "b")
        }
        assert {(r.source_addr, r.source_port, r.source_node) for r in requests} == {(packed(OWN), 7946, "a")}
        asked.append(tuple(sorted(relays)))
        bench.run(said.at + 1.01)
        assert bench.state("b") is State.SUSPECT
    assert len(set(asked)) == 4


@pytest.mark.rule("9.2f", "7i")
@pytest.mark.parametrize(("highest", "wanted"), [(1, False), (3, False), (4, True), (5, True)])
def test_a_nack_is_asked_only_of_members_that_know_it(highest: int, wanted: bool) -> None:
    bench = make_bench("b", config=PROBING, silent=("b",))
    bench.add("c", vsn=OLD[highest])
    said, _ = begin_probe(bench)
    bench.run(said.at + 0.6)
    assert [request.nack for request in bench.messages(IndirectPing, "c")] == [wanted]


@pytest.mark.rule("9.2g", "5.1f", "7i")
@pytest.mark.upstream(
    "TestMemberList_ProbeNode_FallbackTCP_Disabled", "TestMemberList_ProbeNode_FallbackTCP_OldProtocol"
)
@pytest.mark.parametrize(
    ("enabled", "highest", "tried"), [(True, 5, True), (True, 3, True), (True, 2, False), (False, 5, False)]
)
def test_a_stream_ping_is_tried_if_it_is_on_and_the_target_knows_it(enabled: bool, highest: int, tried: bool) -> None:
    bench = make_bench(config=replace(PROBING, probe=ProbeConfig(stream_pings=enabled)), silent=("b",))
    bench.add("b", vsn=OLD[highest])
    bench.raise_score()
    said, _ = begin_probe(bench)
    bench.run(said.at + 0.49)
    assert opened_streams(bench) == []
    bench.run(said.at + 0.51)
    streams = opened_streams(bench)
    assert [stream.address for stream in streams] == ([bench.peers["b"]] if tried else [])
    assert all(stream.deadline == pytest.approx(said.at + 2.0) for stream in streams)
    bench.run(said.at + 2.01)
    assert bench.state("b") is State.SUSPECT


@pytest.mark.rule("9.2i")
@pytest.mark.parametrize("wait", [0.6, 0.99])
def test_a_late_or_relayed_ack_saves_the_member_and_tells_no_time(wait: float) -> None:
    bench = make_bench("b", "c", config=PROBING, silent=("b",))
    bench.raise_score()
    said, seq_no = begin_probe(bench)
    bench.run(said.at + wait)
    bench.tell(Ack(seq_no), source=bench.peers["c"])
    assert bench.take_events(PingCompleted) == []
    assert bench.score() == 0
    bench.silent.clear()
    bench.run(said.at + 2.5)
    assert bench.state("b") is State.ALIVE


@pytest.mark.rule("9.2j")
@pytest.mark.upstream("TestMemberList_ProbeNode_FallbackTCP")
def test_a_member_that_only_streams_reach_stays_alive() -> None:
    config = PROBING
    wire = linked(*(make_member(name, (f"127.0.0.{i}", 7946), config) for i, name in enumerate("ab", start=1)))
    wire.run(3.0)
    wire.drops = lambda data, source, target: True
    wire.events.clear()
    wire.run(30.0)
    for member in wire.members:
        assert [other.state for other in member.members()] == [State.ALIVE, State.ALIVE]
        assert member.statistics().health_score == 0
    assert not [event for events in wire.events.values() for event in of_type(events, MemberSuspected)]
    assert not [event for events in wire.events.values() for event in of_type(events, PingCompleted)]


@pytest.mark.rule("9.2j")
def test_a_stream_ack_counts_when_the_deadline_comes() -> None:
    bench = make_bench("b", config=PROBING, silent=("b",))
    bench.raise_score()
    said, seq_no = begin_probe(bench)
    bench.run(said.at + 0.6)
    (opened_one,) = opened_streams(bench)
    bench.member.receive_stream(opened_one.stream, encode(Ack(seq_no)), bench.now)
    bench.run(said.at + 1.99)
    assert bench.score() == 1
    bench.run(said.at + 2.01)
    assert bench.score() == 0
    assert bench.state("b") is State.ALIVE


@pytest.mark.rule("5.5c", "5.5d")
@pytest.mark.upstream("TestTCPPing")
@pytest.mark.parametrize("answer", ["wrong number", "another reply", "nothing", "refused"])
def test_a_stream_ping_without_its_ack_is_a_failed_contact(answer: str) -> None:
    bench = make_bench("b", config=PROBING, silent=("b",))
    said, seq_no = begin_probe(bench)
    bench.run(said.at + 0.6)
    (opened_one,) = opened_streams(bench)
    replies = {
        "wrong number": encode(Ack(seq_no + 1)),
        "another reply": encode_user_stream(b"hello"),
        "nothing": b"",
    }
    if answer in replies:
        bench.member.receive_stream(opened_one.stream, replies[answer], bench.now)
    else:
        bench.member.stream_failed(opened_one.stream, "connection refused", bench.now)
    bench.run(said.at + 1.01)
    assert bench.state("b") is State.SUSPECT
    assert bench.member.statistics().streams_open == 0


@pytest.mark.rule("9.2k")
@pytest.mark.upstream("TestMemberList_ProbeNode_Awareness_MissedNack", "TestMemberList_ProbeNode_Awareness_OldProtocol")
@pytest.mark.parametrize(
    ("highest", "nacks", "score"),
    [
        ((5, 5), 2, 0),
        ((5, 5), 1, 1),
        ((5, 5), 0, 2),
        ((5, 5), 7, 0),
        ((3, 3), 0, 1),
        ((5, 3), 0, 1),
        ((5, 3), 1, 0),
        ((), 0, 1),
    ],
)
def test_a_failed_probe_raises_the_score_by_the_missing_nacks(highest: tuple[int, ...], nacks: int, score: int) -> None:
    bench = make_bench("b", config=PROBING, silent=("b",))
    for name, pmax in zip("cd", highest, strict=False):
        bench.add(name, vsn=OLD[pmax])
    said, seq_no = begin_probe(bench)
    bench.run(said.at + 0.6)
    bench.tell(*[Nack(seq_no)] * nacks)
    bench.run(said.at + 0.999)
    assert bench.state("b") is State.ALIVE
    bench.run(said.at + 1.0001)
    assert bench.state("b") is State.SUSPECT
    assert bench.score() == score


@pytest.mark.rule("9.2l")
def test_a_target_that_raised_its_incarnation_meanwhile_is_not_suspected() -> None:
    bench = make_bench("b", "c", config=PROBING, silent=("b",))
    said, _ = begin_probe(bench)
    bench.add("b", incarnation=2)
    bench.run(said.at + 1.01)
    assert bench.state("b") is State.ALIVE
    assert bench.member.statistics().probes_failed == 1
    said, _ = begin_probe(bench)
    bench.run(said.at + 2.01)
    (suspected,) = bench.take_events(MemberSuspected)
    assert (suspected.member.incarnation, suspected.accuser) == (2, "a")


@pytest.mark.rule("9.2m")
@pytest.mark.upstream("TestMemberList_Ping")
def test_a_ping_on_request_waits_asks_nobody_and_changes_nothing() -> None:
    bench = make_bench("b", "c", silent=("b",))
    bench.raise_score()
    token = bench.member.ping("b", bench.now)
    bench.settle()
    (ping,) = bench.messages(Ping, "b")
    bench.run(0.2)
    bench.tell(Ack(ping.seq_no, b"payload"))
    (completed,) = bench.take_events(PingCompleted)
    assert (completed.name, completed.payload, completed.token) == ("b", b"payload", token)
    assert completed.rtt == pytest.approx(0.2)
    bench.said.clear()
    token = bench.member.ping("b", bench.now)
    bench.run(0.69)
    assert bench.take_events(PingTimedOut) == []
    bench.run(0.71)
    assert [(event.name, event.token) for event in bench.take_events(PingTimedOut)] == [("b", token)]
    assert bench.messages(IndirectPing) == []
    assert opened_streams(bench) == []
    assert bench.score() == 1
    assert bench.state("b") is State.ALIVE


@pytest.mark.upstream("TestMemberList_Ping")
def test_a_ping_that_reaches_another_member_times_out() -> None:
    member = make_member("a", OWN, PROBING)
    wire = Wire([member, make_member("other", ("127.0.0.2", 7946), PROBING)])
    member.receive_datagram(encode(Alive(1, "b", bytes((127, 0, 0, 2)), 7946, None, OLD[5])), REQUESTER, 0.0)
    token = member.ping("b", 0.0)
    wire.run(0.6)
    assert [event.token for event in of_type(wire.events["a"], PingTimedOut)] == [token]


# ---- relaying


def ask_relay(bench: Bench, *, nack: bool = True, port: int = 7946, node: str = "b") -> Ping:
    """A requester asks the member to ping b; gives the ping that follows."""
    bench.said.clear()
    bench.tell(
        IndirectPing(77, packed(bench.peers["b"]), port, node, nack, packed(REQUESTER), REQUESTER[1], "r"),
        source=("127.0.0.66", 5),
    )
    (ping,) = bench.messages(Ping)
    return ping


def answers_to(bench: Bench, address: tuple[str, int] = REQUESTER) -> list[object]:
    return [message for said in bench.said if said.to == address for message in said.messages]


@pytest.mark.rule("9.3a")
@pytest.mark.parametrize("port", [0, 7946])
def test_a_relay_pings_with_a_number_and_an_address_of_its_own(port: int) -> None:
    bench = make_bench("b", silent=("b",))
    assert ask_relay(bench, port=port) == Ping(1, "b", packed(OWN), 7946, "a")
    assert bench.said[0].to == bench.peers["b"]


@pytest.mark.rule("9.3b", "4.1d", "4.1e", "14j")
def test_a_relay_passes_the_ack_on_with_the_requesters_number() -> None:
    bench = make_bench("b", silent=("b",))
    bench.member.attach(ack_payload=b"ours")
    ping = ask_relay(bench)
    bench.run(0.4)
    bench.tell(Ack(ping.seq_no, b"theirs"), source=bench.peers["b"])
    assert answers_to(bench) == [Ack(77, None)]
    bench.run(2.0)
    assert answers_to(bench) == [Ack(77, None)]


@pytest.mark.rule("9.3c")
@pytest.mark.parametrize("wanted", [True, False])
def test_a_relay_without_an_ack_says_so_if_asked_to(wanted: bool) -> None:
    bench = make_bench("b", silent=("b",))
    ask_relay(bench, nack=wanted)
    bench.run(0.49)
    assert answers_to(bench) == []
    bench.run(0.51)
    assert answers_to(bench) == ([Nack(77)] if wanted else [])


@pytest.mark.rule("9.3d")
@pytest.mark.upstream("TestMemberList_setProbeChannels", "TestMemberList_setAckHandler")
def test_an_ack_after_the_nack_is_not_passed_on() -> None:
    bench = make_bench("b", silent=("b",))
    ping = ask_relay(bench)
    bench.run(0.51)
    bench.tell(Ack(ping.seq_no), source=bench.peers["b"])
    assert answers_to(bench) == [Nack(77)]


@pytest.mark.rule("4.1d")
def test_a_request_without_source_fields_is_answered_where_it_came_from() -> None:
    bench = make_bench("b")
    bench.tell(IndirectPing(78, packed(bench.peers["b"]), 7946, "b", False), source=("127.0.0.66", 5))
    assert answers_to(bench, ("127.0.0.66", 5)) == [Ack(78)]


@pytest.mark.upstream("TestHandleIndirectPing")
def test_a_relay_may_be_asked_to_ping_itself() -> None:
    wire = Wire([make_member("a", OWN, PROBING)])
    (member,) = wire.members
    request = IndirectPing(100, packed(OWN), 7946, "a", True, packed(REQUESTER), 7946, "r")
    member.receive_datagram(encode(request), REQUESTER, 0.0)
    wire.step()
    answers = [message for _, target, data in wire.datagrams if target == REQUESTER for message in opened(data)]
    assert Ack(100) in answers


@pytest.mark.rule("9.3e")
@pytest.mark.upstream("TestMemberList_invokeAckHandler", "TestMemberList_invokeAckHandler_Channel_Ack")
def test_an_ack_is_used_once_and_an_unknown_one_is_ignored() -> None:
    bench = make_bench("b", silent=("b",))
    token = bench.member.ping("b", bench.now)
    bench.settle()
    (ping,) = bench.messages(Ping)
    bench.tell(Ack(ping.seq_no + 1), Nack(ping.seq_no), Ack(ping.seq_no, b"first"), Ack(ping.seq_no, b"second"))
    assert [(event.token, event.payload) for event in bench.take_events(PingCompleted)] == [(token, b"first")]
    bench.run(2.0)
    assert bench.take_events(PingTimedOut) == []


@pytest.mark.rule("9.3e")
@pytest.mark.upstream("TestMemberList_invokeAckHandler_Channel_Nack")
def test_a_nack_uses_up_nothing_and_one_too_early_does_not_count() -> None:
    bench = make_bench("b", "c", config=PROBING, silent=("b",))
    said, seq_no = begin_probe(bench)
    bench.tell(Nack(seq_no))
    bench.run(said.at + 1.01)
    assert bench.score() == 1
    bench.raise_score()
    bench.add("b", incarnation=2)
    said, seq_no = begin_probe(bench)
    bench.run(said.at + 0.6)
    bench.tell(Nack(seq_no), Ack(seq_no))
    assert bench.score() == 1
    bench.run(said.at + 2.9)
    assert bench.state("b") is State.ALIVE


# ---- answering


@pytest.mark.rule("4.1d")
@pytest.mark.upstream("TestHandlePing")
def test_a_ping_is_acked_to_its_source_fields_else_whence_it_came() -> None:
    bench = make_bench()
    elsewhere = ("127.0.0.66", 5)
    bench.tell(Ping(1, "a", packed(REQUESTER), REQUESTER[1], "r"), source=elsewhere)
    bench.tell(Ping(2, "", b"", 7946), Ping(3, "a", packed(REQUESTER)), source=elsewhere)
    assert [(said.to, said.messages) for said in bench.said] == [
        (REQUESTER, (Ack(1),)),
        (elsewhere, (Ack(2),)),
        (elsewhere, (Ack(3),)),
    ]


@pytest.mark.rule("14j")
def test_our_payload_goes_with_each_ack_of_a_datagram_ping() -> None:
    bench = make_bench()
    bench.member.attach(ack_payload=b"where we are")
    bench.tell(Ping(5, "a"))
    assert answers_to(bench) == [Ack(5, b"where we are")]


# ---- health score


@pytest.mark.rule("9.4a")
@pytest.mark.upstream("TestAwareness")
def test_the_score_is_clamped_and_stretches() -> None:
    awareness = Awareness(8)
    deltas = (0, -1, -10, 1, -1, 10, *[-1] * 8)
    scores = (0, 0, 0, 1, 0, 7, 6, 5, 4, 3, 2, 1, 0, 0)
    for delta, score in zip(deltas, scores, strict=True):
        awareness.apply(delta)
        assert awareness.score == score
        assert awareness.scale(1.0) == score + 1


@pytest.mark.rule("9.4a")
def test_a_member_in_trouble_stops_at_the_maximum() -> None:
    bench = make_bench("b", config=replace(PROBING, probe=ProbeConfig(awareness_max=3)), silent=("b",))
    bench.raise_score(9)
    assert bench.score() == 2


def test_a_user_message_is_no_answer() -> None:
    bench = make_bench("b", config=PROBING, silent=("b",))
    said, _ = begin_probe(bench)
    bench.tell(UserMessage(b"I am here"), source=bench.peers["b"])
    bench.run(said.at + 1.01)
    assert bench.state("b") is State.SUSPECT
