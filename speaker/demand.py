"""What the cluster wants announced: addresses in groups that move as one, and the facts about nodes that bear on it.

Rules kept here:

* A pure function of the snapshot. The slow process computes it and sends what changed; the fast one only decides.
* Services that share an address form one group, and a group has one owner (design.md §5).
* Nothing is dropped in silence: an address that no advertisement covers, or that lies in no pool, is a group by itself,
  so that `why` can say so. It does not keep the other addresses of its service from being announced.

Source: design.md §5; docs/specs/metallb-interface.md §3.3, 3.5, 3.11, 4.1.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from cluster.model import (
    Address,
    Configuration,
    EndpointSlice,
    ExternalTrafficPolicy,
    ObjectName,
    Pool,
    Service,
    ServiceType,
    Snapshot,
)

MAX_PART_OBJECTS: Final = 200
"""Groups, nodes, addresses in one message: what the fast process takes in without holding up anything else."""
BUGGY_OCTETS: Final = (0, 255)
"""Last octets of IPv4 addresses that a fabric may treat as a network's own or as a broadcast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Services joined by an address that they share. A group moves as one."""

    key: Address
    """The lowest of the services' first ingress addresses: what is hashed, so both families live on one node."""
    addresses: tuple[Address, ...]
    """Every address of the group, IPv4 before IPv6, ascending."""
    services: tuple[ObjectName, ...]
    """Sorted."""
    pools: tuple[str, ...]
    """The pools that the addresses lie in, sorted; empty when they lie outside of all."""
    advertisements: tuple[str, ...]
    """The L2 advertisements of these pools, sorted; without one nobody announces the group by ARP or NDP."""
    policy: ExternalTrafficPolicy
    """Local when all services are; sharing does not mix the two (metallb-interface.md §3.5)."""
    serving_nodes: tuple[str, ...]
    """Nodes with an endpoint that serves, sorted."""
    is_served: bool
    """Some endpoint serves, on a node that is named or not."""
    spare: Address | None = field(default=None, compare=False)
    """An address of the same pool that no service has: who answers for it too answers for everything (proxy ARP). It
    matters only when an address is new, so a group is not another one for having another spare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What the cluster says of a node (metallb-interface.md §3.11)."""

    name: str
    is_excluded: bool = False
    """It has the label node.kubernetes.io/exclude-from-external-load-balancers."""
    network_unavailable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Everything wanted at one instant. Groups are sorted by key, nodes by name."""

    groups: tuple[Group, ...] = ()
    nodes: tuple[NodeFacts, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandChange:
    """What is different from the demand told before."""

    groups: tuple[Group, ...] = ()
    """New, or changed."""
    gone: tuple[Address, ...] = ()
    """Keys of groups that are no more."""
    nodes: tuple[NodeFacts, ...] = ()
    """New, or changed."""
    gone_nodes: tuple[str, ...] = ()
    is_complete: bool = True
    """The last part of a change: what was told so far is one whole demand."""


def address_order(address: Address) -> tuple[int, int]:
    """What addresses of both families are sorted by: IPv4 before IPv6, ascending."""
    return address.version, int(address)


def demand(snapshot: Snapshot, load_balancer_class: str | None = None) -> Demand:
    """What is wanted of the speakers that serve this class of services; None is the services without a class."""
    services = tuple(
        service
        for service in snapshot.services
        if service.type is ServiceType.LOAD_BALANCER
        and service.load_balancer_class == load_balancer_class
        and service.ingress
    )
    places = _Places(snapshot)
    endpoints = _Endpoints(snapshot.endpoint_slices)
    groups = [_group(members, addresses, places, endpoints) for members, addresses in _joined(services, places)]
    groups.sort(key=lambda group: address_order(group.key))
    nodes = (
        NodeFacts(
            name=node.name,
            is_excluded=node.exclude_from_external_load_balancers,
            network_unavailable=node.network_unavailable,
        )
        for node in snapshot.nodes
    )
    return Demand(groups=tuple(groups), nodes=tuple(sorted(nodes, key=lambda node: node.name)))


def changes(before: Demand, after: Demand, limit: int = MAX_PART_OBJECTS) -> tuple[DemandChange, ...]:
    """What is different, in parts of at most ``limit`` objects; the last one is complete. Empty when nothing is."""
    old_groups = {group.key: group for group in before.groups}
    groups = [group for group in after.groups if old_groups.pop(group.key, None) != group]
    old_nodes = {node.name: node for node in before.nodes}
    nodes = [node for node in after.nodes if old_nodes.pop(node.name, None) != node]
    ends = (len(groups), len(old_groups), len(nodes), len(old_nodes))
    told = sum(ends)
    gone, gone_nodes = list(old_groups), list(old_nodes)

    def part(start: int) -> DemandChange:
        # The four lists end to end, cut every `limit` objects.
        starts = (0, ends[0], ends[0] + ends[1], ends[0] + ends[1] + ends[2])
        cuts = [slice(max(0, start - begin), max(0, start + limit - begin)) for begin in starts]
        return DemandChange(
            groups=tuple(groups[cuts[0]]),
            gone=tuple(gone[cuts[1]]),
            nodes=tuple(nodes[cuts[2]]),
            gone_nodes=tuple(gone_nodes[cuts[3]]),
            is_complete=start + limit >= told,
        )

    return tuple(part(start) for start in range(0, told, limit))


class _Endpoints:
    """Which services are served, and where."""

    def __init__(self, slices: Iterable[EndpointSlice]) -> None:
        self._nodes: dict[ObjectName, dict[str, None]] = {}
        """By service that is served at all, the nodes it is served on."""
        for part in slices:
            if part.service is None:
                continue
            for endpoint in part.endpoints:
                if endpoint.is_usable:
                    nodes = self._nodes.setdefault(part.service, {})
                    if endpoint.node_name is not None:
                        nodes[endpoint.node_name] = None

    def is_served(self, service: ObjectName) -> bool:
        return service in self._nodes

    def nodes(self, service: ObjectName) -> Iterable[str]:
        return self._nodes.get(service, ())


class _Places:
    """Which pool an address lies in, what advertises it, and what else is free there."""

    def __init__(self, snapshot: Snapshot) -> None:
        config = snapshot.config
        self._pools = {pool.name: pool for pool in config.pools}
        self._advertisements = _advertisements(config)
        blocks = sorted(
            (network.version, int(network.network_address), int(network.broadcast_address), pool.name)
            for pool in config.pools
            for network in pool.networks
        )
        self._starts = [block[:2] for block in blocks]
        self._blocks = blocks
        held = [address for service in snapshot.services for address in service.ingress]
        held += [address for node in snapshot.nodes for address in node.internal_addresses]
        self._held = {address_order(address) for address in held}
        self._spares: dict[tuple[str, int], Address | None] = {}

    def pool(self, address: Address) -> str | None:
        """The pool that the address lies in; no two overlap."""
        place = address_order(address)
        index = bisect_right(self._starts, place) - 1
        if index < 0:
            return None
        version, _, end, pool = self._blocks[index]
        return pool if version == place[0] and place[1] <= end else None

    def advertisements(self, pool: str | None) -> tuple[str, ...]:
        return self._advertisements.get(pool, ()) if pool is not None else ()

    def spare(self, pool: str, version: int) -> Address | None:
        """The highest address of the pool's family that nobody has: the lowest are given away first."""
        if (pool, version) not in self._spares:
            self._spares[pool, version] = _spare(self._pools[pool], version, self._held)
        return self._spares[pool, version]


