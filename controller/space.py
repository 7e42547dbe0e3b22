"""The addresses of one family of one pool: who holds which, and the lowest that a claim could have.

Rules kept here:

* Addresses are positions, counted from 0 through the networks in the order listed: the lowest position is the lowest
  address of the first network that has one, which is the one to give (metallb-interface.md §3.6).
* Nothing is enumerated: what is written down is what is held, or was; a /64 costs no more than a /30.
* The lowest free position is at hand, and a shareable one is found without passing twice over those without room.

Source: docs/specs/metallb-interface.md §3.5, 3.6.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field
from heapq import heappop, heappush, nsmallest
from ipaddress import IPv6Address
from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cluster.model import Address, IPFamily, Network, ObjectName
    from controller.claims import Claim, Port, Share

MAX_REMEMBERED_PORTS: Final = 64
"""Sets of ports of one share for which it is remembered where the search left off. Beyond it the search starts anew."""
MAX_NAMED: Final = 5
"""Services named in a refusal."""
_BUGGY_OCTETS: Final = (0, 255)


@dataclass(slots=True)
class Holders:
    """The services on one address. They are of one share, unless there is only one."""

    claims: dict[ObjectName, Claim] = field(default_factory=dict)
    ports: dict[Port, ObjectName] = field(default_factory=dict)

    def add(self, claim: Claim) -> None:
        """Put a service on it, which :meth:`refusal` does not speak against."""
        self.claims[claim.service] = claim
        self.ports.update(dict.fromkeys(claim.ports, claim.service))

    def remove(self, service: ObjectName) -> Claim:
        """Take a service off it."""
        claim = self.claims.pop(service)
        for port in claim.ports:
            del self.ports[port]
        return claim

    def has_room(self, claim: Claim) -> bool:
        """Whether a service of their share has its ports free here."""
        return not any(port in self.ports for port in claim.ports)

    def refusal(self, claim: Claim, address: Address) -> str | None:
        """Why the service cannot be here with the others; None if it can. Its own earlier claim is no hindrance."""
        other = next((other for name, other in self.claims.items() if name != claim.service), None)
        if other and (claim.share is None or claim.share != other.share):
            return f'can\'t change sharing key for "{claim.service}", address also in use by {self._others(claim)}'
        for transport, number in claim.ports:
            if self.ports.get((transport, number), claim.service) != claim.service:
                return f'port {transport}/{number} is already in use on "{address}"'
        return None

    def _others(self, claim: Claim) -> str:
        others = nsmallest(MAX_NAMED + 1, (name for name in self.claims if name != claim.service))
        return ",".join([*map(str, others[:MAX_NAMED]), *(["…"] if len(others) > MAX_NAMED else [])])


class Space:
    """The addresses of one family of one pool."""

    def __init__(self, pool: str, family: IPFamily, networks: Sequence[Network], avoid_buggy_ips: bool) -> None:
        self.pool = pool
        self.family = family
        self.networks = networks
        self._starts = [0, *accumulate(network.num_addresses for network in networks)]
        self._avoids = avoid_buggy_ips
        self._holders: dict[int, Holders] = {}
        self._free = _FreePositions(self._starts[-1], self.is_usable)
        self._shared: dict[Share, _SharedPositions] = {}

    def address_at(self, position: int) -> Address:
        """The address there."""
        number = bisect_right(self._starts, position) - 1
        return self.networks[number][position - self._starts[number]]

    def position_of(self, address: Address, network: int) -> int:
        """Where the address is, which lies in the network of that number."""
        return self._starts[network] + int(address) - int(self.networks[network].network_address)

    def is_usable(self, position: int) -> bool:
        """Whether the pool gives it out: not if it avoids IPv4 addresses that end in 0 or 255, and this does."""
        if not self._avoids:
            return True
        address = self.address_at(position)
        return isinstance(address, IPv6Address) or int(address) & 0xFF not in _BUGGY_OCTETS

    def refusal(self, position: int, claim: Claim) -> str | None:
        """Why the claim cannot be there; None if it can."""
        holders = self._holders.get(position)
        return holders.refusal(claim, self.address_at(position)) if holders else None

    def lowest(self, claim: Claim) -> int | None:
        """The lowest position the claim could have, free or shared; None if there is none."""
        free = self._free.lowest
        shared = self._shared.get(claim.share) if claim.share else None
        if shared is None:
            return free
        end = self._starts[-1] if free is None else free
        found = shared.lowest(claim.ports, end, lambda position: self._holders[position].has_room(claim))
        return free if found is None else found

    def add(self, position: int, claim: Claim) -> None:
        """Put the claim there, where nothing refuses it."""
        holders = self._holders.get(position)
        if holders is None:
            holders = self._holders[position] = Holders()
            self._free.take(position)
            if claim.share:
                self._shared.setdefault(claim.share, _SharedPositions()).add(position)
        holders.add(claim)

    def remove(self, position: int, service: ObjectName) -> None:
        """Take the service off the address there."""
        holders = self._holders[position]
        share = holders.remove(service).share
        shared = self._shared[share] if share else None
        if holders.claims:
            assert shared is not None, "only a share has several holders"
            shared.search_from(position)
            return
        del self._holders[position]
        self._free.give_back(position)
        if share and shared and not shared.remove(position):
            del self._shared[share]


class _FreePositions:
    """The lowest position that nobody holds, kept up to date.

    Positions from ``_next`` on were never passed; those below it that came back wait in a heap.
    """

    def __init__(self, size: int, is_usable: Callable[[int], bool]) -> None:
        self._size = size
        self._is_usable = is_usable
        self._taken: set[int] = set()
        self._next = 0
        self._returned: list[int] = []
        self._waiting: set[int] = set()  # what is in the heap, so that nothing is in it twice
        self._settle()

    @property
    def lowest(self) -> int | None:
        """None when every position is taken or not usable."""
        if self._returned:
            return self._returned[0]
        return self._next if self._next < self._size else None

    def take(self, position: int) -> None:
        """Somebody holds it now."""
        self._taken.add(position)
        self._settle()

    def give_back(self, position: int) -> None:
        """Nobody holds it any more."""
        self._taken.remove(position)
        if position < self._next and position not in self._waiting:
            heappush(self._returned, position)
            self._waiting.add(position)

    def _settle(self) -> None:
        """What is offered next is free."""
        while self._returned and self._returned[0] in self._taken:
            self._waiting.remove(heappop(self._returned))
        while self._next < self._size and (self._next in self._taken or not self._is_usable(self._next)):
            self._next += 1


class _SharedPositions:
    """The positions whose holders are of one share."""

    def __init__(self) -> None:
        self._positions: list[int] = []
        self._floors: dict[tuple[Port, ...], int] = {}  # below it no position has these ports free

    def add(self, position: int) -> None:
        """A first holder came."""
        insort(self._positions, position)
        self.search_from(position)

    def remove(self, position: int) -> bool:
        """The last holder went. Whether there are others."""
        del self._positions[bisect_left(self._positions, position)]
        return bool(self._positions)

    def search_from(self, position: int) -> None:
        """There is more room at the position than there was."""
        for ports, floor in self._floors.items():
            if floor > position:
                self._floors[ports] = position

    def lowest(self, ports: tuple[Port, ...], end: int, has_room: Callable[[int], bool]) -> int | None:
        """The lowest position below ``end`` that has room for the ports; None if none has."""
        first = bisect_left(self._positions, self._floors.get(ports, 0))
        last = bisect_left(self._positions, end)
        candidates = map(self._positions.__getitem__, range(first, last))
        found = next(filter(has_room, candidates), None)
        self._remember(ports, end if found is None else found)
        return found

    def _remember(self, ports: tuple[Port, ...], floor: int) -> None:
        if ports not in self._floors and len(self._floors) >= MAX_REMEMBERED_PORTS:
            self._floors.clear()
        self._floors[ports] = floor
