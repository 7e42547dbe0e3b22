"""Sockets and addresses as the system wants them."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Final

import trio

from gossip.addresses import Address, JoinTarget, pack_host, parse_join_target, unpack_host
from gossip.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_DATAGRAM: Final = 65_536
RECEIVE_BUFFER: Final = 2 * 1024 * 1024
LISTEN_BACKLOG: Final = 128
PORT_TRIES: Final = 10
"""Times to look for a port that is free for datagrams and streams alike."""
WILDCARDS: Final = {
    b"\0" * 4: (("192.0.2.1", socket.AF_INET),),
    b"\0" * 16: (("2001:db8::1", socket.AF_INET6), ("192.0.2.1", socket.AF_INET)),
}
"""For each wildcard the documentation addresses whose route tells an address of this machine; nothing is sent to
them."""


def bind(address: Address) -> tuple[socket.socket, trio.socket.SocketType]:
    """A datagram socket and a listening one on the same port, any free one for port 0. Raises :class:`LocalError`."""
    host, port = address
    family = socket.AF_INET6 if len(pack_host(host)) == 16 else socket.AF_INET
    for tries_left in reversed(range(PORT_TRIES)):
        listener = socket.socket(family, socket.SOCK_STREAM)
        datagrams = socket.socket(family, socket.SOCK_DGRAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            datagrams.bind((host, listener.getsockname()[1]))
            listener.listen(LISTEN_BACKLOG)
        except OSError as exc:
            listener.close()
            datagrams.close()
            if port == 0 and exc.errno == errno.EADDRINUSE and tries_left:
                continue
            shown = f"[{host}]" if ":" in host else host
            raise LocalError(f"cannot listen on {shown}:{port}: {_cure(exc)}") from exc
        listener.setblocking(False)
        datagrams.setblocking(False)
        _widen(datagrams)
        return datagrams, trio.socket.from_stdlib_socket(listener)
    raise AssertionError("the last try returns or raises")


def _cure(exc: OSError) -> str:
    cures = {
        errno.EADDRINUSE: "the port is in use; stop what holds it, or bind another port",
        errno.EADDRNOTAVAIL: "the address is not this machine's; bind one of its own addresses",
        errno.EACCES: "not permitted; ports below 1024 need CAP_NET_BIND_SERVICE",
    }
    return cures.get(exc.errno or 0, reason_of(exc))


def _widen(datagrams: socket.socket) -> None:
    """Ask for the largest receive buffer that the kernel gives, so that a stall loses little."""
    size = RECEIVE_BUFFER
    while size >= MAX_DATAGRAM:
        try:
            datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        except OSError:
            size //= 2
        else:
            return


def advertised(datagrams: socket.socket) -> Address:
    """The bound address; for a wildcard the one that this machine's default route uses. Raises
    :class:`LocalError`."""
    host, port = datagrams.getsockname()[:2]
    routes = WILDCARDS.get(pack_host(host))
    if routes is None:
        return host, port
    for probe, family in routes:
        with socket.socket(family, socket.SOCK_DGRAM) as routed:
            try:
                routed.connect((probe, 9))
            except OSError:
                continue
            return routed.getsockname()[0], port
    raise LocalError(f"bound to {host} and no default route tells which address others reach; say which to advertise")


def is_wildcard(host: str) -> bool:
    """Whether a literal stands for all of this machine's addresses, so that nobody can reach it."""
    return pack_host(host) in WILDCARDS


def from_sockaddr(sockaddr: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    """What the system says as an address of ours: no scope, and IPv4 never in its mapped form."""
    host = sockaddr[0]
    return (unpack_host(pack_host(host)) if ":" in host else host), sockaddr[1]


def to_sockaddr(address: Address, family: int) -> Address:
    """An address for a socket of this family, which takes IPv4 in its mapped form if it is an IPv6 one."""
    host, port = address
    return (f"::ffff:{host}", port) if family == socket.AF_INET6 and ":" not in host else (host, port)


def reason_of(exc: OSError) -> str:
    """The system's own words, without what a library wrapped round them."""
    return os.strerror(exc.errno) if exc.errno else str(exc)


async def resolve(targets: Sequence[str], default_port: int) -> tuple[list[Address], list[tuple[str, str]]]:
    """All addresses of the targets, in order and once each, and (text, reason) for each that cannot be resolved.

    Raises :class:`LocalError` for text that is no ``[name/]host[:port]``.
    """
    parsed: list[tuple[str, JoinTarget]] = [(text, parse_join_target(text, default_port)) for text in targets]
    addresses: list[Address] = []
    failed: list[tuple[str, str]] = []
    for text, target in parsed:
        try:
            found = await trio.socket.getaddrinfo(target.host, target.port, type=socket.SOCK_DGRAM)
        except socket.gaierror as exc:
            failed.append((text, f"cannot resolve {target.host!r}: {exc.strerror}"))
            continue
        except (OSError, UnicodeError) as exc:
            failed.append((text, f"cannot resolve {target.host!r}: {exc}"))
            continue
        for *_, sockaddr in found:
            address = from_sockaddr((str(sockaddr[0]), int(sockaddr[1])))
            if address not in addresses:
                addresses.append(address)
    return addresses, failed
