"""Where we do better than the reference implementation without changing a byte on the wire: one test or more for
each row of memberlist-protocol.md §16 that decides this product, named after the row."""

from __future__ import annotations

import random
from dataclasses import FrozenInstanceError, replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gossip import (
    BroadcastSpread,
    Keyring,
    LocalError,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    Membership,
    MemberUpdated,
    NameConflict,
    ReconnectConfig,
    State,
    UserMessageReceived,
    WireConfig,
    WriteStream,
    profile,
)
from gossip.broadcasts import BroadcastQueue
from gossip.codec import decode_message_untrusted, encode, encode_compressed, make_compound, split_compound_untrusted
from gossip.envelope import Envelope
from gossip.lzw import compress
from gossip.messages import MAX_INCARNATION, Ack, Alive, Dead, NodeState, Ping, Suspect, UserMessage
from gossip.packets import MAX_PACKET_INFLATED
from gossip.precedence import MAX_INCARNATION_JUMP
from gossip.reconnector import is_watcher
from gossip.streams import MAX_PLAIN_STREAM, encode_push_pull
from tests.gossip.helpers import FIXED_NONCE, VSN, Wire, events_of, linked, make_member, of_type

PEER = ("127.0.0.9", 7946)
PEER_ADDR = bytes((127, 0, 0, 9))
PLAIN = replace(profile("lan"), reconnect=ReconnectConfig(interval=0.0))


def quiet_member(**overrides: object) -> Membership:
    """A started member without news left to spread, in a ring of its own."""
    member = make_member("a", config=PLAIN, **overrides)  # type: ignore[arg-type]  # passed through by name
    while member.datagrams_to_send() or member.next_event() is not None:
        pass
    return member


def alive(
    incarnation: int, node: str = "n", addr: bytes = PEER_ADDR, meta: bytes = b"", vsn: bytes | None = VSN
) -> Alive:
    return Alive(incarnation, node, addr, 7946, meta, vsn)


def tell(member: Membership, message: Alive | Suspect | Dead | Ping | UserMessage, now: float = 1.0) -> None:
    member.receive_datagram(encode(message), PEER, now)


def said_to(member: Membership, address: tuple[str, int] = PEER) -> list[object]:
    """The messages that went to an address since the last look, compounds flattened."""
    messages: list[object] = []
    for data, target in member.datagrams_to_send():
        if target != address:
            continue
        body = data[5:] if data[0] == 12 else data
        parts = split_compound_untrusted(body)[0] if body[0] == 7 else [body]
        messages += [decode_message_untrusted(part) for part in parts]
    return messages


