"""What the speaker's core tells: one frozen value each, in order, already true when it is read.

They become log lines, and what `why` shows as moves. Times are those of the core's inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from cluster.model import Address
from speaker.ownership import Decision


@dataclass(frozen=True, slots=True)
class OwnerChanged:
    """A group went from one node to another; None is nobody."""

    decision: Decision
    previous: str | None


@dataclass(frozen=True, slots=True)
class Announced:
    """This node answers for the address from now on, on these interfaces (names)."""

    address: Address
    interfaces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """This node answers for the address no longer."""

    address: Address
    reason: str


@dataclass(frozen=True, slots=True)
class AddressKnown:
    """Another member was heard to announce a new address: it needs no probe any more."""

    address: Address


@dataclass(frozen=True, slots=True)
class AddressInUse:
    """A stranger held a new address before anybody announced it: it is not announced, and tried again."""

    address: Address
    mac: bytes
    interface: str
    retry_after: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class ProxyARPFound:
    """Somebody answers for every address (proxy ARP), the new one included: it is announced all the same."""

    address: Address
    mac: bytes
    interface: str


@dataclass(frozen=True, slots=True)
class StrangerClaims:
    """A MAC that is no member's claims an address that this node announces. It goes on serving."""

    address: Address
    mac: bytes
    interface: str


@dataclass(frozen=True, slots=True)
class MemberClaims:
    """A member announces an address that this node announces too; the two settle it."""

    address: Address
    member: str
    interface: str


@dataclass(frozen=True, slots=True)
class Yielded:
    """Of two owners this node is the one to be silent, until what it decides from changes."""

    address: Address
    to: str
    reason: str


@dataclass(frozen=True, slots=True)
class NobodyAnnounces:
    """An address that somebody should announce, and nobody can; the decision says why."""

    decision: Decision


Event: TypeAlias = (
    OwnerChanged
    | Announced
    | Withdrawn
    | AddressKnown
    | AddressInUse
    | ProxyARPFound
    | StrangerClaims
    | MemberClaims
    | Yielded
    | NobodyAnnounces
)
