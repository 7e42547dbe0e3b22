"""Who owns an address: MetalLB's hash, what comes before it, and the table that says why."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.model import (
    Configuration,
    Endpoint,
    EndpointSlice,
    ExternalTrafficPolicy,
    L2Advertisement,
    Node,
    ObjectName,
    Pool,
    Service,
    ServiceType,
    Snapshot,
)
from speaker.demand import Demand, Group, NodeFacts, changes, demand
from speaker.intake import Intake
from speaker.marker import Tier
from speaker.ownership import (
    REASONS,
    Decision,
    Election,
    MemberFacts,
    Reason,
    View,
    decide,
    hash_rank,
    hashed_text,
    salt,
)
from tests.speaker.hashing import by_hash
from tests.speaker.ownership_helpers import (
    NO_CARRIER,
    ONLY_IPV4,
    ONLY_IPV6,
    dead,
    group,
    groups,
    left,
    live,
    marker,
    metallb,
    node_lists,
    owner,
    rings,
    row,
    view,
)
from tests.tree import ROOT

A, B, C = live("a"), live("b"), live("c")
GROUP = group("192.0.2.7")
FIRST, SECOND = "b", "a"
"""Their order for GROUP: sha256sum says 1092… of b#192.0.2.7 and 854e… of a#192.0.2.7."""
MANY = [group(f"192.0.2.{number}") for number in range(1, 255)]


# ---- the hash


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no `sha256sum` command")
@pytest.mark.parametrize(
    ("node", "address"),
    [("a", "192.0.2.7"), ("b", "192.0.2.7"), ("node-1.example", "10.0.0.255"), ("a", "2001:db8::1")],
)
def test_the_hash_is_what_sha256sum_says(node: str, address: str) -> None:
    told = subprocess.run(
        ["sh", "-c", "printf '%s' \"$1#$2\" | sha256sum", "sh", node, address],
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split()[0]
    assert hash_rank(salt(node), hashed_text(ip_address(address))).hex() == told


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),  # a single zero group is written out
        ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),  # of two runs the first is shortened
        ("::ffff:192.0.2.7", "192.0.2.7"),  # Go's net.IP does not tell the two apart
        ("::", "::"),
    ],
)
def test_an_address_is_hashed_as_go_prints_it(address: str, text: str) -> None:
    assert hashed_text(ip_address(address)) == text.encode()


def test_a_name_of_any_bytes_is_hashed_as_these_bytes() -> None:
    assert salt(b"\xff\x00".decode(errors="surrogateescape")) == b"\xff\x00#"


def test_the_lowest_hash_owns_and_the_others_follow_in_order() -> None:
    decision = decide(GROUP, view(A, B, C))
    hashes = {name: hash_rank(salt(name), b"192.0.2.7") for name in "abc"}
    assert [candidate.node for candidate in decision.candidates] == sorted("abc", key=lambda name: hashes[name])
    assert decision.owner == decision.candidates[0].node
    assert [candidate.rank for candidate in decision.candidates] == [0, 1, 2]


def test_what_is_hashed_is_the_key_so_both_families_live_on_one_node() -> None:
    pair = group("192.0.2.7", "2001:db8::9")
    assert owner(pair, A, B) == owner(group("192.0.2.7"), A, B) == FIRST


# ---- properties


@given(wanted=groups(), members=rings, nodes=node_lists, data=st.data())
def test_every_order_of_the_parts_gives_the_same_decision(
    wanted: Group, members: list[MemberFacts], nodes: list[NodeFacts], data: st.DataObject
) -> None:
    for election in Election:
        decision = decide(wanted, view(*members, nodes=nodes, election=election))
        shuffled = view(
            *data.draw(st.permutations(members)), nodes=data.draw(st.permutations(nodes)), election=election
        )
        assert decide(wanted, shuffled) == decision


