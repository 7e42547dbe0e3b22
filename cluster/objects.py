"""Objects of the Kubernetes API: services, endpoint slices, nodes, namespaces.

Rules kept here:

* As lenient as the API server about fields that are not read, and as strict about the types of those that are.
* An annotation counts under MetalLB's present prefix and its old one; the present one wins. An empty one is absent.
* An object with a mistake is left out, and every reason noted.

Source: docs/specs/metallb-interface.md §3.1–3.5, §3.11.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from cluster import model
from cluster.errors import ValueRefused, quote
from cluster.model import Address, Endpoint, EndpointSlice, Namespace, ObjectName, Service, ServicePort, ServiceType
from cluster.object_shapes import (
    AddressType,
    ConditionStatus,
    EndpointSliceShape,
    NamespaceShape,
    NodeShape,
    ServiceShape,
)
from cluster.ranges import parse_address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.model import Pairs, Transport
    from cluster.object_shapes import ServiceSpecShape
    from cluster.shapes import Path, Reader

PREFIX: Final = "metallb.io/"
"""Of MetalLB's annotations since 0.14.9."""
OLD_PREFIX: Final = "metallb.universe.tf/"
"""Of MetalLB's annotations before; still read."""
SERVICE_NAME_LABEL: Final = "kubernetes.io/service-name"
EXCLUDE_LABEL: Final = "node.kubernetes.io/exclude-from-external-load-balancers"
MAX_ADDRESSES: Final = 2
"""Addresses a service may ask for: one of each family."""

_USER_ANNOTATIONS: Final = ("address-pool", "allow-shared-ip", "loadBalancerIPs")


def read_service(reader: Reader) -> Service | None:
    """A service."""
    noted = len(reader.problems)
    requested = _requested_addresses(reader)
    shape = reader.read(ServiceShape)
    if shape is None:
        return None
    spec, annotations = shape.spec, shape.metadata.annotations
    _check_ports(reader, spec)
    if len(reader.problems) > noted:
        return None
    cluster_ips = spec.cluster_ips or [spec.cluster_ip]
    annotation = partial(_annotation, annotations)
    return Service(
        name=shape.metadata.full_name(),
        type=spec.type,
        labels=_pairs(shape.metadata.labels),
        ports=tuple(ServicePort(transport=port.protocol, port=port.port, name=port.name) for port in spec.ports),
        selector=_pairs(spec.selector),
        cluster_ips=tuple(address for address in cluster_ips if address is not None),
        ip_families=tuple(spec.ip_families),
        ip_family_policy=spec.ip_family_policy,
        external_traffic_policy=spec.external_traffic_policy,
        load_balancer_class=spec.load_balancer_class or None,
        requested_addresses=requested or _only(spec.load_balancer_ip),
        address_pool=annotation("address-pool"),
        sharing_key=annotation("allow-shared-ip"),
        allocated_from_pool=annotations.get(f"{PREFIX}ip-allocated-from-pool") or None,
        ingress=tuple(entry.ip for entry in shape.status.load_balancer.ingress if entry.ip is not None),
        deprecated_annotations=tuple(
            f"{OLD_PREFIX}{key}" for key in _USER_ANNOTATIONS if f"{OLD_PREFIX}{key}" in annotations
        ),
    )


def _annotation(annotations: Mapping[str, str], key: str) -> str | None:
    return annotations.get(PREFIX + key) or annotations.get(OLD_PREFIX + key) or None


def _check_ports(reader: Reader, spec: ServiceSpecShape) -> None:
    if spec.type is ServiceType.LOAD_BALANCER and not spec.ports:
        reader.refuse(("spec",), "a service of type LoadBalancer has no ports", "add `ports: [{port: 80}]`")
    first: dict[tuple[Transport, int], Path] = {}
    for index, port in enumerate(spec.ports):
        path: Path = ("spec", "ports", index)
        if (earlier := first.setdefault((port.protocol, port.port), path)) != path:
            message = f"{port.protocol} {port.port} is port {earlier[-1]} of the list too"
            reader.refuse(path, message, "take one of the two out")


