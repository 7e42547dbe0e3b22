"""Interfaces as netlink describes them, and which of them are served on.

Source: docs/specs/metallb-interface.md §4.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface


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
    addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()
    """Sorted."""
