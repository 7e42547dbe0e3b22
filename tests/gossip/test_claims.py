"""The state machine of members, sentence by sentence (memberlist-protocol.md §7, 8)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gossip import (
    AccusationRefuted,
    ConfigError,
    IdentityRules,
    Member,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberUpdated,
    NameConflict,
    Policy,
    Refusal,
    State,
    WireConfig,
)
from gossip.messages import MAX_INCARNATION, Alive, Dead, PacketMessage, Ping, Suspect
from gossip.precedence import MAX_INCARNATION_JUMP, refuting_incarnation
from tests.gossip.bench import PROBING, STILL, Bench, dead, make_bench, packed, suspect
from tests.gossip.helpers import VSN, make_member

OTHER = ("127.0.0.99", 7946)


def elsewhere(name: str, incarnation: int, address: tuple[str, int] = OTHER) -> Alive:
    return Alive(incarnation, name, packed(address), address[1], None, VSN)


def reclaiming(after: float) -> IdentityRules:
    return replace(STILL.identity, dead_reclaim_time=after)


def known(bench: Bench, name: str = "b") -> Member:
    found = bench.member.member(name)
    assert found is not None
    return found


# ---- records


@pytest.mark.rule("8.1a", "11.1f", "14e")
def test_a_member_first_joins_its_own_list_at_incarnation_1() -> None:
    bench = Bench(make_member("a", config=STILL, meta=b"m"))
    (joined,) = bench.take_events(MemberJoined)
    assert joined.member == bench.member.local
    assert (joined.member.incarnation, joined.member.state) == (1, State.ALIVE)
    assert bench.queued() == [Alive(1, "a", packed(("127.0.0.1", 0)), 7946, b"m", VSN)]


@pytest.mark.rule("8.1b")
def test_probe_order_is_not_join_order() -> None:
    firsts = []
    for seed in range(40):
        bench = make_bench("b", "c", "d", "e", config=PROBING, seed=seed)
        bench.run(1.0)
        firsts.append(bench.messages(Ping)[0].node)
    assert set(firsts) == set("bcde")


@pytest.mark.rule("8.1c")
def test_the_size_of_the_ring_counts_members_in_any_state() -> None:
    bench = make_bench("b", "c", "d", config=PROBING)
    bench.tell(dead("c"), dead("d", accuser="d"), suspect("b"))
    bench.run(23.9)
    assert bench.state("b") is State.SUSPECT


# ---- alive


@pytest.mark.rule("8.2d", "8.2n")
@pytest.mark.upstream("TestMemberList_AliveNode_NewNode")
@pytest.mark.parametrize("incarnation", [0, 1, 77])
def test_an_unknown_member_joins_at_whatever_incarnation(incarnation: int) -> None:
    bench = make_bench()
    bench.now = 3.5
    bench.peers["b"] = ("127.0.0.10", 7946)
    bench.tell(bench.alive("b", incarnation, b"meta"))
    assert known(bench) == Member("b", ("127.0.0.10", 7946), b"meta", VSN, incarnation, State.ALIVE, 3.5)
    assert [event.member for event in bench.take_events(MemberJoined)] == [known(bench)]
    assert bench.queued() == [bench.alive("b", incarnation, b"meta")]


@pytest.mark.rule("8.2h", "8.2l", "8.2m")
@pytest.mark.upstream("TestMemberList_AliveNode_Idempotent")
def test_a_higher_incarnation_of_an_alive_member_is_no_event_and_passed_on_once() -> None:
    bench = make_bench()
    bench.add("b")
    bench.events.clear()
    bench.now = 9.0
    bench.add("b", incarnation=2)
    bench.add("b", incarnation=2, meta=b"not newer")
    bench.add("b", incarnation=1)
    assert bench.events == []
    assert (known(bench).incarnation, known(bench).changed_at, known(bench).meta) == (2, 0.0, b"")
    assert bench.queued() == [bench.alive("b", 2)]


@pytest.mark.rule("8.2m", "8.2n", "14a")
@pytest.mark.upstream("TestMemberList_AliveNode_ChangeMeta")
def test_new_metadata_is_an_update() -> None:
    bench = make_bench("b")
    bench.add("b", incarnation=2, meta=b"new")
    (updated,) = bench.take_events(MemberUpdated)
    assert (updated.previous.meta, updated.member.meta) == (b"", b"new")
    assert updated.member == known(bench)


@pytest.mark.rule("8.2n")
@pytest.mark.parametrize("accuser", ["x", "b"])
def test_coming_back_with_new_metadata_is_a_join_alone(accuser: str) -> None:
    bench = make_bench("b")
    bench.tell(dead("b", accuser=accuser))
    bench.events.clear()
    bench.add("b", incarnation=2, meta=b"new")
    assert [type(event) for event in bench.events] == [MemberJoined]


@pytest.mark.rule("8.2o")
def test_new_versions_alone_are_an_update() -> None:
    bench = make_bench("b")
    bench.add("b", incarnation=2, vsn=bytes((1, 5, 3, 0, 0, 0)))
    (updated,) = bench.take_events(MemberUpdated)
    assert updated.member.versions == bytes((1, 5, 3, 0, 0, 0))


@pytest.mark.rule("7d")
@pytest.mark.upstream("TestMemberList_ProbeNode_Wrong_VSN")
@pytest.mark.parametrize(
    "vsn", [bytes(6), bytes((0, 5, 2, 0, 0, 0)), bytes((1, 0, 2, 0, 0, 0)), bytes((5, 4, 4, 0, 0, 0)), bytes(3)]
)
def test_an_alive_with_impossible_versions_is_ignored(vsn: bytes) -> None:
    bench = make_bench("b")
    bench.add("c", vsn=vsn)
    bench.add("b", incarnation=2, vsn=vsn)
    assert bench.state("c") is None
    assert known(bench).incarnation == 1


@pytest.mark.rule("7e", "8.2m")
@pytest.mark.parametrize("vsn", [None, b"", b"\x01\x05", bytes((1, 5, 2)), bytes((2, 5, 2, 0, 0))])
def test_an_alive_with_short_versions_passes_and_leaves_the_stored_ones(vsn: bytes | None) -> None:
    bench = make_bench("b")
    bench.add("b", incarnation=2, vsn=vsn)
    assert (known(bench).incarnation, known(bench).versions) == (2, VSN)
    bench.add("c", vsn=vsn)
    assert known(bench, "c").versions == bytes(6)


@pytest.mark.rule("7c", "5.3h")
@pytest.mark.parametrize(("spoken", "sent", "stored"), [(1, 9999, 7946), (1, 0, 7946), (2, 9999, 9999), (2, 0, 7946)])
def test_a_port_of_0_is_ours_and_for_protocol_1_every_port_is(spoken: int, sent: int, stored: int) -> None:
    bench = make_bench(config=STILL.with_wire(protocol_version=spoken))
    bench.tell(Alive(1, "b", packed(OTHER), sent, None, VSN))
    assert known(bench).address == (OTHER[0], stored)


@pytest.mark.rule("7a")
@pytest.mark.upstream("TestCreate", "TestMemberlistProtocolVersion", "TestDefaultLANConfig_protocolVersion")
def test_a_member_announces_exactly_its_versions() -> None:
    bench = Bench(make_member(config=STILL))
    assert bench.member.local.versions == bytes((1, 5, 2, 0, 0, 0))
    assert WireConfig().protocol_version == 2
    own = replace(STILL, identity=IdentityRules(delegate_versions=(2, 5, 4)), wire=WireConfig(protocol_version=3))
    bench = Bench(make_member(config=own))
    assert bench.member.local.versions == bytes((1, 5, 3, 2, 5, 4))
    assert [message.vsn for message in bench.queued() if isinstance(message, Alive)] == [bytes((1, 5, 3, 2, 5, 4))]


@pytest.mark.rule("7b")
@pytest.mark.upstream("TestCreate_protocolVersion")
def test_a_protocol_outside_1_to_5_is_refused() -> None:
    for version in (1, 4, 5):
        assert WireConfig(protocol_version=version).protocol_version == version
    for version in (0, 6):
        with pytest.raises(ConfigError, match="protocol_version"):
            WireConfig(protocol_version=version)


@pytest.mark.rule("8.2e", "14g")
@pytest.mark.upstream("TestMemberlist_conflictDelegate")
@pytest.mark.parametrize("state", [State.ALIVE, State.SUSPECT, State.DEAD])
@pytest.mark.parametrize("address", [OTHER, ("127.0.0.10", 7947)])
def test_an_alive_from_another_address_is_a_conflict_and_changes_nothing(
    state: State, address: tuple[str, int]
) -> None:
    bench = make_bench("b", config=PROBING)
    if state is not State.ALIVE:
        bench.tell(suspect("b") if state is State.SUSPECT else dead("b"))
    before = known(bench)
    bench.events.clear()
    bench.queued()
    bench.tell(elsewhere("b", 9, address))
    assert bench.events == [NameConflict(before, address)]
    assert known(bench) == before
    assert elsewhere("b", 9, address) not in bench.queued()


@pytest.mark.rule("8.2f")
@pytest.mark.upstream("TestMemberList_DeadNodeLeft")
@pytest.mark.parametrize("incarnation", [1, 5, 6])
def test_the_name_of_a_member_that_left_may_be_taken_at_once(incarnation: int) -> None:
    bench = make_bench()
    bench.add("b", incarnation=5)
    bench.tell(dead("b", 5, "b"))
    assert [event.member.state for event in bench.take_events(MemberLeft)] == [State.LEFT]
    bench.tell(elsewhere("b", incarnation))
    assert [event.member for event in bench.take_events(MemberJoined)] == [known(bench)]
    assert (known(bench).address, known(bench).incarnation) == (OTHER, incarnation)
    bench.tell(elsewhere("b", incarnation + 1))
    assert known(bench).incarnation == incarnation + 1


@pytest.mark.rule("8.2g")
@pytest.mark.upstream("TestMemberList_AliveNode_Conflict")
def test_the_name_of_a_dead_member_may_be_taken_after_the_reclaim_time() -> None:
    bench = make_bench("b", config=replace(STILL, identity=reclaiming(10.0)))
    bench.tell(elsewhere("b", 2))
    bench.tell(dead("b"))
    bench.now = 10.0
    bench.tell(elsewhere("b", 2))
    assert bench.state("b") is State.DEAD
    bench.now = 10.5
    bench.tell(elsewhere("b", 2))
    assert (known(bench).state, known(bench).address) == (State.ALIVE, OTHER)
    never = make_bench("b", config=replace(STILL, identity=reclaiming(0.0)))
    never.tell(dead("b"))
    never.now = 1e9
    never.tell(elsewhere("b", 2))
    assert never.state("b") is State.DEAD


@pytest.mark.rule("8.2p")
def test_the_mapped_form_of_an_address_is_the_same() -> None:
    bench = make_bench("b")
    bench.tell(replace(bench.alive("b", 2), addr=bytes(10) + b"\xff\xff" + packed(bench.peers["b"])))
    assert bench.events == []
    assert (known(bench).incarnation, known(bench).address) == (2, bench.peers["b"])


@pytest.mark.rule("8.2k", "9.5g")
@pytest.mark.upstream("TestMemberList_AliveNode_SuspectNode")
def test_only_a_higher_incarnation_clears_a_suspicion_and_it_is_no_join() -> None:
    bench = make_bench("b", config=PROBING)
    bench.tell(suspect("b"))
    bench.events.clear()
    bench.add("b")
    assert bench.state("b") is State.SUSPECT
    bench.now = 2.0
    bench.add("b", incarnation=2)
    assert (known(bench).state, known(bench).changed_at) == (State.ALIVE, 2.0)
    assert bench.events == []
    bench.run(60.0)
    assert bench.state("b") is State.ALIVE


# ---- the policy and the allow-list


@pytest.mark.rule("8.2b", "14i")
@pytest.mark.upstream("TestMemberlist_Join_Cancel_Passive")
def test_the_policy_is_asked_for_every_alive_and_what_it_refuses_is_ignored() -> None:
    asked: list[tuple[str, int]] = []

    def judge(member: Member) -> Refusal | None:
        asked.append((member.name, member.incarnation))
        return Refusal("no") if member.meta == b"bad" else None

    bench = Bench(make_member("a", config=STILL, policy=Policy(alive=judge)))
    assert asked == [("a", 1)]
    bench.add("b", incarnation=5)
    bench.add("b", incarnation=3)
    bench.tell(bench.alive("a", 1))
    assert asked[1:] == [("b", 5), ("b", 3), ("a", 1)]
    bench.add("c", meta=b"bad")
    bench.add("b", incarnation=6, meta=b"bad")
    bench.add("d", vsn=bytes((1, 5, 2, 0, 0)))
    assert [member.name for member in bench.member.members()] == ["a", "b"]
    assert known(bench).incarnation == 5


@pytest.mark.rule("8.2b", "14i")
def test_a_member_that_its_own_policy_refuses_is_not_listed() -> None:
    bench = Bench(make_member("a", config=STILL, policy=Policy(alive=lambda member: Refusal("nobody"))))
    assert bench.member.members() == ()
    assert bench.queued() == []


@pytest.mark.rule("8.2c", "11.7b")
@pytest.mark.parametrize("start", ["unknown", "alive", "left"])
def test_a_new_member_and_a_new_address_must_be_allowed(start: str) -> None:
    identity = replace(STILL.identity, allowed_networks=("127.0.0.0/26",))
    bench = make_bench(config=replace(STILL, identity=identity))
    if start != "unknown":
        bench.add("b")
    if start == "left":
        bench.tell(dead("b", accuser="b"))
    bench.events.clear()
    before = bench.member.member("b")
    bench.tell(elsewhere("b", 9))
    assert bench.member.member("b") == before
    assert bench.events == []
    bench.tell(elsewhere("b", 9, ("127.0.0.63", 7946)))
    assert bench.events != []


# ---- suspect


@pytest.mark.rule("8.3a", "8.4a")
@pytest.mark.upstream("TestMemberList_SuspectNode_NoNode", "TestMemberList_DeadNode_NoNode")
@pytest.mark.parametrize("accusation", [suspect("nobody"), dead("nobody"), dead("nobody", accuser="nobody")])
def test_an_accusation_of_an_unknown_member_is_ignored(accusation: PacketMessage) -> None:
    bench = make_bench()
    bench.tell(accusation)
    assert [member.name for member in bench.member.members()] == ["a"]
    assert bench.events == []
    assert bench.queued() == []


@pytest.mark.rule("8.3a", "8.4a")
@pytest.mark.upstream("TestMemberList_SuspectNode_OldSuspect", "TestMemberList_DeadNode_OldDead")
@pytest.mark.parametrize("accusation", [suspect("b", 9), dead("b", 9), dead("b", 9, "b")])
def test_an_accusation_at_a_lower_incarnation_is_ignored(accusation: PacketMessage) -> None:
    bench = make_bench(config=PROBING)
    bench.add("b", incarnation=10)
    bench.queued()
    bench.events.clear()
    bench.tell(accusation)
    assert (known(bench).state, known(bench).incarnation) == (State.ALIVE, 10)
    assert bench.events == []
    assert accusation not in bench.queued()


@pytest.mark.rule("8.3c", "8.4b")
@pytest.mark.upstream("TestMemberList_DeadNode_Double")
@pytest.mark.parametrize("accuser", ["x", "b"])
@pytest.mark.parametrize("later", [suspect("b", 7), dead("b", 7), dead("b", 7, "b"), dead("b", 1, "y")])
def test_a_dead_or_left_member_stays_as_it_is(accuser: str, later: PacketMessage) -> None:
    bench = make_bench("b")
    bench.tell(dead("b", 1, accuser))
    before = known(bench)
    bench.queued()
    bench.events.clear()
    bench.now = 5.0
    bench.tell(later)
    assert known(bench) == before
    assert bench.events == []
    assert later not in bench.queued()


@pytest.mark.rule("8.3f")
def test_a_higher_accusation_of_a_suspect_raises_what_the_next_alive_must_exceed() -> None:
    bench = make_bench("b", config=PROBING)
    bench.tell(suspect("b", 1, "x"), suspect("b", 3, "y"))
    assert known(bench).incarnation == 1
    bench.add("b", incarnation=3)
    assert bench.state("b") is State.SUSPECT
    bench.add("b", incarnation=4)
    assert bench.state("b") is State.ALIVE


# ---- dead and left


@pytest.mark.rule("8.4c", "14e")
@pytest.mark.upstream("TestMemberList_DeadNode")
@pytest.mark.parametrize(
    ("accuser", "state", "event_type"), [("x", State.DEAD, MemberFailed), ("b", State.LEFT, MemberLeft)]
)
def test_a_death_is_passed_on_and_ends_the_suspicion(
    accuser: str, state: State, event_type: type[MemberFailed | MemberLeft]
) -> None:
    bench = make_bench("b", "c", config=PROBING)
    bench.tell(suspect("b"))
    bench.events.clear()
    bench.now = 1.5
    bench.tell(dead("b", 3, accuser))
    (event,) = bench.events
    assert isinstance(event, event_type)
    assert event.member == known(bench)
    assert (known(bench).state, known(bench).incarnation, known(bench).changed_at) == (state, 3, 1.5)
    assert bench.queued() == [Dead(3, "b", accuser)]
    bench.events.clear()
    bench.run(40.0)
    assert not [event for event in bench.events if isinstance(event, MemberFailed | MemberLeft)]


@pytest.mark.upstream("TestMemberList_DeadNode_AliveReplay")
@pytest.mark.rule("8.2h")
def test_an_alive_at_the_same_incarnation_does_not_revive() -> None:
    bench = make_bench()
    bench.add("b", incarnation=10)
    bench.tell(dead("b", 10))
    bench.add("b", incarnation=10)
    assert bench.state("b") is State.DEAD
    bench.add("b", incarnation=11)
    assert bench.state("b") is State.ALIVE


# ---- ourselves


@pytest.mark.rule("8.3d", "8.4d", "8.5a", "8.5b")
@pytest.mark.upstream("TestMemberList_SuspectNode_Refute", "TestMemberList_DeadNode_Refute")
@pytest.mark.parametrize(
    ("accusation", "refuted_at"),
    [(suspect("a", 1), 2), (suspect("a", 7), 8), (dead("a", 1), 2), (dead("a", 7), 8), (dead("a", 7, "a"), 8)],
)
def test_an_accusation_of_ourselves_is_refuted(accusation: PacketMessage, refuted_at: int) -> None:
    bench = Bench(make_member("a", config=STILL, meta=b"mine"))
    bench.events.clear()
    bench.queued()
    bench.take_events(MemberJoined)
    bench.tell(accusation)
    own = bench.member.local
    assert (own.state, own.incarnation, own.changed_at) == (State.ALIVE, refuted_at, 0.0)
    assert bench.events == [AccusationRefuted(refuted_at)]
    assert bench.queued() == [Alive(refuted_at, "a", packed(own.address), 7946, b"mine", VSN)]
    assert bench.score() == 1
    assert bench.member.statistics().refutations == 1


@pytest.mark.rule("8.5a", "8.5c")
def test_refutations_rise_above_the_last_announcement_and_replace_older_news() -> None:
    bench = make_bench("b")
    bench.member.set_meta(b"new", 0.0)
    bench.tell(suspect("a", 1))
    assert bench.member.local.incarnation == 2
    bench.tell(suspect("a", 2), dead("a", 9))
    assert [m.incarnation for m in bench.queued() if isinstance(m, Alive)] == [10]
    bench.tell(suspect("a", 9))
    assert bench.member.local.incarnation == 10


@pytest.mark.rule("8.2i", "8.2j")
@pytest.mark.upstream("TestMemberList_AliveNode_Refute")
@pytest.mark.parametrize(
    ("incarnation", "meta", "vsn", "becomes"),
    [
        (1, b"mine", VSN, 2),
        (2, b"mine", VSN, 2),
        (2, b"other", VSN, 3),
        (2, b"mine", bytes((1, 5, 3, 0, 0, 0)), 3),
        (3, b"mine", VSN, 4),
        (1, b"other", VSN, 2),
    ],
)
def test_what_others_say_of_us_is_refuted_unless_old_or_true(
    incarnation: int, meta: bytes, vsn: bytes, becomes: int
) -> None:
    bench = Bench(make_member("a", config=STILL, meta=b"old"))
    bench.member.set_meta(b"mine", 0.0)
    bench.take_events(MemberJoined)
    bench.queued()
    bench.tell(bench.alive("a", incarnation, meta, vsn))
    own = bench.member.local
    assert (own.meta, own.versions, own.incarnation) == (b"mine", VSN, max(2, becomes))
    assert bench.score() == (1 if becomes > 2 else 0)
    assert bench.events == []


@pytest.mark.rule("8.2q")
def test_an_alive_about_us_from_elsewhere_is_a_conflict_and_not_refuted() -> None:
    bench = make_bench("b")
    bench.tell(elsewhere("a", 9))
    assert bench.events == [NameConflict(bench.member.local, OTHER)]
    assert bench.member.local.incarnation == 1
    assert bench.queued() == []


@pytest.mark.rule("8.2a", "8.4d")
def test_while_leaving_nothing_about_ourselves_is_answered() -> None:
    bench = make_bench("b")
    bench.member.leave(0.0)
    bench.events.clear()
    bench.queued()
    bench.take_events(MemberLeft)
    for claim in (bench.alive("a", 5, b"x"), suspect("a", 5), dead("a", 5), elsewhere("a", 5)):
        bench.tell(claim)
    assert bench.events == []
    assert (bench.member.local.state, bench.member.local.incarnation) == (State.LEFT, 1)
    assert not [m for m in bench.queued() if isinstance(m, Alive | Suspect)]


@pytest.mark.rule("8.5d")
def test_an_incarnation_never_wraps_and_jumps_are_bounded() -> None:
    assert refuting_incarnation(MAX_INCARNATION - 1, 3) == MAX_INCARNATION
    assert refuting_incarnation(3, MAX_INCARNATION) is None
    bench = make_bench("b")
    bench.tell(suspect("a", MAX_INCARNATION), bench.alive("b", MAX_INCARNATION), dead("b", MAX_INCARNATION))
    assert bench.member.local.incarnation == 1
    assert (known(bench).incarnation, known(bench).state) == (1, State.ALIVE)
    assert bench.member.statistics().forgeries_ignored == 3


@pytest.mark.rule("8.5d")
def test_at_the_last_incarnation_announcing_goes_on_without_wrapping() -> None:
    bench = make_bench("b")
    for accused in range(MAX_INCARNATION_JUMP, MAX_INCARNATION, MAX_INCARNATION_JUMP):
        bench.tell(suspect("a", accused))
    bench.tell(suspect("a", MAX_INCARNATION - 1))
    assert bench.member.local.incarnation == MAX_INCARNATION
    bench.member.set_meta(b"after the last", 0.0)
    assert (bench.member.local.incarnation, bench.member.local.meta) == (MAX_INCARNATION, b"after the last")
    bench.tell(suspect("a", MAX_INCARNATION))
    assert bench.member.local.state is State.ALIVE
