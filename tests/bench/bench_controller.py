"""The controller: ten thousand services from a /16, and one change among them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv4Network

from cluster.model import Configuration, ObjectName, Pool, Service, ServicePort, ServiceType, Snapshot, Transport
from controller.reconciler import Outcome, Reconciler
from tests.bench.measuring import RUNS, Row, time_calls
from tests.interop.programs import GoPeer

SERVICES = 10_000
POOL = Pool(name="p", networks=(IPv4Network("10.0.0.0/16"),))
SMALL_POOL = Pool(name="p", networks=(IPv4Network("10.0.0.0/24"),))


async def measure(peer: GoPeer | None) -> AsyncIterator[Row]:
    """Nothing here has a counterpart: memberlist gives no addresses."""
    many = f"{SERVICES:,} services"
    for what, services in (
        ("alone", make_services()),
        ("sharing, one port", make_services(sharing_key="k")),
        ("sharing, a port each", make_services(sharing_key="k", first_port=1)),
    ):
        yield Row(f"give addresses to {many}, {what}", [seconds(partial(fresh, services)) for _ in range(RUNS)])
    cluster = Cluster(POOL)
    yield Row(f"start with {many} that have theirs", [seconds(cluster.restart) for _ in range(RUNS)])
    yield Row(f"a pool more under {many}", [seconds(cluster.change_pools) for _ in range(RUNS)])
    yield Row(f"change one of {many}", time_calls(cluster.change_one))
    yield Row(f"take out one of {many} and add one", time_calls(cluster.swap))
    yield Row(f"change one of {many}, all read anew", [seconds(cluster.read_anew) for _ in range(RUNS)])
    full = Cluster(SMALL_POOL)
    yield Row(f"free one address, {SERVICES - 256:,} wait", time_calls(full.swap))


def seconds(operation: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    operation()
    return time.perf_counter() - began


def make_services(
    count: int = SERVICES, sharing_key: str | None = None, first_port: int | None = None
) -> tuple[Service, ...]:
    """Services that have no address, each on port 80 or on a port of its own."""
    return tuple(
        Service(
            name=ObjectName("default", f"s{number:05}"),
            type=ServiceType.LOAD_BALANCER,
            ports=(ServicePort(transport=Transport.TCP, port=80 if first_port is None else first_port + number),),
            cluster_ips=(IPv4Address("10.96.0.1"),),
            sharing_key=sharing_key,
        )
        for number in range(count)
    )


def fresh(services: tuple[Service, ...], pool: Pool = POOL) -> Outcome:
    """The first turn of a controller."""
    return Reconciler().reconcile(Snapshot(config=Configuration(pools=(pool,)), services=services))


class Cluster:
    """Services of which every one has an address, or as many as there are, and a controller that knows it."""

    def __init__(self, pool: Pool, count: int = SERVICES) -> None:
        self.config = Configuration(pools=(pool,))
        self.services = {service.name: service for service in make_services(count)}
        self.reconciler = Reconciler()
        self.middle = ObjectName("default", f"s{count // 2:05}")
        self.names = 0
        self.look()
        self.outcome = self.look()

    def look(self) -> Outcome:
        """A turn, and its statuses written."""
        outcome = self.reconciler.reconcile(Snapshot(config=self.config, services=tuple(self.services.values())))
        for status in outcome.statuses:
            service = self.services[status.service]
            self.services[status.service] = replace(service, ingress=status.ingress, allocated_from_pool=status.pool)
        return outcome

    def restart(self) -> Outcome:
        """Another controller meets what is there."""
        self.reconciler = Reconciler()
        return self.look()

    def change_pools(self) -> Outcome:
        """There is one more pool than there was, or none more."""
        extra = Pool(name="q", networks=(IPv4Network("10.1.0.0/16"),))
        pools = self.config.pools
        self.config = Configuration(pools=pools[:1] if len(pools) > 1 else (*pools, extra))
        return self.look()

    def change_one(self) -> Outcome:
        """Another port of a service in the middle."""
        middle = self.services[self.middle]
        port = ServicePort(transport=Transport.TCP, port=middle.ports[0].port % 60_000 + 1)
        self.services[self.middle] = replace(middle, ports=(port,))
        return self.look()

    def swap(self) -> Outcome:
        """The first service goes, and one comes behind the last."""
        gone = self.services.pop(next(iter(self.services)))
        self.names += 1
        name = ObjectName("default", f"t{self.names:09}")
        self.services[name] = replace(gone, name=name, ingress=(), allocated_from_pool=None)
        return self.look()

    def read_anew(self) -> Outcome:
        """A service is another, and every object is a new one, as when one large file holds them all."""
        self.services = {name: replace(service) for name, service in self.services.items()}
        return self.change_one()
