"""The groups as they are told, and when an address is really gone.

Rules kept here:

* A demand counts when it is complete. Until then its parts are put in place, and nothing is held gone: an address that
  one part takes from a group another part may give to another group.
* After a reset, whatever is not told again goes.

Source: design.md §5, 8.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cluster.model import Address
from speaker.constituencies import Standing
from speaker.demand import DemandChange, Group, NodeFacts


class Register:
    """What the demand told so far says."""

    def __init__(self) -> None:
        self.is_complete = True
        self.nodes: Mapping[str, NodeFacts] = {}
        """As of the last complete demand."""
        self._nodes: dict[str, NodeFacts] = {}
        self._standings: dict[Address, Standing] = {}
        self._holders: dict[Address, Standing] = {}
        self._touched: list[Standing] = []
        self._resets = 0
        self._is_resetting = False

    def take(self, change: DemandChange, *, is_reset: bool) -> list[Standing]:
        """Put a part in place. Returns the groups that are new, changed or told to go, for which the caller finds out
        what they ask."""
        self.is_complete = False
        if is_reset:
            self._resets += 1
            self._is_resetting = True
            self._nodes = {}
        touched = [standing for group in change.groups if (standing := self._place(group)) is not None]
        for key in change.gone:
            if (standing := self._standings.get(key)) is not None:
                self._displace(standing)
                touched.append(standing)
        self._nodes.update((node.name, node) for node in change.nodes)
        for name in change.gone_nodes:
            self._nodes.pop(name, None)
        self._touched += touched
        return touched

    def _place(self, group: Group) -> Standing | None:
        """The group's standing, if it is a change."""
        standing = self._standings.get(group.key)
        if standing is None:
            standing = self._standings[group.key] = Standing(group.key)
        standing.told_at = self._resets
        is_change = standing.group != group
        if is_change:
            self._release(standing, kept=group.addresses)
        standing.group = group
        for address in group.addresses:
            self._holders[address] = standing
        return standing if is_change else None

    def _displace(self, standing: Standing) -> None:
        self._release(standing, kept=())
        standing.group = None

    def _release(self, standing: Standing, kept: tuple[Address, ...]) -> None:
        for address in () if standing.group is None else standing.group.addresses:
            if address not in kept and self._holders.get(address) is standing:
                del self._holders[address]
                standing.gone.append(address)

    def complete(self) -> list[Standing]:
        """What was told is a whole demand. Returns every group that it touched; one may be there twice."""
        if self._is_resetting:
            self._is_resetting = False
            for standing in self._standings.values():
                if standing.told_at != self._resets and standing.group is not None:
                    self._displace(standing)
                    self._touched.append(standing)
        self.is_complete = True
        if self._nodes != self.nodes:
            self.nodes = dict(self._nodes)
        touched, self._touched = self._touched, []
        return touched

    def gone_from(self, standing: Standing) -> tuple[Address, ...]:
        """The addresses that it gave up and that no group has. While a part is missing, none, and it is touched again
        when that has come."""
        if not self.is_complete:
            if standing.gone or standing.group is None:
                self._touched.append(standing)
            return ()
        gone = tuple(address for address in standing.gone if address not in self._holders)
        standing.gone.clear()
        return gone

    def remove(self, standing: Standing) -> None:
        """Forget a group that is gone."""
        del self._standings[standing.key]

    def get(self, key: Address) -> Standing | None:
        """The group with this key."""
        return self._standings.get(key)

    def holder(self, address: Address) -> Standing | None:
        """The group that has the address."""
        return self._holders.get(address)

    def __iter__(self) -> Iterator[Standing]:
        """All of them, in no particular order."""
        return iter(self._standings.values())

    def __len__(self) -> int:
        """How many groups there are."""
        return len(self._standings)
