"""What is right by itself and yet will not do what it seems to: objects that name each other and do not meet.

Rules kept here:

* Warnings, not mistakes: the object that is named may come later, or be elsewhere. What the manifests say nothing of
  (no configuration, no endpoints at all) is not missed.
* Services of a load balancer class are for whoever serves that class to judge.

Source: docs/specs/metallb-interface.md §2.2, 3.1, 3.6, 3.11.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from cluster.errors import Problem, quote
from cluster.manifests import CONFIG_KIND, CONFIG_NAME, CONFIG_NAMESPACE
from cluster.model import ServiceType
from cluster.shapes import alternatives

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cluster.manifests import Reading
    from cluster.model import Address, Configuration, Pool, Service

SERVICE_KIND: Final = "Service"


def cross_check(reading: Reading) -> tuple[Problem, ...]:
    """Every warning, by place. The manifests are read without problems."""
    snapshot, places = reading.snapshot, reading.places
    balanced = [
        (service, places[SERVICE_KIND, service.name.namespace, service.name.name])
        for service in snapshot.services
        if service.type is ServiceType.LOAD_BALANCER and service.load_balancer_class is None
    ]
    warnings: list[Problem] = []
    if snapshot.is_configured:
        pools = {pool.name: pool for pool in snapshot.config.pools}
        warnings += (Problem(place, *said) for service, place in balanced for said in _about_pools(service, pools))
        place = places[CONFIG_KIND, CONFIG_NAMESPACE, CONFIG_NAME]
        warnings += (Problem(place, *said) for said in _about_advertisements(snapshot.config))
    if snapshot.endpoint_slices:
        endpoints = [(entry.service, endpoint) for entry in snapshot.endpoint_slices for endpoint in entry.endpoints]
        count = Counter(name for name, _ in endpoints)
        usable = Counter(name for name, endpoint in endpoints if endpoint.is_usable)
        warnings += (
            Problem(place, *_about_endpoints(service, count[service.name]))
            for service, place in balanced
            if not usable[service.name]
        )
    return tuple(sorted(warnings))


def _about_pools(service: Service, pools: Mapping[str, Pool]) -> Iterator[tuple[str, str]]:
    name, wanted = quote(str(service.name)), service.address_pool
    if wanted is not None and wanted not in pools:
        cure = f"write {alternatives(map(quote, pools))}" if pools else "configure it"
        yield f"{name} asks for the pool {quote(wanted)}, and there is none of that name", cure
    for address in service.requested_addresses:
        holder = next((pool.name for pool in pools.values() if _has(pool, address)), None)
        if holder is None:
            yield f"{name} asks for {address}, which is in no pool", "ask for another, or put it into a pool"
        elif wanted is not None and wanted in pools and holder != wanted:
            message = (
                f"{name} asks for {address}, which is in the pool {quote(holder)}, and for the pool {quote(wanted)}"
            )
            yield message, "leave out one of the two"


def _has(pool: Pool, address: Address) -> bool:
    return any(address in network for network in pool.networks)


def _about_advertisements(config: Configuration) -> Iterator[tuple[str, str]]:
    layer2 = {name for advertisement in config.l2_advertisements for name in advertisement.pools}
    bgp = {name for advertisement in config.bgp_advertisements for name in advertisement.pools}
    for pool in config.pools:
        name = quote(pool.name)
        if pool.name in layer2 or (pool.name in bgp and config.peers):
            continue
        if pool.name in bgp:
            yield (
                f"the pool {name} is announced by BGP, and there are no peers",
                "add peers, or write `protocol: layer2`",
            )
        else:
            yield f"the pool {name} is announced by nothing", "add an advertisement"


def _about_endpoints(service: Service, count: int) -> tuple[str, str]:
    name = quote(str(service.name))
    if count:
        return f"none of the {count} endpoints of {name} takes connections", "nobody announces it until one is ready"
    return f"{name} has no endpoints", "nobody announces it until an EndpointSlice names some"
