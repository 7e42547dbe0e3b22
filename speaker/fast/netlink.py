"""The interfaces of this machine as the kernel tells them: everything at the start, and every change after it.

Rules kept here:

* Subscribed first, asked second: no change falls between the list and the news.
* Where the kernel says that it lost or mixed something, everything is asked for again; what is known stays in force
  meanwhile.
* What waits on the socket is one change, however much it is, and a long list is read in short turns.
* pyroute2 turns bytes into messages here and nowhere else; it has no types.

Source: rtnetlink(7), netlink(7).
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Interface, IPv6Interface
from typing import Any, Final, TypeAlias

import trio
from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from speaker.fast.rtnetlink import (
    HEADER,
    IFADDRMSG,
    MAX_DATAGRAM,
    NETLINK_ROUTE,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    RTM_DELADDR,
    RTM_GETADDR,
    RTM_NEWADDR,
)
from speaker.l2.interfaces import Interface

GROUPS: Final = 0x1 | 0x10 | 0x100
"""RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR."""
NLM_F_DUMP_INTR: Final = 0x10
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
IFF_UP, IFF_BROADCAST, IFF_LOOPBACK, IFF_RUNNING, IFF_NOARP = 0x1, 0x2, 0x8, 0x40, 0x80
IFA_F_TENTATIVE: Final = 0x40

LINKS: Final = struct.pack("=BxHiIIHHI", socket.AF_UNSPEC, 0, 0, 0, 0, 8, 29, 8)
"""An ifinfomsg and IFLA_EXT_MASK = RTEXT_FILTER_SKIP_STATS: the counters are half of the bytes, and not needed."""
ADDRESSES: Final = IFADDRMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0)

MAX_MESSAGES_PER_TURN: Final = 16
"""Messages taken in before others get a turn: one costs 25 to 250 µs."""
MAX_DATAGRAMS_PER_CHANGE: Final = 1024
"""Datagrams taken in as one change; without an end to them, this many are told."""
RECEIVE_BUFFER: Final = 1024 * 1024
"""Bytes asked for; the kernel gives at most net.core.rmem_max."""
RELIST_INTERVAL: Final = 0.1
"""Seconds from a loss to the next list, so that a storm of changes costs a bounded part of the time."""
MAX_MIXED_LISTS: Final = 10
"""Lists, one after the other, that changed while they were made; the last of them is taken as it is."""
VERSIONS: Final = {socket.AF_INET: 4, socket.AF_INET6: 6}

Message: TypeAlias = Any
"""A message of pyroute2."""
AddressKey: TypeAlias = tuple[int, bytes, int]
"""Version, packed address, length of the prefix: what addresses sort by."""


class _Lost(Exception):
    """The kernel had more to say than the socket could hold."""


async def follow_interfaces(changed: Callable[[tuple[Interface, ...]], None]) -> None:
    """Call ``changed`` with all interfaces, sorted by index, now and whenever something about them is different.

    Runs until it is cancelled. Needs no privilege. Raises :class:`OSError` when the kernel refuses to list its
    interfaces.
    """
    told: tuple[Interface, ...] | None = None
    mixed = 0
    while True:
        table = InterfaceTable()
        with _subscribe() as sock, contextlib.suppress(_Lost):
            await _list(sock, RTM_GETLINK, LINKS, table)
            await _list(sock, RTM_GETADDR, ADDRESSES, table)
            mixed = mixed + 1 if table.is_mixed else 0
            while mixed in (0, MAX_MIXED_LISTS):
                if told != (interfaces := table.interfaces()):
                    told = interfaces
                    changed(told)
                await _take_changes(sock, table)
        await trio.sleep(RELIST_INTERVAL)


class InterfaceTable:
    """What the kernel said so far. ``apply`` takes one message, ``interfaces`` gives the sum of them."""

    def __init__(self) -> None:
        self.is_mixed = False
        """A list was changed while it was made: something may be missing."""
        self._links: dict[int, Interface] = {}
        self._addresses: defaultdict[int, dict[AddressKey, IPv4Interface | IPv6Interface]] = defaultdict(dict)
        self._complete: dict[int, Interface] = {}

    def apply(self, message: Message) -> None:
        """Take in one message. What is not about interfaces and their addresses is passed over."""
        if message["header"]["flags"] & NLM_F_DUMP_INTR:
            self.is_mixed = True
        if handle := self._HANDLERS.get(message["header"]["type"]):
            handle(self, message)
            self._complete.pop(message["index"], None)

    def interfaces(self) -> tuple[Interface, ...]:
        """All interfaces, sorted by index."""
        for index, link in self._links.items():
            if index not in self._complete:
                addresses = self._addresses.get(index, {})
                self._complete[index] = replace(link, addresses=tuple(addresses[key] for key in sorted(addresses)))
        return tuple(self._complete[index] for index in sorted(self._links))

    def _set_link(self, message: Message) -> None:
        name = message.get_attr("IFLA_IFNAME")
        # A bridge speaks of its ports, and a wireless card of its radio, by messages of the same type.
        if message["family"] != socket.AF_UNSPEC or name is None:
            return
        flags = message["flags"]
        self._links[message["index"]] = Interface(
            index=message["index"],
            name=name,
            mac=bytes.fromhex((message.get_attr("IFLA_ADDRESS") or "").replace(":", "")),
            is_up=bool(flags & IFF_UP),
            has_carrier=bool(flags & IFF_RUNNING),
            has_broadcast=bool(flags & IFF_BROADCAST),
            has_arp=not flags & IFF_NOARP,
            is_loopback=bool(flags & IFF_LOOPBACK),
            is_enslaved=bool(message.get_attr("IFLA_MASTER")),
        )

    def _remove_link(self, message: Message) -> None:
        # A port that leaves its bridge is removed for the bridge only.
        if message["family"] == socket.AF_UNSPEC:
            self._links.pop(message["index"], None)
            self._addresses.pop(message["index"], None)

    def _set_address(self, message: Message) -> None:
        if message["flags"] & IFA_F_TENTATIVE:  # nobody may use it yet; the kernel says so when that changes
            self._remove_address(message)
        elif key := _address_key(message):
            version, packed, prefix = key
            self._addresses[message["index"]][key] = (
                IPv4Interface((packed, prefix)) if version == 4 else IPv6Interface((packed, prefix))
            )

    def _remove_address(self, message: Message) -> None:
        if key := _address_key(message):
            self._addresses.get(message["index"], {}).pop(key, None)

    _HANDLERS: Final[dict[int, Callable[[InterfaceTable, Message], None]]] = {
        RTM_NEWLINK: _set_link,
        RTM_DELLINK: _remove_link,
        RTM_NEWADDR: _set_address,
        RTM_DELADDR: _remove_address,
    }


def _address_key(message: Message) -> AddressKey | None:
    # On a point-to-point link IFA_ADDRESS is the other end.
    text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    version = VERSIONS.get(message["family"])
    if text is None or version is None:
        return None
    return version, socket.inet_pton(message["family"], text), message["prefixlen"]


def _subscribe() -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, NETLINK_ROUTE)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    sock.bind((0, GROUPS))
    return sock


async def _list(sock: socket.socket, kind: int, body: bytes, table: InterfaceTable) -> None:
    """Ask for everything of one kind, and take in what comes up to its end."""
    sock.send(HEADER.pack(HEADER.size + len(body), kind, NLM_F_REQUEST | NLM_F_DUMP, kind, 0) + body)
    ended = False
    while not ended:
        await trio.lowlevel.wait_readable(sock)
        ended = await _take_in(_receive(sock), table)


async def _take_changes(sock: socket.socket, table: InterfaceTable) -> None:
    """Wait for news, and take in all that waits."""
    await trio.lowlevel.wait_readable(sock)
    for _ in range(MAX_DATAGRAMS_PER_CHANGE):
        if not (data := _receive(sock)):
            return
        await _take_in(data, table)


def _receive(sock: socket.socket) -> bytes:
    """One datagram of the kernel's; nothing when none waits. Raises :class:`_Lost`."""
    try:
        data, _, flags, sender = sock.recvmsg(MAX_DATAGRAM)
    except BlockingIOError:
        return b""
    except OSError as exc:
        if exc.errno == errno.ENOBUFS:
            raise _Lost from exc
        raise
    if flags & socket.MSG_TRUNC:
        raise _Lost
    return data if sender[0] == 0 else b""


async def _take_in(data: bytes, table: InterfaceTable) -> bool:
    """Whether the datagram was the last of a list. Raises :class:`OSError` for a refusal."""
    ended = False
    for count, message in enumerate(MarshalRtnl().parse(data), 1):
        if message["header"]["type"] in (NLMSG_ERROR, NLMSG_DONE):
            (code,) = struct.unpack_from("=i", message.data, message.offset + HEADER.size)
            if code:
                raise OSError(-code, f"the kernel does not list its interfaces: {os.strerror(-code)}")
            ended = True
        table.apply(message)
        if count % MAX_MESSAGES_PER_TURN == 0:
            await trio.lowlevel.checkpoint()
    return ended
