"""What an operator of MetalLB writes in the ConfigMap: every key, its type, its range and its default.

Source: docs/specs/metallb-interface.md §1.2–1.5.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import Field, RootModel, model_validator

from cluster.durations import parse_duration
from cluster.errors import ValueRefused, quote
from cluster.model import Community, Operator
from cluster.shapes import (
    AddressText,
    ConfigShape,
    IPv4Text,
    Name,
    NetworksText,
    checked,
    one_of,
    parsed,
    refusing,
    within,
)

DEFAULT_HOLD_TIME: Final = 90
"""Seconds that a BGP session lives without a sign of its peer."""
MIN_HOLD_TIME: Final = 3
"""Seconds; the protocol allows no shorter hold time but 0 (RFC 4271 §4.2)."""
MAX_HOLD_TIME: Final = 65_535
"""Seconds; the field of the OPEN message has two bytes."""
MAX_UINT16: Final = 2**16 - 1
MAX_UINT32: Final = 2**32 - 1

_COMMUNITY = re.compile(r"([0-9]{1,5}):([0-9]{1,5})", re.ASCII)
_LABEL_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII)
_LABEL_PREFIX = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)


def parse_community(text: str) -> Community:
    """`N:M`, both halves of 16 bits. Raises ValueRefused."""
    found = _COMMUNITY.fullmatch(text)
    if found and all(int(half) <= MAX_UINT16 for half in found.groups()):
        return Community(int(found[1]), int(found[2]))
    raise ValueRefused(
        f"{quote(text)} is not a community", f'write two numbers up to {MAX_UINT16}, such as "65000:100"'
    )


def _parse_seconds(text: str) -> int:
    seconds = int(parse_duration(text))
    if not 0 <= seconds <= MAX_HOLD_TIME:
        raise ValueRefused(f"{quote(text)} is out of range", f"write 0s to {MAX_HOLD_TIME}s")
    return seconds


def _parse_hold_time(text: str) -> int:
    seconds = _parse_seconds(text)
    if 0 < seconds < MIN_HOLD_TIME:
        raise ValueRefused(f"{quote(text)} is too short", f"write {MIN_HOLD_TIME}s or more, or 0s for no limit")
    return seconds


def _check_addresses(entries: list[object]) -> list[object]:
    if not entries:
        raise ValueRefused("is empty", "write at least one CIDR or range")
    return entries


def _check_label_key(text: str) -> str:
    prefix, slash, name = text.rpartition("/")
    if not _LABEL_NAME.fullmatch(name) or (slash and not _LABEL_PREFIX.fullmatch(prefix)):
        raise ValueRefused(f"{quote(text)} is no key of a label", "write a name such as rack or example.com/rack")
    return text


def _check_label_value(text: str) -> str:
    if text and not _LABEL_NAME.fullmatch(text):
        hint = "write up to 63 letters, digits, dots, dashes and underscores"
        raise ValueRefused(f"{quote(text)} is no value of a label", hint)
    return text


LabelKey = Annotated[str, checked(_check_label_key)]
LabelValue = Annotated[str, checked(_check_label_value)]


class DocumentShape(ConfigShape):
    """The whole document (§1.1)."""

    peers: list[object] = []
    bgp_communities: dict[str, object] = {}
    address_pools: list[object] = []
    bfd_profiles: list[object] = []


class CommunityShape(RootModel[Annotated[Community, parsed(parse_community)]]):
    """A value of `bgp-communities` (§1.5)."""


class PoolProtocol(StrEnum):
    """How a pool's addresses are announced."""

    LAYER2 = "layer2"
    BGP = "bgp"


class PoolShape(ConfigShape):
    """An entry of `address-pools` (§1.2)."""

    name: Name = Field(examples=["default"])
    protocol: Annotated[PoolProtocol, one_of(PoolProtocol)] = Field(examples=["layer2"])
    addresses: Annotated[list[NetworksText], checked(_check_addresses)] = Field(examples=["[192.0.2.10-192.0.2.20]"])
    auto_assign: bool = True
    avoid_buggy_ips: bool = False
    bgp_advertisements: list[object] = []


class BGPAdvertisementShape(ConfigShape):
    """An entry of `bgp-advertisements` (§1.3)."""

    aggregation_length: Annotated[int, within(0, 32)] = 32
    aggregation_length_v6: Annotated[int, within(0, 128)] = 128
    localpref: Annotated[int, within(0, MAX_UINT32)] = 0
    communities: list[str] = []


class RequirementShape(ConfigShape):
    """An entry of `match-expressions` (§1.4)."""

    key: LabelKey = Field(examples=["rack"])
    operator: Annotated[Operator, one_of(Operator)] = Field(examples=["In"])
    values: list[LabelValue] = []

    @model_validator(mode="after")
    def _check_values(self) -> Self:
        refusing(_check_requirement, self)
        return self


def _check_requirement(shape: RequirementShape) -> None:
    needs_values = shape.operator in (Operator.IN, Operator.NOT_IN)
    if needs_values and not shape.values:
        raise ValueRefused(f"{shape.operator} compares with values, and there are none", "add `values: [a, b]`")
    if shape.values and not needs_values:
        raise ValueRefused(f"{shape.operator} compares with no values", "take them out, or write In")


class SelectorShape(ConfigShape):
    """An entry of `node-selectors` (§1.4)."""

    match_labels: dict[LabelKey, LabelValue] = {}
    match_expressions: list[RequirementShape] = []


class PeerShape(ConfigShape):
    """An entry of `peers` (§1.4)."""

    my_asn: Annotated[int, within(1, MAX_UINT32)] = Field(examples=["64500"])
    peer_asn: Annotated[int, within(1, MAX_UINT32)] = Field(examples=["64501"])
    peer_address: AddressText = Field(examples=["192.0.2.1"])
    peer_port: Annotated[int, within(1, MAX_UINT16)] = 179
    source_address: AddressText | None = None
    hold_time: Annotated[int, parsed(_parse_hold_time)] = DEFAULT_HOLD_TIME
    keepalive_time: Annotated[int, parsed(_parse_seconds)] | None = None
    router_id: IPv4Text | None = None
    node_selectors: list[SelectorShape] = []
    password: str | None = None
    bfd_profile: str | None = None
    ebgp_multihop: bool = False


class BFDProfileShape(ConfigShape):
    """An entry of `bfd-profiles` (§1.5)."""

    name: Name = Field(examples=["default"])
    receive_interval: Annotated[int, within(10, 60_000)] | None = None
    transmit_interval: Annotated[int, within(10, 60_000)] | None = None
    detect_multiplier: Annotated[int, within(2, 255)] | None = None
    echo_interval: Annotated[int, within(10, 60_000)] | None = None
    echo_mode: bool = False
    passive_mode: bool = False
    minimum_ttl: Annotated[int, within(1, 254)] | None = None