@given(wanted=groups(), members=rings, nodes=node_lists, election=st.sampled_from(Election))
def test_the_table_is_complete_and_agrees_with_the_owner(
    wanted: Group, members: list[MemberFacts], nodes: list[NodeFacts], election: Election
) -> None:
    decision = decide(wanted, view(*members, nodes=nodes, election=election))
    known = {member.name for member in members} | {node.name for node in nodes}
    assert sorted(candidate.node for candidate in decision.candidates) == sorted(known)
    eligible = [candidate for candidate in decision.candidates if candidate.is_eligible]
    assert decision.candidates[: len(eligible)] == tuple(eligible)
    assert [candidate.rank for candidate in eligible] == list(range(len(eligible)))
    assert decision.owner == (eligible[0].node if eligible else None)
    assert all(candidate.reasons for candidate in decision.candidates), "each has a reason"
    assert decision.reasons or decision.owner is not None, "nobody's has a reason"
    live_names = {member.name for member in members if member.is_live}
    assert {candidate.node for candidate in eligible} <= live_names


@given(wanted=groups(), members=rings, nodes=node_lists, data=st.data())
def test_the_death_of_one_that_does_not_own_moves_nothing(
    wanted: Group, members: list[MemberFacts], nodes: list[NodeFacts], data: st.DataObject
) -> None:
    # With markers alone, all ready: else a death may change the rules of the election, as it must.
    members = [replace(member, marker=A.marker) for member in members]
    before = owner(wanted, *members, nodes=nodes)
    others = [member.name for member in members if member.name != before]
    lost = data.draw(st.sampled_from(others)) if others else None
    after = [replace(member, is_live=member.is_live and member.name != lost) for member in members]
    assert owner(wanted, *after, nodes=nodes) == before


@given(wanted=groups(), members=rings, name=st.sampled_from(["x", "y"]))
def test_a_node_that_joins_takes_only_what_it_wins(wanted: Group, members: list[MemberFacts], name: str) -> None:
    members = [replace(member, marker=A.marker) for member in members]
    before = owner(wanted, *members)
    assert owner(wanted, *members, live(name)) in (before, name)


def metallbs_owner(wanted: Group, members: list[MemberFacts], nodes: list[NodeFacts]) -> str | None:
    """The rule of metallb-interface.md §4.1, written down once more."""
    if not wanted.is_served or not wanted.advertisements:
        return None
    usable = {node.name: not (node.is_excluded or node.network_unavailable) for node in nodes}
    names = [member.name for member in members if member.is_live and usable.get(member.name, True)]
    if wanted.policy is ExternalTrafficPolicy.LOCAL:
        names = [name for name in names if name in wanted.serving_nodes]
    return next(iter(by_hash(wanted.key.compressed, names)), None)


@given(wanted=groups(), members=rings, nodes=node_lists)
def test_where_a_candidate_has_no_marker_the_owner_is_metallbs(
    wanted: Group, members: list[MemberFacts], nodes: list[NodeFacts]
) -> None:
    ring = [*members, metallb("x")]
    if wanted.policy is ExternalTrafficPolicy.LOCAL:
        wanted = replace(wanted, serving_nodes=(*wanted.serving_nodes, "x"), is_served=True)
    assert owner(wanted, *ring, nodes=nodes) == metallbs_owner(wanted, ring, nodes)


@given(wanted=groups(), members=rings, nodes=node_lists)
def test_with_all_ready_and_reachable_the_owner_is_metallbs_too(
    wanted: Group, members: list[MemberFacts], nodes: list[NodeFacts]
) -> None:
    ring = [replace(member, marker=A.marker) for member in members]
    assert owner(wanted, *ring, nodes=nodes) == metallbs_owner(wanted, ring, nodes)


# ---- what comes before the hash


