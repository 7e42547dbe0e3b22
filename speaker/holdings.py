"""What this node does with the addresses that it owns: probing before the first use, announcing, or holding back.

Rules kept here:

* An address is announced only while this node owns it, and at most once is it begun and ended.
* Only an address that no member has announced before is probed; at a failover, a restart or a return it is announced
  at once.
* A stranger who holds a new address keeps it: the address is held back and tried again (design.md §5, first use).
* Who yielded is silent until what it decides from changes, or the other says that it withdrew; and for YIELD_TIMEOUT at
  most, since an owner says every minute what is its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address
from itertools import islice
from typing import Final

from cluster.model import Address
from speaker.events import AddressInUse, Announced, Event, ProxyARPFound, Withdrawn, Yielded
from speaker.l2.announcer import Announcer
from speaker.l2.first_use import FirstUse, Free, InUse, Proxy

YIELD_TIMEOUT: Final = 90.0
"""Seconds without a word of the other after which one who yielded announces again."""


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
        self._waiting: dict[Address, None] = {}
        self._yielded: dict[Address, float] = {}
        """Address -> when to announce it again, if nothing changes before."""

    def own(self, address: Address, *, is_fresh: bool, spare: Address | None, may_begin: bool, now: float) -> None:
        """This node owns the address. A fresh one is probed first. What may not begin now waits for :meth:`resume`."""
        if address in self._held:
            return
        asked_too = spare if isinstance(spare, IPv4Address) else None
        holding = Holding(address, Standing.WAITING, now, is_fresh=is_fresh, spare=asked_too)
        self._keep(holding)
        if may_begin:
            self._begin(holding, now)

    def release(self, address: Address, reason: str, now: float) -> None:
        """This node owns the address no longer."""
        holding = self._held.pop(address, None)
        self._waiting.pop(address, None)
        self._yielded.pop(address, None)
        if holding is None or not isinstance(address, IPv4Address):
            return
        self._first_use.cancel(address)
        if holding.standing is Standing.ANNOUNCED:
            self._announcer.withdraw(address, now)
            self._emit(Withdrawn(address, reason))

    def yield_to(self, address: IPv4Address, member: str, reason: str, now: float) -> None:
        """Be silent about an address that a member announces too, until something changes, or for YIELD_TIMEOUT."""
        holding = self._held.get(address)
        if holding is not None:
            self._announcer.withdraw(address, now)
            self._keep(replace(holding, standing=Standing.YIELDED, since=now, detail=f"to {member}: {reason}"))
            self._yielded[address] = now + YIELD_TIMEOUT
            self._emit(Yielded(address, member, reason))

    def hear_owner(self, address: Address, now: float) -> None:
        """Another member announces the address, still."""
        if address in self._yielded:
            self._yielded[address] = now + YIELD_TIMEOUT

    def reconsider(self, address: Address | None = None) -> None:
        """What an address (every address) was yielded for has changed."""
        some = [each for each in self._yielded if address in (None, each)]
        self._yielded.update(dict.fromkeys(some, -math.inf))

    def resume(self, limit: int, now: float) -> None:
        """Begin what waits, at most ``limit``, and what was yielded and is due."""
        for address in tuple(islice(self._waiting, limit)):
            self._begin(self._held[address], now)
        for address in [address for address, at in self._yielded.items() if at <= now][:limit]:
            self._begin(self._held[address], now)

    def next_resume(self) -> float:
        """When :meth:`resume` has something to do."""
        return -math.inf if self._waiting else min(self._yielded.values(), default=math.inf)

    def _begin(self, holding: Holding, now: float) -> None:
        address = holding.address
        if not isinstance(address, IPv4Address):
            self._keep(replace(holding, standing=Standing.UNREACHABLE, since=now))
        elif holding.is_fresh:
            self._keep(replace(holding, standing=Standing.PROBING, since=now))
            self._first_use.probe(address, holding.spare, now)
        else:
            self._announce(address, now)

    def settle(self, now: float, *, may_begin: bool) -> None:
        """Act upon what the probes found. What they did not find may mean nothing where nobody could be heard."""
        while (outcome := self._first_use.next_outcome()) is not None:
            holding = self._held.get(outcome.address)
            if holding is None or holding.standing not in (Standing.PROBING, Standing.IN_USE):
                continue
            if not may_begin:
                self._first_use.cancel(outcome.address)
                self._keep(replace(holding, standing=Standing.WAITING, since=now))
                continue
            match outcome:
                case Free(address):
                    self._announce(address, now)
                case Proxy(address, mac, interface):
                    self._emit(ProxyARPFound(address, mac, interface))
                    self._announce(address, now)
                case InUse(address, mac, interface, retry_after):
                    since = holding.since if holding.standing is Standing.IN_USE else now
                    detail = f"by {mac.hex(':')} on {interface}"
                    self._keep(replace(holding, standing=Standing.IN_USE, since=since, detail=detail))
                    self._emit(AddressInUse(address, mac, interface, retry_after))

    def _announce(self, address: IPv4Address, now: float) -> None:
        self._announcer.announce(address, now)
        self._keep(Holding(address, Standing.ANNOUNCED, now))
        self._emit(Announced(address, self._announcer.interface_names))

    def _keep(self, holding: Holding) -> None:
        self._held[holding.address] = holding
        self._yielded.pop(holding.address, None)
        if holding.standing is Standing.WAITING:
            self._waiting[holding.address] = None
        else:
            self._waiting.pop(holding.address, None)

    def get(self, address: Address) -> Holding | None:
        """What is done with an address; None when this node does not own it."""
        return self._held.get(address)

    def __iter__(self) -> Iterator[Holding]:
        """Everything held, in the order in which it was gained."""
        return iter(tuple(self._held.values()))

    def __len__(self) -> int:
        """How many addresses this node owns."""
        return len(self._held)
