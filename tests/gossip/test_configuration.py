"""What a member may be given: settings, keys, an allow-list (memberlist-protocol.md §6.3, 11.1, 11.7)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gossip import (
    ConfigError,
    GossipTickConfig,
    IdentityRules,
    JoinCompleted,
    Keyring,
    LocalError,
    ProbeConfig,
    PushPullConfig,
    ReconnectConfig,
    State,
    SuspicionConfig,
    WireConfig,
    profile,
)
from gossip.addresses import AllowList
from gossip.codec import encode
from gossip.errors import BadPacket
from gossip.messages import Ping, UserMessage
from tests.gossip.bench import OWN, PLAIN, STILL, dead, make_bench, node_state, suspect
from tests.gossip.helpers import FIXED_NONCE, linked, live_names, make_member, of_type, views

KEYS = (b"a" * 16, b"b" * 24, b"c" * 32)


# ---- configuration


@pytest.mark.rule("11.1a")
@pytest.mark.parametrize(
    ("group", "field", "values"),
    [
        (ProbeConfig, "interval", [-1]),
        (ProbeConfig, "timeout", [0, 1.1, -1]),
        (ProbeConfig, "indirect_checks", [-1, 65]),
        (ProbeConfig, "awareness_max", [0, 65]),
        (SuspicionConfig, "mult", [0, 1001]),
        (SuspicionConfig, "max_timeout_mult", [0, 1001]),
        (GossipTickConfig, "interval", [-0.1]),
        (GossipTickConfig, "nodes", [-1, 65]),
        (GossipTickConfig, "to_the_dead_time", [-1]),
        (GossipTickConfig, "retransmit_mult", [0, 101]),
        (GossipTickConfig, "user_share", [-0.1, 0.95]),
        (GossipTickConfig, "packet_budget", [511, 65_001]),
        (PushPullConfig, "interval", [-1]),
        (PushPullConfig, "timeout", [0]),
        (PushPullConfig, "max_concurrent", [0, 10_001]),
        (ReconnectConfig, "interval", [-1]),
        (ReconnectConfig, "max_interval", [0.1]),
        (ReconnectConfig, "watchers", [0, 65]),
        (ReconnectConfig, "remember_for", [-1]),
        (ReconnectConfig, "max_remembered", [-1]),
        (IdentityRules, "delegate_versions", [(2, 1, 1), (0, 5, 6), (0, 256, 0), (-1, 0, 0)]),
        (IdentityRules, "dead_reclaim_time", [-1]),
        (IdentityRules, "max_members", [0]),
        (WireConfig, "label", [bytes(256)]),
        (WireConfig, "protocol_version", [0, 6]),
    ],
)
def test_a_value_out_of_range_is_refused_by_the_name_of_its_field(group: Any, field: str, values: list[object]) -> None:
    for value in values:
        with pytest.raises(ConfigError, match=field):
            group(**{field: value})


@pytest.mark.rule("11.1a")
def test_networks_that_are_none_are_refused() -> None:
    with pytest.raises(ConfigError, match="allowed_networks"):
        make_member(config=replace(STILL, identity=IdentityRules(allowed_networks=("10.0.0.1/8",))))


@pytest.mark.rule("11.1g")
@pytest.mark.parametrize(
    "options",
    [{"meta": bytes(513)}, {"name": ""}, {"name": "n" * 256}, {"name": "ä" * 128}, {"address": ("host", 1)}],
)
def test_what_no_member_can_have_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(LocalError):
        make_member(**options)
    member = make_member(meta=bytes(512), name="ä" * 127)
    with pytest.raises(LocalError, match="512"):
        member.set_meta(bytes(513), 0.0)
    assert member.local.meta == bytes(512)


# ---- keys


@pytest.mark.rule("6.3f", "6.3g", "11.1b")
@pytest.mark.upstream("TestKeyring_EmptyRing", "TestKeyring_PrimaryOnly", "TestKeyring_GetPrimaryKey")
def test_a_keyring_has_its_keys_in_order_with_the_primary_first() -> None:
    assert (Keyring().keys, Keyring().primary, Keyring().encrypts) == ((), None, False)
    assert Keyring([KEYS[1]]).keys == (KEYS[1],)
    assert Keyring([KEYS[1]]).primary == KEYS[1]
    several = Keyring(KEYS)
    assert several.keys == KEYS
    several.use(KEYS[2])
    assert several.keys == (KEYS[2], KEYS[0], KEYS[1])
    assert several.primary == KEYS[2]


@pytest.mark.rule("6.3f")
@pytest.mark.upstream("TestKeyring_AddRemoveUse")
def test_keys_are_added_used_and_removed_and_mistakes_refused() -> None:
    keyring = Keyring([KEYS[1]])
    with pytest.raises(LocalError, match="add it first"):
        keyring.use(KEYS[2])
    keyring.add(KEYS[2])
    keyring.add(KEYS[1])
    assert list(keyring.keys) == [KEYS[1], KEYS[2]]
    keyring.use(KEYS[2])
    with pytest.raises(LocalError, match="primary"):
        keyring.remove(KEYS[2])
    keyring.remove(KEYS[1])
    keyring.remove(KEYS[1])
    assert list(keyring.keys) == [KEYS[2]]


@pytest.mark.rule("6.3f")
@pytest.mark.upstream("TestKeyRing_MultiKeyEncryptDecrypt")
def test_any_installed_key_decrypts_and_a_removed_one_does_not() -> None:
    keyring = Keyring(KEYS)
    for key in KEYS:
        assert keyring.open_untrusted(Keyring([key]).seal(b"plain", b"aad", FIXED_NONCE, 1), b"aad") == b"plain"
    keyring.remove(KEYS[1])
    with pytest.raises(BadPacket):
        keyring.open_untrusted(Keyring([KEYS[1]]).seal(b"plain", b"aad", FIXED_NONCE, 1), b"aad")


@pytest.mark.rule("6.3g")
@pytest.mark.upstream("TestCreate_secretKey")
@pytest.mark.parametrize(("size", "fine"), [(16, True), (24, True), (32, True), (0, False), (3, False), (38, False)])
def test_key_sizes(size: int, fine: bool) -> None:
    if fine:
        assert Keyring([bytes(size)]).encrypts
    else:
        with pytest.raises(LocalError, match="16, 24 or 32"):
            Keyring([bytes(size)])


@pytest.mark.rule("11.1b")
@pytest.mark.upstream("TestCreate_keyringOnly", "TestCreate_keyringAndSecretKey", "TestCreate_secretKeyEmpty")
@pytest.mark.parametrize(("keys", "encrypted"), [((), False), (KEYS[:1], True), (KEYS, True)])
def test_a_keyring_turns_encryption_on_and_its_first_key_encrypts(keys: tuple[bytes, ...], encrypted: bool) -> None:
    member = make_member(config=STILL, keyring=Keyring(keys))
    member.send(("127.0.0.2", 7946), b"hello", 0.0)
    ((data, _),) = member.datagrams_to_send()
    assert (data != encode(UserMessage(b"hello"))) is encrypted
    if encrypted:
        assert Keyring(keys[:1]).open_untrusted(data, b"") == encode(UserMessage(b"hello"))


@pytest.mark.rule("6.3h")
@pytest.mark.upstream("TestMemberlist_EncryptedGossipTransition")
def test_a_running_ring_is_given_its_first_key_by_rolling_restarts() -> None:
    steps = [
        ((), True, True),
        (KEYS[:1], False, False),
        (KEYS[:1], False, True),
        (KEYS[:1], True, True),
    ]
    wire = linked(*(make_member(name, (f"127.0.0.{i}", 7946), PLAIN) for i, name in enumerate("abc", 1)))
    for keys, incoming, outgoing in steps:
        for place, old in enumerate(list(wire.members)):
            config = PLAIN.with_wire(verify_incoming=incoming, verify_outgoing=outgoing)
            name, address = old.local.name, old.local.address
            old.leave(wire.now)
            wire.run(wire.now + 1.0)
            wire.members.pop(place)
            restarted = make_member(name, address, config, keyring=Keyring(keys), started_at=wire.now, seed=place)
            wire.members.insert(place, restarted)
            wire.events.clear()
            restarted.join([other.local.address for other in wire.members if other is not restarted], wire.now)
            wire.run(wire.now + 3.0)
            (completed,) = of_type(wire.events[name], JoinCompleted)
            assert len(completed.joined) == 2
            assert views(wire) == [["a", "b", "c"]] * 3


def test_a_key_is_rotated_in_a_running_ring() -> None:
    keyrings = [Keyring(KEYS[:1]) for _ in range(3)]
    members = [make_member(f"n{i}", (f"127.0.0.{i + 1}", 7946), PLAIN, keyring=keyrings[i]) for i in range(3)]
    wire = linked(*members)
    for act, key in ((Keyring.add, KEYS[2]), (Keyring.use, KEYS[2]), (Keyring.remove, KEYS[0])):
        for keyring in keyrings:
            act(keyring, key)
            wire.run(wire.now + 3.0)
    assert [member.statistics().datagram_problems for member in members] == [0, 0, 0]
    assert views(wire) == [["n0", "n1", "n2"]] * 3
    assert [keyring.keys for keyring in keyrings] == [(KEYS[2],)] * 3


# ---- the allow-list


@pytest.mark.rule("11.7a", "11.7b")
@pytest.mark.upstream("Test_IsValidAddressDefaults", "Test_IsValidAddressOverride")
@pytest.mark.parametrize(
    ("networks", "allowed", "refused"),
    [
        (None, ["127.0.0.1", "127.0.0.5", "10.0.0.9", "172.16.0.7", "192.168.2.1", "::1", "2001:db8::1"], []),
        ((), [], ["127.0.0.1", "::1"]),
        (("0.0.0.0/0",), ["127.0.0.1", "10.0.0.9"], ["::1"]),
        (("::/0",), ["::1", "2001:db8::1"], ["127.0.0.1"]),
        (("127.0.0.0/8", "::1/128"), ["127.0.0.5", "::1"], ["172.16.0.7", "10.0.0.9", "2001:db8::1"]),
        (("127.0.0.0/8",), ["::ffff:127.0.0.1"], ["::ffff:10.0.0.1"]),
    ],
)
def test_which_addresses_an_allow_list_permits(
    networks: tuple[str, ...] | None, allowed: list[str], refused: list[str]
) -> None:
    rules = AllowList(networks)
    assert [host for host in allowed + refused if rules.permits_host(host)] == allowed
    assert [name for name in ("lan", "wan", "memberlist") if profile(name).identity.allowed_networks is not None] == []


@pytest.mark.rule("11.7b")
@pytest.mark.upstream("TestMemberlist_JoinDifferentNetworksUniqueMask")
def test_members_inside_the_allowed_net_join() -> None:
    config = replace(PLAIN, identity=IdentityRules(allowed_networks=("127.0.0.0/8",)))
    members = [make_member(name, address, config) for name, address in (("a", OWN), ("b", ("127.0.1.2", 7946)))]
    wire = linked(*members)
    wire.run(5.0)
    assert views(wire) == [["a", "b"], ["a", "b"]]


@pytest.mark.rule("11.7b", "11.7c", "11.7d")
@pytest.mark.upstream("TestMemberlist_JoinDifferentNetworksMultiMasks")
def test_who_is_outside_is_not_seen_and_who_disallows_itself_is_not_listed() -> None:
    config = replace(PLAIN, identity=IdentityRules(allowed_networks=("127.0.0.0/24", "127.0.1.0/24")))
    inside = [make_member(name, address, config) for name, address in (("a", OWN), ("b", ("127.0.1.2", 7946)))]
    outside = make_member("c", ("127.0.2.3", 7946), config)
    wire = linked(*inside, outside)
    wire.run(5.0)
    assert views(wire)[:2] == [["a", "b"], ["a", "b"]]
    assert outside.local.name not in live_names(outside)
    assert outside.members() == ()


@pytest.mark.rule("11.7c")
@pytest.mark.parametrize("message", [Ping(1, "a"), suspect("b"), dead("b"), UserMessage(b"hello")])
def test_nothing_from_outside_is_listened_to(message: Any) -> None:
    identity = replace(STILL.identity, allowed_networks=("127.0.0.0/24",))
    bench = make_bench("b", config=replace(STILL, identity=identity))
    bench.tell(message, source=("127.0.9.9", 7946))
    assert (bench.said, bench.events) == ([], [])
    assert bench.state("b") is State.ALIVE
    assert bench.member.statistics().datagram_problems == 1
    stream = bench.member.accept_stream(("127.0.9.9", 40_000), 0.0)
    assert [type(command).__name__ for command in bench.member.stream_commands()] == ["CloseStream"]
    bench.member.receive_stream(stream, encode(Ping(1, "a")), 0.0)
    assert bench.member.stream_commands() == []


@pytest.mark.rule("11.7b")
def test_a_view_brings_in_nobody_from_outside() -> None:
    identity = replace(STILL.identity, allowed_networks=("127.0.0.0/24",))
    bench = make_bench(config=replace(STILL, identity=identity))
    outsider = replace(node_state(bench, "out", State.ALIVE), addr=bytes((127, 0, 9, 9)))
    bench.push_pull([outsider, node_state(bench, "in", State.ALIVE)])
    assert [other.name for other in bench.member.members()] == ["a", "in"]
