"""Addresses as operators write them: one address, a CIDR, a range; and whether CIDRs overlap.

Rules kept here:

* Stricter than `ipaddress` where it takes what MetalLB does not: zones, netmasks, bare addresses as networks.
* A range becomes its minimal CIDRs, ascending. Mistakes are :class:`ValueRefused` and nothing else.

Source: docs/specs/metallb-interface.md §1.2.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network, summarize_address_range
from typing import TYPE_CHECKING, Final

from cluster.errors import ValueRefused, quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TypeVar

    from cluster.model import Address, Network

    Tag = TypeVar("Tag")

_CIDR = re.compile(r"(?P<address>[^/]+)/(?P<length>[0-9]{1,3})", re.ASCII)
_FORMS: Final = "write a CIDR such as 192.0.2.0/24 or a range such as 192.0.2.10-192.0.2.20"


def parse_address(text: str) -> Address:
    """One IPv4 or IPv6 address, without a zone."""
    try:
        if "%" in text:  # ipaddress takes zones; they mean nothing outside one machine
            raise ValueError
        return ip_address(text)
    except ValueError:
        raise ValueRefused(
            f"{quote(text)} is not an IP address", "write one such as 192.0.2.1 or 2001:db8::1"
        ) from None


def parse_ipv4(text: str) -> IPv4Address:
    """One IPv4 address."""
    address = parse_address(text)
    if isinstance(address, IPv6Address):
        raise ValueRefused(f"{quote(text)} is not an IPv4 address", "write one such as 192.0.2.1")
    return address


def parse_networks(text: str) -> tuple[Network, ...]:
    """A CIDR, its host bits masked off, or `START-END`, as minimal CIDRs, ascending. A bare address is refused."""
    if "/" in text:
        return (_parse_cidr(text),)
    if "-" in text:
        first, _, last = text.partition("-")
        return _parse_range(text, parse_address(first.strip()), parse_address(last.strip()))
    try:
        address = parse_address(text)
    except ValueRefused:
        raise ValueRefused(f"{quote(text)} is neither a CIDR nor a range", _FORMS) from None
    raise ValueRefused(
        f"{quote(text)} is one address, neither a CIDR nor a range", f"write {address}/{address.max_prefixlen}"
    )


def _parse_cidr(text: str) -> Network:
    found = _CIDR.fullmatch(text)
    try:
        if not found:
            raise ValueError
        return ip_network((parse_address(found["address"]), int(found["length"])), strict=False)
    except (ValueError, ValueRefused):
        raise ValueRefused(f"{quote(text)} is not a CIDR", _FORMS) from None


def _parse_range(text: str, first: Address, last: Address) -> tuple[Network, ...]:
    if first.version != last.version:
        raise ValueRefused(
            f"{quote(text)} begins in one address family and ends in the other", "write one range for each"
        )
    if int(first) > int(last):
        raise ValueRefused(f"{quote(text)} begins after its end", f"write {last}-{first}")
    return tuple(summarize_address_range(first, last))


def find_overlaps(networks: Iterable[tuple[Network, Tag]]) -> Iterator[tuple[Tag, Tag, Network]]:
    """Yield (tag, tag of the one it overlaps, network) for each network that shares addresses with an earlier one.

    Earlier means in the order given; each network is named once. Takes n·log n steps for n networks.
    """
    numbered = [(_sort_key(network), number, network, tag) for number, (network, tag) in enumerate(networks)]
    enclosing: list[tuple[int, Network, Tag]] = []  # no deeper than an address has bits
    found: dict[int, tuple[Tag, Tag, Network]] = {}
    for _, number, network, tag in sorted(numbered, key=lambda entry: entry[:2]):
        while enclosing and not _encloses(enclosing[-1][1], network):
            enclosing.pop()
        for other, outer, other_tag in enclosing:
            if other < number:
                found.setdefault(number, (tag, other_tag, network))
            else:
                found.setdefault(other, (other_tag, tag, outer))
        if not enclosing or enclosing[-1][1] != network:
            enclosing.append((number, network, tag))
    yield from (found[number] for number in sorted(found))


def _sort_key(network: Network) -> tuple[int, int, int]:
    """Networks that enclose others come before them; CIDRs overlap only by enclosing."""
    return network.version, int(network.network_address), network.prefixlen


def _encloses(outer: Network, inner: Network) -> bool:
    if isinstance(outer, IPv4Network):
        return isinstance(inner, IPv4Network) and inner.subnet_of(outer)
    return not isinstance(inner, IPv4Network) and inner.subnet_of(outer)
