"""What the speaker's core wants done outside, one frozen value each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from cluster.model import Address


@dataclass(frozen=True, slots=True)
class SetMarker:
    """Tell the ring this about ourselves, as metadata."""

    meta: bytes


@dataclass(frozen=True, slots=True)
class Exchange:
    """Send the member these user messages, reliably, and exchange views with it; then, done or failed, call
    :meth:`speaker.core.Speaker.exchanged`. With one member there is one exchange at a time."""

    member: str
    notices: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Tell:
    """Send the member this user message, reliably if that can be done."""

    member: str
    notice: bytes


@dataclass(frozen=True, slots=True)
class SetLocalAddresses:
    """This machine itself can serve these addresses, and no others that it was told before."""

    addresses: tuple[Address, ...]


Command: TypeAlias = SetMarker | Exchange | Tell | SetLocalAddresses
