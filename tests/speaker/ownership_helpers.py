"""Groups, members and nodes for the tests about ownership: by hand, and drawn."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

from hypothesis import strategies as st

from cluster.model import Address, ExternalTrafficPolicy, ObjectName
from speaker.demand import Group, NodeFacts, address_order
from speaker.marker import MarkedInterface, Marker, Tier
from speaker.ownership import Candidate, Decision, Election, MemberFacts, View, decide

BOTH = MarkedInterface(b"e0", has_ipv4=True, has_ipv6=True, has_carrier=True)
ONLY_IPV4 = MarkedInterface(b"e0", has_ipv4=True, has_carrier=True)
ONLY_IPV6 = MarkedInterface(b"e0", has_ipv6=True, has_carrier=True)
NO_CARRIER = MarkedInterface(b"e0", has_ipv4=True, has_ipv6=True)


def marker(tier: Tier = Tier.READY, *interfaces: MarkedInterface) -> Marker:
    """A marker; with an interface that serves everything unless others are named."""
    return Marker(tier=tier, interfaces=interfaces or (BOTH,))


def live(name: str, tier: Tier = Tier.READY, *interfaces: MarkedInterface) -> MemberFacts:
    return MemberFacts(name=name, is_live=True, marker=marker(tier, *interfaces))


def dead(name: str) -> MemberFacts:
    return MemberFacts(name=name, is_live=False, marker=marker())


def left(name: str) -> MemberFacts:
    return MemberFacts(name=name, is_live=False, has_left=True, marker=marker())


def metallb(name: str) -> MemberFacts:
    """A live member that is no speaker of ours."""
    return MemberFacts(name=name, is_live=True)


def view(*members: MemberFacts, nodes: Iterable[NodeFacts] = (), election: Election = Election.STARLING) -> View:
    return View(
        members={member.name: member for member in members}, nodes={n.name: n for n in nodes}, election=election
    )


def group(*addresses: str, local: Iterable[str] | None = None, **changed: object) -> Group:
    """A group that is advertised and served; ``local`` makes its policy Local, with these serving nodes."""
    ordered = tuple(sorted(map(ip_address, addresses or ("192.0.2.1",)), key=address_order))
    values: dict[str, object] = {
        "key": ordered[0],
        "addresses": ordered,
        "services": (ObjectName("default", f"at-{ordered[0]}"),),
        "pools": ("pool",),
        "advertisements": ("l2",),
        "policy": ExternalTrafficPolicy.CLUSTER if local is None else ExternalTrafficPolicy.LOCAL,
        "serving_nodes": tuple(sorted(local or ())),
        "is_served": True,
    }
    return Group(**{**values, **changed})  # type: ignore[arg-type]  # the fields are given by name


def owner(wanted: Group, *members: MemberFacts, nodes: Iterable[NodeFacts] = ()) -> str | None:
    return decide(wanted, view(*members, nodes=nodes)).owner


def row(decision: Decision, node: str) -> Candidate:
    (candidate,) = [candidate for candidate in decision.candidates if candidate.node == node]
    return candidate


# ---- drawn

names = st.sampled_from(["a", "b", "c", "d", "e", "f"])
interfaces = st.lists(st.sampled_from([BOTH, ONLY_IPV4, ONLY_IPV6, NO_CARRIER]), max_size=2, unique=True)
markers = st.builds(
    lambda tier, drawn: Marker(tier=tier, interfaces=tuple(sorted(drawn))), st.sampled_from(Tier), interfaces
)
members = st.builds(
    MemberFacts,
    name=names,
    is_live=st.sampled_from([True, True, True, False]),
    has_left=st.booleans(),
    # Most are ours: one that is not makes the whole election MetalLB's.
    marker=st.one_of(markers, markers, markers, markers, st.none()),
)
rings = st.lists(members, unique_by=lambda member: member.name, max_size=6)
node_facts = st.builds(
    NodeFacts,
    name=names,
    is_excluded=st.sampled_from([False] * 4 + [True]),
    network_unavailable=st.sampled_from([False] * 4 + [True]),
)
node_lists = st.lists(node_facts, unique_by=lambda node: node.name, max_size=6)
addresses: st.SearchStrategy[Address] = st.one_of(
    st.integers(0, 7).map(lambda number: IPv4Address("192.0.2.0") + number),
    st.integers(0, 7).map(lambda number: IPv6Address("2001:db8::") + number),
)


@st.composite
def groups(draw: st.DrawFn, having: st.SearchStrategy[list[Address]] | None = None) -> Group:
    """Any group; ``having`` draws the addresses."""
    drawn = draw(st.lists(addresses, min_size=1, max_size=3, unique=True) if having is None else having)
    is_local = draw(st.sampled_from([False, False, True]))
    serving = draw(st.lists(names, max_size=3, unique=True))
    pools = draw(st.sampled_from([("pool",)] * 5 + [()]))
    return group(
        *map(str, drawn),
        local=serving if is_local else None,
        key=draw(st.sampled_from(drawn)),
        services=(ObjectName("default", draw(st.sampled_from(["s", "t"]))),),
        pools=pools,
        advertisements=draw(st.sampled_from([("l2",)] * 5 + [()])) if pools else (),
        is_served=True if is_local and serving else draw(st.sampled_from([True] * 5 + [False])),
    )
