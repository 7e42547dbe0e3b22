"""Whatever a peer or a user can make grow has a limit, and the limit holds."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gossip import (
    BroadcastSpread,
    CloseStream,
    IdentityRules,
    LocalError,
    PingTimedOut,
    ReconnectConfig,
    State,
    UserMessageReceived,
)
from gossip.broadcasts import MAX_QUEUED_USER_MESSAGES
from gossip.codec import encode, encode_compressed, make_compound
from gossip.core import MAX_ATTACHED_BYTES, MAX_DATAGRAM_PAYLOAD
from gossip.lzw import compress
from gossip.messages import Ack, Alive, IndirectPing, Nack, PacketMessage, Ping, UserMessage
from gossip.prober import MAX_OUTSTANDING_PINGS
from gossip.receiver import MAX_UNFINISHED_PACKETS, MESSAGES_TURN
from gossip.streams import MAX_USER_STATE, encode_user_stream
from gossip.timers import MIN_SWEEP, TimerKind, Timers
from tests.gossip.bench import OWN, PROBING, STILL, dead, make_bench, node_state, packed, suspect
from tests.gossip.helpers import VSN

if TYPE_CHECKING:
    from collections.abc import Callable

PEER = ("127.0.0.9", 7946)


def test_strangers_beyond_the_limit_are_ignored_and_known_members_are_not() -> None:
    bench = make_bench("b", "c", config=replace(STILL, identity=IdentityRules(max_members=3)))
    bench.add("d")
    bench.push_pull([node_state(bench, "e", State.ALIVE), node_state(bench, "b", State.ALIVE, 2)])
    assert [(other.name, other.incarnation) for other in bench.member.members()] == [("a", 1), ("b", 2), ("c", 1)]
    bench.member.forget("b")
    assert bench.state("b") is State.ALIVE
    bench.tell(dead("b", 2))
    bench.member.forget("b")
    bench.add("d")
    assert [other.name for other in bench.member.members()] == ["a", "c", "d"]


def test_pings_in_flight_are_bounded_and_the_rest_is_refused() -> None:
    bench = make_bench()
    for seq_no in range(MAX_OUTSTANDING_PINGS + 5):
        bench.tell(IndirectPing(seq_no, packed(("127.0.0.77", 0)), 7946, "x", True, packed(PEER), 7946, "r"))
    assert len(bench.messages(Ping)) == MAX_OUTSTANDING_PINGS
    token = bench.member.ping(("127.0.0.78", 7946), 0.0)
    assert [event.token for event in bench.take_events(PingTimedOut)] == [token]
    bench.run(1.0)
    assert len(bench.messages(Nack)) == MAX_OUTSTANDING_PINGS
    bench.member.ping(("127.0.0.78", 7946), 1.0)
    bench.settle()
    assert len(bench.messages(Ping)) == MAX_OUTSTANDING_PINGS + 1


def test_packets_too_long_for_one_turn_are_bounded_and_those_taken_arrive() -> None:
    bench = make_bench("b")
    long = encode_compressed(compress(encode(UserMessage(bytes(100_000)))))
    for _ in range(MAX_UNFINISHED_PACKETS + 3):
        bench.member.receive_datagram(long, PEER, 0.0)
    assert bench.member.statistics().unfinished_jobs == MAX_UNFINISHED_PACKETS
    assert bench.member.statistics().datagram_problems == 3
    bench.run(0.0)
    assert len(bench.take_events(UserMessageReceived)) == MAX_UNFINISHED_PACKETS
    bench.member.receive_datagram(long, PEER, 0.0)
    bench.run(0.0)
    assert len(bench.take_events(UserMessageReceived)) == 1


def repeated(times: int) -> list[PacketMessage]:
    return [suspect("b")] * times


def flapping(times: int) -> list[PacketMessage]:
    alive = (Alive(i, "b", packed(("127.0.0.10", 0)), 7946, None, VSN) for i in range(2, times))
    return [message for i, word in enumerate(alive, start=1) for message in (suspect("b", i), word)]


@pytest.mark.parametrize("said", [repeated, flapping])
@pytest.mark.slow
def test_suspicions_without_number_take_no_memory(said: Callable[[int], list[PacketMessage]]) -> None:
    bench = make_bench("b", "c", "d", config=PROBING)
    packets = [encode(message) for message in said(6000)]
    tracemalloc.start()
    try:
        for packet in packets:
            bench.member.receive_datagram(packet, PEER, 0.0)
            while bench.member.next_event() is not None:
                pass
        assert tracemalloc.get_traced_memory()[0] < 500_000
    finally:
        tracemalloc.stop()


def test_cancelled_timers_are_dropped_and_the_others_fire_in_order() -> None:
    timers, wanted = Timers(), []
    for number in range(10 * MIN_SWEEP):
        timer = timers.schedule(1000.0 - number % 7, TimerKind.WORK, number)
        if number % 100 == 0:
            wanted.append(timer)
        else:
            timer.cancel()
    assert len(timers) <= MIN_SWEEP
    assert timers.due(1000.0) == sorted(wanted, key=lambda timer: timer.at)


def test_user_messages_that_wait_are_bounded_and_those_dropped_are_done_with() -> None:
    bench = make_bench()
    tokens = [bench.member.broadcast(b"message", 0.0) for _ in range(MAX_QUEUED_USER_MESSAGES + 3)]
    assert [event.token for event in bench.take_events(BroadcastSpread)] == tokens[:3]
    assert bench.member.statistics().queued_user_messages == MAX_QUEUED_USER_MESSAGES


@pytest.mark.parametrize(("reliable", "limit"), [(False, MAX_DATAGRAM_PAYLOAD), (True, MAX_USER_STATE)])
def test_a_user_message_too_long_for_its_way_is_refused(reliable: bool, limit: int) -> None:
    bench = make_bench()
    with pytest.raises(LocalError, match=f"at most {limit}"):
        bench.member.send(PEER, bytes(limit + 1), 0.0, reliable=reliable)
    with pytest.raises(LocalError, match="no member is called"):
        bench.member.send("nobody", b"", 0.0)
    assert (bench.member.datagrams_to_send(), bench.member.stream_commands()) == ([], [])
    bench.member.send(PEER, bytes(limit), 0.0, reliable=reliable)
    assert bench.member.datagrams_to_send() or bench.member.stream_commands()


def test_what_the_application_sends_along_is_bounded() -> None:
    bench = make_bench()
    for too_much in ({"user_state": bytes(MAX_ATTACHED_BYTES + 1)}, {"ack_payload": bytes(513)}):
        with pytest.raises(LocalError):
            bench.member.attach(**too_much)


def test_of_too_many_dead_the_longest_dead_are_forgotten() -> None:
    config = replace(PROBING, reconnect=ReconnectConfig(max_remembered=3))
    bench = make_bench("b", config=config)
    for number in range(6):
        address = bytes((127, 0, 3, number))
        bench.tell(Alive(1, f"n{number}", address, OWN[1], None, VSN), dead(f"n{number}"))
        bench.run(bench.now + 1.0)
    bench.run(60.0)
    assert [other.name for other in bench.member.members()] == ["a", "b", "n3", "n4", "n5"]


def test_a_packet_of_many_messages_is_handled_in_turns_and_in_order() -> None:
    bench = make_bench("b")
    pings = [encode(Ping(number, "a")) for number in range(1, 2 * MESSAGES_TURN + 2)]
    bench.member.receive_datagram(make_compound(pings), PEER, 0.0)
    bench.settle()
    assert len(bench.messages(Ack)) == MESSAGES_TURN
    bench.run(0.0)
    assert [ack.seq_no for ack in bench.messages(Ack)] == list(range(1, 2 * MESSAGES_TURN + 2))


def test_when_streams_hold_too_much_the_one_who_hoards_loses_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the one who comes last, nor the one with the largest stream."""
    monkeypatch.setattr("gossip.stream_table.MAX_BUFFERED_BYTES", 100_000)
    bench = make_bench()
    unfinished = encode_user_stream(bytes(60_000))
    hoarded = [bench.member.accept_stream(("127.0.0.66", 40_000 + i), 0.0) for i in range(8)]
    for stream in hoarded:
        bench.member.receive_stream(stream, unfinished[:10_000], 0.0)
    bench.member.receive_stream(hoarded[3], unfinished[10_000:11_000], 0.0)
    honest = bench.member.accept_stream(PEER, 0.0)
    bench.member.receive_stream(honest, unfinished[:25_000], 0.0)
    assert bench.member.stream_commands() == [CloseStream(hoarded[3])]
    for start in (25_000, 30_000):
        bench.member.receive_stream(honest, unfinished[start : start + 5_000], 0.0)
    assert bench.member.stream_commands() == [CloseStream(hoarded[0])]
    for stream in hoarded:
        bench.member.stream_failed(stream, "reset by peer", 0.0)
    bench.member.receive_stream(honest, unfinished[35_000:], 0.0)
    assert [event.payload for event in bench.take_events(UserMessageReceived)] == [bytes(60_000)]
