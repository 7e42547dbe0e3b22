"""What the cluster wants, as frozen values: services, endpoints, nodes, pools, advertisements, peers, in one snapshot.

Rules kept here:

* The standard library only, and nothing of ours: every process of Starling can hold these types.
* Values are checked where they are read (`cluster.manifests`); nothing behind the readers checks them again.
* Everything is immutable, hashable and compares by value. Mappings are sorted tuples of pairs, so equal objects have
  one form. Names of fields are MetalLB's and Kubernetes' own, in Python's spelling.
* The types do not say which manifest they came from: MetalLB's ConfigMap and its custom resources mean the same.

Source: docs/specs/metallb-interface.md §1 (configuration), §3 (services, nodes).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
Pairs: TypeAlias = tuple[tuple[str, str], ...]
"""A mapping from text to text, sorted by key."""


class IPFamily(StrEnum):
    """An address family, as Kubernetes writes it."""

    IPV4 = "IPv4"
    IPV6 = "IPv6"


class IPFamilyPolicy(StrEnum):
    """How many families a service asks for (metallb-interface.md §3.4)."""

    SINGLE_STACK = "SingleStack"
    PREFER_DUAL_STACK = "PreferDualStack"
    REQUIRE_DUAL_STACK = "RequireDualStack"


class ExternalTrafficPolicy(StrEnum):
    """Whether any node may take a service's traffic, or only one with an endpoint of its own."""

    CLUSTER = "Cluster"
    LOCAL = "Local"


class ServiceType(StrEnum):
    """Only services of type LoadBalancer get an address; the others are kept to see one change its type."""

    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"
    EXTERNAL_NAME = "ExternalName"


class Transport(StrEnum):
    """The protocol of a service's port."""

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"


class Operator(StrEnum):
    """How a label is compared with the values of a requirement."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


# ---- configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Addresses that services may get (metallb-interface.md §1.2)."""

    name: str
    networks: tuple[Network, ...]
    """In the order listed, ranges as their minimal CIDRs, ascending. None overlaps another, in any pool."""
    auto_assign: bool = True
    """False: only a service that names the pool or an address of it gets one."""
    avoid_buggy_ips: bool = False
    """True: no IPv4 address whose last octet is 0 or 255 is given out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class L2Advertisement:
    """Addresses of these pools are announced by ARP and NDP."""

    name: str
    pools: tuple[str, ...]


@dataclass(frozen=True, slots=True, order=True)
class Community:
    """A BGP community (RFC 1997): two halves of 16 bits."""

    high: int
    low: int

    def __str__(self) -> str:
        return f"{self.high}:{self.low}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BGPAdvertisement:
    """Addresses of these pools are announced to BGP peers (metallb-interface.md §1.3)."""

    name: str
    pools: tuple[str, ...]
    aggregation_length: int = 32
    """Prefix length of the IPv4 routes that are announced."""
    aggregation_length_v6: int = 128
    """Prefix length of the IPv6 routes that are announced."""
    local_pref: int = 0
    """LOCAL_PREF, told to internal peers only."""
    communities: tuple[Community, ...] = ()
    """Sorted, each once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One condition on a label. `values` is empty for Exists and DoesNotExist."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def is_met_by(self, labels: Pairs) -> bool:
        """Whether an object with these labels meets it; a label that is absent is in no set of values."""
        value = dict(labels).get(self.key)
        match self.operator:
            case Operator.IN:
                return value is not None and value in self.values
            case Operator.NOT_IN:
                return value is None or value not in self.values
            case Operator.EXISTS:
                return value is not None
            case Operator.DOES_NOT_EXIST:
                return value is None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSelector:
    """All requirements together; none selects everything."""

    requirements: tuple[Requirement, ...] = ()

    def selects(self, labels: Pairs) -> bool:
        """Whether an object with these labels meets every requirement."""
        return all(requirement.is_met_by(labels) for requirement in self.requirements)


