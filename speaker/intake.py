"""Takes in what is wanted, part by part.

Rules kept here:

* Nothing is decided before one whole demand is known.
* After a reset, what the parts did not name is gone.
* An address is *fresh* until some member has announced it: a fresh one is probed before it is announced. That others
  were told of it is not enough: a stranger may have it, and then nobody has announced it yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from cluster.model import Address, ExternalTrafficPolicy
from speaker.demand import DemandChange, Group


class Intake:
    """What was named so far."""

    def __init__(self, node: str, known: Iterable[Address], *, ignore_exclude_label: bool) -> None:
        """``known`` were announced before this process started."""
        self._node = node
        self._ignore_exclude_label = ignore_exclude_label
        self._known: dict[Address, None] = dict.fromkeys(known)
        self._groups: dict[Address, tuple[Address, ...]] = {}
        """Key -> the addresses of the group that this machine can serve itself."""
        self._nodes: dict[str, None] = {}
        self._named: set[Address] | None = None
        """Keys named since a reset; None: no reset is under way."""
        self.is_complete = False
        """Whether one whole demand was told. The next one counts only as a whole too."""

    def take(self, change: DemandChange, *, is_reset: bool) -> DemandChange:
        """The part as it is to be obeyed."""
        if self._ignore_exclude_label:
            change = replace(change, nodes=tuple(replace(node, is_excluded=False) for node in change.nodes))
        if is_reset:
            self._named = set()
            self._nodes.clear()
        self._nodes.update(dict.fromkeys(node.name for node in change.nodes))
        for name in change.gone_nodes:
            self._nodes.pop(name, None)
        for group in change.groups:
            self._groups[group.key] = group.addresses if self._can_serve(group) else ()
            if self._named is not None:
                self._named.add(group.key)
        for key in change.gone:
            self._groups.pop(key, None)
        if self._named is not None and change.is_complete:
            self._groups = {key: served for key, served in self._groups.items() if key in self._named}
            self._named = None
        self.is_complete |= change.is_complete
        return change

    def _can_serve(self, group: Group) -> bool:
        return group.policy is ExternalTrafficPolicy.CLUSTER or self._node in group.serving_nodes

    def is_fresh(self, address: Address) -> bool:
        """Whether nobody is known to have announced it."""
        return address not in self._known

    def know(self, address: Address) -> bool:
        """A member announces it. Whether that is news."""
        is_news = address not in self._known
        self._known[address] = None
        return is_news

    def forget(self, address: Address) -> None:
        """It is not wanted any more; whoever wants it next finds it fresh."""
        self._known.pop(address, None)

    def known(self) -> tuple[Address, ...]:
        """The addresses that need no probe."""
        return tuple(self._known)

    def others(self) -> tuple[str, ...]:
        """The other nodes that the cluster lists."""
        return tuple(name for name in self._nodes if name != self._node)

    def lists_us(self) -> bool:
        """Whether the cluster lists this node."""
        return self._node in self._nodes

    def local_addresses(self) -> tuple[Address, ...]:
        """The addresses that this machine can serve itself."""
        return tuple(address for served in self._groups.values() for address in served)
