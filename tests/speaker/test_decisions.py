"""The standing decisions: always what the pure function says, each difference told once, the urgent ones first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cluster.model import Address
from speaker.decisions import LOOKED_AT_FOR_ONE, Change, Counts, Decisions
from speaker.demand import Demand, DemandChange, NodeFacts, address_order, changes
from speaker.marker import Tier
from speaker.ownership import Decision, Election, MemberFacts, Reason, View, decide
from tests.speaker.ownership_helpers import (
    addresses,
    dead,
    group,
    groups,
    left,
    live,
    metallb,
    node_lists,
    owner,
    rings,
    row,
)

TURN = 7
A, B, C = live("a"), live("b"), live("c")
HUNDRED = Demand(groups=tuple(group(f"192.0.2.{number}") for number in range(100)))


@st.composite
def demands(draw: st.DrawFn) -> Demand:
    """Groups that have no address in common, by key, and nodes by name."""
    pool = draw(st.lists(addresses, unique=True, max_size=12))
    drawn = []
    while pool:
        size = draw(st.integers(1, 3))
        drawn.append(draw(groups(st.just(pool[:size]))))
        pool = pool[size:]
    return Demand(
        groups=tuple(sorted(drawn, key=lambda group: address_order(group.key))),
        nodes=tuple(sorted(draw(node_lists), key=lambda node: node.name)),
    )


def outcome(decision: Decision | None) -> object:
    """What of a decision is told when it differs: all but the table."""
    return None if decision is None else (decision.owner, decision.addresses, decision.services, decision.reasons)


class Follower:
    """Does what the changes say, as the speaker's core does: who owns which address, as far as it was told."""

    def __init__(self) -> None:
        self.told: dict[Address, Decision] = {}
        """By key."""
        self.owners: dict[Address, str | None] = {}

    def follow(self, told: Iterable[Change]) -> None:
        for change in told:
            for address in change.gone:
                self.owners.pop(address, None)
            if change.previous is not None:
                assert outcome(self.told.pop(change.previous.key)) == outcome(change.previous)
            if change.decision is not None:
                assert change.decision.key not in self.told
                self.told[change.decision.key] = change.decision
                self.owners.update(dict.fromkeys(change.decision.addresses, change.decision.owner))


