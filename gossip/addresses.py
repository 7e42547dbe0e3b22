"""Addresses as text, as packed bytes, and as what an operator types (memberlist-protocol.md §11.1, 11.2, 11.7).

Rules kept here:

* Nothing is resolved: turning a name into an address is the driver's.
* The 16-byte mapped form of an IPv4 address is the same address (§16 row 16); what a peer sent is relayed in the
  form it chose.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from gossip.errors import ConfigError, LocalError

Address: TypeAlias = tuple[str, int]
"""Host as text (an IPv4 or IPv6 literal) and port."""

DEFAULT_PORT: Final = 7946
"""The port of memberlist, serf and MetalLB."""
_MAPPED: Final = bytes(10) + b"\xff\xff"


def pack_host(host: str) -> bytes:
    """The 4 or 16 bytes of a literal. Raises :class:`LocalError` when it is none."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).packed
    except ValueError as exc:
        raise LocalError(f"{host!r} is not an IPv4 or IPv6 address") from exc


def normalise(addr: bytes) -> bytes:
    """Packed bytes with the mapped form of IPv4 shortened."""
    return addr[12:] if len(addr) == 16 and addr[:12] == _MAPPED else addr


@lru_cache(maxsize=16_384)
def unpack_host(addr: bytes) -> str:
    """The literal of 4 or 16 packed bytes, IPv4 when mapped. ``ValueError`` for any other length."""
    return str(ipaddress.ip_address(normalise(addr)))


@dataclass(frozen=True, slots=True)
class JoinTarget:
    """What ``[name/]host[:port]`` says. ``name`` is empty when none was given."""

    name: str
    host: str
    port: int


def parse_join_target(text: str, default_port: int = DEFAULT_PORT) -> JoinTarget:
    """Read ``[name/]host[:port]``; IPv6 in brackets when a port follows. Raises :class:`LocalError` with the cure."""
    name, slash, rest = text.rpartition("/")
    if slash and not name:
        raise LocalError(f"{text!r}: the name before '/' is empty; write NAME/HOST[:PORT] or leave the '/' out")
    host, port = _split_port(text, rest, default_port)
    if not host:
        raise LocalError(f"{text!r}: no host; write HOST, HOST:PORT or [IPV6]:PORT")
    return JoinTarget(name, host, port)


def _split_port(text: str, rest: str, default_port: int) -> tuple[str, int]:
    if rest.startswith("["):
        host, bracket, tail = rest[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise LocalError(f"{text!r}: write an IPv6 address with a port as [ADDRESS]:PORT")
        digits = tail[1:] if tail else None
    elif rest.count(":") > 1:
        host, digits = rest, None
    else:
        host, colon, after = rest.partition(":")
        digits = after if colon else None
    if digits is None:
        return host, default_port
    if not digits.isascii() or not digits.isdigit() or not 0 < int(digits) < 65536:
        raise LocalError(f"{text!r}: port {digits!r} is not a number from 1 to 65535")
    return host, int(digits)


class AllowList:
    """The networks that members and senders must be in (§11.7, with §16 row 30: it holds for everything received).

    ``None`` allows everything, an empty list nothing. Raises :class:`ConfigError` for text that is no network.
    """

    def __init__(self, networks: tuple[str, ...] | None) -> None:
        try:
            self._networks = None if networks is None else [ipaddress.ip_network(text) for text in networks]
        except ValueError as exc:
            raise ConfigError(f"identity.allowed_networks: {exc}") from exc

    def permits(self, addr: bytes) -> bool:
        """Whether this packed address is inside one of the networks."""
        if self._networks is None:
            return True
        if len(addr) not in (4, 16):
            return False
        address = ipaddress.ip_address(normalise(addr))
        return any(address in network for network in self._networks if network.version == address.version)

    def permits_host(self, host: str) -> bool:
        """The same for a literal."""
        return self._networks is None or self.permits(pack_host(host))
