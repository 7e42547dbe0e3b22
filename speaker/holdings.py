"""What this node does with the addresses that it owns: probing before the first use, announcing, or holding back.

Rules kept here:

* An address is announced only while this node owns it, and at most once is it begun and ended.
* Only an address that never was wanted before is probed; at a failover, a restart or a return it is announced at once.
* A stranger who holds a new address keeps it: the address is held back and tried again (design.md §5, first use).
* Who yielded is silent until what it decides from changes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address

from cluster.model import Address
from speaker.events import AddressInUse, Announced, Event, ProxyARPFound, Withdrawn, Yielded
from speaker.l2.announcer import Announcer
from speaker.l2.first_use import FirstUse, Free, InUse, Proxy
from speaker.ownership import Decision


class Standing(StrEnum):
    """What is done with an address that this node owns."""

    PROBING = "probing"
    """It is new: whoever has it already is given the time to say so."""
    ANNOUNCED = "announced"
    IN_USE = "in use"
    """A stranger has it."""
    YIELDED = "yielded"
    """Another member announces it, and of the two this node is the one to be silent."""
    UNREACHABLE = "unreachable"
    """Nothing here can make an address of this family reachable."""


@dataclass(frozen=True, slots=True)
class Holding:
    """One address that this node owns."""

    address: Address
    standing: Standing
    since: float
    detail: str = ""
    """Who stands in the way, for a person."""


class Holdings:
    """The addresses that this node owns. Inputs take ``now``; :meth:`next_event` drains."""

    def __init__(self, announcer: Announcer, first_use: FirstUse) -> None:
        self._announcer = announcer
        self._first_use = first_use
        self._held: dict[Address, Holding] = {}
        self._events: deque[Event] = deque()

    def own(self, decision: Decision, fresh: frozenset[Address], spare: Address | None, now: float) -> None:
        """This node owns the group. Addresses in ``fresh`` are new and are probed first."""
        for address in decision.addresses:
            holding = self._held.get(address)
            if holding is not None and holding.standing is not Standing.YIELDED:
                continue
            if not isinstance(address, IPv4Address):
                self._set(address, Standing.UNREACHABLE, now)
            elif address in fresh:
                self._set(address, Standing.PROBING, now)
                self._first_use.probe(address, spare if isinstance(spare, IPv4Address) else None, now)
            else:
                self._announce(address, now)

    def release(self, address: Address, reason: str, now: float) -> None:
        """This node owns the address no longer."""
        holding = self._held.pop(address, None)
        if holding is None or not isinstance(address, IPv4Address):
            return
        self._first_use.cancel(address)
        if holding.standing is Standing.ANNOUNCED:
            self._announcer.withdraw(address, now)
            self._events.append(Withdrawn(address, reason))

    def yield_to(self, address: Address, member: str, reason: str, now: float) -> None:
        """Be silent about an address that a member announces too."""
        if address in self._held and isinstance(address, IPv4Address):
            self._announcer.withdraw(address, now)
            self._set(address, Standing.YIELDED, now, f"to {member}: {reason}")
            self._events.append(Yielded(address, member, reason))

    def resume(self, now: float) -> None:
        """What was yielded upon has changed: whoever is still the owner announces again."""
        for holding in tuple(self._held.values()):
            if holding.standing is Standing.YIELDED and isinstance(holding.address, IPv4Address):
                self._announce(holding.address, now)

    def settle(self, now: float) -> None:
        """Act upon what the probes found."""
        while (outcome := self._first_use.next_outcome()) is not None:
            holding = self._held.get(outcome.address)
            if holding is None or holding.standing not in (Standing.PROBING, Standing.IN_USE):
                continue
            match outcome:
                case Free():
                    self._announce(outcome.address, now)
                case Proxy(address, mac, interface):
                    self._events.append(ProxyARPFound(address, mac, interface))
                    self._announce(address, now)
                case InUse(address, mac, interface, retry_after):
                    self._set(address, Standing.IN_USE, now, f"by {mac.hex(':')} on {interface}")
                    self._events.append(AddressInUse(address, mac, interface, retry_after))

    def _announce(self, address: IPv4Address, now: float) -> None:
        self._announcer.announce(address, now)
        self._set(address, Standing.ANNOUNCED, now)
        self._events.append(Announced(address, self._announcer.interface_names))

    def _set(self, address: Address, standing: Standing, now: float, detail: str = "") -> None:
        holding = self._held.get(address)
        since = holding.since if holding is not None and holding.standing is standing else now
        self._held[address] = Holding(address, standing, since, detail)

    def next_event(self) -> Event | None:
        """The next thing that happened; None when there is no more."""
        return self._events.popleft() if self._events else None

    def get(self, address: Address) -> Holding | None:
        """What is done with an address; None when this node does not own it."""
        return self._held.get(address)

    def __iter__(self) -> Iterator[Holding]:
        """Everything held, in the order in which it was gained."""
        return iter(tuple(self._held.values()))

    def __len__(self) -> int:
        """How many addresses this node owns."""
        return len(self._held)
