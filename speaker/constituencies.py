"""Groups for which the same nodes stand, and what is decided about each without asking every node again.

Rules kept here:

* What is decided is what :func:`speaker.ownership.decide` says: what is spared is work, never an answer.
* Only the foremost candidates matter to who owns a group; of those who were there before, the owner has beaten all.

Source: design.md §5, 10.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import IntEnum

from cluster.model import Address
from speaker.demand import Group
from speaker.ownership import (
    Contender,
    Decision,
    Election,
    Field,
    Terms,
    hash_rank,
    hashed_text,
    judge,
    stand,
)

UNDECIDED = -1
"""No version of a constituency."""


class Queue(IntEnum):
    """Where a group waits to be decided."""

    NONE = 0
    LATER = 1
    FIRST = 2


class Standing:
    """A group and what holds about it. It compares by identity."""

    __slots__ = (
        "coming",
        "constituency",
        "decision",
        "gone",
        "group",
        "has_coming",
        "key",
        "made_at",
        "queue",
        "rank",
        "table_at",
        "told_at",
    )

    def __init__(self, key: Address) -> None:
        self.key = key
        self.group: Group | None = None
        """What is decided about; None: not yet or no longer."""
        self.coming: Group | None = None
        """Where has_coming: what it becomes with the whole demand; None: it goes."""
        self.has_coming = False
        self.constituency: Constituency | None = None
        """None while it has no group."""
        self.decision: Decision | None = None
        """What was decided last."""
        self.rank = b""
        """The owner's hash."""
        self.made_at = UNDECIDED
        """The version of the constituency that the owner was found in."""
        self.table_at = 0
        """The version of the view that the table is of."""
        self.told_at = 0
        """The reset after which it was told."""
        self.gone: list[Address] = []
        """Addresses that it gave up. Another group may have them."""
        self.queue = Queue.NONE

    @property
    def owner(self) -> str | None:
        """None: nobody, or it was never decided."""
        return None if self.decision is None else self.decision.owner


class Constituency:
    """Groups with the same terms."""

    __slots__ = (
        "_challengers",
        "_challengers_at",
        "_entered_at",
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
        """Who stands has to be asked again."""
        self.version = 0
        self.standings: dict[Standing, None] = {}
        self._entered_at: dict[str, int] = {}
        """By name, the version with which each of the foremost joined them."""
        self._challengers: tuple[Contender, ...] = ()
        self._challengers_at = UNDECIDED

    def renew(self, field: Field) -> tuple[list[str], list[str]]:
        """Let others stand. Returns who left the foremost, and who joined them."""
        names = [contender.name for contender in field.first]
        before = self._entered_at
        self.version += 1
        self._entered_at = {name: before.get(name, self.version) for name in names}
        self.field, self.is_outdated, self._challengers_at = field, False, UNDECIDED
        left = [name for name in before if name not in self._entered_at]
        return left, [name for name in names if name not in before]

    def decide(self, standing: Standing, group: Group, contenders: Mapping[str, Contender], view_version: int) -> None:
        """Decide about one group as it is now. Where nothing is different the decision stays the same object."""
        decision = standing.decision
        is_standing = decision is not None and standing.made_at != UNDECIDED and self._keeps_owner(standing, group)
        standing.made_at = self.version
        if (
            decision is not None
            and is_standing
            and decision.reasons == self.field.reasons
            and decision.addresses == group.addresses
            and decision.services == group.services
        ):
            return
        standing.decision = decision = judge(group, self.field, contenders)
        standing.table_at = view_version
        owner = decision.owner
        standing.rank = b"" if owner is None else hash_rank(contenders[owner].salt, hashed_text(group.key))

    def _keeps_owner(self, standing: Standing, group: Group) -> bool:
        owner = standing.owner
        if owner is None:
            return not self.field.levels
        if owner not in self._entered_at:
            return False
        text = hashed_text(group.key)
        return all(
            contender.name == owner or standing.rank < hash_rank(contender.salt, text)
            for contender in self._who_entered_after(standing.made_at)
        )

    def _who_entered_after(self, version: int) -> tuple[Contender, ...]:
        if version != self._challengers_at:  # kept, since most groups were decided at the same version
            self._challengers = tuple(c for c in self.field.first if self._entered_at[c.name] > version)
            self._challengers_at = version
        return self._challengers


class Constituencies:
    """All of them, and who is known to stand."""

    def __init__(self, election: Election) -> None:
        self._election = election
        self._by_terms: dict[Terms, Constituency] = {}
        self._outdated: deque[Constituency] = deque()
        self.contenders: dict[str, Contender] = {}
        self.view_version = 0

    def assign(self, standing: Standing, terms: Terms) -> None:
        """The group asks this from now on."""
        if standing.constituency is not None:
            if standing.constituency.terms == terms:
                return
            self.remove(standing)
        constituency = self._by_terms.get(terms)
        if constituency is None:
            constituency = self._by_terms[terms] = Constituency(terms)
        constituency.standings[standing] = None
        standing.constituency = constituency
        standing.made_at = UNDECIDED

    def remove(self, standing: Standing) -> None:
        """The group asks nothing any more."""
        constituency = standing.constituency
        assert constituency is not None
        del constituency.standings[standing]
        standing.constituency = None
        if not constituency.standings:
            del self._by_terms[constituency.terms]

    def change_contenders(self, contenders: dict[str, Contender]) -> None:
        """Others are known, or other things about them. Whatever that may concern is outdated."""
        before, self.contenders = self.contenders, contenders
        changed = {name for name, contender in contenders.items() if before.get(name) != contender}
        changed.update(name for name in before if name not in contenders)
        self.view_version += 1
        for constituency in self._by_terms.values():
            nodes = constituency.terms.serving_nodes
            if not constituency.is_outdated and not (nodes is not None and changed.isdisjoint(nodes)):
                constituency.is_outdated = True
                self._outdated.append(constituency)

    def next_outdated(self) -> Constituency | None:
        """One in which it has to be asked again who stands."""
        return self._outdated.popleft() if self._outdated else None

    @property
    def are_outdated(self) -> bool:
        """Whether there is one."""
        return bool(self._outdated)

    def renew(self, constituency: Constituency) -> tuple[list[str], bool]:
        """Ask who stands. Returns who left the foremost, and whether the groups of the others are touched as well."""
        reasons = constituency.field.reasons
        left, joined = constituency.renew(stand(constituency.terms, self.contenders, self._election))
        return left, bool(joined) or reasons != constituency.field.reasons

    def table(self, standing: Standing) -> Decision | None:
        """The decision that stands; where nothing waits to be decided about it, with everybody as they are now."""
        group, constituency, decision = standing.group, standing.constituency, standing.decision
        if group is None or constituency is None or decision is None or standing.table_at == self.view_version:
            return decision
        if not standing.queue and not constituency.is_outdated:
            standing.decision = decision = judge(group, constituency.field, self.contenders)
            standing.table_at = self.view_version
        return decision