def _advertisements(config: Configuration) -> dict[str, tuple[str, ...]]:
    by_pool: dict[str, list[str]] = {}
    for advertisement in config.l2_advertisements:
        for pool in advertisement.pools:
            by_pool.setdefault(pool, []).append(advertisement.name)
    return {pool: tuple(sorted(names)) for pool, names in by_pool.items()}


def _spare(pool: Pool, version: int, held: set[tuple[int, int]]) -> Address | None:
    make = IPv4Address if version == 4 else IPv6Address
    for network in reversed(pool.networks):
        if network.version != version:
            continue
        # Every step but two in 256 passes over an address that is held, so their number bounds the walk.
        for number in range(int(network.broadcast_address), int(network.network_address) - 1, -1):
            if (version, number) not in held and not (version == 4 and number % 256 in BUGGY_OCTETS):
                return make(number)
    return None


def _joined(services: tuple[Service, ...], places: _Places) -> Iterable[tuple[list[Service], tuple[Address, ...]]]:
    """The services and addresses of each group. Addresses that are not advertised join nothing."""
    parents = list(range(len(services)))

    def find(number: int) -> int:
        while parents[number] != number:
            parents[number] = parents[parents[number]]  # halve the path
            number = parents[number]
        return number

    first_holder: dict[Address, int] = {}
    unadvertised: dict[Address, dict[int, None]] = {}
    for number, service in enumerate(services):
        for address in service.ingress:
            if address in unadvertised:
                unadvertised[address][number] = None
            elif address in first_holder:
                parents[find(number)] = find(first_holder[address])
            elif places.advertisements(places.pool(address)):
                first_holder[address] = number
            else:
                unadvertised[address] = {number: None}
    groups: dict[int, tuple[list[Service], list[Address]]] = {}
    for address, number in first_holder.items():
        groups.setdefault(find(number), ([], []))[1].append(address)
    for number, service in enumerate(services):
        if (root := find(number)) in groups:
            groups[root][0].append(service)
    for members, addresses in groups.values():
        yield members, tuple(sorted(addresses, key=address_order))
    for address, holders in unadvertised.items():
        yield [services[number] for number in holders], (address,)


def _group(services: list[Service], addresses: tuple[Address, ...], places: _Places, endpoints: _Endpoints) -> Group:
    names = sorted(service.name for service in services)
    pools = [places.pool(address) for address in addresses]
    return Group(
        key=_key(services, addresses),
        addresses=addresses,
        services=tuple(names),
        pools=tuple(sorted({pool for pool in pools if pool is not None})),
        advertisements=tuple(sorted({name for pool in pools for name in places.advertisements(pool)})),
        policy=ExternalTrafficPolicy.LOCAL
        if all(service.external_traffic_policy is ExternalTrafficPolicy.LOCAL for service in services)
        else ExternalTrafficPolicy.CLUSTER,
        serving_nodes=tuple(sorted({node for name in names for node in endpoints.nodes(name)})),
        is_served=any(endpoints.is_served(name) for name in names),
        spare=None if pools[0] is None else places.spare(pools[0], addresses[0].version),
    )


def _key(services: list[Service], addresses: tuple[Address, ...]) -> Address:
    if len(addresses) == 1:
        return addresses[0]
    known = set(addresses)
    firsts = (next(address for address in service.ingress if address in known) for service in services)
    return min(firsts, key=address_order)
