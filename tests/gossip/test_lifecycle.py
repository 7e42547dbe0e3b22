"""From start to end: joining, new metadata, leaving, reaping (memberlist-protocol.md §11, 14)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gossip import (
    BroadcastSpread,
    GossipConfig,
    GossipTickConfig,
    JoinCompleted,
    JoinTarget,
    Keyring,
    LocalError,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberUpdated,
    ProbeConfig,
    PushPullConfig,
    ReconnectConfig,
    State,
    UserMessageReceived,
    UserStateReceived,
    parse_join_target,
    profile,
)
from gossip.codec import encode
from gossip.messages import Ack, Alive, Dead, Ping
from tests.gossip.bench import OWN, PLAIN, PROBING, STILL, dead, make_bench, suspect
from tests.gossip.helpers import VSN, Wire, events_of, linked, live_names, make_member, of_type, views

GOSSIPING = replace(STILL, gossip=GossipTickConfig())
KEY = b"a" * 16


def ring(*names: str, config: GossipConfig = PLAIN, **options: Any) -> Wire:
    """Members of these names, joined to the first."""
    return linked(*(make_member(name, (f"127.0.0.{i}", 7946), config, **options) for i, name in enumerate(names, 1)))


# ---- joining


@pytest.mark.rule("11.2a", "11.2b")
@pytest.mark.upstream("TestMemberList_ResolveAddr", "TestUtil_PortFunctions")
@pytest.mark.parametrize("name", ["", "node1"])
@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("localhost", "localhost", 4444),
        ("localhost:2222", "localhost", 2222),
        ("127.0.0.1", "127.0.0.1", 4444),
        ("127.0.0.1:1", "127.0.0.1", 1),
        ("::1", "::1", 4444),
        ("[::1]", "::1", 4444),
        ("[::1]:80", "::1", 80),
        ("2001:db8:a0b:12f0::1", "2001:db8:a0b:12f0::1", 4444),
        ("[2001:db8:a0b:12f0::1]:65535", "2001:db8:a0b:12f0::1", 65535),
        ("a.node.example.:5", "a.node.example.", 5),
        ("fe80::1%lo", "fe80::1%lo", 4444),
    ],
)
def test_what_a_join_target_says(name: str, text: str, host: str, port: int) -> None:
    prefix = f"{name}/" if name else ""
    assert parse_join_target(prefix + text, 4444) == JoinTarget(name, host, port)
    assert parse_join_target("localhost").port == 7946


@pytest.mark.rule("11.2a")
@pytest.mark.upstream("TestMemberList_ResolveAddr")
@pytest.mark.parametrize("text", ["", ":80", "/127.0.0.1", "name/", "name/:80", "[]:80", "[::1", "[::1]x", "[::1]80"])
def test_a_join_target_without_host_or_name_is_refused(text: str) -> None:
    with pytest.raises(LocalError):
        parse_join_target(text)


@pytest.mark.rule("11.2a")
@pytest.mark.upstream("TestMemberList_ResolveAddr", "TestUtil_PortFunctions")
@pytest.mark.parametrize("port", ["", "0", "65536", "-1", "x", "１", "8.0", "99999999999999999999"])
def test_a_bad_port_is_refused(port: str) -> None:
    for host in ("127.0.0.1", "[::1]", "node1/host"):
        with pytest.raises(LocalError, match="port"):
            parse_join_target(f"{host}:{port}")


@pytest.mark.upstream("TestMemberlist_Join", "TestTransport_Join")
@pytest.mark.rule("11.2e")
def test_two_members_that_join_see_each_other() -> None:
    wire = Wire([make_member(name, (f"127.0.0.{i}", 7946), PLAIN) for i, name in enumerate("ab", start=1)])
    token = wire.members[1].join([OWN], 0.0)
    wire.step()
    assert views(wire) == [["a", "b"], ["a", "b"]]
    assert list(of_type(wire.events["b"], JoinCompleted)) == [JoinCompleted(token, (OWN,), ())]
    assert [event.member.name for event in of_type(wire.events["a"], MemberJoined)] == ["a", "b"]


@pytest.mark.rule("11.2e")
def test_a_join_tells_who_answered_and_who_did_not() -> None:
    wire = Wire([make_member(name, (f"127.0.0.{i}", 7946), PLAIN) for i, name in enumerate("abc", start=1)])
    nobody = ("127.0.0.77", 7946)
    member = wire.members[2]
    tokens = [member.join([OWN, nobody, ("127.0.0.2", 7946)], 0.0), member.join([nobody], 0.0), member.join([], 0.0)]
    wire.step()
    completed = {event.token: event for event in of_type(wire.events["c"], JoinCompleted)}
    assert completed[tokens[0]].joined == (OWN, ("127.0.0.2", 7946))
    assert completed[tokens[0]].refused == ((nobody, "connection refused"),)
    assert completed[tokens[1]] == JoinCompleted(tokens[1], (), ((nobody, "connection refused"),))
    assert completed[tokens[2]] == JoinCompleted(tokens[2], (), ())
    assert views(wire)[2] == ["a", "b", "c"]


@pytest.mark.rule("11.2f")
def test_joining_announces_nothing_by_itself() -> None:
    wire = ring("a", "b", config=STILL)
    member = make_member("c", ("127.0.0.3", 7946), STILL)
    wire.members.append(member)
    queued = member.statistics().queued_broadcasts
    member.join([OWN], wire.now)
    wire.step()
    assert [source for source, _, _ in wire.datagrams if source == ("127.0.0.3", 7946)] == []
    assert member.statistics().queued_broadcasts == queued + 2
    assert member.statistics().incarnation == 1
    assert views(wire) == [["a", "b", "c"], ["a", "b"], ["a", "b", "c"]]


@pytest.mark.rule("6.4c", "5.2b")
@pytest.mark.upstream("TestMemberlist_Join_with_Labels", "TestMemberlist_Join_with_Labels_and_Encryption")
@pytest.mark.parametrize("keys", [(), (KEY,)])
@pytest.mark.parametrize(
    ("label", "fits"), [(b"blah", True), (b"", False), (b"not-blah", False), (b"blah2", False), (b"Blah", False)]
)
def test_only_the_same_label_joins(keys: tuple[bytes, ...], label: bytes, fits: bool) -> None:
    wire = ring("a", "b", config=PLAIN.with_wire(label=b"blah"), keyring=Keyring(keys))
    other = make_member("c", ("127.0.0.3", 7946), PLAIN.with_wire(label=label), keyring=Keyring(keys))
    wire.members.append(other)
    token = other.join([OWN], wire.now)
    other.receive_datagram(encode(Alive(1, "a", bytes((127, 0, 0, 1)), 7946, None, VSN)), OWN, wire.now)
    wire.run(5.0)
    (completed,) = of_type(wire.events["c"], JoinCompleted)
    assert completed.token == token
    assert completed.joined == ((OWN,) if fits else ())
    if not fits:
        assert completed.refused[0][1] == "closed the connection without an answer: wrong label or key?"
    both = ["a", "b", "c"] if fits else ["a", "b"]
    assert views(wire)[:2] == [both, both]


@pytest.mark.upstream("TestMemberlist_Join_IPv6")
def test_members_on_ipv6_join() -> None:
    addresses = [("::1", 7946), ("::1", 7947), ("2001:db8::1", 7946)]
    wire = linked(*(make_member(f"n{i}", address, PLAIN) for i, address in enumerate(addresses)))
    wire.run(10.0)
    assert [[other.address for other in member.live_members()] for member in wire.members] == [addresses] * 3


@pytest.mark.upstream("TestMemberlist_Integ")
def test_sixteen_encrypted_members_joined_in_a_chain_all_see_each_other() -> None:
    config = replace(
        profile("memberlist"),
        probe=ProbeConfig(interval=0.02, timeout=0.01),
        gossip=GossipTickConfig(interval=0.02),
        push_pull=PushPullConfig(interval=0.02),
    )
    wire = Wire([])
    for i in range(16):
        member = make_member(f"n{i:02}", (f"127.0.0.{i + 1}", 7946), config, keyring=Keyring([KEY]))
        wire.members.append(member)
        if i:
            member.join([wire.members[i - 1].local.address], wire.now)
        wire.step()
    wire.run(0.25)
    assert [len(live_names(member)) for member in wire.members] == [16] * 16


@pytest.mark.rule("14a", "11.3a")
@pytest.mark.upstream("TestMemberlist_delegateMeta", "TestMemberlist_delegateMeta_Update")
def test_metadata_and_its_changes_are_seen_on_both_sides() -> None:
    members = [make_member(name, (f"127.0.0.{i}", 7946), PLAIN, meta=name.encode()) for i, name in enumerate("ab", 1)]
    wire = linked(*members)
    assert [[other.meta for other in member.members()] for member in members] == [[b"a", b"b"]] * 2
    wire.events.clear()
    for member in members:
        member.set_meta(member.local.meta + b" updated", wire.now)
    wire.run(wire.now + 1.0)
    assert [[other.meta for other in member.members()] for member in members] == [[b"a updated", b"b updated"]] * 2
    for name in "ab":
        updates = list(of_type(wire.events[name], MemberUpdated))
        assert sorted((event.previous.meta, event.member.meta) for event in updates) == [
            (b"a", b"a updated"),
            (b"b", b"b updated"),
        ]
    assert [member.local.incarnation for member in members] == [2, 2]


@pytest.mark.rule("14c", "14d")
@pytest.mark.upstream("TestMemberlist_UserData")
def test_user_state_crosses_both_ways_and_every_broadcast_arrives() -> None:
    members = [make_member(name, (f"127.0.0.{i}", 7946), PLAIN) for i, name in enumerate("ab", 1)]
    for member in members:
        member.attach(user_state=b"state of " + member.local.name.encode())
    wire = linked(*members)
    assert list(of_type(wire.events["a"], UserStateReceived)) == [UserStateReceived(b"state of b", join=True)]
    assert list(of_type(wire.events["b"], UserStateReceived)) == [UserStateReceived(b"state of a", join=True)]
    for i in range(256):
        members[0].broadcast(b"broadcast %d" % i, wire.now)
    wire.run(wire.now + 10.0)
    heard = [event.payload for event in of_type(wire.events["b"], UserMessageReceived)]
    assert sorted(set(heard)) == sorted(b"broadcast %d" % i for i in range(256))
    assert len(list(of_type(wire.events["a"], BroadcastSpread))) >= 256


# ---- new metadata


@pytest.mark.rule("11.3b", "11.4b")
@pytest.mark.parametrize("act", ["set_meta", "leave"])
def test_it_is_done_at_once_if_there_is_nobody_to_tell(act: str) -> None:
    bench = make_bench("gone", config=GOSSIPING)
    bench.tell(dead("gone"))
    bench.events.clear()
    token = bench.member.leave(0.0) if act == "leave" else bench.member.set_meta(b"new", 0.0)
    assert [event.token for event in bench.take_events(BroadcastSpread)] == [token]


@pytest.mark.rule("11.3b", "11.4b")
@pytest.mark.parametrize("act", ["set_meta", "leave"])
def test_it_is_done_when_it_has_spread(act: str) -> None:
    bench = make_bench("b", config=GOSSIPING)
    bench.run(5.0)
    bench.said.clear()
    token = bench.member.leave(5.0) if act == "leave" else bench.member.set_meta(b"new", 5.0)
    while not (done := bench.take_events(BroadcastSpread)):
        assert bench.now < 20.0
        bench.run(bench.now + 0.01)
    assert [event.token for event in done] == [token]
    assert len(bench.said) == 4
    assert bench.now - 5.0 == pytest.approx(0.7, abs=0.11)


@pytest.mark.rule("11.3b")
def test_it_is_done_when_it_is_replaced() -> None:
    bench = make_bench("b")
    first = bench.member.set_meta(b"first", 0.0)
    second = bench.member.set_meta(b"second", 0.0)
    assert [event.token for event in bench.take_events(BroadcastSpread)] == [first]
    leaving = bench.member.leave(0.0)
    assert [event.token for event in bench.take_events(BroadcastSpread)] == [second]
    assert bench.take_events(BroadcastSpread) == []
    assert leaving > second


@pytest.mark.rule("11.3a")
def test_metadata_set_while_nobody_is_told_is_announced_at_the_start() -> None:
    member = make_member("a", config=STILL, meta=b"old", started_at=None)
    token = member.set_meta(b"new", 0.0)
    assert events_of(member) == [BroadcastSpread(token)]
    member.start(0.0)
    assert (member.local.meta, member.local.incarnation) == (b"new", 1)
    member.leave(1.0)
    events_of(member)
    token = member.set_meta(b"newer", 2.0)
    assert events_of(member) == [BroadcastSpread(token)]
    assert member.local.state is State.LEFT
    member.start(3.0)
    assert (member.local.meta, member.local.incarnation) == (b"newer", 2)


# ---- leaving and ending


@pytest.mark.rule("11.4a", "14e")
@pytest.mark.upstream("TestMemberlist_Leave")
def test_who_leaves_is_left_everywhere() -> None:
    wire = ring("a", "b", "c")
    wire.run(2.0)
    token = wire.members[1].leave(wire.now)
    wire.run(wire.now + 2.0)
    assert BroadcastSpread(token) in wire.events["b"]
    assert views(wire) == [["a", "c"]] * 3
    for member in wire.members:
        found = member.member("b")
        assert found is not None
        assert found.state is State.LEFT
    for name in "abc":
        assert [event.member.name for event in of_type(wire.events[name], MemberLeft)] == ["b"]
        assert list(of_type(wire.events[name], MemberFailed)) == []


@pytest.mark.rule("11.4c")
def test_leaving_twice_is_leaving_once() -> None:
    bench = make_bench("b")
    bench.member.leave(0.0)
    assert len(bench.take_events(MemberLeft)) == 1
    token = bench.member.leave(0.0)
    bench.settle()
    assert bench.events == [BroadcastSpread(token)]
    assert bench.queued() == [Dead(1, "a", "a")]


@pytest.mark.rule("11.4d")
def test_who_has_left_still_answers_pings() -> None:
    bench = make_bench("b")
    bench.member.leave(0.0)
    bench.said.clear()
    bench.tell(Ping(5, "a"))
    assert Ack(5) in bench.said[0].messages


@pytest.mark.rule("11.4e")
def test_only_starting_again_brings_a_member_back() -> None:
    wire = ring("a", "b")
    wire.run(2.0)
    member = wire.members[1]
    member.leave(wire.now)
    wire.run(wire.now + 2.0)
    wire.members[0].receive_datagram(encode(Alive(9, "b", bytes((127, 0, 0, 2)), 7946, None, VSN)), OWN, wire.now)
    wire.run(wire.now + 2.0)
    assert member.local.state is State.LEFT
    wire.members[0].receive_datagram(encode(Dead(9, "b", "b")), OWN, wire.now)
    wire.run(wire.now + 2.0)
    wire.events.clear()
    member.start(wire.now)
    wire.run(wire.now + 2.0)
    assert views(wire) == [["a", "b"], ["a", "b"]]
    assert member.local.incarnation == 10
    assert [event.member.name for event in of_type(wire.events["a"], MemberJoined)] == ["b"]
    assert [event.member.name for event in of_type(wire.events["b"], MemberJoined)] == ["b"]
    member.receive_datagram(encode(dead("b", 10)), OWN, wire.now)
    wire.run(wire.now + 1.0)
    assert (member.local.state, member.local.incarnation) == (State.ALIVE, 11)


@pytest.mark.rule("11.4e")
def test_who_comes_back_overrules_what_it_was_accused_of_meanwhile() -> None:
    bench = make_bench("b")
    bench.member.leave(0.0)
    bench.tell(dead("a", 7))
    bench.member.start(1.0)
    assert (bench.member.local.state, bench.member.local.incarnation) == (State.ALIVE, 8)


@pytest.mark.rule("11.4b")
def test_leaving_is_done_even_by_a_member_that_its_own_rules_keep_off_the_list() -> None:
    identity = replace(STILL.identity, allowed_networks=("127.0.0.8/29",))
    bench = make_bench("b", config=replace(STILL, identity=identity))
    assert [other.name for other in bench.member.members()] == ["b"]
    token = bench.member.leave(0.0)
    assert bench.take_events(BroadcastSpread) == [BroadcastSpread(token)]


@pytest.mark.rule("11.5a")
@pytest.mark.upstream("TestMemberlist_JoinShutdown")
def test_who_ends_silently_is_found_out_by_probing() -> None:
    wire = ring("a", "b", config=replace(profile("local"), reconnect=ReconnectConfig(interval=0.0)))
    wire.run(3.0)
    wire.members.pop()
    wire.run(30.0)
    assert views(wire) == [["a"]]
    (failed,) = of_type(wire.events["a"], MemberFailed)
    assert (failed.member.name, failed.accuser) == ("b", "a")
    assert failed.member.changed_at - 3.0 < 6.5


# ---- reaping


@pytest.mark.rule("11.6a", "11.6b")
@pytest.mark.upstream("TestMemberList_ResetNodes", "TestMoveDeadNodes")
@pytest.mark.parametrize("accuser", ["x", "gone"])
def test_the_long_gone_are_forgotten_at_the_end_of_the_list_without_an_event(accuser: str) -> None:
    bench = make_bench("b", "gone", "recent", config=PROBING)
    bench.tell(dead("gone", accuser=accuser))
    bench.run(20.0)
    bench.tell(dead("recent", accuser=accuser.replace("gone", "recent")))
    bench.run(29.9)
    answer = bench.push_pull([])
    assert answer is not None
    assert sorted(node.name for node in answer.nodes) == ["a", "b", "gone", "recent"]
    bench.events.clear()
    bench.run(34.0)
    assert [other.name for other in bench.member.members()] == ["a", "b", "recent"]
    assert not [event for event in bench.events if isinstance(event, MemberFailed | MemberLeft)]
    answer = bench.push_pull([])
    assert answer is not None
    assert sorted(node.name for node in answer.nodes) == ["a", "b", "recent"]
    bench.add("gone")
    assert [event.member.name for event in bench.take_events(MemberJoined)] == ["gone"]


@pytest.mark.rule("11.6c", "8.1c")
def test_in_our_profiles_the_dead_stay_known_and_are_not_counted() -> None:
    config = replace(PROBING, reconnect=profile("lan").reconnect)
    bench = make_bench("b", "c", "d", "e", config=config)
    bench.tell(dead("b"), dead("c"), dead("d", accuser="d"))
    bench.run(40.0)
    assert [(other.name, other.state) for other in bench.member.members() if not other.is_live] == [
        ("b", State.DEAD),
        ("c", State.DEAD),
    ]
    answer = bench.push_pull([])
    assert answer is not None
    assert sorted(node.name for node in answer.nodes) == ["a", "e"]
    assert bench.messages(Ping, "b")
    assert bench.messages(Ping, "d") == []
    bench.tell(suspect("e"))
    bench.run(44.1)
    assert bench.state("e") is State.DEAD


# ---- what one can ask


@pytest.mark.rule("14m")
@pytest.mark.upstream("TestMemberList_Members")
def test_members_are_the_alive_and_suspect_with_their_true_state() -> None:
    bench = make_bench("b", "s", "gone", "left", config=PROBING)
    bench.tell(suspect("s"), dead("gone"), dead("left", accuser="left"))
    assert live_names(bench.member) == ["a", "b", "s"]
    assert {other.name: other.state for other in bench.member.members()} == {
        "a": State.ALIVE, "b": State.ALIVE, "gone": State.DEAD, "left": State.LEFT, "s": State.SUSPECT
    }  # fmt: skip


@pytest.mark.rule("14n")
@pytest.mark.upstream("TestCreate_checkBroadcastQueueMetrics", "TestMemberlist_PushPull", "TestEncryptDecryptState")
def test_the_statistics_tell_sizes_scores_and_counts() -> None:
    bench = make_bench("b", "s", "gone", "left", config=PROBING)
    bench.tell(suspect("s"), dead("gone"), dead("left", accuser="left"))
    bench.raise_score(2)
    bench.member.broadcast(b"hello", 0.0)
    token = bench.member.join([("127.0.0.99", 1)], 0.0)
    statistics = bench.member.statistics()
    assert token
    assert (statistics.members_alive, statistics.members_suspect) == (2, 1)
    assert (statistics.members_dead, statistics.members_left) == (1, 1)
    assert (statistics.health_score, statistics.incarnation, statistics.refutations) == (2, 3, 2)
    assert (statistics.queued_broadcasts, statistics.queued_user_messages, statistics.streams_open) == (4, 1, 1)
    assert statistics.suspicions_raised == 1
    assert statistics.bytes_received > statistics.datagrams_received > 0
    assert statistics.bytes_sent > statistics.datagrams_sent > 0
