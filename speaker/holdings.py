"""What this node does with the addresses that it owns: probing before the first use, announcing, or holding back.

Rules kept here:

* An address is announced only while this node owns it, and at most once is it begun and ended.
* Only an address that never was wanted before is probed; at a failover, a restart or a return it is announced at once.
* A stranger who holds a new address keeps it: the address is held back and tried again (design.md §5, first use).
* Who yielded is silent until what it decides from changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address
from itertools import islice

from cluster.model import Address
from speaker.events import AddressInUse, Announced, Event, ProxyARPFound, Withdrawn, Yielded
from speaker.l2.announcer import Announcer
from speaker.l2.first_use import FirstUse, Free, InUse, Proxy
from speaker.ownership import Decision


class Standing(StrEnum):
    """What is done with an address that this node owns."""

    WAITING = "waiting"
    """It is not known yet whether somebody else owns it: the ring was not heard, or there is no carrier."""
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
    is_fresh: bool = False
    """It is to be probed before it is announced."""
    spare: IPv4Address | None = None
    """What else to ask for then."""


class Holdings:
    """The addresses that this node owns. ``emit`` takes what happens to them."""

    def __init__(self, announcer: Announcer, first_use: FirstUse, emit: Callable[[Event], None]) -> None:
        self._announcer = announcer
        self._first_use = first_use
        self._emit = emit
        self._held: dict[Address, Holding] = {}
        self._paused: dict[Address, None] = {}
        """Those that are waiting or yielded."""

    def own(
        self, decision: Decision, fresh: frozenset[Address], spare: Address | None, now: float, *, may_gain: bool
    ) -> None:
        """This node owns the group. Addresses in ``fresh`` are new and are probed first. What may not be gained now
        waits for :meth:`resume`."""
        for address in decision.addresses:
            if address in self._held:
                continue
            asked_too = spare if isinstance(spare, IPv4Address) else None
            holding = Holding(address, Standing.WAITING, now, is_fresh=address in fresh, spare=asked_too)
            self._keep(holding)
            if may_gain:
                self._begin(holding, now)

    def release(self, address: Address, reason: str, now: float) -> None:
        """This node owns the address no longer."""
        holding = self._held.pop(address, None)
        self._paused.pop(address, None)
        if holding is None or not isinstance(address, IPv4Address):
            return
        self._first_use.cancel(address)
        if holding.standing is Standing.ANNOUNCED:
            self._announcer.withdraw(address, now)
            self._emit(Withdrawn(address, reason))

    def yield_to(self, address: IPv4Address, member: str, reason: str, now: float) -> None:
        """Be silent about an address that a member announces too, until :meth:`resume`."""
        holding = self._held.get(address)
        if holding is not None:
            self._announcer.withdraw(address, now)
            self._keep(replace(holding, standing=Standing.YIELDED, since=now, detail=f"to {member}: {reason}"))
            self._emit(Yielded(address, member, reason))

    def pause(self, reason: str, now: float) -> None:
        """Announce nothing until :meth:`resume`."""
        for holding in tuple(self._held.values()):
            if holding.standing is Standing.ANNOUNCED and isinstance(holding.address, IPv4Address):
                self._announcer.withdraw(holding.address, now)
                self._keep(replace(holding, standing=Standing.WAITING, since=now, detail=reason))
                self._emit(Withdrawn(holding.address, reason))

    def resume(self, limit: int, now: float) -> bool:
        """Begin what waited, and again what was yielded: what that hung on has changed. Whether none is left."""
        for address in tuple(islice(self._paused, limit)):
            self._begin(self._held[address], now)
        return not self._paused

    def _begin(self, holding: Holding, now: float) -> None:
        address = holding.address
        if not isinstance(address, IPv4Address):
            self._keep(replace(holding, standing=Standing.UNREACHABLE, since=now))
        elif holding.is_fresh:
            self._keep(replace(holding, standing=Standing.PROBING, since=now))
            self._first_use.probe(address, holding.spare, now)
        else:
            self._announce(holding, address, now)

    def settle(self, now: float) -> None:
        """Act upon what the probes found."""
        while (outcome := self._first_use.next_outcome()) is not None:
            holding = self._held.get(outcome.address)
            if holding is None or holding.standing not in (Standing.PROBING, Standing.IN_USE):
                continue
            match outcome:
                case Free(address):
                    self._announce(holding, address, now)
                case Proxy(address, mac, interface):
                    self._emit(ProxyARPFound(address, mac, interface))
                    self._announce(holding, address, now)
                case InUse(address, mac, interface, retry_after):
                    since = holding.since if holding.standing is Standing.IN_USE else now
                    detail = f"by {mac.hex(':')} on {interface}"
                    self._keep(replace(holding, standing=Standing.IN_USE, since=since, detail=detail))
                    self._emit(AddressInUse(address, mac, interface, retry_after))

    def _announce(self, holding: Holding, address: IPv4Address, now: float) -> None:
        self._announcer.announce(address, now)
        self._keep(Holding(address, Standing.ANNOUNCED, now))
        self._emit(Announced(address, self._announcer.interface_names))

    def _keep(self, holding: Holding) -> None:
        self._held[holding.address] = holding
        if holding.standing in (Standing.WAITING, Standing.YIELDED):
            self._paused[holding.address] = None
        else:
            self._paused.pop(holding.address, None)

    def get(self, address: Address) -> Holding | None:
        """What is done with an address; None when this node does not own it."""
        return self._held.get(address)

    def __iter__(self) -> Iterator[Holding]:
        """Everything held, in the order in which it was gained."""
        return iter(tuple(self._held.values()))

    def __len__(self) -> int:
        """How many addresses this node owns."""
        return len(self._held)
