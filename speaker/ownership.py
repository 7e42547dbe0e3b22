"""Who owns an address: one pure function of what is wanted and of the ring's view.

Rules kept here:

* The same input gives the same owner on every node and in every order of its parts: nothing here depends on time,
  chance or what was decided before.
* The decision carries the whole table: every candidate, with each reason for which it was or was not taken. `why`, the
  status, the events and the tests read that one value.
* With a member that has no marker among the candidates the decision uses only what MetalLB 0.16 uses, so that both
  elect alike.

Source: design.md §5; docs/specs/metallb-interface.md §3.11, 4.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from ipaddress import IPv6Address
from typing import Final

from cluster.model import Address, ExternalTrafficPolicy, ObjectName
from speaker.demand import Group, NodeFacts
from speaker.marker import Marker, Tier


class Election(StrEnum):
    """Which facts an election uses."""

    STARLING = "starling"
    """Tier, usable interfaces, preference, hash; MetalLB's where a candidate has no marker."""
    METALLB = "metallb"
    """Preference and hash alone, always."""


class Reason(StrEnum):
    """Why a node was or was not taken, or why nobody was. The value is what scripts read; REASONS says it in words."""

    OUTSIDE_POOLS = "outside-pools"
    NOT_ADVERTISED = "not-advertised"
    NO_ENDPOINT = "no-endpoint"
    NO_CANDIDATE = "no-candidate"

    METALLB_CONFIGURED = "metallb-configured"
    METALLB_NEEDED = "metallb-needed"
    SOME_FAMILIES = "some-families"
    NO_INTERFACE_ANYWHERE = "no-interface-anywhere"
    SETTLING_IGNORED = "settling-ignored"

    NOT_IN_RING = "not-in-ring"
    LEFT = "left"
    DEAD = "dead"
    EXCLUDED = "excluded"
    NETWORK_UNAVAILABLE = "network-unavailable"
    NO_LOCAL_ENDPOINT = "no-local-endpoint"
    NO_INTERFACE = "no-interface"

    UNMARKED = "unmarked"
    SETTLING = "settling"
    DRAINING = "draining"
    ONLY_CANDIDATE = "only-candidate"
    READIEST = "readiest"
    FIRST_BY_HASH = "first-by-hash"
    LATER_BY_HASH = "later-by-hash"


REASONS: Final[dict[Reason, str]] = {
    # Why nobody owns the group; such a reason is against every node.
    Reason.OUTSIDE_POOLS: "The address lies in no pool of the configuration.",
    Reason.NOT_ADVERTISED: "No layer 2 advertisement covers the pool that the address lies in.",
    Reason.NO_ENDPOINT: "No endpoint of the services serves, on any node.",
    Reason.NO_CANDIDATE: "There is something against every node.",
    # What is unusual about an election.
    Reason.METALLB_CONFIGURED: "The option --election=metallb is set: the hash alone decides among the candidates.",
    Reason.METALLB_NEEDED: "A candidate is no speaker of ours (no marker): the hash alone decides, as in MetalLB.",
    Reason.SOME_FAMILIES: "No candidate has an interface for both families: those that have one for either are taken.",
    Reason.NO_INTERFACE_ANYWHERE: "No candidate has a usable interface: it was decided as if all had one.",
    Reason.SETTLING_IGNORED: "Fewer than half of the candidates are ready: settling ones are taken as ready.",
    # What there is against a node.
    Reason.NOT_IN_RING: "The cluster has this node, but no member of the ring has its name.",
    Reason.LEFT: "It left the ring.",
    Reason.DEAD: "The ring holds it dead.",
    Reason.EXCLUDED: "It has the label node.kubernetes.io/exclude-from-external-load-balancers.",
    Reason.NETWORK_UNAVAILABLE: "Its condition NetworkUnavailable is True.",
    Reason.NO_LOCAL_ENDPOINT: "No endpoint serves on it, and externalTrafficPolicy is Local.",
    Reason.NO_INTERFACE: "It has no usable interface with a carrier for every family of the addresses.",
    # Why an eligible node comes where it comes.
    Reason.UNMARKED: "It has no marker in its metadata: it is no speaker of ours.",
    Reason.SETTLING: "It came back from the dead a short while ago and comes after those that are ready.",
    Reason.DRAINING: "It is draining and comes after all that are not.",
    Reason.ONLY_CANDIDATE: "It is the only candidate.",
    Reason.READIEST: "Every other candidate is settling or draining.",
    Reason.FIRST_BY_HASH: "Its hash with the address is the lowest among its equals.",
    Reason.LATER_BY_HASH: "Another candidate's hash with the address is lower.",
}
"""One sentence for each reason. docs/reference/reasons.md is made from it."""

