"""The keys of a scenario file: what each is, its type, its range and its default.

Source: docs/specs/scenario.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field, PlainValidator
from pydantic_core import PydanticKnownError

from cluster.durations import parse_duration
from cluster.errors import ValueRefused, quote
from cluster.shapes import ConfigShape, Name, alternatives, checked, parsed, refusing, within
from gossip import PROFILES
from sim.lab.plan import MAX_NODES, MAX_SERVICES

MAX_LENGTH: Final = 24 * 3600.0
"""Seconds of one scenario."""
MIN_EVERY: Final = 0.001
"""Seconds between two questions of the client."""

_NODE: Final = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?"
_REFERENCE = re.compile(rf"(?P<kind>owner|was-owner)\((?P<name>[^()]+)\)|(?P<node>{_NODE})", re.ASCII)
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]+)?)%", re.ASCII)


class Meaning(StrEnum):
    """How a fault names a node."""

    NAME = "name"
    OWNER = "owner"
    """Who has the service's address when the fault is done."""
    WAS_OWNER = "was-owner"
    """Whom `owner` of this service meant last."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A node, by its name or by what it has: `n2`, `owner(svc-1)`, `was-owner(svc-1)`."""

    meaning: Meaning
    name: str

    def __str__(self) -> str:
        return self.name if self.meaning is Meaning.NAME else f"{self.meaning}({self.name})"


def _seconds(text: str) -> float:
    seconds = float(parse_duration(text))
    if not 0 <= seconds <= MAX_LENGTH:
        raise ValueRefused(f"{quote(text)} is out of range", "write 0s to 24h")
    return seconds


def _per_mille(text: str) -> int:
    found = _PERCENT.fullmatch(text)
    share = 10 * float(found[1]) if found else -1.0
    if found and 0 <= share <= 1000 and share == int(share):
        return int(share)
    raise ValueRefused(f"{quote(text)} is no share of frames", "write 0% to 100%, in steps of 0.1%, such as 0.5%")


def _reference(text: str) -> Reference:
    found = _REFERENCE.fullmatch(text)
    if found is None:
        raise ValueRefused(f"{quote(text)} names no node", "write its name, owner(SERVICE) or was-owner(SERVICE)")
    return Reference(Meaning(found["kind"] or "name"), found["name"] or found["node"])


def _profile(text: str) -> str:
    if text in PROFILES:
        return text
    raise ValueRefused(f"{quote(text)} is no profile", f"write {alternatives(PROFILES)}")


def _every(seconds: float) -> float:
    if seconds >= MIN_EVERY:
        return seconds
    raise ValueRefused("is too often", f"write {MIN_EVERY * 1000:g}ms or more")


def _names(value: object, prefix: str, most: int) -> tuple[str, ...]:
    """The names that a number or a list stands for."""
    if isinstance(value, int) and not isinstance(value, bool):
        if 1 <= value <= most:
            return tuple(f"{prefix}{number}" for number in range(1, value + 1))
        raise ValueRefused(f"{value} is out of range", f"write 1 to {most}")
    if not isinstance(value, list) or not value:
        raise ValueRefused("is neither a number nor a list", f"write how many there are, 1 to {most}")
    names = tuple(name for entry in value if (name := _node_name(entry)))
    if len(names) < len(value) or len(set(names)) < len(names) or len(names) > most:
        raise ValueRefused("is no list of different names", f"write 1 to {most} entries such as {{name: {prefix}1}}")
    return names


def _node_name(entry: object) -> str:
    """The name in an entry of the list of nodes. Entries that ask for more than a name are refused."""
    if isinstance(entry, dict):
        if further := [
            key for key, value in entry.items() if key != "name" and (key, value) != ("version", "starling")
        ]:
            raise ValueRefused(f"the lab does not serve the key {quote(further[0])} of a node", "leave it out")
        entry = entry.get("name")
    return entry if isinstance(entry, str) and re.fullmatch(_NODE, entry, re.ASCII) else ""


def _nodes(value: object) -> tuple[str, ...]:
    return _names(value, "n", MAX_NODES)


def _services(value: object) -> tuple[str, ...] | str:
    return value if isinstance(value, str) and value else _names(value, "svc-", MAX_SERVICES)


def _written(read: Any) -> PlainValidator:
    return PlainValidator(lambda value: refusing(read, value))


def _references(value: object) -> tuple[Reference, ...]:
    if not isinstance(value, list) or not value:
        raise PydanticKnownError("list_type")
    return tuple(_reference(entry) if isinstance(entry, str) else _reference(str(entry)) for entry in value)


Duration = Annotated[float, parsed(_seconds)]
Share = Annotated[int, parsed(_per_mille)]
Node = Annotated[Reference, parsed(_reference)]
Nodes = Annotated[tuple[Reference, ...], _written(_references)]


class NetworkShape(ConfigShape):
    """The virtual link; the lab has a real one and adds losses only."""

    loss: Share | None = None
    latency: Duration | None = None
    jitter: Duration | None = None
    duplicate: Share | None = None
    reorder: Share | None = None


class ClientShape(ConfigShape):
    """Who asks."""

    every: Annotated[float, parsed(_seconds), checked(_every)] = 0.005


class FaultShape(ConfigShape):
    """One fault; which of the keys it has depends on the verb."""

    at: Duration = Field(examples=["10s"])
    do: Name = Field(examples=["cut"])
    node: Node | None = None
    nodes: Nodes | None = None
    to: Nodes | None = None
    loss: Share | None = None


class ExpectationShape(ConfigShape):
    """One expectation: a subject with its service, and a bound."""

    outage: Name | None = None
    owners: Name | None = None
    moves: Name | None = None
    lost: Name | None = None
    below: Duration | None = None
    at_most: Annotated[int, within(0, 10**9)] | None = None
    exactly: Annotated[int, within(0, 10**9)] | None = None
    begins: Duration | None = Field(default=None, alias="from")
    ends: Duration | None = Field(default=None, alias="to")


class ScenarioShape(ConfigShape):
    """The whole file."""

    name: Name = Field(examples=["owner-dies"])
    about: str = ""
    nodes: Annotated[tuple[str, ...], _written(_nodes)] = ()
    services: Annotated[tuple[str, ...] | str, _written(_services)] = ("svc-1",)
    profile: Annotated[str, parsed(_profile)] = "lan"
    network: NetworkShape = NetworkShape()
    client: ClientShape = ClientShape()
    length: Duration = Field(alias="for", examples=["60s"])
    faults: list[FaultShape] = Field(default_factory=list)
    expect: list[ExpectationShape] = Field(default_factory=list)
