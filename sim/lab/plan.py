"""What a lab consists of: nodes, services, who asks them; from manifests, or as manifests. Pure.

Rules kept here:

* The manifests decide. A folder that is given says which nodes and services there are; a number of each is first
  written as manifests, and read like any others.
* Whoever asks has an address that the manifests give to nobody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any, Final

import yaml

from cluster.model import Service, ServiceType, Snapshot
from sim.lab.addresses import NETWORK
from sim.lab.errors import LabError

PREFIX_LENGTH: Final = 24
"""Of the LAN that nodes of given manifests are on."""
MAX_NODES: Final = 50
MAX_SERVICES: Final = 100
FIRST_NODE: Final = 21
"""Of generated manifests: the address of the first node, above that of the network."""
FIRST_SERVICE: Final = 100
PORT: Final = 80
TARGET_PORT: Final = 9376
CLIENT: Final = "client"
"""The host that asks over UDP and HTTP."""
OBSERVER: Final = "observer"
"""The host that asks over ARP who has an address."""


@dataclass(frozen=True, slots=True)
class PlannedService:
    """A service of type LoadBalancer, and the port to ask."""

    name: str
    """`NAMESPACE/NAME`."""
    port: int

    def is_called(self, name: str) -> bool:
        """Whether a scenario means this service: the namespace may be left out."""
        return name in (self.name, self.name.partition("/")[2])


@dataclass(frozen=True, slots=True)
class Plan:
    """The hosts of a lab and what is to be reached on them."""

    nodes: Mapping[str, IPv4Interface]
    services: tuple[PlannedService, ...]
    askers: Mapping[str, IPv4Interface]
    """The client and the observer."""

    @property
    def ports(self) -> list[int]:
        """Every port that a workload listens on."""
        return sorted({service.port for service in self.services})

    def service(self, name: str) -> PlannedService | None:
        """The service that a scenario calls so."""
        return next((service for service in self.services if service.is_called(name)), None)


def plan_of(snapshot: Snapshot) -> Plan:
    """The lab that manifests describe. Raises LabError with what is missing in them."""
    nodes = dict(_nodes(snapshot))
    services = tuple(_services(snapshot.services))
    if not nodes:
        raise LabError("the manifests name no node; add a Node with an InternalIP for each machine")
    if not services:
        raise LabError("the manifests have no service of type LoadBalancer with a port; add one")
    if len(nodes) > MAX_NODES:
        raise LabError(f"the manifests name {len(nodes)} nodes; a lab has at most {MAX_NODES}")
    networks = list(dict.fromkeys(interface.network for interface in nodes.values()))
    if len(networks) > 1:
        raise LabError(f"the nodes are on several networks ({', '.join(map(str, networks))}); a lab has one LAN")
    return Plan(nodes, services, _askers(networks[0], nodes.values(), snapshot))


def _nodes(snapshot: Snapshot) -> Iterator[tuple[str, IPv4Interface]]:
    for node in snapshot.nodes:
        address = next((one for one in node.internal_addresses if isinstance(one, IPv4Address)), None)
        if address is None:
            raise LabError(f"node {node.name} has no IPv4 address; give it an InternalIP")
        yield node.name, IPv4Interface((address, PREFIX_LENGTH))


def _services(services: Iterable[Service]) -> Iterator[PlannedService]:
    for service in services:
        if service.type is ServiceType.LOAD_BALANCER and service.ports:
            yield PlannedService(str(service.name), service.ports[0].port)


def _askers(network: IPv4Network, nodes: Iterable[IPv4Interface], snapshot: Snapshot) -> dict[str, IPv4Interface]:
    taken = {interface.ip for interface in nodes}
    pools = [wanted for pool in snapshot.config.pools for wanted in pool.networks if isinstance(wanted, IPv4Network)]
    free = (
        address
        for address in reversed(list(network.hosts()))
        if address not in taken and not any(address in pool for pool in pools)
    )
    try:
        return {name: IPv4Interface((next(free), network.prefixlen)) for name in (CLIENT, OBSERVER)}
    except StopIteration:
        raise LabError(f"nodes and pools leave no address of {network} to ask from; make a pool smaller") from None


# ---- manifests for a number of nodes and services

CONFIG: Final = """\
apiVersion: v1
kind: ConfigMap
metadata:
  namespace: metallb-system
  name: config
data:
  config: |
    address-pools:
    - name: lab
      protocol: layer2
      addresses:
"""


def render_manifests(
    nodes: Sequence[str], services: Sequence[str], pool: Sequence[str] | None = None
) -> dict[str, str]:
    """Manifests of a cluster with these nodes, each with an endpoint of each service: names of files and their texts.

    The pool is as large as it must be unless its ranges are given. Raises LabError for more than a lab can hold.
    """
    if not 1 <= len(nodes) <= MAX_NODES:
        raise LabError(f"a lab has 1 to {MAX_NODES} nodes, not {len(nodes)}")
    if not 1 <= len(services) <= MAX_SERVICES:
        raise LabError(f"a lab has 1 to {MAX_SERVICES} services, not {len(services)}")
    ranges = pool or [f"{NETWORK[FIRST_SERVICE]}-{NETWORK[FIRST_SERVICE + len(services) - 1]}"]
    return {
        "config.yaml": CONFIG + "".join(f"      - {line}\n" for line in ranges),
        "nodes.yaml": _dump([_node(name, NETWORK[FIRST_NODE + place]) for place, name in enumerate(nodes)]),
        "services.yaml": _dump([_service(name) for name in services]),
        "endpoints.yaml": _dump([_endpoints(number, name, nodes) for number, name in enumerate(services, 1)]),
    }


def _dump(documents: Iterable[object]) -> str:
    return "---\n".join(yaml.safe_dump(document, sort_keys=False) for document in documents)


def _object(version: str, kind: str, name: str, namespace: str | None = "default", **fields: object) -> dict[str, Any]:
    place = {} if namespace is None else {"namespace": namespace}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **place}, **fields}


def _node(name: str, address: IPv4Address) -> dict[str, Any]:
    node = _object("v1", "Node", name, None)
    node["metadata"]["labels"] = {"kubernetes.io/hostname": name}
    node["status"] = {"addresses": [{"type": "InternalIP", "address": str(address)}]}
    return node


def _service(name: str) -> dict[str, Any]:
    port = {"name": "http", "protocol": "TCP", "port": PORT, "targetPort": TARGET_PORT}
    return _object("v1", "Service", name, spec={"type": "LoadBalancer", "selector": {"app": name}, "ports": [port]})


def _endpoints(number: int, service: str, nodes: Sequence[str]) -> dict[str, Any]:
    slices = _object("discovery.k8s.io/v1", "EndpointSlice", f"{service}-1", addressType="IPv4")
    slices["metadata"]["labels"] = {"kubernetes.io/service-name": service}
    slices["ports"] = [{"name": "http", "protocol": "TCP", "port": TARGET_PORT}]
    slices["endpoints"] = [
        {"addresses": [f"10.244.{place}.{number}"], "nodeName": node, "conditions": {"ready": True}}
        for place, node in enumerate(nodes, 1)
    ]
    return slices
