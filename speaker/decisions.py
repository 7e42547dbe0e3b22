"""The standing decision of every group, made again only where an event touched it, in turns.

Rules kept here:

* What stands once nothing waits is what :func:`speaker.ownership.decide` says of each group.
* The groups whose owner is gone are decided first.
* A group is touched when it changed, when its owner is no longer among the foremost candidates, or when a node joined
  those. Of the others only the tables grow old; they are made anew when somebody asks.

Theory of operation. Groups that ask the same of a node (`Terms`) form a constituency: for them the same nodes stand,
and only the hash differs. So an event is weighed once for each constituency, not for each group; and a node that joined
is compared with the owner alone. That costs one hash for each group, however many nodes there are.

Source: design.md §5, 10.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from cluster.model import Address
from speaker.constituencies import Constituencies, Constituency, Queue, Standing
from speaker.demand import DemandChange, Group, address_order
from speaker.ownership import Decision, Election, MemberFacts, View, contenders_of, terms_of
from speaker.register import Register

LOOKED_AT_FOR_ONE: Final = 64
"""Groups that are asked whether an event touches them in the time in which one is decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A decision that differs from the one told before in owner, addresses, services or reasons."""

    decision: Decision | None
    """None: the group is gone."""
    previous: Decision | None
    """None: the group is new; or it went before it was decided about, and had an address of another one."""
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


class Decisions:
    """What this node holds about every group: inputs that only note, one method that decides, and queries."""

    def __init__(self, node: str, election: Election = Election.STARLING) -> None:
        self._node = node
        self._election = election
        self._members: dict[str, MemberFacts] = {}
        self._register = Register()
        self._constituencies = Constituencies(election)
        self._decided: dict[Address, Standing] = {}
        """By address, the group that was decided about last with it."""
        self._queues: dict[Queue, deque[Standing]] = {Queue.FIRST: deque(), Queue.LATER: deque()}
        self._waiting = 0
        self._by_order: list[Standing] | None = None
        """All of them by key; None: to be sorted again."""

    # ---- inputs

    def change_demand(self, change: DemandChange, *, is_reset: bool = False) -> None:
        """Take in one part; nothing of it counts before the part that completes it.

        With ``is_reset`` the parts from this one to the complete one are everything: what they do not name is gone.
        """
        nodes = self._register.nodes
        self._register.take(change, is_reset=is_reset)
        if change.is_complete:
            for standing in self._register.complete():
                self._queue(standing, Queue.LATER)
            if self._register.nodes is not nodes:
                self._change_view()

    def change_members(self, members: Iterable[MemberFacts]) -> None:
        """Take in the ring's members, all of them."""
        known = {member.name: member for member in members}
        if known != self._members:
            self._members = known
            self._change_view()

    def _change_view(self) -> None:
        view = View(members=self._members, nodes=self._register.nodes, election=self._election)
        self._constituencies.change_contenders(contenders_of(view))

    # ---- deciding

    def remake(self, limit: int) -> list[Change]:
        """Decide at most ``limit`` touched groups, those whose owner is gone first; return the changes, in order."""
        changes = []
        while limit > 0 and not self.is_settled:
            limit -= 1
            if (constituency := self._constituencies.next_outdated()) is not None:
                self._renew(constituency)
                limit -= len(constituency.standings) // LOOKED_AT_FOR_ONE
            elif (standing := self._next()) is not None and (change := self._remake(standing)) is not None:
                changes.append(change)
        return changes

    def _renew(self, constituency: Constituency) -> None:
        left, are_others_touched = self._constituencies.renew(constituency)
        for standing in constituency.standings if left or are_others_touched else ():
            if standing.decision is None:
                continue  # it waits already, for its demand or for its turn
            owner = standing.decision.owner
            if owner is None or owner in left:
                self._queue(standing, Queue.FIRST)
            elif are_others_touched:
                self._queue(standing, Queue.LATER)

    def _queue(self, standing: Standing, queue: Queue) -> None:
        if queue > standing.queue:
            self._waiting += standing.queue is Queue.NONE
            standing.queue = queue
            self._queues[queue].append(standing)

    def _next(self) -> Standing | None:
        for queue, waiting in self._queues.items():
            while waiting:
                standing = waiting.popleft()
                if standing.queue is queue:  # else it was moved to the front meanwhile
                    standing.queue = Queue.NONE
                    self._waiting -= 1
                    return standing
        return None

    def _remake(self, standing: Standing) -> Change | None:
        before, previous = standing.group, standing.decision
        gone, group = self._register.adopt(standing), standing.group
        for address in gone:
            self._decided.pop(address, None)
        if group is None:
            return self._dissolve(standing, gone) if self._register.is_complete else None
        if group is not before:
            self._by_order = self._by_order if before is not None else None
            self._constituencies.assign(standing, terms_of(group))
            self._decided.update(dict.fromkeys(group.addresses, standing))
        self._decide(standing, group)
        decision = standing.decision
        if decision is None or (previous is not None and not gone and _means_the_same(previous, decision)):
            return None
        return Change(decision=decision, previous=previous, gone=gone)

    def _decide(self, standing: Standing, group: Group) -> None:
        constituency, known = standing.constituency, self._constituencies
        assert constituency is not None
        if constituency.is_outdated:
            self._renew(constituency)
        constituency.decide(standing, group, known.contenders, known.view_version)

    def _dissolve(self, standing: Standing, gone: tuple[Address, ...]) -> Change | None:
        if standing.constituency is not None:
            self._constituencies.remove(standing)
        self._register.remove(standing)
        self._by_order = None
        previous, standing.decision = standing.decision, None
        return None if previous is None and not gone else Change(decision=None, previous=previous, gone=gone)

    # ---- queries

    @property
    def is_settled(self) -> bool:
        """Nothing waits to be decided again."""
        return not self._waiting and not self._constituencies.are_outdated

    def decision(self, address: Address) -> Decision | None:
        """The decision in force about the group that has the address, its table as of now. None: not decided yet."""
        standing = self._decided.get(address)
        return None if standing is None else self._constituencies.table(standing)

    def decisions(self, after: Address | None = None) -> Iterator[Decision]:
        """All of them by key, IPv4 first, from behind ``after``, for paging."""
        if self._by_order is None:
            self._by_order = sorted(self._register, key=_order)
        standings = self._by_order  # as they are now, whatever comes between two steps
        start = 0 if after is None else bisect_right(standings, address_order(after), key=_order)
        for index in range(start, len(standings)):
            if (decision := self._constituencies.table(standings[index])) is not None:
                yield decision

    def group(self, key: Address) -> Group | None:
        """The group with this key, as it was decided about last."""
        standing = self._register.get(key)
        return None if standing is None else standing.group

    def counts(self) -> Counts:
        """How many there are."""
        owners = [standing.owner for standing in self._register if standing.decision is not None]
        return Counts(
            groups=len(self._register),
            owned=owners.count(self._node),
            ownerless=owners.count(None),
            waiting=self._waiting,
        )


def _order(standing: Standing) -> tuple[int, int]:
    return address_order(standing.key)


def _means_the_same(one: Decision, other: Decision) -> bool:
    return one is other or (
        one.owner == other.owner
        and one.addresses == other.addresses
        and one.services == other.services
        and one.reasons == other.reasons
    )