class Standings(RuleBasedStateMachine):
    """Any demands, in parts or with a reset, any rings, turns of any length in between."""

    def __init__(self) -> None:
        super().__init__()
        self.decisions = Decisions("a")
        self.follower = Follower()
        self.demand = Demand()
        self.coming: list[DemandChange] = []
        self.is_reset = False
        self.members: list[MemberFacts] = []

    @initialize(members=rings)
    def start(self, members: list[MemberFacts]) -> None:
        self.change_members(members)

    @rule(members=rings)
    def change_members(self, members: list[MemberFacts]) -> None:
        self.members = members
        self.decisions.change_members(members)

    @precondition(lambda self: len(self.members) > 0)
    @rule(data=st.data())
    def one_dies(self, data: st.DataObject) -> None:
        lost = data.draw(st.sampled_from([member.name for member in self.members]))
        self.change_members([replace(m, is_live=m.is_live and m.name != lost) for m in self.members])

    @precondition(lambda self: not self.coming)
    @rule(demand=demands(), limit=st.integers(1, 4))
    def want(self, demand: Demand, limit: int) -> None:
        self.coming = list(changes(self.demand, demand, limit))
        self.is_reset = False
        self.demand = demand

    @precondition(lambda self: not self.coming)
    @rule(data=st.data(), limit=st.integers(1, 4))
    def want_little_else(self, data: st.DataObject, limit: int) -> None:
        wanted = data.draw(demands())
        taken = {address for group in wanted.groups for address in group.addresses}
        kept = [group for group in self.demand.groups if taken.isdisjoint(group.addresses)]
        merged = sorted((*kept, *wanted.groups), key=lambda group: address_order(group.key))
        self.want(replace(self.demand, groups=tuple(merged)), limit)

    @rule(demand=demands(), limit=st.integers(1, 4))
    def start_over(self, demand: Demand, limit: int) -> None:
        """Also in the middle of another demand: the other process has died."""
        self.coming = list(changes(Demand(), demand, limit)) or [DemandChange()]
        self.is_reset = True
        self.demand = demand

    @precondition(lambda self: self.coming)
    @rule()
    def tell_a_part(self) -> None:
        self.decisions.change_demand(self.coming.pop(0), is_reset=self.is_reset)
        self.is_reset = False

    @rule(limit=st.integers(1, 20))
    def take_a_turn(self, limit: int) -> None:
        self.follower.follow(self.decisions.remake(limit))

    @rule(address=addresses)
    def ask(self, address: Address) -> None:
        """Asking changes nothing but the table, whatever waits."""
        decision = self.decisions.decision(address)
        if decision is not None:
            assert outcome(self.follower.told[decision.key]) == outcome(decision)

    @invariant()
    def nothing_wanted_throughout_is_held_gone(self) -> None:
        if self.coming or not self.decisions.is_settled:
            return
        wanted = {address for group in self.demand.groups for address in group.addresses}
        assert set(self.follower.owners) == wanted

    @invariant()
    def what_stands_is_what_the_pure_function_says(self) -> None:
        if self.coming or not self.decisions.is_settled:
            return
        view = View(
            members={member.name: member for member in self.members},
            nodes={node.name: node for node in self.demand.nodes},
        )
        expected = [decide(group, view) for group in self.demand.groups]
        assert len(self.follower.told) == len(expected)
        assert list(self.decisions.decisions()) == expected
        for decision in expected:
            for address in decision.addresses:
                assert self.decisions.decision(address) == decision
                assert self.follower.owners[address] == decision.owner
            assert outcome(self.follower.told[decision.key]) == outcome(decision)
        assert self.decisions.counts() == Counts(
            groups=len(expected),
            owned=sum(decision.owner == "a" for decision in expected),
            ownerless=sum(decision.owner is None for decision in expected),
            waiting=0,
        )

    def teardown(self) -> None:
        while self.coming:
            self.tell_a_part()
        settle(self.decisions, self.follower)
        self.nothing_wanted_throughout_is_held_gone()
        self.what_stands_is_what_the_pure_function_says()


TestStandings = Standings.TestCase
if settings.get_current_profile_name() == "gate":
    TestStandings.settings = settings(max_examples=40)


def settle(decisions: Decisions, follower: Follower | None = None) -> list[Change]:
    """Turn after turn until nothing waits."""
    told = []
    while not decisions.is_settled:
        turn = decisions.remake(TURN)
        told += turn
        if follower is not None:
            follower.follow(turn)
    return told


def decisions_of(*members: MemberFacts, demand: Demand = HUNDRED, election: Election = Election.STARLING) -> Decisions:
    """Settled ones, as node a holds them."""
    decisions = Decisions("a", election)
    decisions.change_members(members)
    for part in changes(Demand(), demand):
        decisions.change_demand(part)
    settle(decisions)
    return decisions


def owners(decisions: Decisions) -> dict[Address, str | None]:
    return {decision.key: decision.owner for decision in decisions.decisions()}


# ---- what an event touches


def test_the_death_of_a_node_is_told_for_what_it_owned_and_nothing_else() -> None:
    decisions = decisions_of(A, B, C)
    before = owners(decisions)
    decisions.change_members([A, B, dead("c")])
    told = settle(decisions)
    assert {change.decision.key for change in told if change.decision} == {k for k, o in before.items() if o == "c"}
    assert {change.previous.owner for change in told if change.previous} == {"c"}
    assert len(told) > 10


def test_the_groups_whose_owner_died_come_before_those_that_a_node_may_win() -> None:
    decisions = decisions_of(A, B, C)
    decisions.change_members([A, B, dead("c"), live("d")])
    told = settle(decisions)
    previous = [change.previous.owner for change in told if change.previous]
    urgent = previous.count("c")
    assert urgent > 10
    assert previous[:urgent] == ["c"] * urgent
    assert len(previous) > urgent