_TIER_REASONS: Final = {Tier.READY: (), Tier.SETTLING: (Reason.SETTLING,), Tier.DRAINING: (Reason.DRAINING,)}
_BOTH_FAMILIES: Final = (4, 6)
_SHARED_CANDIDATES: Final = 16_384
"""Rows of tables that are kept, so that the tables of 10,000 groups share them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberFacts:
    """A member of the ring, as far as ownership goes."""

    name: str
    is_live: bool
    """Alive or merely suspected."""
    has_left: bool = False
    """Where it is not live: it said goodbye."""
    marker: Marker | None = None
    """None: no speaker of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a node knows of the others when it decides."""

    members: Mapping[str, MemberFacts]
    nodes: Mapping[str, NodeFacts]
    """A node that the cluster says nothing about has nothing against it."""
    election: Election = Election.STARLING


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A node that was considered."""

    node: str
    is_eligible: bool
    reasons: tuple[Reason, ...]
    """Every reason against it; for an eligible one, why it comes where it comes."""
    rank: int | None
    """Its place in the order of taking over, 0 the owner's; None when it is not eligible."""
    tier: Tier | None
    """None: it says nothing about itself."""
    preference: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Who owns a group, and why."""

    key: Address
    addresses: tuple[Address, ...]
    services: tuple[ObjectName, ...]
    owner: str | None
    candidates: tuple[Candidate, ...]
    """The eligible ones by rank, then the others by name."""
    reasons: tuple[Reason, ...]
    """Why nobody owns it; or what about the election is unusual."""


def decide(group: Group, view: View) -> Decision:
    """Who owns the group. Total: every group and view has a decision."""
    contenders = contenders_of(view)
    return judge(group, stand(terms_of(group), contenders, view.election), contenders)


# ---- the steps of it: whoever decides about many groups shares the first ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A node, with what bears on it whatever the group."""

    name: str
    against: tuple[Reason, ...]
    tier: Tier | None
    families: tuple[int, ...]
    """The families that it can announce; both where it says nothing about itself."""
    salt: bytes
    """What is hashed before the address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a group asks of a node. Groups with the same terms differ in the hash alone."""

    refusals: tuple[Reason, ...]
    """Why no node at all may have it."""
    families: tuple[int, ...]
    serving_nodes: tuple[str, ...] | None
    """Policy Local: the nodes with an endpoint that serves. None: any node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Who stands for groups of the same terms."""

    terms: Terms
    levels: tuple[tuple[Tier, tuple[Contender, ...]], ...] = ()
    """Who is eligible, in the order of taking over; within a level the hash decides."""
    families_needed: int = 0
    """How many of the families a node had to have an interface for."""
    reasons: tuple[Reason, ...] = ()

    @property
    def first(self) -> tuple[Contender, ...]:
        """Those of whom one is the owner."""
        return self.levels[0][1] if self.levels else ()


def contenders_of(view: View) -> dict[str, Contender]:
    """Everybody whom the ring or the cluster knows, by name."""
    return {name: _contender(name, view) for name in sorted({*view.members, *view.nodes})}


def _contender(name: str, view: View) -> Contender:
    member, node = view.members.get(name), view.nodes.get(name)
    marker = member.marker if member is not None and member.is_live else None
    return Contender(
        name=name,
        against=(*_against_member(member), *_against_node(node)),
        tier=None if marker is None else marker.tier,
        families=_BOTH_FAMILIES if marker is None else marker.families,
        salt=salt(name),
    )


def _against_member(member: MemberFacts | None) -> tuple[Reason, ...]:
    if member is None:
        return (Reason.NOT_IN_RING,)
    if member.is_live:
        return ()
    return (Reason.LEFT,) if member.has_left else (Reason.DEAD,)


def _against_node(node: NodeFacts | None) -> Iterator[Reason]:
    if node is not None and node.is_excluded:
        yield Reason.EXCLUDED
    if node is not None and node.network_unavailable:
        yield Reason.NETWORK_UNAVAILABLE


def terms_of(group: Group) -> Terms:
    """What the group asks."""
    refusals = []
    if not group.pools:
        refusals.append(Reason.OUTSIDE_POOLS)
    elif not group.advertisements:
        refusals.append(Reason.NOT_ADVERTISED)
    if not group.is_served:
        refusals.append(Reason.NO_ENDPOINT)
    return Terms(
        refusals=tuple(refusals),
        families=tuple(sorted({address.version for address in group.addresses})),
        serving_nodes=group.serving_nodes if group.policy is ExternalTrafficPolicy.LOCAL else None,
    )