def test_a_settling_node_comes_after_those_that_are_ready() -> None:
    decision = decide(GROUP, view(A, live(FIRST, Tier.SETTLING)))
    assert decision.owner == SECOND
    assert row(decision, FIRST).reasons == (Reason.SETTLING,)
    assert row(decision, SECOND).reasons == (Reason.READIEST,)


def test_settling_binds_only_while_half_of_the_candidates_are_ready() -> None:
    def settled_owner(*tiers: Tier) -> Decision:
        return decide(GROUP, view(*(live(name, tier) for name, tier in zip("abcd", tiers, strict=False))))

    order = [candidate.node for candidate in decide(GROUP, view(A, B, C, live("d"))).candidates]
    ready, settling = Tier.READY, Tier.SETTLING
    half = settled_owner(*(settling if name in order[:2] else ready for name in "abcd"))
    assert (half.owner, half.reasons) == (order[2], ())
    fewer = settled_owner(*(settling if name in order[:3] else ready for name in "abcd"))
    assert (fewer.owner, fewer.reasons) == (order[0], (Reason.SETTLING_IGNORED,))
    cold = settled_owner(settling, settling, settling, settling)
    assert (cold.owner, cold.reasons) == (order[0], (Reason.SETTLING_IGNORED,))


def test_a_draining_node_comes_last_and_serves_where_there_is_no_other() -> None:
    draining = live(FIRST, Tier.DRAINING)
    decision = decide(GROUP, view(A, draining))
    assert decision.owner == SECOND
    assert row(decision, FIRST).reasons == (Reason.DRAINING,)
    alone = decide(GROUP, view(draining))
    assert alone.owner == FIRST
    assert row(alone, FIRST).reasons == (Reason.ONLY_CANDIDATE,)
    assert row(alone, FIRST).tier is Tier.DRAINING


def test_draining_is_after_settling_also_where_settling_does_not_count() -> None:
    decision = decide(GROUP, view(live(SECOND, Tier.SETTLING), live(FIRST, Tier.DRAINING)))
    assert decision.owner == SECOND
    assert decision.reasons == (Reason.SETTLING_IGNORED,)


def test_a_node_without_an_interface_for_every_family_is_no_candidate() -> None:
    pair = group("192.0.2.7", "2001:db8::1")
    for lacking in (ONLY_IPV4, ONLY_IPV6, NO_CARRIER):
        decision = decide(pair, view(A, live(FIRST, Tier.READY, lacking)))
        assert decision.owner == SECOND
        assert row(decision, FIRST).reasons == (Reason.NO_INTERFACE,)
    assert owner(GROUP, A, live(FIRST, Tier.READY, ONLY_IPV4)) == FIRST
    assert owner(pair, A, live(FIRST, Tier.READY, ONLY_IPV4, ONLY_IPV6)) == FIRST


def test_where_nobody_serves_both_families_those_that_serve_one_are_taken() -> None:
    pair = group("192.0.2.7", "2001:db8::1")
    decision = decide(pair, view(live(SECOND, Tier.READY, ONLY_IPV6), live(FIRST, Tier.READY, NO_CARRIER)))
    assert decision.owner == SECOND
    assert decision.reasons == (Reason.SOME_FAMILIES,)
    assert row(decision, FIRST).reasons == (Reason.NO_INTERFACE,)


def test_where_nobody_has_an_interface_it_is_decided_as_if_all_had() -> None:
    decision = decide(GROUP, view(live("a", Tier.READY, NO_CARRIER), live("b", Tier.READY, ONLY_IPV6)))
    assert decision.owner == FIRST
    assert decision.reasons == (Reason.NO_INTERFACE_ANYWHERE,)


def test_a_candidate_without_marker_makes_the_election_metallbs() -> None:
    decision = decide(GROUP, view(live(FIRST, Tier.DRAINING, NO_CARRIER), metallb(SECOND)))
    assert decision.owner == FIRST
    assert decision.reasons == (Reason.METALLB_NEEDED,)
    assert row(decision, SECOND).reasons == (Reason.UNMARKED, Reason.LATER_BY_HASH)
    assert row(decision, SECOND).tier is None


