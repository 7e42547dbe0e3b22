"""The standing decision of every group, made again only where an event touched it, in turns.

Source: design.md §5, 10.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cluster.model import Address
from speaker.demand import DemandChange, Group
from speaker.ownership import Decision, Election, MemberFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A decision that differs from the one told before in owner, addresses, services or reasons."""

    decision: Decision | None
    """None: the group is gone."""
    previous: Decision | None
    """None: the group is new."""
    gone: tuple[Address, ...] = ()
    """Addresses of the group that no group has any more. One that went to another group is in that group's change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many groups there are, by what becomes of them."""

    groups: int
    owned: int
    """By this node."""
    ownerless: int
    waiting: int
    """To be decided again."""


class Decisions:
    """What this node holds about every group: inputs that only note, one method that decides, and queries."""

    def __init__(self, node: str, election: Election = Election.STARLING) -> None:
        raise NotImplementedError

    def change_demand(self, change: DemandChange) -> None:
        """Take in one part; nothing of it counts before the part that completes it."""
        raise NotImplementedError

    def change_members(self, members: Iterable[MemberFacts]) -> None:
        """Take in the ring's members, all of them."""
        raise NotImplementedError

    def remake(self, limit: int) -> list[Change]:
        """Decide at most ``limit`` touched groups, those whose owner is gone first; return the changes, in order."""
        raise NotImplementedError

    @property
    def is_settled(self) -> bool:
        """Nothing waits to be decided again."""
        raise NotImplementedError

    def decision(self, address: Address) -> Decision | None:
        """The decision in force about the group that has the address, its table as of now."""
        raise NotImplementedError

    def decisions(self, after: Address | None = None) -> Iterator[Decision]:
        """All of them by key, IPv4 first, from behind ``after``, for paging."""
        raise NotImplementedError

    def group(self, key: Address) -> Group | None:
        """The group with this key."""
        raise NotImplementedError

    def counts(self) -> Counts:
        """How many there are."""
        raise NotImplementedError