def test_groups_that_nobody_has_come_first_too() -> None:
    orphan = group("192.0.2.200", local="c")
    decisions = decisions_of(A, B, demand=Demand(groups=(*HUNDRED.groups, orphan)))
    decisions.change_members([A, B, C])
    first, *others = settle(decisions)
    assert first.decision is not None
    assert (first.decision.key, first.decision.owner) == (orphan.key, "c")
    assert others


def test_two_that_join_one_after_the_other_are_both_heard() -> None:
    decisions = decisions_of(A, B)
    decisions.change_members([A, B, C])
    told = decisions.remake(30)
    assert told, "some are decided between the two"
    decisions.change_members([A, B, C, live("d")])
    told += settle(decisions)
    moved = {change.decision.key: change.decision.owner for change in told if change.decision is not None}
    assert {key: winner for key, winner in moved.items() if winner == "d"} == {
        wanted.key: "d" for wanted in HUNDRED.groups if owner(wanted, A, B, C, live("d")) == "d"
    }


def test_an_owner_that_dies_while_its_groups_wait_brings_them_to_the_front() -> None:
    decisions = decisions_of(A, B, C)
    decisions.change_members([A, B, C, live("d")])
    decisions.remake(1)  # everything waits for whether d wins it
    decisions.change_members([A, B, dead("c"), live("d")])
    previous = [change.previous.owner for change in settle(decisions) if change.previous]
    urgent = previous.count("c")
    assert previous[:urgent] == ["c"] * urgent


def test_nothing_is_told_twice_and_the_same_again_touches_nothing() -> None:
    decisions = decisions_of(A, B)
    decisions.change_members([B, A])
    decisions.change_demand(DemandChange(groups=HUNDRED.groups))
    assert decisions.is_settled
    decisions.change_members([A, B, dead("c")])  # nobody that mattered
    assert settle(decisions) == []


def test_a_turn_is_as_long_as_it_was_allowed_to_be() -> None:
    decisions = Decisions("a")
    decisions.change_members([A, B])
    decisions.change_demand(DemandChange(groups=HUNDRED.groups))
    turns = [len(decisions.remake(30)) for _ in range(4)]
    assert turns == [30, 30, 30, 10]
    assert decisions.is_settled
    assert decisions.remake(30) == []


def test_looking_at_many_groups_is_part_of_a_turn() -> None:
    many = Demand(groups=tuple(group(str(IPv4Address("10.0.0.0") + n)) for n in range(10 * LOOKED_AT_FOR_ONE)))
    decisions = decisions_of(A, B, demand=many)
    decisions.change_members([A, B, C])
    assert decisions.remake(11) == [], "all of the turn went into looking"
    assert decisions.remake(11) != []


def test_a_table_is_as_of_when_it_is_asked_for() -> None:
    decisions = decisions_of(A, B)
    key = ip_address("192.0.2.7")
    decisions.change_members([A, B, dead("c")])
    settle(decisions)
    asked = decisions.decision(key)
    assert asked is not None
    assert row(asked, "c").reasons == (Reason.DEAD,)
    decisions.change_members([A, B, left("c")])
    assert decisions.decision(key) == asked, "as long as something waits, the table is the old one"
    settle(decisions)
    asked = decisions.decision(key)
    assert asked is not None
    assert row(asked, "c").reasons == (Reason.LEFT,)


def test_while_something_waits_the_decision_in_force_is_told() -> None:
    decisions = decisions_of(A, B)
    before = owners(decisions)
    decisions.change_members([A, dead("b")])
    assert owners(decisions) == before
    assert decisions.remake(10)
    waiting = decisions.counts().waiting
    assert waiting > 10
    assert list(owners(decisions).values()).count("b") == waiting
    settle(decisions)
    assert set(owners(decisions).values()) == {"a"}