@pytest.mark.parametrize(
    ("wanted", "members", "nodes"),
    [
        (GROUP, (replace(metallb("c"), is_live=False),), ()),
        (GROUP, (metallb("c"),), (NodeFacts(name="c", is_excluded=True),)),
        (group("192.0.2.7", local="ab"), (metallb("c"),), ()),
    ],
    ids=["dead", "excluded", "without an endpoint"],
)
def test_a_member_without_marker_that_is_no_candidate_changes_nothing(
    wanted: Group, members: tuple[MemberFacts, ...], nodes: tuple[NodeFacts, ...]
) -> None:
    decision = decide(wanted, view(A, live(FIRST, Tier.DRAINING), *members, nodes=nodes))
    assert (decision.owner, decision.reasons) == (SECOND, ())


def test_metallbs_election_can_be_had_for_the_asking() -> None:
    decision = decide(GROUP, view(A, live(FIRST, Tier.DRAINING, NO_CARRIER), election=Election.METALLB))
    assert (decision.owner, decision.reasons) == (FIRST, (Reason.METALLB_CONFIGURED,))


# ---- reasons


def reasons_of(decision: Decision) -> set[Reason]:
    return {*decision.reasons, *(reason for candidate in decision.candidates for reason in candidate.reasons)}


AGAINST = [
    (dead("a"), None, (Reason.DEAD,)),
    (left("a"), None, (Reason.LEFT,)),
    (None, NodeFacts(name="a"), (Reason.NOT_IN_RING,)),
    (A, NodeFacts(name="a", is_excluded=True), (Reason.EXCLUDED,)),
    (A, NodeFacts(name="a", network_unavailable=True), (Reason.NETWORK_UNAVAILABLE,)),
    (
        dead("a"),
        NodeFacts(name="a", is_excluded=True, network_unavailable=True),
        (Reason.DEAD, Reason.EXCLUDED, Reason.NETWORK_UNAVAILABLE),
    ),
]


@pytest.mark.parametrize(("member", "node", "reasons"), AGAINST)
def test_every_reason_against_a_node_is_told(
    member: MemberFacts | None, node: NodeFacts | None, reasons: tuple[Reason, ...]
) -> None:
    decision = decide(GROUP, view(*(() if member is None else (member,)), nodes=() if node is None else (node,)))
    assert decision.owner is None
    assert decision.reasons == (Reason.NO_CANDIDATE,)
    assert row(decision, "a").reasons == reasons


def test_what_a_dead_node_said_of_itself_counts_no_more() -> None:
    gone = MemberFacts(name="b", is_live=False, marker=marker(Tier.DRAINING, NO_CARRIER))
    told = row(decide(GROUP, view(A, gone)), "b")
    assert (told.reasons, told.tier) == ((Reason.DEAD,), None)


NOBODYS = [
    (group("192.0.2.7", pools=(), advertisements=()), (Reason.OUTSIDE_POOLS,)),
    (group("192.0.2.7", advertisements=()), (Reason.NOT_ADVERTISED,)),
    (group("192.0.2.7", is_served=False), (Reason.NO_ENDPOINT,)),
    (group("192.0.2.7", advertisements=(), is_served=False), (Reason.NOT_ADVERTISED, Reason.NO_ENDPOINT)),
]


@pytest.mark.parametrize(("wanted", "reasons"), NOBODYS)
def test_a_group_that_nobody_may_have_says_why_beside_every_node(wanted: Group, reasons: tuple[Reason, ...]) -> None:
    decision = decide(wanted, view(A, dead("b")))
    assert (decision.owner, decision.reasons) == (None, reasons)
    assert row(decision, "a").reasons == reasons
    assert row(decision, "b").reasons == (Reason.DEAD, *reasons)


