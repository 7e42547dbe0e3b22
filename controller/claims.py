"""What a service asks of the allocator: its claim to addresses, and the families it can be served in.

Source: docs/specs/metallb-interface.md §3.4, 3.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from cluster.model import (
    Address,
    ExternalTrafficPolicy,
    IPFamily,
    IPFamilyPolicy,
    ObjectName,
    Pairs,
    Service,
    Transport,
)
from controller.events import Reason

Port: TypeAlias = tuple[Transport, int]
Families: TypeAlias = tuple[IPFamily, ...]
"""One address of each is wanted, all from one pool. IPv4 comes first."""

FAMILY_OF_VERSION: Final = {4: IPFamily.IPV4, 6: IPFamily.IPV6}


@dataclass(frozen=True, slots=True)
class Share:
    """Services of the same share may hold one address together, on different ports (§3.5)."""

    sharing_key: str
    backend_key: Pairs | None
    """The pod selector of a service with traffic policy Local, whose own pods are the only ones to answer; None of the
    others."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Who holds an address, on which ports, and with whom it may be shared."""

    service: ObjectName
    ports: tuple[Port, ...] = ()
    """Sorted."""
    share: Share | None = None
    """None: with nobody."""


class Unservable(Exception):
    """No address could serve the service. The text is for people and says what would help."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def claim_of(service: Service) -> Claim:
    """What the service claims of any address."""
    ports = tuple(sorted({(port.transport, port.port) for port in service.ports}))
    return Claim(service.name, ports, _share_of(service))


def _share_of(service: Service) -> Share | None:
    if service.sharing_key is None:
        return None
    is_local = service.external_traffic_policy is ExternalTrafficPolicy.LOCAL
    return Share(service.sharing_key, service.selector if is_local else None)


def families_of(addresses: tuple[Address, ...]) -> Families:
    """The families of the addresses, sorted."""
    return tuple(sorted(FAMILY_OF_VERSION[address.version] for address in addresses))


def family_choices(service: Service, default_family: IPFamily | None) -> tuple[Families, ...]:
    """The families that would do, the best first; ``default_family`` is of those that the cluster gave no IP.

    Raises Unservable.
    """
    families = families_of(service.cluster_ips) or _families_without_cluster_ip(service, default_family)
    if not families:
        raise Unservable(
            Reason.NO_FAMILY, "the service has no cluster IP, which would tell its address family; give it a clusterIP"
        )
    if len(set(families)) < len(families):
        raise Unservable(Reason.NO_FAMILY, "the cluster IPs are of one family; write one, or one of each family")
    match service.ip_family_policy:
        case IPFamilyPolicy.REQUIRE_DUAL_STACK if len(families) == 1:
            raise Unservable(
                Reason.NOT_ENOUGH_CLUSTER_IPS, "RequireDualStack needs two cluster IPs, one of each family"
            )
        case IPFamilyPolicy.PREFER_DUAL_STACK if len(families) > 1:
            primary = service.ip_families[0] if service.ip_families else families[0]
            return families, (primary,), tuple(family for family in families if family is not primary)
        case _:
            return (families,)


def _families_without_cluster_ip(service: Service, default_family: IPFamily | None) -> Families:
    if default_family is None:
        return ()
    return tuple(sorted(service.ip_families)) or (default_family,)