@pytest.mark.parametrize(
    ("member", "reasons"),
    [(metallb("c"), (Reason.METALLB_NEEDED,)), (live("c", Tier.SETTLING), ())],
    ids=["unmarked", "settling"],
)
def test_an_election_that_becomes_unusual_is_told_for_every_group(
    member: MemberFacts, reasons: tuple[Reason, ...]
) -> None:
    decisions = decisions_of(A, B)
    decisions.change_members([A, B, member])
    told = settle(decisions)
    assert len(told) == (len(HUNDRED.groups) if reasons else 0)
    assert {decision.reasons for decision in decisions.decisions()} == {reasons}
    decisions.change_members([A, B])
    told = settle(decisions)
    assert len(told) == (len(HUNDRED.groups) if reasons else 0)
    assert {decision.reasons for decision in decisions.decisions()} == {()}


def test_the_option_makes_all_elections_metallbs() -> None:
    decisions = decisions_of(A, live("b", Tier.DRAINING), election=Election.METALLB)
    assert "b" in owners(decisions).values()


def test_local_groups_are_touched_by_their_own_nodes_alone() -> None:
    local = Demand(groups=(group("192.0.2.1", local="ab"), group("192.0.2.2", local="c")))
    decisions = decisions_of(A, B, C, demand=local)
    decisions.change_members([A, B, dead("c")])
    (change,) = settle(decisions)
    assert change.decision is not None
    assert (change.decision.key, change.decision.owner) == (ip_address("192.0.2.2"), None)


def test_local_groups_are_touched_when_their_node_is_forgotten() -> None:
    decisions = decisions_of(A, C, demand=Demand(groups=(group("192.0.2.1", local="c"),)))
    decisions.change_members([A])
    (change,) = settle(decisions)
    assert change.decision is not None
    assert change.decision.owner is None


def test_a_group_that_asks_something_else_is_decided_afresh() -> None:
    wanted = group("192.0.2.7")
    assert owner(wanted, A, B) == "b"
    decisions = decisions_of(A, demand=Demand(groups=(wanted,)))
    for others in ([C], [], [C], []):
        decisions.change_members([A, *others])
        settle(decisions)
    decisions.change_members([A, B])
    decisions.change_demand(DemandChange(groups=(group("192.0.2.7", local="ab"),)))
    (change,) = settle(decisions)
    assert change.decision is not None
    assert change.decision.owner == "b"


def test_a_node_of_the_cluster_that_is_excluded_loses_what_it_has() -> None:
    decisions = decisions_of(A, B)
    decisions.change_demand(DemandChange(nodes=(NodeFacts(name="b", is_excluded=True),)))
    settle(decisions)
    assert set(owners(decisions).values()) == {"a"}
    decisions.change_demand(DemandChange(gone_nodes=("b",)))
    settle(decisions)
    assert set(owners(decisions).values()) == {"a", "b"}


# ---- demands in parts


def test_nothing_is_decided_before_the_demand_is_complete() -> None:
    decisions = Decisions("a")
    decisions.change_members([A, B])
    first, second = changes(Demand(), HUNDRED, 50)
    decisions.change_demand(first)
    assert decisions.is_settled
    assert decisions.remake(1_000) == []
    decisions.change_demand(second)
    assert len(settle(decisions)) == 100


def test_an_address_that_moves_between_groups_is_never_gone() -> None:
    """The part that takes it away may come long before the one that gives it to another group."""
    pair, lone = group("192.0.2.1", "192.0.2.9"), group("192.0.2.1")
    joined = group("192.0.2.5", "192.0.2.9")
    decisions = decisions_of(A, B, demand=Demand(groups=(pair,)))
    decisions.change_demand(DemandChange(groups=(lone,), is_complete=False))
    decisions.change_members([A])  # something to decide in between
    told = settle(decisions)
    assert [change.gone for change in told] in ([], [()])
    assert decisions.decision(ip_address("192.0.2.9")) is not None
    decisions.change_demand(DemandChange(groups=(joined,)))
    assert [change.gone for change in settle(decisions)] == [(), ()]
    moved = decisions.decision(ip_address("192.0.2.9"))
    assert moved is not None
    assert moved.key == joined.key


