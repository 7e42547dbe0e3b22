"""The groups as they are told, and when one, or an address, is really gone.

Rules kept here:

* A demand counts when it is complete. Until then the groups of the last one are decided about, and nothing is held
  gone: an address that one part takes from a group another part may give to another group.
* After a reset, whatever is not told again goes.
* Nothing here takes longer than the part that was told, a reset excepted; the groups of a complete demand are adopted
  one by one, when their turn comes.

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
        """Which group was told last to have an address."""
        self._touched: dict[Standing, None] = {}
        """Each once: how often a group is touched before the demand is complete is not ours to say."""
        self._resets = 0
        self._is_resetting = False

    def take(self, change: DemandChange, *, is_reset: bool) -> None:
        """Put a part in place."""
        self.is_complete = False
        if is_reset:
            self._resets += 1
            self._is_resetting = True
            self._nodes = {}
        for group in change.groups:
            self._place(group)
        for key in change.gone:
            if (standing := self._standings.get(key)) is not None:
                self._become(standing, None)
        self._nodes.update((node.name, node) for node in change.nodes)
        for name in change.gone_nodes:
            self._nodes.pop(name, None)

    def _place(self, group: Group) -> None:
        standing = self._standings.get(group.key)
        if standing is None:
            standing = self._standings[group.key] = Standing(group.key)
        standing.told_at = self._resets
        if _last_told(standing) != group:
            self._become(standing, group)
        for address in group.addresses:
            self._holders[address] = standing

    def _become(self, standing: Standing, group: Group | None) -> None:
        before = _last_told(standing)
        kept = () if group is None else group.addresses
        for address in () if before is None else before.addresses:
            if address not in kept and self._holders.get(address) is standing:
                del self._holders[address]
                standing.gone.append(address)
        standing.coming, standing.has_coming = group, True
        self._touched[standing] = None

    def complete(self) -> list[Standing]:
        """What was told is a whole demand. Returns every group that it touched, each once."""
        if self._is_resetting:
            self._is_resetting = False
            for standing in self._standings.values():
                if standing.told_at != self._resets:
                    self._become(standing, None)
        self.is_complete = True
        if self._nodes != self.nodes:
            self.nodes = dict(self._nodes)
        touched, self._touched = self._touched, {}
        return list(touched)

    def adopt(self, standing: Standing) -> tuple[Address, ...]:
        """Let the group be what the demand says. Returns the addresses that it gave up and that no group has.

        While a part of the demand is missing nothing happens, and the group is touched again when that has come.
        """
        if not self.is_complete:
            if standing.has_coming or standing.gone:
                self._touched[standing] = None
            return ()
        if standing.has_coming:
            standing.group, standing.coming, standing.has_coming = standing.coming, None, False
        gone = tuple(address for address in standing.gone if address not in self._holders)
        standing.gone.clear()
        return gone

    def remove(self, standing: Standing) -> None:
        """Forget a group that is gone."""
        del self._standings[standing.key]

    def get(self, key: Address) -> Standing | None:
        """The group with this key."""
        return self._standings.get(key)

    def __iter__(self) -> Iterator[Standing]:
        """All of them, in no particular order."""
        return iter(self._standings.values())

    def __len__(self) -> int:
        """How many groups there are."""
        return len(self._standings)


def _last_told(standing: Standing) -> Group | None:
    return standing.coming if standing.has_coming else standing.group