def stand(terms: Terms, contenders: Mapping[str, Contender], election: Election) -> Field:
    """Who stands for groups of these terms, and in which order but for the hash."""
    if terms.refusals:
        return Field(terms=terms, reasons=terms.refusals)
    named = contenders if terms.serving_nodes is None else terms.serving_nodes
    able = [contenders[name] for name in named if name in contenders and not contenders[name].against]
    if not able:
        return Field(terms=terms, reasons=(Reason.NO_CANDIDATE,))
    if election is Election.METALLB:
        return Field(terms=terms, levels=((Tier.READY, tuple(able)),), reasons=(Reason.METALLB_CONFIGURED,))
    if any(contender.tier is None for contender in able):
        return Field(terms=terms, levels=((Tier.READY, tuple(able)),), reasons=(Reason.METALLB_NEEDED,))
    return _stand_by_starling(terms, able)


def _stand_by_starling(terms: Terms, able: list[Contender]) -> Field:
    every, reasons = len(terms.families), []
    needed = max(_count_families(contender, terms) for contender in able)
    able = [contender for contender in able if _count_families(contender, terms) >= needed]
    if needed < every:
        reasons.append(Reason.SOME_FAMILIES if needed else Reason.NO_INTERFACE_ANYWHERE)
    tiers = [contender.tier for contender in able]
    as_tier = {tier: tier for tier in Tier}
    # A cluster that starts cold, or that lost most of its nodes, serves at once.
    if Tier.SETTLING in tiers and 2 * tiers.count(Tier.READY) < len(tiers):
        as_tier[Tier.SETTLING] = Tier.READY
        reasons.append(Reason.SETTLING_IGNORED)
    # The order of taking over: not pinned elsewhere, tier, preference, hash. Pins and preferences are not configurable
    # yet; they become part of what levels are made of.
    levels = {tier: tuple(c for c in able if c.tier is not None and as_tier[c.tier] is tier) for tier in Tier}
    return Field(
        terms=terms,
        levels=tuple((tier, level) for tier, level in levels.items() if level),
        families_needed=needed,
        reasons=tuple(reasons),
    )


def _count_families(contender: Contender, terms: Terms) -> int:
    return sum(family in contender.families for family in terms.families)


def judge(group: Group, field: Field, contenders: Mapping[str, Contender]) -> Decision:
    """The decision about one group, by those who stand for groups of its terms."""
    text = hashed_text(group.key)
    order = [
        (tier, place, contender)
        for tier, level in field.levels
        for place, contender in enumerate(sorted(level, key=lambda contender: hash_rank(contender.salt, text)))
    ]
    eligible = {contender.name for _, _, contender in order}
    taken = (
        _candidate(contender.name, tuple(_why_here(field, rank, tier, place, contender)), rank, contender.tier)
        for rank, (tier, place, contender) in enumerate(order)
    )
    others = (
        _candidate(contender.name, tuple(_why_not(contender, field)), None, contender.tier)
        for contender in contenders.values()
        if contender.name not in eligible
    )
    return Decision(
        key=group.key,
        addresses=group.addresses,
        services=group.services,
        owner=order[0][2].name if order else None,
        candidates=(*taken, *others),
        reasons=field.reasons,
    )


def hashed_text(address: Address) -> bytes:
    """The address as Go's net.IP prints it: RFC 5952, and an IPv4 address in IPv6's form as the IPv4 address."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(address if mapped is None else mapped).encode()


def salt(node: str) -> bytes:
    """What is hashed of a node. A name in the ring may be any bytes."""
    return f"{node}#".encode(errors="surrogateescape")


def hash_rank(salt: bytes, text: bytes) -> bytes:
    """The 32 bytes by which equals are ordered: SHA-256(node + "#" + address), as in MetalLB since 0.11."""
    return sha256(salt + text).digest()


def _why_here(field: Field, rank: int, tier: Tier, place: int, contender: Contender) -> Iterator[Reason]:
    if contender.tier is None:
        yield Reason.UNMARKED
    if tier is not field.levels[0][0]:
        yield from _TIER_REASONS[tier]
    if rank == 0:
        if len(field.first) > 1:
            yield Reason.FIRST_BY_HASH
        else:
            yield Reason.READIEST if len(field.levels) > 1 else Reason.ONLY_CANDIDATE
    elif place > 0:
        yield Reason.LATER_BY_HASH


def _why_not(contender: Contender, field: Field) -> Iterator[Reason]:
    terms = field.terms
    yield from contender.against
    if terms.serving_nodes is not None and contender.name not in terms.serving_nodes:
        yield Reason.NO_LOCAL_ENDPOINT
    if _count_families(contender, terms) < field.families_needed:
        yield Reason.NO_INTERFACE
    yield from terms.refusals


@lru_cache(maxsize=_SHARED_CANDIDATES)
def _candidate(node: str, reasons: tuple[Reason, ...], rank: int | None, tier: Tier | None) -> Candidate:
    return Candidate(node=node, is_eligible=rank is not None, reasons=reasons, rank=rank, tier=tier)
