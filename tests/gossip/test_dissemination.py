"""How news spreads: the queue, what fits beside a message, the gossip tick (memberlist-protocol.md §4.1 to 4.3, 10)."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise

import pytest

from gossip import BroadcastSpread, GossipTickConfig, Keyring, Membership, State, UserMessageReceived, profile
from gossip.broadcasts import BroadcastQueue
from gossip.codec import encode
from gossip.members import Record, Roster
from gossip.messages import Ack, Alive, IndirectPing, Nack, Ping, Suspect, UserMessage
from tests.gossip.bench import OWN, STILL, Bench, dead, make_bench, node_state, packed, suspect
from tests.gossip.helpers import VSN, linked, make_member, of_type

GOSSIPING = replace(STILL, gossip=GossipTickConfig())
CRC, COMPOUND = 12, 7
PEER = ("127.0.0.9", 7946)


def queue_of(*messages: bytes, limit: int = 3) -> BroadcastQueue:
    queue = BroadcastQueue(lambda: limit)
    for message in messages:
        queue.queue(message)
    return queue


# ---- the queue


@pytest.mark.rule("10.1a")
@pytest.mark.upstream("TestMemberlistBroadcast_Invalidates", "TestMemberlistBroadcast_Message")
@pytest.mark.upstream("TestTransmitLimited_Queue")
def test_news_replaces_older_news_about_the_same_member_alone() -> None:
    queue, finished = BroadcastQueue(lambda: 1), []
    for key, message in (("b", b"b is alive"), ("c", b"c is alive"), ("b", b"b is gone!")):
        queue.queue(message, key, lambda message=message: finished.append(message))  # type: ignore[misc]  # bound per round
    assert finished == [b"b is alive"]
    assert len(queue) == 2
    assert queue.take(1000) == [b"b is gone!", b"c is alive"]
    assert finished == [b"b is alive", b"b is gone!", b"c is alive"]
    assert len(queue) == 0


@pytest.mark.rule("10.1b")
def test_messages_without_a_key_replace_nothing() -> None:
    queue = queue_of(b"same", b"same", b"same")
    queue.queue(b"keyed", "b")
    assert sorted(queue.take(1000)) == [b"keyed", b"same", b"same", b"same"]


@pytest.mark.rule("10.1e")
@pytest.mark.upstream("TestLimitedBroadcastLess", "TestTransmitLimited_ordering")
def test_the_least_sent_goes_first_then_the_longest_then_the_newest() -> None:
    queue = queue_of(b"sent", limit=9)
    queue.take(1000)
    for message in (b"old1", b"longer", b"new1"):
        queue.queue(message)
    assert queue.take(1000) == [b"longer", b"new1", b"old1", b"sent"]
    queue.queue(b"x")
    assert queue.take(1000) == [b"x", b"longer", b"new1", b"old1", b"sent"]


@pytest.mark.rule("10.1f")
@pytest.mark.upstream("TestTransmitLimited_GetBroadcasts")
@pytest.mark.parametrize(("overhead", "fit"), [(2, 4), (3, 3)])
def test_what_fits_goes_out_each_message_once(overhead: int, fit: int) -> None:
    queue = queue_of(*(f"{i}. a test message.".encode() for i in range(1, 5)), limit=30)
    taken = queue.take(80, overhead)
    assert len(taken) == len(set(taken)) == fit


@pytest.mark.rule("10.1f")
def test_a_short_message_goes_where_a_long_one_does_not_fit() -> None:
    queue = queue_of(b"l" * 50, b"s" * 10, b"m" * 30)
    assert queue.take(45) == [b"m" * 30, b"s" * 10]


@pytest.mark.rule("10.1d")
@pytest.mark.upstream("TestTransmitLimited_GetBroadcasts_Limit")
def test_a_message_is_sent_as_often_as_the_limit_says() -> None:
    queue = queue_of(*(f"{i}. a test message.".encode() for i in range(1, 5)), limit=2)
    assert [len(queue.take(80, 3)) for _ in range(4)] == [3, 3, 2, 0]
    assert len(queue) == 0


@pytest.mark.rule("10.1i")
def test_with_a_limit_of_0_a_message_is_sent_once() -> None:
    queue = queue_of(b"once", limit=0)
    assert [queue.take(100), queue.take(100)] == [[b"once"], []]


@pytest.mark.rule("10.1g")
@pytest.mark.upstream("TestTransmitLimited_Prune")
def test_pruning_drops_the_most_sent_and_oldest_and_finishes_them() -> None:
    queue, finished = BroadcastQueue(lambda: 9), []
    for name in ("first", "secnd", "third", "forth"):
        queue.queue(name.encode(), name, lambda name=name: finished.append(name))  # type: ignore[misc]  # bound per round
    queue.prune(2)
    assert finished == ["first", "secnd"]
    queue.take(7)
    queue.prune(1)
    assert finished == ["first", "secnd", "forth"]
    queue.prune(0)
    assert finished == ["first", "secnd", "forth", "third"]
    assert len(queue) == 0
    queue.queue(b"again", "first")
    assert queue.take(100) == [b"again"]


@pytest.mark.rule("10.1h")
def test_a_replaced_message_makes_no_later_one_vanish() -> None:
    queue = BroadcastQueue(lambda: 1)
    for key, message in (("a", b"a1"), ("a", b"a2"), ("b", b"b1"), ("c", b"c1")):
        queue.queue(message, key)
    assert sorted(queue.take(1000)) == [b"a2", b"b1", b"c1"]


# ---- beside a message


@pytest.mark.rule("4.1a", "10.2a", "10.2b")
@pytest.mark.upstream("TestSendMsg_Piggyback")
def test_an_ack_carries_membership_news_and_then_user_messages() -> None:
    bench = make_bench()
    bench.member.broadcast(b"from the application", 0.0)
    bench.add("b")
    bench.tell(Ping(9, "a"))
    (said,) = bench.said
    assert said.messages == (Ack(9), bench.alive("b"), UserMessage(b"from the application"))
    assert encode(UserMessage(b"from the application")) == b"\x08from the application"
    assert said.data[0] == COMPOUND


@pytest.mark.rule("4.1a")
def test_indirect_pings_and_nacks_carry_news_too() -> None:
    bench = make_bench("b", "c", config=replace(STILL, probe=profile("lan").probe), silent=("b",))
    said = bench.run_to_ping("b")
    bench.silent = ["b", "c"]
    bench.add("d")
    bench.tell(IndirectPing(77, packed(bench.peers["b"]), 7946, "b", True, packed(PEER), 7946, "r"), source=PEER)
    bench.said.clear()
    bench.run(said.at + 0.6)
    kinds = [{type(message) for message in said.messages} for said in bench.said]
    assert {IndirectPing, Alive} in kinds
    assert {Nack, Alive} in kinds


@pytest.mark.rule("4.1c", "14o")
@pytest.mark.upstream("TestMemberlist_SendTo", "TestTransport_Send")
def test_a_user_message_for_one_member_is_sent_alone() -> None:
    wire = linked(*(make_member(name, (f"127.0.0.{i}", 7946), STILL) for i, name in enumerate("abc", start=1)))
    member = wire.members[0]
    assert member.statistics().queued_broadcasts > 0
    wire.datagrams.clear()
    wire.events.clear()
    member.send("b", b"by name", wire.now)
    member.send(("127.0.0.3", 7946), b"by address", wire.now)
    wire.step()
    assert [(target, data[-len(b"by address") :][-7:]) for _, target, data in wire.datagrams] == [
        (("127.0.0.2", 7946), b"by name"),
        (("127.0.0.3", 7946), b"address"),
    ]
    for name, payload in (("b", b"by name"), ("c", b"by address")):
        assert list(of_type(wire.events[name], UserMessageReceived)) == [
            UserMessageReceived(payload, OWN, reliable=False)
        ]


@pytest.mark.rule("4.1g")
def test_a_message_longer_than_the_budget_is_one_datagram_all_the_same() -> None:
    bench = make_bench("b")
    bench.member.send("b", b"x" * 20_000, 0.0)
    bench.settle()
    assert [said.messages for said in bench.said] == [(UserMessage(b"x" * 20_000),)]


@pytest.mark.rule("4.1f")
@pytest.mark.parametrize("label", [b"", b"label"])
@pytest.mark.parametrize("key", [None, bytes(16)])
def test_no_packet_is_made_longer_than_its_budget(label: bytes, key: bytes | None) -> None:
    config = GOSSIPING.with_wire(label=label, verify_incoming=False)
    member = make_member("127.0.0.1", OWN, config, keyring=Keyring([key] if key else []))
    header = bytes((244, len(label))) + label if label else b""
    rng = random.Random(5)
    for i in range(60):
        address = bytes((127, 0, 0, 9 + i))
        alive = Alive(1, f"127.0.0.{9 + i}", address, 7946, bytes(rng.randrange(200)), VSN)
        member.receive_datagram(header + encode(alive), PEER, 0.0)
        member.broadcast(bytes(rng.randrange(300)), 0.0)
    lengths = []
    for i in range(60):
        member.receive_datagram(header + encode(Ping(i, "", packed(("127.0.0.9", 0)), 7946, "p")), PEER, 0.0)
        member.handle_timer(i * 0.2)
        lengths += [len(data) for data, _ in member.datagrams_to_send()]
    assert max(lengths) <= 1400
    assert max(lengths) > 1350


@pytest.mark.rule("4.2g")
def test_no_more_than_255_parts_are_sent_together() -> None:
    config = replace(STILL, gossip=GossipTickConfig(interval=0.0, packet_budget=65_000))
    bench = make_bench(config=config)
    for i in range(700):
        bench.member.broadcast(i.to_bytes(2, "big"), 0.0)
    heard: list[object] = []
    for _ in range(3):
        bench.said.clear()
        bench.tell(Ping(1, "a"))
        assert len(bench.said[0].messages) <= 255
        heard += bench.said[0].messages[1:]
    assert len(set(heard)) == 700


@pytest.mark.rule("10.2d")
def test_what_does_not_fit_now_goes_later_and_whole() -> None:
    bench = make_bench()
    messages = [bytes((number,)) * 900 for number in range(3)]
    for message in messages:
        bench.member.broadcast(message, 0.0)
    for seq_no in range(3):
        bench.tell(Ping(seq_no, "a"))
    assert sorted(message.payload for message in bench.messages(UserMessage)) == messages


@pytest.mark.rule("10.2c", "14c")
def test_user_messages_have_a_share_of_each_packet() -> None:
    def first_with_user_message(share: float) -> int:
        bench = make_bench(config=replace(STILL, gossip=GossipTickConfig(interval=0.0, user_share=share)))
        for i in range(100):
            bench.tell(Alive(1, f"member-{i}", bytes((127, 0, 1, i)), 7946, bytes(100), VSN))
        bench.member.broadcast(b"u" * 200, 0.0)
        for seq_no in range(1000):
            bench.said.clear()
            bench.tell(Ping(seq_no, "a"))
            if UserMessage(b"u" * 200) in bench.said[0].messages:
                return seq_no
        return 1000

    assert first_with_user_message(0.25) == 0
    assert first_with_user_message(0.0) > 10


# ---- checksums


@pytest.mark.rule("4.3c", "4.3d", "7i")
@pytest.mark.upstream("TestRawSendUdp_CRC")
@pytest.mark.parametrize(("highest", "expected"), [(5, True), (4, False)])
def test_a_checksum_goes_to_members_known_to_understand_it(highest: int, expected: bool) -> None:
    bench = make_bench(config=replace(GOSSIPING, probe=profile("lan").probe), silent=("b",))
    bench.add("b", vsn=bytes((1, highest, 2, 0, 0, 0)))
    told = bench.alive("b", vsn=bytes((1, highest, 2, 0, 0, 0)))
    bench.run(1.0)
    gossip = [said for said in bench.said if said.to == bench.peers["b"] and said.messages == (told,)]
    assert [said.data[0] == CRC for said in gossip] == [expected] * len(gossip)
    assert gossip
    bench.tell(suspect("b"))
    while bench.member.statistics().queued_broadcasts:
        bench.queued()
    probe = bench.run_to_ping("b")
    while len(probe.messages) != 2:
        probe = bench.run_to_ping("b")
    assert (probe.data[0] == CRC) is expected
    bench.said.clear()
    bench.member.send("b", b"hello", bench.now)
    bench.member.send(bench.peers["b"], b"hello", bench.now)
    bench.settle()
    assert [said.data[0] == CRC for said in bench.said] == [expected, False]


@pytest.mark.rule("4.3d")
def test_a_packet_for_an_address_gets_a_checksum_only_if_the_address_is_a_members_name() -> None:
    bench = make_bench("b")
    bench.tell(Alive(1, "127.0.0.77", bytes((127, 0, 0, 77)), 7946, None, VSN))
    while bench.member.statistics().queued_broadcasts:
        bench.queued()
    bench.said.clear()
    bench.tell(Ping(1, "a"), source=bench.peers["b"])
    bench.tell(Ping(2, "a"), source=("127.0.0.77", 7946))
    assert [said.data[0] == CRC for said in bench.said] == [False, True]


# ---- the gossip tick


@pytest.mark.rule("10.3a", "10.3d")
def test_each_interval_three_random_members_are_told() -> None:
    bench = make_bench(*"bcdefghi", config=GOSSIPING)
    bench.run(10.0)
    bench.said.clear()
    bench.tell(suspect("z"), bench.alive("b", 2))
    bench.run(30.0)
    instants = sorted({said.at for said in bench.said})
    assert len(instants) == 2
    assert [later - earlier for earlier, later in pairwise(instants)] == pytest.approx([0.2])
    first = [said.to for said in bench.said if said.at == instants[0]]
    assert len(set(first)) == 3
    assert {said.messages for said in bench.said} == {(bench.alive("b", 2),)}
    assert {said.data[0] for said in bench.said} == {CRC}
    assert {said.data[5] for said in bench.said} == {4}


@pytest.mark.rule("10.3a")
@pytest.mark.parametrize("seed", range(8))
def test_gossip_ticks_are_an_interval_apart(seed: int) -> None:
    bench = make_bench(*"bcdefghi", config=GOSSIPING, seed=seed)
    bench.run(1.0)
    bench.said.clear()
    for i in range(40):
        bench.tell(bench.alive("b", 2 + i), bench.alive("c", 2 + i))
        bench.run(1.0 + i * 0.17)
    instants = sorted({said.at for said in bench.said})
    assert len(instants) > 10
    assert min(later - earlier for earlier, later in pairwise(instants)) > 0.199


@pytest.mark.rule("10.3c")
def test_each_told_member_counts_and_when_nothing_is_left_the_round_ends() -> None:
    bench = make_bench("b", "c", "d", "e", config=GOSSIPING)
    bench.run(10.0)
    bench.said.clear()
    token = bench.member.set_meta(b"news", bench.now)
    bench.run(20.0)
    by_instant = [[said for said in bench.said if said.at == at] for at in sorted({said.at for said in bench.said})]
    assert [len(told) for told in by_instant] == [3, 1]
    assert [event.token for event in bench.take_events(BroadcastSpread)] == [token]


@pytest.mark.rule("10.3b")
@pytest.mark.upstream("TestMemberlist_GossipToDead")
def test_the_recently_dead_are_told_and_the_left_and_long_dead_are_not() -> None:
    told = []
    for now in (29.0, 30.1):
        bench = make_bench("alive", "dead", "left", config=GOSSIPING)
        bench.tell(dead("dead"), dead("left", accuser="left"))
        bench.run(now)
        bench.said.clear()
        bench.member.set_meta(b"news", now)
        bench.run(now + 0.9)
        names = {address: name for name, address in bench.peers.items()}
        told.append({names[said.to] for said in bench.said})
    assert told == [{"alive", "dead"}, {"alive"}]


@pytest.mark.parametrize("seed", range(8))
def test_the_one_listener_among_many_that_left_is_told_in_the_end(seed: int) -> None:
    bench = make_bench("alive", *(f"p{i}" for i in range(150)), config=GOSSIPING, seed=seed)
    bench.tell(*(dead(f"p{i}", accuser=f"p{i}") for i in range(150)))
    bench.run(20.0)
    bench.take_events(BroadcastSpread)
    token = bench.member.broadcast(b"news", bench.now)
    bench.run(29.0)
    assert [event.token for event in bench.take_events(BroadcastSpread)] == [token]


@pytest.mark.rule("10.3b")
def test_suspects_are_told() -> None:
    bench = make_bench("suspect", config=replace(GOSSIPING, probe=profile("wan").probe))
    bench.run(1.0)
    bench.tell(suspect("suspect"))
    bench.said.clear()
    bench.run(4.0)
    assert suspect("suspect") in bench.messages(Suspect, "suspect")


@pytest.mark.upstream("TestMemberlist_Gossip")
def test_queued_news_reaches_a_peer_by_gossip() -> None:
    config = replace(STILL, gossip=GossipTickConfig(nodes=9))
    wire = linked(*(make_member(name, (f"127.0.0.{i}", 7946), config) for i, name in enumerate("ab", start=1)))
    for i, name in enumerate("xyz"):
        alive = Alive(1, name, bytes((127, 0, 0, 50 + i)), 7946, None, VSN)
        wire.members[0].receive_datagram(encode(alive), PEER, wire.now)
    wire.run(wire.now + 1.0)
    assert [member.name for member in wire.members[1].live_members()] == ["a", "b", "x", "y", "z"]


@pytest.mark.rule("10.4d")
def test_gossip_can_be_turned_off() -> None:
    for off in (GossipTickConfig(interval=0.0), GossipTickConfig(nodes=0)):
        bench = make_bench("b", "c", config=replace(STILL, gossip=off))
        bench.member.set_meta(b"news", 0.0)
        bench.run(100.0)
        assert bench.said == []


# ---- random picks


def roster_of(size: int, seed: int = 1) -> Roster:
    roster = Roster(random.Random(seed))
    for i in range(size):
        roster.add(Record(f"n{i}", bytes((127, 0, 0, i)), 7946, 0.0))
    return roster


@pytest.mark.rule("10.3e")
@pytest.mark.upstream("TestKRandomNodes")
def test_picks_are_distinct_eligible_and_different_each_time() -> None:
    roster = roster_of(90)
    picks = []
    for _ in range(20):
        picked = [record.name for record in roster.pick(3, lambda record: int(record.name[1:]) % 3 == 0)]
        assert len(set(picked)) == 3
        assert all(int(name[1:]) % 3 == 0 for name in picked)
        picks.append(tuple(picked))
    assert len(set(picks)) == 20


@pytest.mark.rule("10.3e")
@pytest.mark.parametrize("seed", range(20))
def test_a_short_list_is_searched_whole_and_fewer_may_come_back(seed: int) -> None:
    roster = roster_of(8, seed)
    assert {r.name for r in roster.pick(3, lambda record: record.name in ("n3", "n6"))} == {"n3", "n6"}
    assert roster.pick(3, lambda record: False) == []
    assert roster.pick(0, lambda record: True) == []


@pytest.mark.rule("10.3e")
def test_drawing_from_a_long_list_ends() -> None:
    asked = []

    def refuse(record: Record) -> bool:
        asked.append(record)
        return False

    assert roster_of(50).pick(3, refuse) == []
    assert len(asked) == 150


def test_an_address_is_told_of_a_push_pull_by_gossip() -> None:
    bench = make_bench("b", config=GOSSIPING)
    bench.run(5.0)
    bench.said.clear()
    bench.push_pull([node_state(bench, "new", State.ALIVE)])
    bench.run(10.0)
    assert bench.alive("new") in bench.messages(Alive, "b")


def drained(member: Membership) -> int:
    return len(member.datagrams_to_send())


def test_an_idle_ring_sends_nothing() -> None:
    bench: Bench = make_bench("b", config=GOSSIPING)
    bench.run(100.0)
    before = drained(bench.member)
    bench.said.clear()
    bench.run(200.0)
    assert (before, bench.said) == (0, [])
