"""What a speaker says about itself in its metadata in the ring: the capability marker.

Rules kept here:

* The bytes are `S1` and a MessagePack map, 512 bytes at most. A member without them is no speaker of ours (a MetalLB
  speaker, say), and never an error.
* Nothing volatile is in it: each change makes every MetalLB speaker in the ring announce everything again.

Source: docs/specs/watch.md §8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import Final, TypeVar

from speaker.l2.interfaces import Interface
from speaker.packing import BadPacking, pack, unpack_untrusted

PREFIX: Final = b"S1"
"""What metadata of ours begins with: the format and its version."""
MAX_MARKER_BYTES: Final = 512
"""memberlist's limit on metadata."""
MAX_INTERFACES: Final = 32
MAX_MACS: Final = 8
MAX_WATCH: Final = 255
"""Versions of the watch that there may ever be."""
MAC_BYTES: Final = 6
NAME_HASH_BYTES: Final = 2


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

    @property
    def families(self) -> tuple[int, ...]:
        """The IP versions that it can announce now."""
        served = ((4, self.has_ipv4), (6, self.has_ipv6))
        return tuple(version for version, is_served in served if is_served and self.has_carrier)


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

    @property
    def families(self) -> tuple[int, ...]:
        """The IP versions that some interface can announce now."""
        return tuple(sorted({version for interface in self.interfaces for version in interface.families}))


def marker_of(interfaces: Iterable[Interface], tier: Tier = Tier.READY, watch: int = 0) -> Marker:
    """What a node says that serves on these interfaces. Of too many the lowest are told."""
    served = tuple(interfaces)
    marked = {
        MarkedInterface(
            name_hash=sha256(interface.name.encode(errors="surrogateescape")).digest()[:NAME_HASH_BYTES],
            has_ipv4=interface.has_broadcast and interface.has_arp,
            has_ipv6=False,  # nothing here answers neighbour solicitations
            has_carrier=interface.has_carrier,
        )
        for interface in served
    }
    hardware = {interface.mac for interface in served if len(interface.mac) == MAC_BYTES}
    return Marker(
        tier=tier,
        interfaces=tuple(sorted(marked)[:MAX_INTERFACES]),
        macs=tuple(sorted(hardware)[:MAX_MACS]),
        watch=watch,
    )


def encode(marker: Marker) -> bytes:
    """The metadata. The marker keeps the limits, as those of :func:`marker_of` do."""
    return PREFIX + pack(
        {
            "w": marker.watch,
            "t": int(marker.tier),
            "i": [[interface.name_hash, _flags(interface)] for interface in marker.interfaces],
            "m": list(marker.macs),
        }
    )


def decode_untrusted(meta: bytes) -> Marker | None:
    """What a member says about itself; None when it is no speaker of ours. Total: there are no wrong bytes.

    Keys that are not known are passed over, those that are missing have their defaults: a later version may say more.
    """
    if not meta.startswith(PREFIX) or len(meta) > MAX_MARKER_BYTES:
        return None
    try:
        return _read(unpack_untrusted(meta[len(PREFIX) :], MAX_MARKER_BYTES))
    except (BadPacking, _BadMarker):
        return None


class _BadMarker(Exception):
    """A value is not of the kind that its key has."""


def _read(value: object) -> Marker:
    if not isinstance(value, dict):
        raise _BadMarker
    return Marker(
        watch=_number(value.get("w", 0), MAX_WATCH),
        tier=Tier(_number(value.get("t", 0), max(Tier))),
        interfaces=_sorted_list(value.get("i", []), _interface, MAX_INTERFACES),
        macs=_sorted_list(value.get("m", []), lambda item: _octets(item, MAC_BYTES), MAX_MACS),
    )


Item = TypeVar("Item", MarkedInterface, bytes)


def _sorted_list(value: object, read: Callable[[object], Item], limit: int) -> tuple[Item, ...]:
    if not isinstance(value, list) or len(value) > limit:
        raise _BadMarker
    return tuple(sorted({read(item) for item in value}))


def _interface(value: object) -> MarkedInterface:
    if not isinstance(value, list) or len(value) != 2:
        raise _BadMarker
    flags = _number(value[1], 255)
    ipv4, ipv6, carrier = (bool(flags & bit) for bit in _FLAG_BITS)
    return MarkedInterface(_octets(value[0], NAME_HASH_BYTES), ipv4, ipv6, carrier)


def _number(value: object, highest: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= highest:
        raise _BadMarker
    return value


def _octets(value: object, length: int) -> bytes:
    if not isinstance(value, bytes) or len(value) != length:
        raise _BadMarker
    return value


_FLAG_BITS: Final = (1, 2, 4)


def _flags(interface: MarkedInterface) -> int:
    flags = (interface.has_ipv4, interface.has_ipv6, interface.has_carrier)
    return sum(bit for bit, is_set in zip(_FLAG_BITS, flags, strict=True) if is_set)