@dataclass(frozen=True, slots=True, kw_only=True)
class BFDProfile:
    """How a session watches its peer (metallb-interface.md §1.5). Intervals in milliseconds; None is the default."""

    name: str
    receive_interval: int | None = None
    transmit_interval: int | None = None
    detect_multiplier: int | None = None
    echo_interval: int | None = None
    echo_mode: bool = False
    passive_mode: bool = False
    minimum_ttl: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A BGP router to hold a session with (metallb-interface.md §1.4). Times in whole seconds."""

    name: str
    my_asn: int
    peer_asn: int
    peer_address: Address
    peer_port: int = 179
    source_address: Address | None = None
    hold_time: int = 90
    """0 switches keepalives off; otherwise 3 or more."""
    keepalive_time: int | None = None
    """None is a third of the hold time."""
    router_id: IPv4Address | None = None
    """None is the node's address."""
    node_selectors: tuple[LabelSelector, ...] = (LabelSelector(),)
    """The session is held on nodes that one of them selects."""
    password: str | None = None
    """For TCP MD5 signatures."""
    bfd_profile: str | None = None
    ebgp_multihop: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What the operator configured, in the order written. It is replaced whole, or not at all."""

    pools: tuple[Pool, ...] = ()
    l2_advertisements: tuple[L2Advertisement, ...] = ()
    bgp_advertisements: tuple[BGPAdvertisement, ...] = ()
    peers: tuple[Peer, ...] = ()
    bfd_profiles: tuple[BFDProfile, ...] = ()


# ---- objects of the cluster


@dataclass(frozen=True, slots=True, order=True)
class ObjectName:
    """A namespaced name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class ServicePort:
    """A port on which a service is reached from outside."""

    transport: Transport
    port: int
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service, and what it asks for by its spec and its annotations (metallb-interface.md §3.1–3.5)."""

    name: ObjectName
    type: ServiceType
    labels: Pairs = ()
    ports: tuple[ServicePort, ...] = ()
    selector: Pairs = ()
    cluster_ips: tuple[Address, ...] = ()
    """Empty before the cluster gave any, and for headless services."""
    ip_families: tuple[IPFamily, ...] = ()
    ip_family_policy: IPFamilyPolicy | None = None
    """None where the manifest leaves it to the cluster."""
    external_traffic_policy: ExternalTrafficPolicy = ExternalTrafficPolicy.CLUSTER
    load_balancer_class: str | None = None
    requested_addresses: tuple[Address, ...] = ()
    """From `spec.loadBalancerIP` or the annotation `loadBalancerIPs`: one, or one of each family."""
    address_pool: str | None = None
    """The pool it asks for."""
    sharing_key: str | None = None
    """The annotation `allow-shared-ip`."""
    allocated_from_pool: str | None = None
    """The pool its present addresses came from, as the controller noted it."""
    ingress: tuple[Address, ...] = ()
    """The addresses it has: `status.loadBalancer.ingress`."""
    deprecated_annotations: tuple[str, ...] = ()
    """Annotations used under MetalLB's old prefix, sorted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    """What the controller wants to stand in a service's status (metallb-interface.md §3.7, 3.10)."""

    service: ObjectName
    ingress: tuple[Address, ...] = ()
    """Its addresses, IPv4 before IPv6 where it did not ask for another order. Empty clears the status."""
    pool: str | None = None
    """The pool they are from: the annotation `ip-allocated-from-pool`."""
    reason: str | None = None
    """Why it has none, in one word of Kubernetes' kind: AllocationFailed and others; None where it wants none."""
    message: str | None = None
    """The same for people. None where the reason is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What stands behind a service. `ready` and `serving` are None where the cluster says nothing."""

    addresses: tuple[Address, ...]
    node_name: str | None = None
    ready: bool | None = None
    serving: bool | None = None

    @property
    def is_usable(self) -> bool:
        """Whether it takes connections: ready or unknown, or serving while it ends (metallb-interface.md §3.11)."""
        return self.ready is not False or self.serving is True


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSlice:
    """Some of the endpoints of one service."""

    name: ObjectName
    service: ObjectName | None
    """None where the slice names no service."""
    endpoints: tuple[Endpoint, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A machine of the cluster (metallb-interface.md §3.11)."""

    name: str
    labels: Pairs = ()
    internal_addresses: tuple[Address, ...] = ()
    exclude_from_external_load_balancers: bool = False
    """It has the label of this name, whatever its value."""
    network_unavailable: bool = False
    """Its condition NetworkUnavailable is True."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """A namespace and the labels that selectors look at."""

    name: str
    labels: Pairs = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything at one instant, swapped whole. Objects are sorted by name."""

    config: Configuration = Configuration()
    is_configured: bool = True
    """False: nothing that configures was found. What was in force before stays (metallb-interface.md §1.1)."""
    services: tuple[Service, ...] = ()
    endpoint_slices: tuple[EndpointSlice, ...] = ()
    nodes: tuple[Node, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