def split_ring(size: int) -> tuple[Wire, list[str]]:
    """A ring whose two halves cannot hear each other from now on; gives the wire and all names."""
    members = [make_member(f"n{i}", (f"127.0.0.{i + 1}", 7946), profile("lan")) for i in range(size)]
    wire = linked(*members)
    wire.run(5.0)
    half = {member.local.address for member in members[: size // 2]}
    wire.drops = lambda data, source, target: (source in half) != (target in half)
    wire.refuses = lambda source, target: (source in half) != (target in half)
    return wire, [member.local.name for member in members]


def live_names(member: Membership) -> list[str]:
    return [other.name for other in member.members() if other.state is State.ALIVE]


@pytest.mark.parametrize(
    ("size", "hours"),
    [(6, 0.1), pytest.param(6, 1.0, marks=pytest.mark.slow), pytest.param(2, 20.0, marks=pytest.mark.slow)],
    ids=["6 min", "1 h", "20 h"],
)
def test_row_1_a_partition_heals_by_itself_after_any_time(size: int, hours: float) -> None:
    wire, names = split_ring(size)
    wire.run(wire.now + hours * 3600)
    assert [len(live_names(member)) for member in wire.members] == [size // 2] * size
    mended_at = wire.now
    wire.drops = lambda data, source, target: False
    wire.refuses = lambda source, target: False
    wire.run(mended_at + 1.0)
    assert [live_names(member) for member in wire.members] == [names] * size


def test_row_1_a_seed_that_was_down_is_joined_when_it_comes_up() -> None:
    member = make_member("a", ("127.0.0.1", 7946), profile("lan"))
    wire = Wire([member])
    member.join([("127.0.0.2", 7946)], 0.0, as_seeds=True)
    wire.run(300.0)
    assert live_names(member) == ["a"]
    seed = make_member("b", ("127.0.0.2", 7946), profile("lan"), started_at=wire.now)
    wire.members.append(seed)
    wire.run(wire.now + 33.5)
    assert live_names(member) == live_names(seed) == ["a", "b"]


def test_row_1_a_packet_from_the_dead_or_a_changed_network_ends_the_back_off() -> None:
    for wake in ("packet", "carrier"):
        member = make_member("a", ("127.0.0.1", 7946), replace(profile("lan"), reconnect=ReconnectConfig(watchers=1)))
        others = [make_member(f"w{i}", (f"127.0.0.{20 + i}", 7946), member.config) for i in range(3)]
        wire = linked(member, *others)
        subject = next(
            name for name in (f"s{i}" for i in range(99)) if not is_watcher("a", name, ["a", "w0", "w1", "w2"], 1)
        )
        tell(member, alive(1, subject))
        tell(member, Dead(1, subject, "w0"))
        wire.run(400.0)
        wire.datagrams.clear()
        wire.run(wire.now + 5.0)
        assert not [1 for source, target, _ in wire.datagrams if source == ("127.0.0.1", 7946) and target == PEER]
        if wake == "packet":
            member.receive_datagram(encode(UserMessage(b"hello")), PEER, wire.now)
        else:
            member.network_changed(wire.now)
        wire.run(wire.now + 0.56)
        assert [1 for source, target, _ in wire.datagrams if source == ("127.0.0.1", 7946) and target == PEER]


@pytest.mark.slow
def test_row_1_the_dead_are_remembered_for_a_day_and_the_left_are_not_pinged() -> None:
    member = make_member("a", ("127.0.0.1", 7946), profile("lan"))
    wire = linked(member, make_member("b", ("127.0.0.2", 7946), profile("lan")))
    tell(member, alive(1, "gone"))
    tell(member, alive(1, "left", bytes((127, 0, 0, 10))))
    tell(member, Dead(1, "gone", "b"))
    tell(member, Dead(1, "left", "left"))
    wire.datagrams.clear()
    wire.run(86_000.0)
    assert member.member("gone") is not None
    assert member.member("left") is None
    assert not [1 for _, target, _ in wire.datagrams if target == ("127.0.0.10", 7946)]
    wire.run(86_600.0)
    assert member.member("gone") is None


def test_row_2_a_node_that_restarts_at_a_low_incarnation_is_told_and_refutes() -> None:
    members = [make_member(f"n{i}", (f"127.0.0.{i + 1}", 7946)) for i in range(3)]
    wire = linked(*members)
    wire.run(2.0)
    for member in members[:2]:
        member.receive_datagram(encode(Dead(40, "n2", "n0")), ("127.0.0.1", 7946), wire.now)
    wire.members.pop()
    restarted = make_member("n2", ("127.0.0.3", 7946), started_at=wire.now)
    wire.members.append(restarted)
    restarted.receive_datagram(encode(alive(1, "n0", bytes((127, 0, 0, 1)))), ("127.0.0.1", 7946), wire.now)
    wire.run(wire.now + 2.0)
    assert restarted.local.incarnation == 41
    states = [found.state for member in members[:2] if (found := member.member("n2")) is not None]
    assert states == [State.ALIVE, State.ALIVE]


def test_row_2_a_stale_alive_is_answered_once_a_second_and_only_to_its_owner() -> None:
    member = quiet_member()
    tell(member, alive(5))
    tell(member, Dead(5, "n", "x"))
    said_to(member)
    for _ in range(10):
        tell(member, alive(1), now=10.0)
    assert said_to(member).count(Dead(5, "n", "a")) == 1
    tell(member, alive(1), now=11.0)
    assert Dead(5, "n", "a") in said_to(member)
    tell(member, alive(6), now=12.0)
    tell(member, Suspect(6, "n", "x"), now=12.0)
    said_to(member)
    member.receive_datagram(encode(alive(6)), ("127.0.0.77", 7946), 14.0)
    assert said_to(member) == []


def test_row_3_an_old_alive_does_not_revive_a_member_accused_at_a_higher_incarnation() -> None:
    member = quiet_member()
    tell(member, alive(1))
    tell(member, Dead(1, "n", "x"))
    tell(member, Dead(10, "n", "y"))
    tell(member, alive(2))
    found = member.member("n")
    assert found is not None
    assert found.state is State.DEAD
    tell(member, alive(11))
    found = member.member("n")
    assert found is not None
    assert found.state is State.ALIVE


def test_row_4_one_forged_packet_neither_wraps_our_incarnation_nor_evicts_a_member() -> None:
    member = quiet_member()
    for message in (
        Suspect(MAX_INCARNATION, "a", "x"),
        Dead(MAX_INCARNATION, "a", "x"),
        alive(MAX_INCARNATION, "a", bytes((127, 0, 0, 1))),
    ):
        tell(member, message)
        assert member.local.incarnation == 1
    tell(member, alive(3))
    tell(member, Dead(MAX_INCARNATION, "n", "x"))
    tell(member, alive(MAX_INCARNATION))
    found = member.member("n")
    assert found is not None
    assert (found.state, found.incarnation) == (State.ALIVE, 3)
    assert member.statistics().forgeries_ignored == 5


def test_row_4_our_incarnation_stops_at_the_last_number() -> None:
    member = quiet_member()
    for accused in (*range(MAX_INCARNATION_JUMP, MAX_INCARNATION, MAX_INCARNATION_JUMP), MAX_INCARNATION - 1):
        tell(member, Suspect(accused, "a", "x"))
        assert member.local.incarnation == accused + 1
    tell(member, Suspect(MAX_INCARNATION, "a", "x"))
    assert member.local.incarnation == MAX_INCARNATION


def test_row_5_displacing_the_only_broadcast_loses_no_later_one() -> None:
    queue = BroadcastQueue(lambda: 1)
    finished: list[str] = []
    for key, message in (("a", b"a1"), ("a", b"a2"), ("b", b"b1"), ("c", b"c1")):
        queue.queue(message, key, lambda message=message: finished.append(message.decode()))  # type: ignore[misc]  # bound per round
    assert finished == ["a1"]
    assert sorted(queue.take(1000)) == [b"a2", b"b1", b"c1"]
    assert sorted(finished) == ["a1", "a2", "b1", "c1"]


def test_row_6_a_refutation_replaces_older_news_about_ourselves() -> None:
    member = quiet_member()
    tell(member, Suspect(1, "a", "x"))
    tell(member, Suspect(2, "a", "x"))
    tell(member, Ping(7, "a", PEER_ADDR, 7946, "n"))
    own_news = [message for message in said_to(member) if isinstance(message, Alive)]
    assert [message.incarnation for message in own_news] == [3]


def push_pull_into(member: Membership, nodes: list[NodeState], now: float = 1.0) -> list[bytes]:
    stream = member.accept_stream(PEER, now)
    member.receive_stream(stream, encode_push_pull(True, nodes, b""), now)
    return [command.data for command in member.stream_commands() if isinstance(command, WriteStream)]


@pytest.mark.parametrize("odd_state", [State.DEAD, State.LEFT, State.SUSPECT])
def test_row_8_a_gone_member_with_odd_versions_blocks_no_exchange(odd_state: State) -> None:
    member = quiet_member()
    odd = NodeState("odd", bytes((127, 0, 0, 8)), 7946, None, 1, int(odd_state), bytes((1, 5, 2, 7, 9, 8)))
    push_pull_into(member, [NodeState("n", PEER_ADDR, 7946, None, 1, int(State.ALIVE), VSN), odd])
    assert member.member("n") is not None


def test_row_7_a_member_without_versions_blocks_no_exchange() -> None:
    member = quiet_member()
    tell(member, alive(1, "bare", bytes((127, 0, 0, 8)), vsn=None))
    push_pull_into(member, [NodeState("n", PEER_ADDR, 7946, None, 1, int(State.ALIVE), VSN)])
    assert member.member("n") is not None


def test_row_10_the_core_may_be_called_while_its_events_are_read() -> None:
    member = make_member("a", config=PLAIN)
    tell(member, alive(1))
    seen = []
    while (event := member.next_event()) is not None:
        seen.append(event)
        if isinstance(event, MemberJoined) and event.member.name == "n":
            assert [other.name for other in member.live_members()] == ["a", "n"]
            tell(member, Dead(1, "n", "x"))
            member.set_meta(b"changed", 1.0)
    assert [type(event) for event in seen] == [
        MemberJoined,
        BroadcastSpread,
        MemberJoined,
        MemberFailed,
        MemberUpdated,
        BroadcastSpread,
    ]


def test_row_11_snapshots_do_not_change_under_the_reader() -> None:
    member = quiet_member()
    tell(member, alive(1, meta=b"old"))
    before = member.members()
    tell(member, alive(2, meta=b"new"))
    assert [other.meta for other in before if other.name == "n"] == [b"old"]
    with pytest.raises(FrozenInstanceError):
        before[0].meta = b"mine"  # type: ignore[misc]  # that is the point


def test_row_12_left_and_failed_are_told_apart_and_the_state_is_true() -> None:
    member = quiet_member()
    for name, accuser, event_type, state in (("l", "l", MemberLeft, State.LEFT), ("f", "x", MemberFailed, State.DEAD)):
        tell(member, alive(1, name))
        tell(member, Suspect(1, name, "x"))
        suspected = member.member(name)
        assert suspected is not None
        assert suspected.state is State.SUSPECT
        events_of(member)
        tell(member, Dead(1, name, accuser))
        (event,) = events_of(member)
        assert isinstance(event, event_type)
        assert event.member.state is state
        assert event.member == member.member(name)


def test_row_13_a_change_of_versions_alone_is_an_update() -> None:
    member = quiet_member()
    tell(member, alive(1))
    events_of(member)
    tell(member, alive(2, vsn=bytes((1, 5, 2, 2, 5, 5))))
    (event,) = events_of(member)
    assert isinstance(event, MemberUpdated)
    assert (event.previous.versions, event.member.versions) == (VSN, bytes((1, 5, 2, 2, 5, 5)))


def test_row_15_a_remembered_name_comes_back_at_a_new_address_as_soon_as_memberlist_would_take_it() -> None:
    member = make_member("a", ("127.0.0.1", 7946), profile("lan"))
    wire = linked(member, make_member("b", ("127.0.0.2", 7946), profile("lan")))
    tell(member, alive(7))
    tell(member, Dead(7, "n", "b"))
    moved = alive(1, addr=bytes((127, 0, 0, 10)))
    tell(member, moved, now=2.0)
    assert len(list(of_type(events_of(member), NameConflict))) == 1
    wire.run(40.0)
    tell(member, moved, now=wire.now)
    found = member.member("n")
    assert found is not None
    assert (found.state, found.address, found.incarnation) == (State.ALIVE, ("127.0.0.10", 7946), 1)


def test_row_16_the_two_forms_of_an_ipv4_address_are_one_and_relayed_as_they_came() -> None:
    member = quiet_member()
    mapped = bytes(10) + b"\xff\xff" + PEER_ADDR
    tell(member, alive(1, addr=mapped))
    tell(member, alive(2))
    assert not list(of_type(events_of(member), NameConflict))
    found = member.member("n")
    assert found is not None
    assert (found.incarnation, found.address) == (2, PEER)
    tell(member, alive(3, addr=mapped))
    tell(member, Ping(7, "a", PEER_ADDR, 7946, "n"))
    assert [message.addr for message in said_to(member) if isinstance(message, Alive) and message.node == "n"] == [
        mapped
    ]


def test_row_17_membership_news_does_not_starve_user_messages() -> None:
    member = quiet_member()
    for number in range(200):
        tell(member, alive(1, f"member-{number}", bytes((127, 0, 1, number)), meta=b"m" * 200))
    member.broadcast(b"from the application", 1.0)
    tell(member, Ping(7, "a", PEER_ADDR, 7946, "n"))
    assert UserMessage(b"from the application") in said_to(member)


def test_row_18_a_user_message_that_cannot_fit_is_refused_and_one_that_does_not_fit_now_is_kept() -> None:
    member = quiet_member()
    with pytest.raises(LocalError, match=r"1500 bytes does not fit into a packet; at most \d+ do"):
        member.broadcast(b"x" * 1500, 1.0)
    messages = [bytes((65 + number,)) * 900 for number in range(3)]
    for message in messages:
        member.broadcast(message, 1.0)
    heard: list[bytes] = []
    for seq_no in range(3):
        tell(member, Ping(seq_no, "a", PEER_ADDR, 7946, "n"))
        heard += [message.payload for message in said_to(member) if isinstance(message, UserMessage)]
    assert sorted(heard) == messages


@pytest.mark.parametrize("label", [b"", b"label" * 10])
@pytest.mark.parametrize("key", [None, bytes(32)])
@pytest.mark.parametrize("protocol_version", [1, 2])
def test_row_19_no_packet_exceeds_the_budget(label: bytes, key: bytes | None, protocol_version: int) -> None:
    config = replace(PLAIN, wire=WireConfig(label=label, protocol_version=protocol_version))
    keyring = Keyring([key] if key else [])
    members = [make_member(name, (f"127.0.0.{i + 1}", 7946), config, keyring=keyring) for i, name in enumerate("ab")]
    wire = linked(*members)
    rng = random.Random(7)
    for number in range(300):
        meta = rng.randbytes(rng.randrange(120))
        members[0].receive_datagram(
            wrapped(members[0], alive(1, f"member-{number}", bytes((127, 0, 1, number % 250)), meta)), PEER, wire.now
        )
        members[0].broadcast(rng.randbytes(rng.randrange(60)), wire.now)
    wire.datagrams.clear()
    wire.run(20.0)
    sizes = [len(data) for _, _, data in wire.datagrams]
    assert max(sizes) <= 1400
    assert max(sizes) > 1300


def wrapped(member: Membership, message: Alive) -> bytes:
    return Envelope(member.config.wire, member.keyring, lambda size: FIXED_NONCE[:size]).wrap_packet(
        encode(message), crc=False
    )


@pytest.mark.parametrize(
    "payload", [b"", b"\x00" * 15, b"\x11" * 16, b"\xff" * 16], ids=["empty", "short", "pad 17", "pad 255"]
)
@pytest.mark.parametrize("version", [0, 1])
def test_row_21_a_peer_with_the_key_crashes_nobody(payload: bytes, version: int) -> None:
    key = bytes(range(16))
    member = quiet_member(keyring=Keyring([key]))
    sealed = bytes((version,)) + FIXED_NONCE + AESGCM(key).encrypt(FIXED_NONCE, payload, b"")
    member.receive_datagram(sealed, PEER, 1.0)
    assert member.statistics().datagram_problems == 1
    stream = member.accept_stream(PEER, 1.0)
    header = b"\x0a" + (13 + len(payload) + 16).to_bytes(4, "big")
    body = bytes((version,)) + FIXED_NONCE + AESGCM(key).encrypt(FIXED_NONCE, payload, header)
    member.receive_stream(stream, header + body, 1.0)
    assert member.statistics().stream_problems == 1


def test_row_22_ciphertext_under_an_unknown_key_is_not_taken_for_a_ping() -> None:
    config = replace(PLAIN, wire=WireConfig(verify_incoming=False, verify_outgoing=False))
    member = make_member("a", config=config, keyring=Keyring([bytes(16)]))
    member.datagrams_to_send()
    other = Keyring([b"k" * 16])
    for version in (0, 1):
        for seed in range(200):
            nonce = random.Random(seed).randbytes(12)
            member.receive_datagram(
                other.seal(encode(Ping(seed, "a", PEER_ADDR, 7946, "n")), b"", nonce, version), PEER, 1.0
            )
    assert member.datagrams_to_send() == []
    assert member.statistics().datagram_problems == 400
    member.receive_datagram(encode(Ping(9, "a", PEER_ADDR, 7946, "n")), PEER, 1.0)
    assert isinstance(said_to(member)[0], Ack)


def test_row_23_a_decompression_bomb_stops_at_the_limit() -> None:
    member = quiet_member()
    fits = encode(UserMessage(b"u" * (MAX_PACKET_INFLATED - 1)))
    member.receive_datagram(encode_compressed(compress(fits)), PEER, 1.0)
    bomb = encode_compressed(compress(encode(UserMessage(b"u" * MAX_PACKET_INFLATED))))
    member.receive_datagram(bomb, PEER, 1.0)
    member.receive_datagram(make_compound([bomb] * 3), PEER, 1.0)
    turns = 0
    while member.next_timer() <= 1.0:
        member.handle_timer(1.0)
        turns += 1
    assert [len(event.payload) for event in of_type(events_of(member), UserMessageReceived)] == [
        MAX_PACKET_INFLATED - 1
    ]
    assert turns > 5
    assert member.statistics().datagram_problems >= 2


@pytest.mark.parametrize(
    "header",
    [
        bytes.fromhex("0683a44a6f696ec2a54e6f646573d200989680ac5573657253746174654c656e00"),
        bytes.fromhex("0683a44a6f696ec2a54e6f64657300ac5573657253746174654c656ed201c9c380"),
        bytes.fromhex("0881aa557365724d73674c656ed201c9c380"),
        bytes.fromhex("0a01400001"),
    ],
    ids=["nodes", "user state", "user message", "encrypted"],
)
def test_row_23_a_declared_size_over_the_limit_closes_the_stream_at_once(header: bytes) -> None:
    member = quiet_member(keyring=Keyring([bytes(16)]) if header[0] == 0x0A else None)
    stream = member.accept_stream(PEER, 1.0)
    member.receive_stream(stream, header, 1.0)
    assert member.statistics().streams_open == 0
    assert member.statistics().stream_problems == 1


def test_row_23_an_endless_plain_stream_is_cut_off() -> None:
    member = quiet_member()
    stream = member.accept_stream(PEER, 1.0)
    state = NodeState("n" * 200, PEER_ADDR, 7946, bytes(60_000), 1, 0, VSN)
    opening = encode_push_pull(False, [state] * 2, b"").replace(b"\xa5Nodes\x02", b"\xa5Nodes\xd2\x00\x10\x00\x00")
    member.receive_stream(stream, opening, 1.0)
    chunk = encode_push_pull(False, [state], b"")[len(encode_push_pull(False, [], b"")) :] * 16
    fed = len(opening)
    while member.statistics().streams_open and fed < 2 * MAX_PLAIN_STREAM:
        member.receive_stream(stream, chunk, 1.0)
        fed += len(chunk)
        while member.next_timer() <= 1.0:
            member.handle_timer(1.0)
    assert fed <= MAX_PLAIN_STREAM + 2 * len(chunk)


@pytest.mark.parametrize(
    "message",
    [
        alive(1, ""),
        alive(1, "n" * 256),
        alive(1, meta=bytes(513)),
        alive(1, addr=b"abc"),
        alive(1, addr=b""),
        alive(1, addr=bytes(17)),
    ],
    ids=["no name", "long name", "long metadata", "3 bytes", "0 bytes", "17 bytes"],
)
def test_row_32_a_member_without_a_name_or_with_an_impossible_address_is_refused(message: Alive) -> None:
    member = quiet_member()
    tell(member, message)
    state = NodeState(message.node, message.addr, 7946, message.meta, 1, int(State.ALIVE), VSN)
    push_pull_into(member, [state, NodeState("fine", PEER_ADDR, 7946, None, 1, int(State.ALIVE), VSN)])
    assert [other.name for other in member.members()] == ["a", "fine"]


def test_a_stranger_for_whom_there_is_no_room_is_counted() -> None:
    member = make_member("a", config=replace(PLAIN, identity=replace(PLAIN.identity, max_members=2)))
    for name in ("n", "one-too-many", "one-too-many"):
        tell(member, alive(1, name))
    assert [other.name for other in member.members()] == ["a", "n"]
    assert member.statistics().strangers_refused == 2


def test_the_verdict_carries_the_newest_accusation() -> None:
    member = quiet_member()
    tell(member, alive(1))
    tell(member, Suspect(1, "n", "x"))
    tell(member, Suspect(6, "n", "y"))
    member.datagrams_to_send()
    while member.next_timer() < 60.0:
        member.handle_timer(member.next_timer())
    dead = [event for event in events_of(member) if isinstance(event, MemberFailed)]
    assert [event.member.incarnation for event in dead] == [6]


def test_of_two_dead_at_one_address_each_is_found_by_its_packets() -> None:
    member = make_member("a", ("127.0.0.1", 7946), replace(profile("lan"), reconnect=ReconnectConfig(watchers=1)))
    wire = linked(member, *[make_member(f"w{i}", (f"127.0.0.{20 + i}", 7946), member.config) for i in range(3)])
    for name in ("old", "renamed"):
        tell(member, alive(1, name))
        tell(member, Dead(1, name, "w0"))
    wire.run(400.0)
    member.forget("old")
    wire.datagrams.clear()
    member.receive_datagram(encode(UserMessage(b"here")), PEER, wire.now)
    wire.run(wire.now + 0.56)
    assert [1 for source, target, _ in wire.datagrams if source == ("127.0.0.1", 7946) and target == PEER]


def test_news_reaches_everybody_in_a_small_ring_on_any_profile_but_memberlists_own() -> None:
    for seed in range(20):
        members = [make_member(f"n{i}", (f"127.0.0.{i + 1}", 7946), profile("local"), seed=seed) for i in range(4)]
        wire = linked(*members)
        wire.run(2.0)
        assert [len(member.live_members()) for member in members] == [4] * 4
        members[0].set_meta(b"changed", wire.now)
        wire.run(wire.now + 2.0)
        assert [found.meta for member in members if (found := member.member("n0"))] == [b"changed"] * 4
