"""Two owners: which of two members that announce the same address goes silent.

Rules kept here:

* The first row that tells the two apart decides, and both sides come to the same end from the same facts, whichever of
  them asks.
* There is always an end: the last row orders any two nodes.

Source: design.md §5, "Two owners".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cluster.model import Address
from speaker.ownership import hash_rank, hashed_text, salt

MAX_AGE_DIFFERENCE: Final = 2.0
"""Seconds by which one's desired state may be older than the other's before that alone decides."""


class Cause(StrEnum):
    """Why one of the two yields."""

    ISOLATED = "isolated"
    OLDER = "older"
    RULE = "rule"
    """The hash with the address. Each side's own decision is no fact that both have: they may have read different
    manifests, and each would tell the other to yield."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimant:
    """One of the two."""

    node: str
    is_isolated: bool
    """It sees no other live member."""
    age: float
    """Seconds since its desired state was last known to be current. Both ages are of one exchange."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """How it ends."""

    yields: str
    """The node that goes silent until what it decides from changes."""
    to: str
    cause: Cause


def settle(address: Address, one: Claimant, other: Claimant) -> Settlement:
    """Which of the two yields the address; they may be given in either order."""
    if one.is_isolated is not other.is_isolated:
        return _settlement(one if one.is_isolated else other, (one, other), Cause.ISOLATED)
    if abs(one.age - other.age) > MAX_AGE_DIFFERENCE:
        return _settlement(max(one, other, key=lambda claimant: claimant.age), (one, other), Cause.OLDER)
    text = hashed_text(address)
    later = max(one, other, key=lambda claimant: (hash_rank(salt(claimant.node), text), claimant.node))
    return _settlement(later, (one, other), Cause.RULE)


def _settlement(loser: Claimant, both: tuple[Claimant, Claimant], cause: Cause) -> Settlement:
    one, other = both
    return Settlement(yields=loser.node, to=other.node if loser is one else one.node, cause=cause)
