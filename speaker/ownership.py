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

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cluster.model import Address, ObjectName
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


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberFacts:
    """A member of the ring, as far as ownership goes."""

    name: str
    is_live: bool
    """Alive or merely suspected."""
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
    raise NotImplementedError
