"""The addresses of a lab's hosts."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Interface, IPv4Network
from typing import Final

NETWORK: Final = IPv4Network("10.225.28.0/24")
"""The LAN, unless manifests say otherwise."""
INTERFACE: Final = "eth0"
"""What every host calls its end of the cable."""


def number_hosts(names: Iterable[str], network: IPv4Network = NETWORK, first: int = 1) -> dict[str, IPv4Interface]:
    """Give each name the next address of a network, the first that many above its beginning."""
    prefix = network.prefixlen
    return {name: IPv4Interface((network[first + place], prefix)) for place, name in enumerate(names)}