def test_an_empty_ring_is_told_as_no_candidate() -> None:
    assert decide(GROUP, view()).reasons == (Reason.NO_CANDIDATE,)


SAMPLES = [
    *((GROUP, view(*(m for m in (member,) if m), nodes=[n for n in (node,) if n])) for member, node, _ in AGAINST),
    *((wanted, view(A)) for wanted, _ in NOBODYS),
    (GROUP, view()),
    (GROUP, view(A)),
    (GROUP, view(A, B, C)),
    (GROUP, view(A, B, election=Election.METALLB)),
    (GROUP, view(A, metallb("b"))),
    (GROUP, view(A, live("b", Tier.SETTLING), live("c", Tier.DRAINING), live("d"))),
    (GROUP, view(live("a", Tier.SETTLING))),
    (GROUP, view(live("a", Tier.READY, NO_CARRIER))),
    (GROUP, view(A, live("b", Tier.READY, NO_CARRIER))),
    (GROUP, view(A, live("b", Tier.SETTLING))),
    (group("192.0.2.7", "2001:db8::1"), view(live("a", Tier.READY, ONLY_IPV4))),
    (group("192.0.2.7", local="a"), view(A, B)),
]


def test_every_reason_has_its_sentence_and_can_come_about() -> None:
    assert list(REASONS) == list(Reason), "in one order"
    assert all(re.fullmatch(r"[A-Z].*[.]", sentence) for sentence in REASONS.values())
    assert set().union(*(reasons_of(decide(*sample)) for sample in SAMPLES)) == set(Reason)


# ---- the unit suite "L2 controller" of metallb-interface.md §7.2, phrase by phrase

PHRASES: dict[str, Callable[..., None]] = {}
"""Phrase -> the test that shows it."""
RESOURCES = "comes with the custom resources, which can say such a thing; the ConfigMap cannot"
LATER = {
    "selectors": RESOURCES,
    "service selectors": RESOURCES,
    "shared address + selectors refused (old and new annotation)": RESOURCES,
    "score first": RESOURCES,
    "weights sum": RESOURCES,
    "preferred node under Local policy": RESOURCES,
    "all preferred gone": RESOURCES,
}


