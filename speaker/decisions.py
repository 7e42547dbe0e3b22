"""The standing decision of every group, made again only where an event touched it, in turns.

Rules kept here:

* What stands once nothing waits is what :func:`speaker.ownership.decide` says of each group: what is spared here is
  work, never an answer.
* The groups whose owner is gone are decided first.
* A demand counts when it is complete. Until then its parts are only put in place, and no address is held gone.
* A group is touched when it changed, when its owner is no longer among the foremost candidates, or when a node joined
  those. Of the others only the tables grow old; they are made anew when somebody asks.

Theory of operation. Groups that ask the same of a node (`Terms`) form a constituency: for them the same nodes stand,
and only the hash differs. So an event is first weighed once for each constituency, not for each group; and a node that
joined is compared with the owner alone, since the others were beaten before. That costs one hash for each group,
however many nodes there are.

Source: design.md §5, 10.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from cluster.model import Address
from speaker.demand import DemandChange, Group, NodeFacts, address_order
from speaker.ownership import (
    Contender,
    Decision,
    Election,
    Field,
    MemberFacts,
    Terms,
    View,
    contenders_of,
    hash_rank,
    hashed_text,
    judge,
    stand,
    terms_of,
)

LOOKED_AT_FOR_ONE: Final = 64
"""Groups that are asked whether an event touches them in the time in which one is decided."""


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
    """To be decided."""


class _Queue(IntEnum):
    """Where a group waits."""

    NONE = 0
    LATER = 1
    FIRST = 2


class _Standing:
    """A group and what holds about it."""

    __slots__ = ("constituency", "decision", "gone", "group", "key", "made_at", "queue", "rank", "table_at", "told_at")

    def __init__(self, key: Address) -> None:
        self.key = key
        self.group: Group | None = None
        """None: it goes once the demand is complete."""
        self.constituency: _Constituency | None = None
        self.decision: Decision | None = None
        """As told before; None: not decided yet."""
        self.rank = b""
        """The owner's hash."""
        self.made_at = 0
        """The version of the constituency that the owner was found in."""
        self.table_at = 0
        """The version of the view that the table is of."""
        self.told_at = 0
        """The reset after which it was told."""
        self.gone: list[Address] = []
        """Addresses that it had and that nobody had afterwards."""
        self.queue = _Queue.NONE

    @property
    def owner(self) -> str | None:
        return None if self.decision is None else self.decision.owner


class _Constituency:
    """Groups with the same terms."""

    __slots__ = (
        "_challengers",
        "_challengers_at",
        "entered_at",
        "field",
        "is_outdated",
        "standings",
        "terms",
        "version",
    )

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.field = Field(terms=terms)
        self.is_outdated = True
        self.version = 0
        self.entered_at: dict[str, int] = {}
        """By name, the version with which each of the foremost joined them."""
        self.standings: dict[_Standing, None] = {}
        self._challengers: tuple[Contender, ...] = ()
        self._challengers_at = -1

    def renew(self, field: Field) -> tuple[list[str], list[str]]:
        """Let others stand. Returns who left the foremost and who joined them."""
        names = [contender.name for contender in field.first]
        kept = self.entered_at
        self.version += 1
        self.entered_at = {name: kept.get(name, self.version) for name in names}
        self.field, self.is_outdated, self._challengers_at = field, False, -1
        return [name for name in kept if name not in self.entered_at], [name for name in names if name not in kept]

    def challengers(self, made_at: int) -> tuple[Contender, ...]:
        """Who joined the foremost after that version."""
        if made_at != self._challengers_at:  # most groups were decided at the same one
            entered_at = self.entered_at
            self._challengers = tuple(c for c in self.field.first if entered_at[c.name] > made_at)
            self._challengers_at = made_at
        return self._challengers


