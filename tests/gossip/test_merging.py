"""Whether a view may be merged at all: vetoes, and protocol versions (memberlist-protocol.md §5.3, 7, 14)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gossip import (
    IdentityRules,
    JoinCompleted,
    State,
    VersionCheck,
    profile,
)
from gossip.messages import NodeState
from gossip.versions import VersionSurvey
from tests.gossip.bench import (
    STILL,
    Bench,
    make_bench,
    node_state,
    refusing,
    states,
)
from tests.gossip.helpers import linked, make_member, of_type

PEER, DIALLED = ("127.0.0.9", 40_000), ("127.0.0.10", 7946)
ALL = replace(STILL, identity=IdentityRules(version_check=VersionCheck.ALL))


# ---- vetoes


@pytest.mark.rule("5.3j", "14h")
@pytest.mark.upstream("TestMemberlist_Join_Cancel")
def test_a_join_that_both_sides_refuse_changes_neither_and_tells_the_reason() -> None:
    seen: list[list[str]] = []
    members = [
        make_member(name, (f"127.0.0.{i}", 7946), STILL, policy=refusing(seen, f"{name} does not want it"))
        for i, name in enumerate("ab", start=1)
    ]
    wire = linked(*members)
    assert seen == [["b ALIVE 5"], ["a ALIVE 5"]]
    assert [[other.name for other in member.members()] for member in members] == [["a"], ["b"]]
    (completed,) = of_type(wire.events["b"], JoinCompleted)
    assert completed.joined == ()
    assert completed.refused == ((("127.0.0.1", 7946), "b does not want it"),)


@pytest.mark.rule("5.3l", "14h")
def test_a_join_succeeds_here_even_if_the_other_side_does_not_merge() -> None:
    seen: list[list[str]] = []
    acceptor = make_member("a", ("127.0.0.1", 7946), STILL, policy=refusing(seen, "no"))
    joiner = make_member("b", ("127.0.0.2", 7946), STILL)
    wire = linked(acceptor, joiner)
    (completed,) = of_type(wire.events["b"], JoinCompleted)
    assert completed.joined == (("127.0.0.1", 7946),)
    assert [other.name for other in joiner.members()] == ["a", "b"]
    assert [other.name for other in acceptor.members()] == ["a"]


@pytest.mark.rule("5.3j")
def test_the_policy_is_not_asked_for_exchanges_that_are_no_joins() -> None:
    seen: list[list[str]] = []
    bench = Bench(make_member(config=STILL, policy=refusing(seen, "no")))
    bench.push_pull([node_state(bench, "b", State.ALIVE)], join=False)
    assert seen == []
    assert bench.state("b") is State.ALIVE


# ---- versions


def vsn(low: int, high: int, current: int) -> bytes:
    return bytes((1, 5, 2, low, high, current))


def row(versions: bytes | None, state: State = State.ALIVE) -> tuple[int, bytes | None]:
    return int(state), versions


@pytest.mark.rule("7f", "7g")
@pytest.mark.upstream("TestVerifyProtocol")
@pytest.mark.parametrize("shift", [0, 3], ids=["core", "delegate"])
@pytest.mark.parametrize(
    ("ours", "theirs", "fits"),
    [
        ([(0, 4, 2)], [(0, 4, 2), (0, 3, 2)], True),
        ([(0, 0, 0)], [(1, 4, 2)], False),
        ([(0, 4, 4)], [(0, 3, 2)], False),
        ([(3, 4, 3)], [(0, 2, 2)], False),
        ([(0, 4, 2)], [(2, 4, 3)], True),
    ],
)
def test_two_views_fit_when_everybodys_version_is_in_everybodys_range(
    shift: int, ours: list[tuple[int, int, int]], theirs: list[tuple[int, int, int]], fits: bool
) -> None:
    def announced(triple: tuple[int, int, int]) -> bytes:
        return bytes((*triple, 1, 1, 1) if shift == 0 else (1, 5, 2, *triple))

    for one, other in ((ours, theirs), (theirs, ours)):
        for check in VersionCheck:
            survey = VersionSurvey(check)
            for triple in (*one, *other):
                survey.add(NodeState("n", bytes(4), 7946, None, 1, int(State.ALIVE), announced(triple)))
            assert (survey.objection() is None) is fits


@pytest.mark.rule("7f", "5.3i")
@pytest.mark.parametrize(
    "odd",
    [row(vsn(0, 0, 7), state) for state in State] + [row(None), row(None, State.DEAD), row(bytes(5), State.LEFT)],
)
def test_in_the_profile_memberlist_everybody_in_any_state_must_fit(odd: tuple[int, bytes | None]) -> None:
    bench = make_bench("b", config=ALL)
    odd_one = replace(node_state(bench, "odd", State.ALIVE), state=odd[0], vsn=odd[1])
    before = states(bench)
    bench.push_pull([node_state(bench, "new", State.ALIVE), odd_one], join=True, user_state=b"theirs")
    assert states(bench) == before
    assert bench.events == []
    assert bench.member.statistics().stream_problems == 1
    bench.push_pull([node_state(bench, "new", State.ALIVE)], join=True)
    assert bench.state("new") is State.ALIVE


@pytest.mark.rule("7g")
@pytest.mark.parametrize("odd", [row(vsn(0, 0, 7), state) for state in State if state is not State.ALIVE] + [row(None)])
def test_in_other_profiles_only_the_live_with_versions_must_fit(odd: tuple[int, bytes | None]) -> None:
    bench = make_bench("b")
    odd_one = replace(node_state(bench, "odd", State.ALIVE), state=odd[0], vsn=odd[1])
    bench.push_pull([node_state(bench, "new", State.ALIVE), odd_one])
    assert bench.state("new") is State.ALIVE
    bench.push_pull([node_state(bench, "c", State.ALIVE), replace(odd_one, state=0, vsn=vsn(2, 5, 5))])
    assert bench.state("c") is None


@pytest.mark.rule("7h")
def test_gossip_is_not_checked_for_versions() -> None:
    bench = make_bench("b", config=ALL)
    bench.add("serf", vsn=vsn(2, 5, 5))
    assert bench.state("serf") is State.ALIVE
    bench.push_pull([node_state(bench, "new", State.ALIVE)])
    assert bench.state("new") is None


@pytest.mark.upstream("TestMemberlist_Join_protocolVersions", "TestMemberlist_Join_Protocol_Compatibility")
@pytest.mark.parametrize("pair", [(2, 5), (5, 2), (2, 1), (2, 3), (3, 2), (3, 1)])
def test_members_that_speak_different_protocols_join(pair: tuple[int, int]) -> None:
    wire = linked(
        *(
            make_member(f"n{i}", (f"127.0.0.{i + 1}", 7946), profile("memberlist").with_wire(protocol_version=version))
            for i, version in enumerate(pair)
        )
    )
    assert [len(member.live_members()) for member in wire.members] == [2, 2]
    wire.run(10.0)
    assert [len(member.live_members()) for member in wire.members] == [2, 2]
