"""What a speaker says about itself in its metadata in the ring: the capability marker.

Rules kept here:

* The bytes are `S1` and a MessagePack map, 512 bytes at most. A member without them is no speaker of ours (a MetalLB
  speaker, say), and never an error.
* Nothing volatile is in it: each change makes every MetalLB speaker in the ring announce everything again.

Source: docs/specs/watch.md §8.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Tier(IntEnum):
    """How ready a node says it is to take addresses; the lowest tier goes first (design.md §5)."""

    READY = 0
    SETTLING = 1
    DRAINING = 2


@dataclass(frozen=True, slots=True, order=True)
class MarkedInterface:
    """An interface that a node serves on."""

    name_hash: bytes
    """The first two bytes of the SHA-256 of its name."""
    has_ipv4: bool = False
    """ARP can be answered on it."""
    has_ipv6: bool = False
    """NDP can be answered on it."""
    has_carrier: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """What a node says about itself."""

    tier: Tier = Tier.READY
    interfaces: tuple[MarkedInterface, ...] = ()
    """Usable ones only, sorted, 32 at most."""
    macs: tuple[bytes, ...] = ()
    """The hardware addresses that it answers with, sorted, 8 at most."""
    watch: int = 0
    """The version of the watch that it has; 0 is none."""