class Decisions:
    """What this node holds about every group: inputs that only note, one method that decides, and queries."""

    def __init__(self, node: str, election: Election = Election.STARLING) -> None:
        self._node = node
        self._election = election
        self._members: dict[str, MemberFacts] = {}
        self._nodes: dict[str, NodeFacts] = {}
        self._nodes_to_come: dict[str, NodeFacts] = {}
        self._contenders: dict[str, Contender] = {}
        self._view_version = 0
        self._standings: dict[Address, _Standing] = {}
        self._holders: dict[Address, _Standing] = {}
        """Which group has an address."""
        self._constituencies: dict[Terms, _Constituency] = {}
        self._outdated: deque[_Constituency] = deque()
        self._first: deque[_Standing] = deque()
        self._later: deque[_Standing] = deque()
        self._arriving: deque[_Standing] = deque()
        self._is_complete = True
        self._resets = 0
        self._is_resetting = False
        self._waiting = 0
        self._by_order: list[_Standing] | None = []

    # ---- inputs

    def change_demand(self, change: DemandChange, *, is_reset: bool = False) -> None:
        """Take in one part; nothing of it counts before the part that completes it.

        With ``is_reset`` the parts from this one to the complete one are everything: what they do not name is gone.
        """
        self._is_complete = False
        if is_reset:
            self._resets += 1
            self._is_resetting = True
            self._nodes_to_come = {}
        for group in change.groups:
            self._place(group)
        for key in change.gone:
            if (standing := self._standings.get(key)) is not None:
                self._displace(standing)
        self._nodes_to_come.update((node.name, node) for node in change.nodes)
        for name in change.gone_nodes:
            self._nodes_to_come.pop(name, None)
        if change.is_complete:
            self._complete()

    def _place(self, group: Group) -> None:
        standing = self._standings.get(group.key)
        if standing is None:
            standing = self._standings[group.key] = _Standing(group.key)
            self._by_order = None
        standing.told_at = self._resets
        if standing.group != group:
            self._release(standing, kept=group.addresses)
            self._join(standing, terms_of(group))
            self._arriving.append(standing)
        standing.group = group
        for address in group.addresses:
            self._holders[address] = standing

    def _displace(self, standing: _Standing) -> None:
        self._release(standing, kept=())
        standing.group = None
        self._arriving.append(standing)

    def _release(self, standing: _Standing, kept: tuple[Address, ...]) -> None:
        for address in () if standing.group is None else standing.group.addresses:
            # Another group may have taken it over in an earlier part.
            if address not in kept and self._holders.get(address) is standing:
                del self._holders[address]
                standing.gone.append(address)

    def _join(self, standing: _Standing, terms: Terms) -> None:
        if standing.constituency is not None:
            if standing.constituency.terms == terms:
                return
            self._part(standing)
        constituency = self._constituencies.get(terms)
        if constituency is None:
            constituency = self._constituencies[terms] = _Constituency(terms)
        constituency.standings[standing] = None
        standing.constituency = constituency
        standing.made_at = -1

    def _part(self, standing: _Standing) -> None:
        constituency = standing.constituency
        assert constituency is not None
        del constituency.standings[standing]
        standing.constituency = None
        if not constituency.standings:
            del self._constituencies[constituency.terms]

    def _complete(self) -> None:
        if self._is_resetting:
            self._is_resetting = False
            for standing in self._standings.values():
                if standing.told_at != self._resets and standing.group is not None:
                    self._displace(standing)
        self._is_complete = True
        for standing in self._arriving:
            self._queue(standing, _Queue.LATER)
        self._arriving.clear()
        if self._nodes_to_come != self._nodes:
            self._nodes = dict(self._nodes_to_come)
            self._change_view()

    def change_members(self, members: Iterable[MemberFacts]) -> None:
        """Take in the ring's members, all of them."""
        known = {member.name: member for member in members}
        if known != self._members:
            self._members = known
            self._change_view()

    def _change_view(self) -> None:
        view = View(members=self._members, nodes=self._nodes, election=self._election)
        before, self._contenders = self._contenders, contenders_of(view)
        changed = {name for name, contender in self._contenders.items() if before.get(name) != contender}
        changed.update(name for name in before if name not in self._contenders)
        self._view_version += 1
        for constituency in self._constituencies.values():
            nodes = constituency.terms.serving_nodes
            if not constituency.is_outdated and not (nodes is not None and changed.isdisjoint(nodes)):
                constituency.is_outdated = True
                self._outdated.append(constituency)

    # ---- deciding

    def remake(self, limit: int) -> list[Change]:
        """Decide at most ``limit`` touched groups, those whose owner is gone first; return the changes, in order."""
        changes = []
        while limit > 0 and not self.is_settled:
            limit -= 1
            if self._outdated:
                constituency = self._outdated.popleft()
                self._renew(constituency)
                limit -= len(constituency.standings) // LOOKED_AT_FOR_ONE
            elif (standing := self._next()) is not None and (change := self._remake(standing)) is not None:
                changes.append(change)
        return changes

    def _queue(self, standing: _Standing, queue: _Queue) -> None:
        if queue > standing.queue:
            self._waiting += standing.queue is _Queue.NONE
            standing.queue = queue
            (self._first if queue is _Queue.FIRST else self._later).append(standing)

    def _next(self) -> _Standing | None:
        for queue, waiting in ((_Queue.FIRST, self._first), (_Queue.LATER, self._later)):
            while waiting:
                standing = waiting.popleft()
                if standing.queue is queue:  # else it was moved to the front meanwhile
                    standing.queue = _Queue.NONE
                    self._waiting -= 1
                    return standing
        return None

    def _renew(self, constituency: _Constituency) -> None:
        if not constituency.is_outdated:
            return
        reasons = constituency.field.reasons
        left, joined = constituency.renew(stand(constituency.terms, self._contenders, self._election))
        are_all_touched = bool(joined) or reasons != constituency.field.reasons
        if not left and not are_all_touched:
            return
        for standing in constituency.standings:
            if standing.decision is None:
                continue  # it waits already, for its demand or its turn
            owner = standing.decision.owner
            if owner is None or owner in left:
                self._queue(standing, _Queue.FIRST)
            elif are_all_touched:
                self._queue(standing, _Queue.LATER)

    def _remake(self, standing: _Standing) -> Change | None:
        gone = tuple(address for address in standing.gone if address not in self._holders) if self._is_complete else ()
        if self._is_complete:
            standing.gone.clear()
        elif standing.gone or standing.group is None:
            self._arriving.append(standing)
        if standing.group is None:
            return self._dissolve(standing, gone) if self._is_complete else None
        assert standing.constituency is not None
        if standing.constituency.is_outdated:
            self._renew(standing.constituency)
        previous, decision = standing.decision, self._decide(standing, standing.group, standing.constituency)
        if previous is not None and not gone and _means_the_same(previous, decision):
            return None
        return Change(decision=decision, previous=previous, gone=gone)

    def _dissolve(self, standing: _Standing, gone: tuple[Address, ...]) -> Change | None:
        self._part(standing)
        del self._standings[standing.key]
        self._by_order = None
        previous, standing.decision = standing.decision, None
        return None if previous is None else Change(decision=None, previous=previous, gone=gone)

    def _decide(self, standing: _Standing, group: Group, constituency: _Constituency) -> Decision:
        """What is decided about the group from now on."""
        field, decision = constituency.field, standing.decision
        if decision is not None and standing.made_at >= 0 and self._owner_stays(standing, group, constituency):
            standing.made_at = constituency.version
            if decision.reasons == field.reasons and _is_about(decision, group):
                return decision
        decision = judge(group, field, self._contenders)
        standing.decision = decision
        standing.made_at, standing.table_at = constituency.version, self._view_version
        owner = decision.owner
        standing.rank = b"" if owner is None else hash_rank(self._contenders[owner].salt, hashed_text(group.key))
        return decision

    def _owner_stays(self, standing: _Standing, group: Group, constituency: _Constituency) -> bool:
        """Whether nobody who joined the foremost beats the owner. The others were beaten before."""
        owner = standing.owner
        if owner is None:
            return not constituency.field.levels
        if owner not in constituency.entered_at:
            return False
        text = hashed_text(group.key)
        return all(
            contender.name == owner or standing.rank < hash_rank(contender.salt, text)
            for contender in constituency.challengers(standing.made_at)
        )

    # ---- queries

    @property
    def is_settled(self) -> bool:
        """Nothing waits to be decided again."""
        return not self._waiting and not self._outdated

    def decision(self, address: Address) -> Decision | None:
        """The decision in force about the group that has the address, its table as of now; None before there is one."""
        standing = self._holders.get(address)
        return None if standing is None else self._in_force(standing)

    def decisions(self, after: Address | None = None) -> Iterator[Decision]:
        """All of them by key, IPv4 first, from behind ``after``, for paging."""
        if self._by_order is None:
            self._by_order = sorted(self._standings.values(), key=lambda standing: address_order(standing.key))
        standings = self._by_order  # as it is now, whatever changes between two steps
        start = 0
        if after is not None:
            start = bisect_right(standings, address_order(after), key=lambda standing: address_order(standing.key))
        for index in range(start, len(standings)):
            if (decision := self._in_force(standings[index])) is not None:
                yield decision

    def group(self, key: Address) -> Group | None:
        """The group with this key."""
        standing = self._standings.get(key)
        return None if standing is None else standing.group

    def counts(self) -> Counts:
        """How many there are."""
        owners = [standing.owner for standing in self._standings.values() if standing.decision is not None]
        return Counts(
            groups=len(self._standings),
            owned=owners.count(self._node),
            ownerless=owners.count(None),
            waiting=self._waiting,
        )

    def _in_force(self, standing: _Standing) -> Decision | None:
        group, constituency, decision = standing.group, standing.constituency, standing.decision
        if group is None or constituency is None or decision is None:
            return decision
        if standing.table_at != self._view_version and not standing.queue and not constituency.is_outdated:
            standing.decision = decision = judge(group, constituency.field, self._contenders)
            standing.table_at = self._view_version
        return decision


def _means_the_same(one: Decision, other: Decision) -> bool:
    return (
        one.owner == other.owner
        and one.addresses == other.addresses
        and one.services == other.services
        and one.reasons == other.reasons
    )


def _is_about(decision: Decision, group: Group) -> bool:
    return decision.addresses == group.addresses and decision.services == group.services