def shows(*phrases: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def note(test: Callable[..., None]) -> Callable[..., None]:
        for phrase in phrases:
            assert phrase not in PHRASES
            PHRASES[phrase] = test
        return test

    return note


def snapshot(policy: ExternalTrafficPolicy, *endpoints: Endpoint, nodes: tuple[Node, ...] = ()) -> Snapshot:
    """One service at 192.0.2.7."""
    name = ObjectName("default", "web")
    return Snapshot(
        config=Configuration(
            pools=(Pool(name="p", networks=(ip_network("192.0.2.0/24"),)),),
            l2_advertisements=(L2Advertisement(name="l2", pools=("p",)),),
        ),
        services=(
            Service(
                name=name,
                type=ServiceType.LOAD_BALANCER,
                external_traffic_policy=policy,
                ingress=(ip_address("192.0.2.7"),),
            ),
        ),
        endpoint_slices=(EndpointSlice(name=name, service=name, endpoints=endpoints),),
        nodes=nodes,
    )


def endpoint(node: str | None, ready: bool | None = True, serving: bool | None = None) -> Endpoint:
    return Endpoint(addresses=(ip_address("10.1.0.1"),), node_name=node, ready=ready, serving=serving)


def owner_in(wanted: Snapshot, *members: MemberFacts, ignore_exclude_label: bool = False) -> str | None:
    """Who owns the service's address, from the snapshot on."""
    (change,) = changes(Demand(), demand(wanted))
    told = Intake("a", (), ignore_exclude_label=ignore_exclude_label).take(change, is_reset=False)
    (only,) = told.groups
    return owner(only, *members, nodes=told.nodes)


CLUSTER, LOCAL = ExternalTrafficPolicy.CLUSTER, ExternalTrafficPolicy.LOCAL
BOTH_SERVE = (endpoint("a"), endpoint("b"))


@shows("endpoint readiness × serving")
@pytest.mark.parametrize("ready", [True, False, None])
@pytest.mark.parametrize("serving", [True, False, None])
@pytest.mark.parametrize("policy", ExternalTrafficPolicy)
def test_endpoint_readiness_and_serving(
    ready: bool | None, serving: bool | None, policy: ExternalTrafficPolicy
) -> None:
    is_usable = ready in (True, None) or serving is True
    wanted = snapshot(policy, endpoint("a", ready, serving))
    assert owner_in(wanted, A) == ("a" if is_usable else None)


@shows("candidate sets with membership on/off")
def test_candidates_are_the_members_and_without_a_ring_there_are_none() -> None:
    """MetalLB without membership takes all nodes of the API, dead ones included; here there is always a ring."""
    nodes = (Node(name="a"), Node(name="b"))
    wanted = snapshot(CLUSTER, endpoint("a"), nodes=nodes)
    assert owner_in(wanted, A) == "a"
    assert owner_in(wanted, B) == "b"
    assert owner_in(wanted) is None


TWO_NODES: dict[str, tuple[ExternalTrafficPolicy, tuple[Endpoint, ...], str | None]] = {
    "Cluster, an endpoint on each": (CLUSTER, BOTH_SERVE, FIRST),
    "Cluster, one on the first alone": (CLUSTER, (endpoint(FIRST),), FIRST),
    "Cluster, one on the second alone": (CLUSTER, (endpoint(SECOND),), FIRST),
    "Cluster, none": (CLUSTER, (), None),
    "Cluster, none ready": (CLUSTER, (endpoint("a", ready=False), endpoint("b", ready=False)), None),
    "Cluster, the first's is not ready": (CLUSTER, (endpoint(FIRST, ready=False), endpoint(SECOND)), FIRST),
    "Cluster, one on a node that is not named": (CLUSTER, (endpoint(None),), FIRST),
    "Local, an endpoint on each": (LOCAL, BOTH_SERVE, FIRST),
    "Local, one on the first alone": (LOCAL, (endpoint(FIRST),), FIRST),
    "Local, one on the second alone": (LOCAL, (endpoint(SECOND),), SECOND),
    "Local, the first's is not ready": (LOCAL, (endpoint(FIRST, ready=False), endpoint(SECOND)), SECOND),
    "Local, two on the first, one of them ready": (LOCAL, (endpoint(FIRST, ready=False), endpoint(FIRST)), FIRST),
    "Local, one on a node that is not named": (LOCAL, (endpoint(None),), None),
}


@shows("13 election scenarios on two nodes")
@pytest.mark.parametrize("scenario", TWO_NODES)
def test_election_on_two_nodes(scenario: str) -> None:
    policy, endpoints, expected = TWO_NODES[scenario]
    assert len(TWO_NODES) == 13
    assert owner_in(snapshot(policy, *endpoints), A, B) == expected


@shows("exclude label with and without the override")
def test_exclude_label_with_and_without_the_override() -> None:
    nodes = (Node(name=FIRST, exclude_from_external_load_balancers=True), Node(name=SECOND))
    wanted = snapshot(CLUSTER, endpoint("a"), nodes=nodes)
    assert owner_in(wanted, A, B) == SECOND
    assert owner_in(wanted, A, B, ignore_exclude_label=True) == FIRST


@shows("Cluster policy with the owner lacking endpoints")
def test_cluster_policy_with_the_owner_lacking_endpoints() -> None:
    assert owner_in(snapshot(CLUSTER, endpoint(SECOND)), A, B) == FIRST


@shows("same election on all nodes but per-node interfaces")
def test_all_nodes_elect_alike_whatever_their_interfaces_are() -> None:
    """The decision does not depend on who decides: interfaces are looked up in the markers that all see."""
    ring = (live("a", Tier.READY, ONLY_IPV4), live("b", Tier.READY, NO_CARRIER), live("c", Tier.READY, ONLY_IPV4))
    decisions = [decide(GROUP, view(*ring[at:], *ring[:at])) for at in range(3)]
    assert decisions[0] == decisions[1] == decisions[2]
    assert decisions[0].owner in ("a", "c")


@shows("ghost node")
def test_a_node_of_the_cluster_without_a_speaker_is_never_elected() -> None:
    nodes = tuple(Node(name=name) for name in "abg")
    wanted = snapshot(LOCAL, endpoint("g"), nodes=nodes)
    assert owner_in(wanted, A, B) is None
    assert owner_in(snapshot(CLUSTER, endpoint("g"), nodes=nodes), A, B) == FIRST


@shows("candidate order: empty")
def test_of_no_candidates_none_is_first() -> None:
    assert decide(GROUP, view()).candidates == ()


@shows("single")
def test_a_single_candidate_is_first() -> None:
    decision = decide(GROUP, view(A))
    assert (decision.owner, row(decision, "a").reasons) == ("a", (Reason.ONLY_CANDIDATE,))


@shows("stable")
def test_the_order_is_the_same_each_time() -> None:
    assert len({decide(GROUP, view(A, B, C)) for _ in range(3)}) == 1


@shows("IP-dependent")
def test_the_order_depends_on_the_address() -> None:
    owners = [owner(wanted, A, B, C) for wanted in MANY]
    assert {owners.count(name) > len(MANY) // 5 for name in "abc"} == {True}, "each has its share"


@shows("ties by hash")
def test_equals_are_ordered_by_the_hash() -> None:
    settling = (live("a", Tier.SETTLING), live("b", Tier.SETTLING))
    decision = decide(GROUP, view(*settling, C, live("d"), live("e")))
    assert [candidate.node for candidate in decision.candidates[-2:]] == [FIRST, SECOND]
    assert row(decision, FIRST).reasons == (Reason.SETTLING,)
    assert row(decision, SECOND).reasons == (Reason.SETTLING, Reason.LATER_BY_HASH)


@shows("failover")
def test_the_second_takes_over_when_the_owner_dies() -> None:
    decision = decide(GROUP, view(A, B, C))
    ring = [replace(member, is_live=member.name != decision.owner) for member in (A, B, C)]
    assert owner(GROUP, *ring) == decision.candidates[1].node


@shows("reclaim")
def test_a_former_owner_has_its_addresses_again_when_it_is_ready() -> None:
    before, back = owner(GROUP, A, B), owner(GROUP, A, live(FIRST))
    assert before == back == FIRST
    assert owner(GROUP, A, dead(FIRST)) == owner(GROUP, A, live(FIRST, Tier.SETTLING)) == SECOND


@shows("mixed advertisements cannot split the election")
def test_how_many_advertisements_cover_a_pool_does_not_matter() -> None:
    assert [owner(replace(GROUP, advertisements=names), A, B) for names in (("l2",), ("l2", "other"))] == [FIRST] * 2


def test_the_phrases_are_those_of_the_specification() -> None:
    text = (ROOT / "docs/specs/metallb-interface.md").read_text()
    (found,) = re.findall(r"^\| L2 controller \| (.*) \|$", text, re.MULTILINE)
    phrases: list[str] = []
    for part in found.split("; "):
        is_list = part.startswith(("candidate order", "failover"))
        phrases += part.split(", ") if is_list else [part]
    assert sorted(phrases) == sorted({**PHRASES, **LATER})


@pytest.mark.parametrize("election", Election)
def test_a_view_says_nothing_against_a_node_that_the_cluster_does_not_know(election: Election) -> None:
    decided = decide(GROUP, View(members={"a": A}, nodes={}, election=election))
    assert decided.owner == "a"
