"""Interfaces as netlink describes them, and which of them are served on.

Rules kept here:

* A name that the user gave overrides the list of excluded names and nothing else: what cannot carry ARP is never
  served on.
* The carrier decides nothing here. An interface that lost it stays served on, so that it is announced on again as soon
  as the carrier is back; it is merely not usable in the meantime.

Source: docs/specs/metallb-interface.md §4.4.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Interface, IPv6Interface
from typing import Final, TypeAlias

Patterns: TypeAlias = tuple[re.Pattern[str], ...]
"""Searched for in a name; one that is found is enough."""

MAC_BYTES: Final = 6
GROUP_BIT: Final = 1
"""In the first byte of a hardware address: it is a group's, which no interface can have."""

EXCLUDED_PREFIXES: Final = (
    "docker", "cbr", "dummy", "virbr", "lxcbr", "veth", "cali", "tunl", "flannel", "kube-ipvs", "cni", "nodelocaldns",
    "lxc",
)  # fmt: skip
"""What containers, virtual machines and overlays call their interfaces; MetalLB's list."""
EXCLUDED_NAMES: Final[Patterns] = (
    *(re.compile(f"^{re.escape(prefix)}") for prefix in EXCLUDED_PREFIXES),
    re.compile("^lo$"),
)
"""MetalLB's default for `announcedInterfacesToExclude`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A network interface at one moment."""

    index: int
    name: str
    mac: bytes
    is_up: bool = True
    """Administratively."""
    has_carrier: bool = True
    has_broadcast: bool = True
    has_arp: bool = True
    """False: the flag NOARP."""
    is_loopback: bool = False
    is_enslaved: bool = False
    """It is a port of a bridge, a bond or the like."""
    has_socket: bool = True
    """False: no packet socket could be opened on it."""
    addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()
    """Sorted."""


class Unfit(StrEnum):
    """Why an interface is not served on. The value is what scripts read; :data:`UNFIT_WORDS` says it in words."""

    NOT_NAMED = "not-named"
    EXCLUDED = "excluded"
    LOOPBACK = "loopback"
    DOWN = "down"
    ENSLAVED = "enslaved"
    NO_ARP = "no-arp"
    NO_BROADCAST = "no-broadcast"
    NO_MAC = "no-mac"
    NO_SOCKET = "no-socket"


UNFIT_WORDS: Final[Mapping[Unfit, str]] = {
    Unfit.NOT_NAMED: "others were named with --interface",
    Unfit.EXCLUDED: "names like this are containers' and overlays'; name it with --interface to use it all the same",
    Unfit.LOOPBACK: "nobody outside hears the loopback",
    Unfit.DOWN: "it is down",
    Unfit.ENSLAVED: "it is a port of another interface (a bridge, a bond); that one is served on instead",
    Unfit.NO_ARP: "ARP is switched off on it (the flag NOARP)",
    Unfit.NO_BROADCAST: "it cannot broadcast",
    Unfit.NO_MAC: "it has no Ethernet address",
    Unfit.NO_SOCKET: "no packet socket can be opened on it",
}

_UNABLE: Final[tuple[tuple[Unfit, Callable[[Interface], bool]], ...]] = (
    (Unfit.LOOPBACK, lambda interface: interface.is_loopback),
    (Unfit.DOWN, lambda interface: not interface.is_up),
    (Unfit.ENSLAVED, lambda interface: interface.is_enslaved),
    (Unfit.NO_ARP, lambda interface: not interface.has_arp),
    (Unfit.NO_BROADCAST, lambda interface: not interface.has_broadcast),
    (Unfit.NO_MAC, lambda interface: not is_host_mac(interface.mac)),
    (Unfit.NO_SOCKET, lambda interface: not interface.has_socket),
)
"""What an interface is asked after its name passed, in this order."""


def is_host_mac(mac: bytes) -> bool:
    """Whether one interface can have this Ethernet address: six bytes, not all zero, no group's."""
    return len(mac) == MAC_BYTES and any(mac) and not mac[0] & GROUP_BIT


def refusal(
    interface: Interface, wanted: tuple[str, ...] | None = None, excluded: Patterns = EXCLUDED_NAMES
) -> Unfit | None:
    """Why the interface is not served on; None when it is.

    ``wanted`` are the names that the user gave; None (`--interface auto`) stands for every one that ``excluded`` does
    not match.
    """
    if wanted is not None:
        if interface.name not in wanted:
            return Unfit.NOT_NAMED
    elif any(pattern.search(interface.name) for pattern in excluded):
        return Unfit.LOOPBACK if interface.is_loopback else Unfit.EXCLUDED
    return next((unfit for unfit, is_unfit in _UNABLE if is_unfit(interface)), None)


def is_usable(interface: Interface, wanted: tuple[str, ...] | None = None, excluded: Patterns = EXCLUDED_NAMES) -> bool:
    """Whether it is served on and has a carrier: what a node tells the others of (docs/specs/watch.md §8)."""
    return interface.has_carrier and refusal(interface, wanted, excluded) is None


def served_of(interfaces: Iterable[Interface], wanted: tuple[str, ...] | None = None) -> tuple[Interface, ...]:
    """Those of the interfaces that are served on."""
    return tuple(interface for interface in interfaces if refusal(interface, wanted) is None)


def why_unfit(interfaces: Iterable[Interface], wanted: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """For each interface that might have been served on, why it is not; for each name that was given, that there is no
    such interface."""
    absent = dict.fromkeys(wanted or ())
    said = []
    for interface in interfaces:
        absent.pop(interface.name, None)
        unfit = refusal(interface, wanted)
        if unfit is not None and unfit is not Unfit.NOT_NAMED:
            said.append(f"{interface.name}: {UNFIT_WORDS[unfit]}")
    return (*said, *(f"{name}: there is no interface of this name" for name in absent))
