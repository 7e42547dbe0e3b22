"""Exchanges of whole views, user messages and pings on streams (memberlist-protocol.md §5, 7, 8.4, 10.4)."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from gossip import (
    CloseStream,
    GossipConfig,
    IdentityRules,
    JoinCompleted,
    Keyring,
    LocalError,
    MemberJoined,
    MemberLeft,
    MemberSuspected,
    OpenStream,
    PushPullConfig,
    State,
    StreamMessageSent,
    UserMessageReceived,
    UserStateReceived,
    VersionCheck,
    WriteStream,
    profile,
)
from gossip.codec import encode
from gossip.conversations import COMPRESS_TURN
from gossip.envelope import Envelope
from gossip.merger import CHECK_TURN, MERGE_TURN
from gossip.messages import Ack, Alive, ErrorReply, NodeState, Ping, PushPull, Suspect
from gossip.stream_table import MAX_INBOUND_STREAMS, MAX_STREAMS_PER_PEER
from gossip.streams import NODES_TURN, encode_push_pull, encode_user_stream
from tests.gossip.bench import (
    PROBING,
    STILL,
    Bench,
    dead,
    make_bench,
    node_state,
    of_kind,
    opened_streams,
    packed,
    read_stream,
    refusing,
    states,
    suspect,
    written,
)
from tests.gossip.helpers import VSN, Wire, linked, make_member, of_type

PEER, DIALLED = ("127.0.0.9", 40_000), ("127.0.0.10", 7946)
ALL = replace(STILL, identity=IdentityRules(version_check=VersionCheck.ALL))


def exchanging(interval: float = 30.0) -> GossipConfig:
    return replace(STILL, push_pull=PushPullConfig(interval=interval))


def begin_join(bench: Bench) -> tuple[int, int]:
    """The member joins an address; gives the stream and the token."""
    token = bench.member.join([DIALLED], bench.now)
    bench.settle()
    return opened_streams(bench)[-1].stream, token


def outcome(bench: Bench) -> tuple[int, str | None]:
    """The token of a completed join of one address, and the reason why it failed."""
    (completed,) = bench.take_events(JoinCompleted)
    return completed.token, completed.refused[0][1] if completed.refused else None


# ---- serving


@pytest.mark.rule("5.3d", "5.3e", "5.3g")
@pytest.mark.upstream("TestTCPPushPull")
@pytest.mark.parametrize("join", [True, False])
def test_the_answer_is_the_view_before_the_merge_with_everybody_in_it(join: bool) -> None:
    bench = make_bench("b", "s", "gone", "left", config=PROBING)
    bench.tell(suspect("s"), dead("gone"), dead("left", accuser="left"))
    answer = bench.push_pull([node_state(bench, "s", State.ALIVE, 5), node_state(bench, "new", State.ALIVE)], join=join)
    assert answer is not None
    assert answer.join is join
    assert {(node.name, State(node.state), node.incarnation) for node in answer.nodes} == {
        ("a", State.ALIVE, 1),
        ("b", State.ALIVE, 1),
        ("s", State.SUSPECT, 1),
        ("gone", State.DEAD, 1),
        ("left", State.LEFT, 1),
    }
    assert states(bench)["s"] == (State.ALIVE, 5)
    assert states(bench)["new"] == (State.ALIVE, 1)


@pytest.mark.rule("8.4e", "8.4f", "8.4g")
@pytest.mark.upstream("TestMemberList_MergeState")
def test_a_view_is_merged_as_claims() -> None:
    bench = make_bench("b", "c", "d", "e", "f", config=PROBING)
    bench.now = 2.5
    answer = bench.push_pull(
        [
            node_state(bench, "b", State.ALIVE, 2, b"meta"),
            node_state(bench, "c", State.SUSPECT, 1),
            node_state(bench, "d", State.DEAD, 1),
            node_state(bench, "e", State.LEFT, 1),
            replace(node_state(bench, "f", State.LEFT, 7), state=4),
            node_state(bench, "new", State.ALIVE, 3),
            node_state(bench, "unknown dead", State.DEAD, 3),
            node_state(bench, "unknown left", State.LEFT, 3),
        ]
    )
    assert answer is not None
    assert states(bench) == {
        "a": (State.ALIVE, 1),
        "b": (State.ALIVE, 2),
        "c": (State.SUSPECT, 1),
        "d": (State.SUSPECT, 1),
        "e": (State.LEFT, 1),
        "f": (State.ALIVE, 1),
        "new": (State.ALIVE, 3),
    }
    bench.events = [event for event in bench.events if not isinstance(event, UserStateReceived)]
    assert [event.member.name for event in of_kind(bench.events, MemberJoined)] == ["new"]
    assert [event.member.name for event in of_kind(bench.events, MemberLeft)] == ["e"]
    assert [(e.member.name, e.accuser) for e in of_kind(bench.events, MemberSuspected)] == [("c", "a"), ("d", "a")]
    assert {m.accuser for m in bench.queued() if isinstance(m, Suspect)} == {"a"}
    changed = {member.name: member.changed_at for member in bench.member.members()}
    assert changed == {"a": 0.0, "b": 0.0, "c": 2.5, "d": 2.5, "e": 2.5, "f": 0.0, "new": 2.5}
    found = bench.member.member("b")
    assert found is not None
    assert found.meta == b"meta"


@pytest.mark.rule("5.3h")
def test_a_port_of_0_in_a_view_is_ours() -> None:
    bench = make_bench()
    bench.push_pull([replace(node_state(bench, "b", State.ALIVE), port=0)])
    found = bench.member.member("b")
    assert found is not None
    assert found.address == (bench.peers["b"][0], 7946)


@pytest.mark.rule("5.3k", "14d")
@pytest.mark.parametrize("join", [True, False])
def test_user_state_follows_the_members_and_only_if_there_is_any(join: bool) -> None:
    bench = make_bench()
    bench.member.attach(user_state=b"ours")
    answer = bench.push_pull([node_state(bench, "b", State.ALIVE)], join=join, user_state=b"theirs")
    assert answer is not None
    assert answer.user_state == b"ours"
    assert [type(event) for event in bench.events] == [MemberJoined, UserStateReceived]
    assert bench.events[1] == UserStateReceived(b"theirs", join)
    bench.events.clear()
    bench.push_pull([node_state(bench, "c", State.ALIVE)], join=join)
    assert [type(event) for event in bench.events] == [MemberJoined]


@pytest.mark.rule("5.3c")
def test_more_exchanges_at_once_than_allowed_are_refused() -> None:
    assert PushPullConfig().max_concurrent == 127
    bench = make_bench(config=replace(STILL, push_pull=PushPullConfig(interval=0.0, max_concurrent=2)))
    view = [
        NodeState(f"n{i}", bytes((127, 1, i // 256, i % 256)), 7946, None, 1, 0, VSN) for i in range(MERGE_TURN + 1)
    ]
    body = encode_push_pull(False, view, b"")
    streams = [bench.member.accept_stream(PEER, 0.0) for _ in range(3)]
    for stream in streams:
        bench.member.receive_stream(stream, body, 0.0)
    commands = bench.member.stream_commands()
    assert [c.stream for c in of_kind(commands, WriteStream)] == streams[:2]
    assert [c.stream for c in of_kind(commands, CloseStream)] == streams[2:]
    bench.run(0.0)
    assert len(bench.member.members()) == MERGE_TURN + 2
    assert bench.push_pull([node_state(bench, "b", State.ALIVE)]) is not None


@pytest.mark.rule("5.1b")
def test_a_stream_carries_one_request_and_is_closed_by_the_answering_side() -> None:
    bench = make_bench()
    stream = bench.member.accept_stream(PEER, 0.0)
    bench.member.receive_stream(stream, encode(Ping(3, "a")) + encode(Ping(4, "a")), 0.0)
    commands = bench.member.stream_commands()
    assert [type(command) for command in commands] == [WriteStream, CloseStream]
    first = commands[0]
    assert isinstance(first, WriteStream)
    assert first.data == encode(Ack(3))


def test_open_streams_are_bounded_and_those_that_ended_do_not_count() -> None:
    bench = make_bench()
    for _ in range(MAX_INBOUND_STREAMS + 1):
        stream = bench.member.accept_stream(PEER, 0.0)
        bench.member.receive_stream(stream, encode(Ping(3, "a")), 0.0)
        assert written(bench.member, stream) == encode(Ack(3))
    hosts = [f"127.0.1.{i % 100}" for i in range(MAX_INBOUND_STREAMS + 2)]
    streams = [bench.member.accept_stream((host, 40_000), 0.0) for host in hosts]
    commands = bench.member.stream_commands()
    assert [command for command in commands if isinstance(command, CloseStream)] == [
        CloseStream(stream) for stream in streams[MAX_INBOUND_STREAMS:]
    ]


def test_one_host_cannot_take_all_streams_and_is_told_so() -> None:
    bench = make_bench()
    streams = [bench.member.accept_stream((PEER[0], 40_000 + i), 0.0) for i in range(MAX_INBOUND_STREAMS)]
    commands = bench.member.stream_commands()
    assert [command.stream for command in of_kind(commands, CloseStream)] == streams[MAX_STREAMS_PER_PEER:]
    (refused, *_) = of_kind(commands, WriteStream)
    assert read_stream(bench.member, refused.data) == ErrorReply("too many streams at once")
    other = bench.member.accept_stream(DIALLED, 0.0)
    bench.member.receive_stream(other, encode(Ping(3, "a")), 0.0)
    assert written(bench.member, other) == encode(Ack(3))
    bench.member.stream_failed(streams[0], "reset by peer", 0.0)
    again = bench.member.accept_stream(PEER, 0.0)
    bench.member.receive_stream(again, encode(Ping(4, "a")), 0.0)
    assert written(bench.member, again) == encode(Ack(4))


def test_a_user_message_that_finds_no_room_is_known_not_to_have_arrived() -> None:
    wire = linked(*(make_member(name, (f"127.0.0.{i}", 7946), STILL) for i, name in enumerate("ab", start=1)))
    receiver, sender = wire.members
    for _ in range(MAX_STREAMS_PER_PEER):
        receiver.accept_stream(sender.local.address, wire.now)
    token = sender.send("a", b"hello", wire.now, reliable=True)
    wire.step()
    assert list(of_type(wire.events["b"], StreamMessageSent)) == [
        StreamMessageSent(token, "the peer refused: too many streams at once")
    ]


def test_a_view_of_more_members_than_may_be_remembered_is_refused() -> None:
    bench = make_bench(config=replace(STILL, identity=IdentityRules(max_members=3)))
    view = [node_state(bench, name, State.ALIVE) for name in "bcde"]
    stream = bench.member.accept_stream(PEER, 0.0)
    bench.member.receive_stream(stream, encode_push_pull(True, view, b""), 0.0)
    assert bench.member.stream_commands() == [CloseStream(stream)]
    assert "4 node states are declared" in bench.member.statistics().last_stream_problem
    assert list(states(bench)) == ["a"]
    assert bench.push_pull(view[:3]) is not None
    assert list(states(bench)) == ["a", "b", "c"]


def test_checking_a_long_view_lets_others_have_their_turn_and_still_refuses_all_of_it() -> None:
    """Versions and policy are asked about the whole view, before anybody of it is merged."""
    asked: list[list[str]] = []
    bench = Bench(make_member(config=STILL, policy=refusing(asked, "no")))
    count = 5 * CHECK_TURN
    view = [NodeState(f"n{i}", bytes((127, 1, i // 256, i % 256)), 7946, None, 1, 0, VSN) for i in range(count)]
    stream = bench.member.accept_stream(PEER, 0.0)
    bench.member.receive_stream(stream, encode_push_pull(True, view, b""), 0.0)
    turns = 0
    while bench.member.next_timer() <= 0.0:
        bench.member.handle_timer(0.0)
        turns += 1
    assert turns >= count // NODES_TURN + count // CHECK_TURN + count // MERGE_TURN - 3
    assert [len(members) for members in asked] == [count]
    assert list(states(bench)) == ["a"]


@pytest.mark.rule("5.1c")
@pytest.mark.parametrize("said", [b"", encode_push_pull(True, [], b"")[:9]])
def test_a_stream_that_is_not_served_in_time_is_closed(said: bytes) -> None:
    bench = make_bench()
    stream = bench.member.accept_stream(PEER, 5.0)
    if said:
        bench.now = 9.0
        bench.member.receive_stream(stream, said, 9.0)
    bench.run(14.9)
    assert bench.commands == []
    bench.run(15.1)
    assert bench.commands == [CloseStream(stream)]


@pytest.mark.rule("5.2b")
@pytest.mark.upstream("TestHandleConn_NilConnAfterRemoveLabelHeaderFromStream")
@pytest.mark.parametrize("said", [b"", b"\xf4", b"\xf4\x03re"])
def test_a_stream_that_breaks_within_its_label_is_forgotten(said: bytes) -> None:
    bench = Bench(make_member(config=STILL.with_wire(label=b"red")))
    stream = bench.member.accept_stream(PEER, 0.0)
    if said:
        bench.member.receive_stream(stream, said, 0.0)
    bench.member.stream_failed(stream, "reset by peer", 0.0)
    assert bench.member.statistics().streams_open == 0
    assert bench.member.stream_commands() == []
    bench.run(100.0)


# ---- connecting


@pytest.mark.rule("5.1a", "5.3d")
@pytest.mark.parametrize("label", [b"", b"red"])
def test_the_connecting_side_writes_its_label_then_one_body_and_waits(label: bytes) -> None:
    bench = Bench(make_member(config=STILL.with_wire(label=label)))
    stream, _ = begin_join(bench)
    opened, *writes = bench.commands
    assert isinstance(opened, OpenStream)
    assert (opened.stream, opened.address) == (stream, DIALLED)
    assert [type(command) for command in writes] == [WriteStream] * (2 if label else 1)
    if label:
        assert writes[0] == WriteStream(stream, b"\xf4\x03red")
    last = writes[-1]
    assert isinstance(last, WriteStream)
    body = read_stream(bench.member, last.data)
    assert isinstance(body, PushPull)
    assert body.join
    assert [node.name for node in body.nodes] == ["a"]


@pytest.mark.rule("5.1d")
@pytest.mark.upstream("TestMemberlist_Join_DeadNode")
@pytest.mark.parametrize("said", [b"", encode_push_pull(True, [], b"")[:9]])
def test_a_join_of_somebody_who_never_answers_fails_in_time(said: bytes) -> None:
    bench = make_bench()
    stream, token = begin_join(bench)
    assert opened_streams(bench)[0].deadline == 10.0
    bench.now = 6.0
    if said:
        bench.member.receive_stream(stream, said, 6.0)
    bench.run(9.9)
    assert bench.take_events(JoinCompleted) == []
    bench.run(10.1)
    assert outcome(bench) == (token, "no answer in time")
    assert bench.commands[-1] == CloseStream(stream)


@pytest.mark.rule("5.3f")
@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (encode(ErrorReply("wrong key")), "the peer refused: wrong key"),
        (encode_user_stream(b"hello"), "the peer answered with UserMessage"),
        (encode(Ack(1)), "the peer answered with Ack"),
        (b"\x63", "a message of type 99 has no place on a stream"),
        (b"", "closed the connection without an answer: wrong label or key?"),
    ],
)
def test_a_reply_that_is_no_push_pull_is_reported_and_changes_nothing(reply: bytes, reason: str) -> None:
    bench = make_bench("b")
    before = states(bench)
    stream, token = begin_join(bench)
    bench.member.receive_stream(stream, reply, bench.now)
    if reply:
        bench.member.receive_stream(stream, b"", bench.now)
    bench.settle()
    assert outcome(bench) == (token, reason)
    assert states(bench) == before
    assert bench.member.statistics().streams_open == 0


@pytest.mark.rule("5.3f")
def test_a_connection_that_breaks_is_reported() -> None:
    bench = make_bench()
    stream, token = begin_join(bench)
    bench.member.stream_failed(stream, "connection refused", bench.now)
    assert outcome(bench) == (token, "connection refused")


# ---- user messages and pings on streams


@pytest.mark.rule("5.4a", "5.4c", "14b", "14o")
@pytest.mark.upstream("TestMemberlist_UserData", "TestTransport_Send")
def test_user_messages_by_stream_arrive_and_empty_ones_do_not() -> None:
    wire = linked(*(make_member(name, (f"127.0.0.{i}", 7946), STILL) for i, name in enumerate("ab", start=1)))
    wire.events.clear()
    sender = wire.members[1]
    tokens = [sender.send("a", payload, wire.now, reliable=True) for payload in (b"x" * 100_000, b"", b"last")]
    sender.send("a", b"", wire.now)
    wire.step()
    received = list(of_type(wire.events["a"], UserMessageReceived))
    assert [(event.payload[:4], len(event.payload)) for event in received if event.reliable] == [
        (b"xxxx", 100_000),
        (b"last", 4),
    ]
    assert [event.payload for event in received if not event.reliable] == [b""]
    assert list(of_type(wire.events["b"], StreamMessageSent)) == [StreamMessageSent(token, None) for token in tokens]


@pytest.mark.rule("5.1e")
def test_a_user_message_by_stream_has_a_deadline() -> None:
    bench = make_bench("b")
    token = bench.member.send("b", b"hello", 0.0, reliable=True)
    bench.run(9.9)
    assert bench.take_events(StreamMessageSent) == []
    bench.run(10.1)
    assert bench.take_events(StreamMessageSent) == [StreamMessageSent(token, "no answer in time")]


@pytest.mark.rule("5.5a", "5.5b", "14j")
@pytest.mark.parametrize(("node", "answered"), [("a", True), ("", True), ("other", False)])
def test_a_ping_on_a_stream_is_acked_without_payload_if_it_is_for_us(node: str, answered: bool) -> None:
    bench = make_bench()
    bench.member.attach(ack_payload=b"for datagrams alone")
    stream = bench.member.accept_stream(PEER, 0.0)
    bench.member.receive_stream(stream, encode(Ping(23, node)), 0.0)
    assert written(bench.member, stream) == (encode(Ack(23, None)) if answered else b"")
    assert bench.member.statistics().streams_open == 0


def test_a_long_user_message_is_compressed_in_turns() -> None:
    payload = b"x" * 10 * COMPRESS_TURN
    sender, receiver = (make_bench("b", config=STILL.with_wire(compression=True)) for _ in range(2))
    sender.member.send("b", payload, 0.0, reliable=True)
    assert [type(command) for command in sender.member.stream_commands()] == [OpenStream]
    turns = 0
    while sender.member.next_timer() <= 0.0:
        assert sender.member.stream_commands() == []
        sender.member.handle_timer(0.0)
        turns += 1
    assert turns == 10
    (write,) = of_kind(sender.member.stream_commands(), WriteStream)
    receiver.member.receive_stream(receiver.member.accept_stream(PEER, 0.0), write.data, 0.0)
    receiver.run(0.0)
    assert [message.payload for message in receiver.take_events(UserMessageReceived)] == [payload]


MOST = 20 * 1024 * 1024


def test_more_than_a_peer_takes_is_refused_when_sent_and_leaves_no_stream_open() -> None:
    bench = Bench(make_member(config=STILL, keyring=Keyring([bytes(16)])))
    for size in (MOST + 1, MOST):
        with pytest.raises(LocalError, match="bytes"):
            bench.member.send(DIALLED, bytes(size), 0.0, reliable=True)
    assert bench.member.stream_commands() == []
    assert bench.member.statistics().streams_open == 0


@pytest.mark.slow
def test_a_view_too_long_for_a_peer_is_not_sent_and_stops_nothing() -> None:
    keyring = Keyring([bytes(16)])
    large = replace(STILL, identity=replace(STILL.identity, max_members=30_000))
    bench = Bench(make_member(config=large, keyring=keyring))
    for number in range(26_000):  # of 830 bytes each: more than 20 MiB
        bench.member.receive_datagram(
            Envelope(STILL.wire, keyring, bytes).wrap_packet(
                encode(Alive(1, f"{number:0>255}", b"\x7f\0\0\x09", 7946, bytes(512), VSN)), crc=False
            ),
            PEER,
            0.0,
        )
    _, token = begin_join(bench)
    bench.run(0.5)
    assert outcome(bench)[0] == token
    stream = bench.member.accept_stream(PEER, bench.now)
    request = Envelope(STILL.wire, keyring, bytes).wrap_stream(
        encode_push_pull(True, [node_state(bench, "b", State.ALIVE)], b"")
    )
    bench.member.receive_stream(stream, request, bench.now)
    bench.run(1.0)
    assert bench.state("b") is State.ALIVE
    assert bench.member.statistics().streams_open == 0
    assert bench.member.statistics().stream_problems == 2


# ---- the schedule


def instants(bench: Bench) -> list[float]:
    """When the member wanted to connect, by the deadlines it gave."""
    return [opened.deadline - bench.member.config.push_pull.timeout for opened in opened_streams(bench)]


@pytest.mark.rule("10.4a", "10.4b")
def test_exchanges_begin_after_a_random_part_and_a_whole_interval() -> None:
    firsts = []
    for seed in range(30):
        bench = make_bench("b", config=exchanging(), seed=seed)
        bench.run(200.0)
        first, *_ = exchanges = instants(bench)
        firsts.append(first)
        assert [later - earlier for earlier, later in pairwise(exchanges)] == pytest.approx(
            [30.0] * (len(exchanges) - 1)
        )
    assert all(30.0 <= first < 60.0 for first in firsts)
    assert max(firsts) - min(firsts) > 20


@pytest.mark.rule("10.4b")
@pytest.mark.parametrize(("n", "factor"), [(32, 1), (33, 2), (64, 2), (65, 3)])
def test_the_interval_is_stretched_by_the_size_at_each_round(n: int, factor: int) -> None:
    bench = make_bench("b", config=exchanging())
    bench.run(70.0)
    for i in range(n - 2):
        bench.tell(Alive(1, f"n{i}", bytes((127, 0, 1, i)), 7946, None, VSN))
    bench.run(400.0)
    exchanges = instants(bench)
    gaps = [later - earlier for earlier, later in pairwise(exchanges)]
    assert gaps[-1] == pytest.approx(30.0 * factor)
    assert gaps[0] == pytest.approx(30.0)


@pytest.mark.rule("10.4c")
@pytest.mark.upstream("TestMemberlist_PushPull")
def test_one_random_alive_member_is_asked_and_it_is_no_join() -> None:
    bench = make_bench("b", "c", "s", "gone", "left", config=replace(exchanging(1.0), probe=profile("wan").probe))
    bench.tell(dead("gone"), dead("left", accuser="left"), suspect("s"))
    bench.run(15.0)
    assert bench.state("s") is State.SUSPECT
    assert {opened.address for opened in opened_streams(bench)} == {bench.peers["b"], bench.peers["c"]}
    bodies = [read_stream(bench.member, command.data) for command in of_kind(bench.commands, WriteStream)]
    assert {body.join for body in of_kind(bodies, PushPull)} == {False}


@pytest.mark.rule("10.4d")
def test_an_interval_of_0_turns_exchanges_and_probes_off() -> None:
    bench = make_bench("b", config=STILL)
    bench.run(1000.0)
    assert (bench.said, bench.commands) == ([], [])


@pytest.mark.upstream("TestMemberlist_PushPull")
def test_an_exchange_repairs_what_gossip_lost() -> None:
    config = exchanging(5.0)
    wire = linked(*(make_member(name, (f"127.0.0.{i}", 7946), config) for i, name in enumerate("ab", start=1)))
    for i, name in enumerate("xy"):
        alive = Alive(1, name, packed((f"127.0.0.{50 + i}", 0)), 7946, None, VSN)
        wire.members[0].receive_datagram(encode(alive), PEER, wire.now)
    assert len(wire.members[1].members()) == 2
    wire.run(12.0)
    assert [other.name for other in wire.members[1].members()] == ["a", "b", "x", "y"]


def test_nobody_exchanges_with_itself() -> None:
    wire = Wire([make_member(config=exchanging(1.0))])
    wire.run(20.0)
    assert wire.members[0].statistics().streams_open == 0
    assert wire.datagrams == []