def _requested_addresses(reader: Reader) -> tuple[Address, ...]:
    """The addresses of the annotation; none if there is no such annotation."""
    paths: list[Path] = [("metadata", "annotations", prefix + "loadBalancerIPs") for prefix in (PREFIX, OLD_PREFIX)]
    path = next((path for path in paths if reader.text(path)), None)
    if path is None:
        return ()
    if reader.text(("spec", "loadBalancerIP")):
        reader.refuse(path, "asks for addresses, and spec.loadBalancerIP does too", "take one of the two out")
    try:
        return _parse_requested(reader.text(path) or "")
    except ValueRefused as reason:
        reader.refuse(path, reason.message, reason.hint)
        return ()


def _parse_requested(text: str) -> tuple[Address, ...]:
    """One address, or two of different families, between commas."""
    parts = text.split(",")
    if len(parts) > MAX_ADDRESSES:
        raise ValueRefused(f"{quote(text)} has {len(parts)} addresses", "write one, or one of each family")
    addresses = tuple(parse_address(part.strip()) for part in parts)
    if len({address.version for address in addresses}) < len(addresses):
        raise ValueRefused(f"{quote(text)} has two addresses of one family", "write one, or one of each family")
    return addresses


def read_endpoint_slice(reader: Reader) -> EndpointSlice | None:
    """Some endpoints of a service. Names in place of addresses are left out: nothing can be announced for them."""
    shape = reader.read(EndpointSliceShape)
    if shape is None:
        return None
    name = shape.metadata.full_name()
    service = shape.metadata.labels.get(SERVICE_NAME_LABEL)
    noted = len(reader.problems)
    endpoints = tuple(
        Endpoint(
            addresses=_endpoint_addresses(reader, shape.address_type, index, endpoint.addresses),
            node_name=endpoint.node_name or None,
            ready=endpoint.conditions.ready,
            serving=endpoint.conditions.serving,
        )
        for index, endpoint in enumerate(shape.endpoints)
    )
    if len(reader.problems) > noted:
        return None
    return EndpointSlice(
        name=name,
        service=ObjectName(name.namespace, service) if service else None,
        endpoints=endpoints if shape.address_type is not AddressType.FQDN else (),
    )


def _endpoint_addresses(reader: Reader, kind: AddressType, endpoint: int, texts: list[str]) -> tuple[Address, ...]:
    if kind is AddressType.FQDN:
        return ()
    addresses = []
    for index, text in enumerate(texts):
        path: Path = ("endpoints", endpoint, "addresses", index)
        try:
            address = parse_address(text)
        except ValueRefused as reason:
            reader.refuse(path, reason.message, reason.hint)
            continue
        if f"IPv{address.version}" != kind:
            reader.refuse(path, f"{quote(text)} is not an {kind} address", "put it into a slice of its own family")
        addresses.append(address)
    return tuple(addresses)


def read_node(reader: Reader) -> model.Node | None:
    """A node. Names among its addresses are left out."""
    shape = reader.read(NodeShape)
    if shape is None:
        return None
    noted = len(reader.problems)
    internal = []
    for index, entry in enumerate(shape.status.addresses):
        if entry.type == "InternalIP":
            try:
                internal.append(parse_address(entry.address))
            except ValueRefused as reason:
                reader.refuse(("status", "addresses", index, "address"), reason.message, reason.hint)
    if len(reader.problems) > noted:
        return None
    return model.Node(
        name=shape.metadata.name,
        labels=_pairs(shape.metadata.labels),
        internal_addresses=tuple(internal),
        exclude_from_external_load_balancers=EXCLUDE_LABEL in shape.metadata.labels,
        network_unavailable=any(
            condition.type == "NetworkUnavailable" and condition.status is ConditionStatus.TRUE
            for condition in shape.status.conditions
        ),
    )


def read_namespace(reader: Reader) -> Namespace | None:
    """A namespace."""
    shape = reader.read(NamespaceShape)
    return Namespace(name=shape.metadata.name, labels=_pairs(shape.metadata.labels)) if shape else None


def _only(address: Address | None) -> tuple[Address, ...]:
    return () if address is None else (address,)


def _pairs(mapping: Mapping[str, str]) -> Pairs:
    return tuple(sorted(mapping.items()))
