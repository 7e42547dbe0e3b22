"""What is read of the objects of the Kubernetes API: every field, its type, its range and its default.

Source: the API reference of Kubernetes (core/v1, discovery.k8s.io/v1); docs/specs/metallb-interface.md §3.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from cluster.errors import ValueRefused, quote
from cluster.model import (
    Address,
    ExternalTrafficPolicy,
    IPFamily,
    IPFamilyPolicy,
    ObjectName,
    ServiceType,
    Transport,
)
from cluster.ranges import parse_address
from cluster.shapes import ObjectShape, checked, one_of, parsed, within

MAX_NAME: Final = 253
"""Characters of an object's name."""
_NAME = re.compile(rf"(?=.{{1,{MAX_NAME}}}$)[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?", re.ASCII)


def _parse_cluster_ip(text: str) -> Address | None:
    return None if text in ("", "None") else parse_address(text)


def _check_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        hint = f"write up to {MAX_NAME} small letters, digits, dashes and dots"
        raise ValueRefused(f"{quote(text)} is not a name that Kubernetes takes", hint)
    return text


def _parse_optional_address(text: str) -> Address | None:
    return parse_address(text) if text else None


class AddressType(StrEnum):
    """What the addresses of an endpoint slice are."""

    IPV4 = "IPv4"
    IPV6 = "IPv6"
    FQDN = "FQDN"


class ConditionStatus(StrEnum):
    """The status of a condition: text, not a switch."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


ObjectNameText = Annotated[str, checked(_check_name)]
Port = Annotated[int, within(1, 65_535)]


class MetadataShape(ObjectShape):
    """Of every object."""

    name: ObjectNameText = Field(examples=["hostnames"])
    namespace: ObjectNameText | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}

    def full_name(self) -> ObjectName:
        """The namespaced name; an object that names no namespace is in `default`."""
        return ObjectName(self.namespace or "default", self.name)


class PortShape(ObjectShape):
    """An entry of a service's ports."""

    name: str = ""
    protocol: Annotated[Transport, one_of(Transport)] = Transport.TCP
    port: Port = Field(examples=["80"])


class ServiceSpecShape(ObjectShape):
    """What a service asks for."""

    type: Annotated[ServiceType, one_of(ServiceType)] = ServiceType.CLUSTER_IP
    ports: list[PortShape] = []
    selector: dict[str, str] = {}
    cluster_ip: Annotated[Address | None, parsed(_parse_cluster_ip)] = Field(default=None, alias="clusterIP")
    cluster_ips: list[Annotated[Address | None, parsed(_parse_cluster_ip)]] = Field(default=[], alias="clusterIPs")
    ip_families: list[Annotated[IPFamily, one_of(IPFamily)]] = []
    ip_family_policy: Annotated[IPFamilyPolicy, one_of(IPFamilyPolicy)] | None = None
    external_traffic_policy: Annotated[ExternalTrafficPolicy, one_of(ExternalTrafficPolicy)] = (
        ExternalTrafficPolicy.CLUSTER
    )
    load_balancer_ip: Annotated[Address | None, parsed(_parse_optional_address)] = Field(
        default=None, alias="loadBalancerIP"
    )
    load_balancer_class: str | None = None


class IngressShape(ObjectShape):
    """An address that a service has."""

    ip: Annotated[Address | None, parsed(_parse_optional_address)] = None


class LoadBalancerStatusShape(ObjectShape):
    """The addresses that a service has."""

    ingress: list[IngressShape] = []


class ServiceStatusShape(ObjectShape):
    """What became of a service."""

    load_balancer: LoadBalancerStatusShape = LoadBalancerStatusShape()


class ServiceShape(ObjectShape):
    """A service."""

    metadata: MetadataShape
    spec: ServiceSpecShape
    status: ServiceStatusShape = ServiceStatusShape()


class ConditionsShape(ObjectShape):
    """What an endpoint can do; absent is unknown."""

    ready: bool | None = None
    serving: bool | None = None


class EndpointShape(ObjectShape):
    """What stands behind a service."""

    addresses: list[str] = Field(examples=["[192.0.2.1]"])
    conditions: ConditionsShape = ConditionsShape()
    node_name: str | None = None


class EndpointSliceShape(ObjectShape):
    """Some endpoints of one service."""

    metadata: MetadataShape
    address_type: Annotated[AddressType, one_of(AddressType)] = Field(examples=["IPv4"])
    endpoints: list[EndpointShape] = []


class NodeAddressShape(ObjectShape):
    """An address of a node, or a name of it."""

    type: str = Field(examples=["InternalIP"])
    address: str = Field(examples=["192.0.2.1"])


class NodeConditionShape(ObjectShape):
    """Something that is so or not with a node."""

    type: str = Field(examples=["NetworkUnavailable"])
    status: Annotated[ConditionStatus, one_of(ConditionStatus)] = Field(examples=['"False"'])


class NodeStatusShape(ObjectShape):
    """How a node is."""

    addresses: list[NodeAddressShape] = []
    conditions: list[NodeConditionShape] = []


class NodeShape(ObjectShape):
    """A machine of the cluster."""

    metadata: MetadataShape
    status: NodeStatusShape = NodeStatusShape()


class NamespaceShape(ObjectShape):
    """A namespace."""

    metadata: MetadataShape
