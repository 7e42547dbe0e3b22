"""Which service holds which addresses, and the lowest that is left.

Rules kept here:

* Everything or nothing: what is refused leaves all as it was.
* Pools are tried in the order configured, one that holds every family asked for, and in it the lowest usable address
  of each; one that may be shared is as good as a free one. Where MetalLB's order is random, ours is the operator's.
* Nothing is scanned: an address leads to its holders, a service to its addresses, a pool to its lowest free one.

Source: docs/specs/metallb-interface.md §3.5, 3.6; the texts of refusals §3.10.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from controller.claims import FAMILY_OF_VERSION
from controller.space import Space

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cluster.model import Address, IPFamily, Network, ObjectName, Pool
    from controller.claims import Claim, Families

Place: TypeAlias = tuple[Space, int]
"""An address, as the position in its space."""


class Refused(Exception):
    """A claim that cannot be granted. Nothing has changed; the text says why, in the words of §3.10."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """What a service holds."""

    claim: Claim
    addresses: tuple[Address, ...]
    pool: str


class Allocator:
    """Gives out the addresses of pools. Inputs: pools, assignments, releases; everything else changes nothing."""

    def __init__(self, pools: Iterable[Pool] = ()) -> None:
        self._atlas = _Atlas(pools)
        self._allocations: dict[ObjectName, Allocation] = {}
        self.released = 0
        """How often something became free that a refused claim may have waited for."""

    def allocation(self, service: ObjectName) -> Allocation | None:
        """What the service holds."""
        return self._allocations.get(service)

    def replace_pools(self, pools: Iterable[Pool]) -> None:
        """Give out these from now on. Who holds an address that is in none of them, or avoided, loses it."""
        before = self._allocations
        self._atlas = _Atlas(pools)
        self._allocations = {}
        self.released += 1
        for allocation in before.values():
            try:
                self.assign(allocation.claim, allocation.addresses)
            except Refused:
                continue

    def assign(self, claim: Claim, addresses: tuple[Address, ...], pool: str | None = None) -> Allocation:
        """Give the service these addresses, in place of what it holds; of this pool, if one is named.

        Raises Refused: they are in no pool or not in one, not given out, or held by others who do not share.
        """
        places = self._locate(addresses, pool)
        for space, position in places:
            if refusal := space.refusal(position, claim):
                raise Refused(refusal)
        return self._hold(Allocation(claim, addresses, places[0][0].pool), places)

    def allocate(self, claim: Claim, choices: Sequence[Families], pool: str | None = None) -> Allocation:
        """Give a service that holds nothing the lowest addresses of the first families that a pool has.

        Without a name of a pool those that assign automatically are tried. Raises Refused.
        """
        assert claim.service not in self._allocations, "its own addresses would count as taken"
        spaces_of = self._atlas.automatic if pool is None else [self._spaces_of(pool)]
        for families in choices:
            for spaces in spaces_of:
                places = _lowest(claim, [spaces.get(family) for family in families])
                if places:
                    addresses = tuple(space.address_at(position) for space, position in places)
                    return self._hold(Allocation(claim, addresses, places[0][0].pool), places)
        if pool is None:
            raise Refused(f"no available IPs: {self._why_none_is_available()}")
        wanted = "dual" if len(choices[0]) > 1 else choices[0][0].lower()
        raise Refused(f"no available IPs in pool {pool} for {wanted} IPFamily")

    def release(self, service: ObjectName) -> None:
        """Take from the service what it holds, if anything."""
        allocation = self._allocations.pop(service, None)
        if allocation:
            self._remove(allocation)
            self.released += 1

    def _why_none_is_available(self) -> str:
        if not self._atlas.spaces:
            return "no pool is configured"
        if not self._atlas.automatic:
            return "no pool assigns automatically, so a service has to ask for one"
        return "the pools that assign automatically have none left"

    def _hold(self, allocation: Allocation, places: Sequence[Place]) -> Allocation:
        service = allocation.claim.service
        if self._allocations.get(service) == allocation:
            return allocation
        self.release(service)
        for space, position in places:
            space.add(position, allocation.claim)
        self._allocations[service] = allocation
        return allocation

    def _remove(self, allocation: Allocation) -> None:
        for address in allocation.addresses:
            place = self._atlas.place_of(address)
            assert place is not None, "what is held lies in a pool"
            space, position = place
            space.remove(position, allocation.claim.service)

    def _locate(self, addresses: tuple[Address, ...], pool: str | None) -> list[Place]:
        """Where the addresses are, which lie in one pool. Raises Refused."""
        if pool is not None:
            self._spaces_of(pool)
        places = [place for address in addresses if (place := self._atlas.place_of(address))]
        pools_hit = {space.pool for space, _ in places}
        families_hit = {space.family for space, position in places if space.is_usable(position)}
        if len(pools_hit) != 1 or len(families_hit) != len(addresses):
            raise Refused(f"{show(addresses)} is not allowed in config")
        if pool is not None and pool not in pools_hit:
            raise Refused(f'{show(addresses)} is in pool "{places[0][0].pool}", and pool "{pool}" is asked for')
        return places

    def _spaces_of(self, pool: str) -> dict[IPFamily, Space]:
        try:
            return self._atlas.spaces[pool]
        except KeyError:
            raise Refused(f'unknown pool "{pool}"') from None


def show(addresses: Iterable[Address]) -> str:
    """Addresses in a message, as MetalLB writes them."""
    quoted = " ".join(f'"{address}"' for address in addresses)
    return f"[{quoted}]"


def _lowest(claim: Claim, spaces: Sequence[Space | None]) -> list[Place]:
    """The lowest place in each space; none if one of them has none."""
    places = [
        (space, position) for space in spaces if space is not None and (position := space.lowest(claim)) is not None
    ]
    return places if len(places) == len(spaces) else []


@dataclass(slots=True)
class _Networks:
    """The networks of all pools of one family, by their first address; they do not overlap."""

    firsts: list[int] = field(default_factory=list)
    numbers: list[tuple[Space, int]] = field(default_factory=list)
    """The space, and the number of the network in it."""


class _Atlas:
    """Where every address of the pools lies."""

    def __init__(self, pools: Iterable[Pool]) -> None:
        self.spaces: dict[str, dict[IPFamily, Space]] = {}
        self.automatic: list[dict[IPFamily, Space]] = []
        """Of the pools that assign automatically, in order."""
        for pool in pools:
            self.spaces[pool.name] = spaces = _spaces_in(pool)
            if pool.auto_assign:
                self.automatic.append(spaces)
        self._networks = {4: _Networks(), 6: _Networks()}
        found = [
            (int(network.network_address), network.version, space, number)
            for spaces in self.spaces.values()
            for space in spaces.values()
            for number, network in enumerate(space.networks)
        ]
        for first, version, space, number in sorted(found, key=lambda entry: entry[0]):
            self._networks[version].firsts.append(first)
            self._networks[version].numbers.append((space, number))

    def place_of(self, address: Address) -> Place | None:
        """The space of the address and its position there; None if it is in no pool."""
        networks = self._networks[address.version]
        index = bisect_right(networks.firsts, int(address)) - 1
        if index < 0:
            return None
        space, number = networks.numbers[index]
        return (space, space.position_of(address, number)) if address in space.networks[number] else None


def _spaces_in(pool: Pool) -> dict[IPFamily, Space]:
    networks: dict[IPFamily, list[Network]] = {}
    for network in pool.networks:
        networks.setdefault(FAMILY_OF_VERSION[network.version], []).append(network)
    return {family: Space(pool.name, family, listed, pool.avoid_buggy_ips) for family, listed in networks.items()}