def test_an_address_that_no_group_has_any_more_is_told_gone() -> None:
    pair = group("192.0.2.1", "192.0.2.9")
    decisions = decisions_of(A, demand=Demand(groups=(pair,)))
    decisions.change_demand(DemandChange(groups=(group("192.0.2.1"),)))
    (change,) = settle(decisions)
    assert change.gone == (ip_address("192.0.2.9"),)
    assert decisions.decision(ip_address("192.0.2.9")) is None
    decisions.change_demand(DemandChange(gone=(pair.key,)))
    (change,) = settle(decisions)
    assert (change.decision, change.gone) == (None, (ip_address("192.0.2.1"),))
    assert decisions.counts() == Counts(groups=0, owned=0, ownerless=0, waiting=0)


def test_a_group_that_went_before_its_turn_tells_what_it_took_along() -> None:
    """It had taken the address from another group, which therefore could not tell."""
    pair, thief = group("192.0.2.1", "192.0.2.9"), group("192.0.2.5", "192.0.2.9")
    decisions = decisions_of(A, demand=Demand(groups=(pair,)))
    decisions.change_demand(DemandChange(groups=(thief, group("192.0.2.1"))))
    decisions.change_demand(DemandChange(gone=(thief.key,)))
    told = settle(decisions)
    (change,) = [change for change in told if change.decision is None]
    assert (change.previous, change.gone) == (None, thief.addresses)
    assert decisions.decision(ip_address("192.0.2.9")) is None


def test_after_a_reset_what_is_not_told_again_goes() -> None:
    decisions = decisions_of(A, demand=replace(HUNDRED, nodes=(NodeFacts(name="a", is_excluded=True),)))
    first, second = changes(Demand(), Demand(groups=HUNDRED.groups[:60]), 30)
    decisions.change_demand(first, is_reset=True)
    assert settle(decisions) == []
    decisions.change_demand(second)
    told = settle(decisions)
    assert sum(change.decision is None for change in told) == 40
    assert set(owners(decisions).values()) == {"a"}, "the node's exclusion went too"


def test_a_reset_may_be_of_nothing() -> None:
    decisions = decisions_of(A)
    decisions.change_demand(DemandChange(), is_reset=True)
    assert len(settle(decisions)) == 100
    assert list(decisions.decisions()) == []


def test_an_unknown_group_that_goes_is_passed_over() -> None:
    decisions = decisions_of(A)
    decisions.change_demand(DemandChange(gone=(ip_address("203.0.113.1"),)))
    assert settle(decisions) == []


# ---- queries


def test_pages_follow_on_each_other_in_the_order_of_keys() -> None:
    both = Demand(groups=(*HUNDRED.groups, group("2001:db8::1"), group("2001:db8::2")))
    decisions = decisions_of(A, demand=both)
    pages: list[list[Decision]] = []
    after: Address | None = None
    while page := [decision for decision, _ in zip(decisions.decisions(after), range(40), strict=False)]:
        pages.append(page)
        after = page[-1].key
    assert [len(page) for page in pages] == [40, 40, 22]
    assert [decision.key for page in pages for decision in page] == [wanted.key for wanted in both.groups]


def test_a_page_that_is_being_read_has_no_group_that_went_meanwhile() -> None:
    decisions = decisions_of(A)
    reading = decisions.decisions()
    next(reading)
    decisions.change_demand(DemandChange(gone=(HUNDRED.groups[50].key,)))
    settle(decisions)
    assert len(list(reading)) == 98


def test_counts_say_what_becomes_of_the_groups() -> None:
    some = Demand(groups=(group("192.0.2.1", local="a"), group("192.0.2.2", local="b"), group("192.0.2.3", local="x")))
    decisions = decisions_of(A, B, demand=some)
    assert decisions.counts() == Counts(groups=3, owned=1, ownerless=1, waiting=0)
    decisions.change_demand(DemandChange(groups=(group("192.0.2.4"),)))
    assert decisions.counts().waiting == 1
    assert decisions.group(ip_address("192.0.2.2")) == some.groups[1]
    assert decisions.group(ip_address("192.0.2.9")) is None
