"""Services and pools in a line, and a source that writes what the reconciler says."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any

from cluster.model import (
    Address,
    Configuration,
    ExternalTrafficPolicy,
    ObjectName,
    Pool,
    Service,
    ServicePort,
    ServiceStatus,
    ServiceType,
    Snapshot,
    Transport,
)
from cluster.ranges import parse_networks
from controller.reconciler import Outcome, Reconciler


def name(text: str) -> ObjectName:
    """`name`, in namespace `default`, or `namespace/name`."""
    namespace, _, last = text.rpartition("/")
    return ObjectName(namespace or "default", last)


def addresses(text: str) -> tuple[Address, ...]:
    """Addresses between blanks."""
    return tuple(ip_address(part) for part in text.split())


def ports(text: str) -> tuple[ServicePort, ...]:
    """Ports such as `80 53/UDP`."""
    split = [part.partition("/") for part in text.split()]
    return tuple(ServicePort(transport=Transport(kind or "TCP"), port=int(number)) for number, _, kind in split)


def pool(name: str, *networks: str, **options: bool) -> Pool:
    """A pool of CIDRs and ranges."""
    return Pool(name=name, networks=tuple(n for text in networks for n in parse_networks(text)), **options)


def service(
    text: str,
    *,
    port: str = "80",
    ingress: str = "",
    noted: str | None = None,
    asks: str = "",
    key: str | None = None,
    cluster: str = "10.96.0.1",
    local: bool = False,
    kind: ServiceType = ServiceType.LOAD_BALANCER,
    **others: Any,
) -> Service:
    """A service of type LoadBalancer with one cluster IP; `asks` are the addresses it asks for,
    `key` is what it shares under."""
    return Service(
        name=name(text),
        type=kind,
        ports=ports(port),
        ingress=addresses(ingress),
        allocated_from_pool=noted,
        requested_addresses=addresses(asks),
        sharing_key=key,
        cluster_ips=addresses(cluster),
        external_traffic_policy=ExternalTrafficPolicy.LOCAL if local else ExternalTrafficPolicy.CLUSTER,
        **others,
    )


def snapshot(pools: Iterable[Pool], services: Iterable[Service], is_configured: bool = True) -> Snapshot:
    """Everything at one instant."""
    return Snapshot(
        config=Configuration(pools=tuple(pools)),
        is_configured=is_configured,
        services=tuple(sorted(services, key=lambda service: service.name)),
    )


@dataclass
class Source:
    """What a folder is to the controller: it holds pools and services, and statuses once they are written."""

    pools: tuple[Pool, ...] = ()
    services: dict[ObjectName, Service] = field(default_factory=dict)
    statuses: dict[ObjectName, ServiceStatus] = field(default_factory=dict)
    reconciler: Reconciler = field(default_factory=Reconciler)
    outcome: Outcome = field(default_factory=Outcome)
    """Of the last turn."""

    def put(self, *services: Service) -> None:
        """Add or replace services. The status of one that is there stays, unless another is given."""
        for new in services:
            old = self.services.get(new.name)
            if old and not new.ingress:
                new = replace(new, ingress=old.ingress, allocated_from_pool=old.allocated_from_pool)
            self.services[new.name] = new

    def take_out(self, *names: str) -> None:
        for text in names:
            self.services.pop(name(text))
            self.statuses.pop(name(text), None)

    def look(self) -> Outcome:
        """One turn of the controller, without writing what it says."""
        self.outcome = self.reconciler.reconcile(snapshot(self.pools, self.services.values()))
        return self.outcome

    def write(self, outcome: Outcome) -> None:
        for status in outcome.statuses:
            self.statuses[status.service] = status
            self.services[status.service] = replace(
                self.services[status.service], ingress=status.ingress, allocated_from_pool=status.pool
            )

    def turn(self) -> Outcome:
        """One turn, and what it says is written; that it is written changes nothing more."""
        outcome = self.look()
        self.write(outcome)
        assert self.reconciler.reconcile(snapshot(self.pools, self.services.values())) == Outcome()
        return outcome

    def restart(self) -> None:
        """The controller is another process now, and knows what stands in the statuses."""
        self.reconciler = Reconciler()

    def has(self, text: str) -> str:
        """The addresses that stand in the status, between blanks."""
        return " ".join(map(str, self.services[name(text)].ingress))

    def everybody(self) -> dict[str, str]:
        return {service.name.name: self.has(str(service.name)) for service in self.services.values()}

    def why(self, text: str) -> str:
        """What the status says of why there is no address."""
        return self.statuses[name(text)].message or ""

    def told(self) -> list[str]:
        """The events of the last turn: `name: Type Reason`."""
        return [f"{event.service.name}: {event.type} {event.reason}" for event in self.outcome.events]

    def messages(self) -> list[str]:
        """What the events of the last turn say."""
        return [event.message for event in self.outcome.events]


def given(pools: Iterable[Pool], *services: Service) -> Source:
    """A source in which these stand, before the controller has looked."""
    source = Source(tuple(pools))
    source.put(*services)
    return source


def settled(pools: Iterable[Pool], *services: Service) -> Source:
    """The same after a turn."""
    source = given(pools, *services)
    source.turn()
    return source
