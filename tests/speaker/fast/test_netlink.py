"""Interfaces are told completely at the start, and each change of theirs soon after."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Interface, ip_interface
from pathlib import Path

import pytest
import trio

from speaker.fast import netlink, rtnetlink
from speaker.fast.netlink import InterfaceTable, follow_interfaces
from speaker.l2.interfaces import Interface
from tests.speaker.fast.namespace import carriers, in_namespace, ip

IFLA_IFNAME, IFLA_MASTER = 3, 10
AF_BRIDGE = 7
PAIR = ("link add eth0 up type veth peer name far0", "link set far0 up")


class Follower:
    """What was told so far, and a way to wait for more."""

    def __init__(self) -> None:
        self.calls: list[tuple[Interface, ...]] = []
        self._told = trio.Event()

    def take(self, interfaces: tuple[Interface, ...]) -> None:
        self.calls.append(interfaces)
        self._told.set()
        self._told = trio.Event()

    @property
    def last(self) -> dict[str, Interface]:
        return {interface.name: interface for interface in self.calls[-1]}

    async def until(self, holds: Callable[[dict[str, Interface]], bool]) -> None:
        while not (self.calls and holds(self.last)):
            await self._told.wait()


@asynccontextmanager
async def following() -> AsyncIterator[Follower]:
    """A follower that has heard the first list."""
    follower = Follower()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow_interfaces, follower.take)
        await follower.until(bool)
        yield follower
        nursery.cancel_scope.cancel()


@in_namespace
async def test_the_first_list_has_everything() -> None:
    ip(
        *PAIR,
        "link set eth0 address 02:00:00:00:00:07",
        "address add 192.0.2.7/24 dev eth0",
        "address add 192.0.2.3/24 dev eth0",
        "address add 2001:db8::7/64 dev eth0 nodad",
    )
    async with following() as follower:
        first = follower.calls[0]
    assert [interface.index for interface in first] == sorted(interface.index for interface in first)
    loopback, eth0 = follower.last["lo"], follower.last["eth0"]
    assert loopback.index == 1
    assert loopback.is_loopback
    assert loopback.addresses == (ip_interface("127.0.0.1/8"), ip_interface("::1/128"))
    assert eth0.mac == bytes.fromhex("020000000007")
    assert eth0.addresses[:2] == (ip_interface("192.0.2.3/24"), ip_interface("192.0.2.7/24"))
    assert ip_interface("2001:db8::7/64") in eth0.addresses[2:]
    assert eth0.is_up
    assert eth0.has_carrier
    assert eth0.has_broadcast
    assert eth0.has_arp
    assert not eth0.is_loopback
    assert not eth0.is_enslaved


CHANGES: dict[str, tuple[tuple[str, ...], str, Callable[[dict[str, Interface]], bool]]] = {
    # What was there before, what happens, and what is then told.
    "a new interface": ((), "link add eth1 type veth peer name far1", lambda told: {"eth1", "far1"} <= told.keys()),
    "up": (("link set eth0 down",), "link set eth0 up", lambda told: told["eth0"].is_up),
    "down": ((), "link set eth0 down", lambda told: not told["eth0"].is_up and not told["eth0"].has_carrier),
    "carrier lost": ((), "link set far0 down", lambda told: told["eth0"].is_up and not told["eth0"].has_carrier),
    "carrier back": (("link set far0 down",), "link set far0 up", lambda told: told["eth0"].has_carrier),
    "renamed": (("link set eth0 down",), "link set eth0 name lan", lambda told: "lan" in told and "eth0" not in told),
    "another MAC": (
        (),
        "link set eth0 address 02:00:00:00:00:99",
        lambda told: told["eth0"].mac == bytes.fromhex("020000000099"),
    ),
    "no ARP": ((), "link set eth0 arp off", lambda told: not told["eth0"].has_arp),
    "enslaved": (
        ("link add bridge0 type bridge",),
        "link set eth0 master bridge0",
        lambda told: told["eth0"].is_enslaved,
    ),
    "released": (
        ("link add bridge0 type bridge", "link set eth0 master bridge0"),
        "link set eth0 nomaster",
        lambda told: "eth0" in told and not told["eth0"].is_enslaved,
    ),
    "an address more": (
        (),
        "address add 192.0.2.9/24 dev eth0",
        lambda told: IPv4Interface("192.0.2.9/24") in told["eth0"].addresses,
    ),
    "an address less": (
        ("address add 192.0.2.9/24 dev eth0",),
        "address delete 192.0.2.9/24 dev eth0",
        lambda told: IPv4Interface("192.0.2.9/24") not in told["eth0"].addresses,
    ),
    "an address with another at the far end": (
        (),
        "address add 192.0.2.9 peer 198.51.100.1/32 dev eth0",
        lambda told: IPv4Interface("192.0.2.9/32") in told["eth0"].addresses,
    ),
    "deleted": ((), "link delete eth0", lambda told: told.keys() == {"lo"}),
    "an interface on another": (
        (),
        "link add lan0 link eth0 address 02:00:00:00:00:55 type macvlan",
        lambda told: told["lan0"].mac == bytes.fromhex("020000000055") if "lan0" in told else False,
    ),
}


@pytest.mark.parametrize("name", CHANGES)
@in_namespace
async def test_a_change_is_told(name: str) -> None:
    before, change, holds = CHANGES[name]
    ip(*PAIR, *before)
    async with following() as follower:
        await follower.until(lambda told: not holds(told))
        ip(change)
        await follower.until(holds)


@in_namespace
async def test_an_interface_on_another_has_the_carrier_of_the_one_below() -> None:
    ip(*PAIR, "link add lan0 link eth0 up type macvlan")
    async with following() as follower:
        await follower.until(lambda told: told["lan0"].has_carrier)
        ip("link set far0 down")
        await follower.until(lambda told: told["lan0"].is_up and not told["lan0"].has_carrier)


@in_namespace
async def test_a_port_stays_an_interface_after_it_has_left_its_bridge() -> None:
    ip(*PAIR, "link add bridge0 up type bridge", "address add 192.0.2.7/24 dev eth0", "link set eth0 master bridge0")
    async with following() as follower:
        ip("link set eth0 nomaster", "link add last type veth peer name last1")
        await follower.until(lambda told: "last" in told)
        assert not follower.last["eth0"].is_enslaved
        assert ip_interface("192.0.2.7/24") in follower.last["eth0"].addresses


@in_namespace
async def test_a_hundred_interfaces() -> None:
    ip(*(f"link add eth{i} up type veth peer name far{i}" for i in range(50)))
    ip(*(f"address add 10.0.{i}.1/24 dev eth{i}" for i in range(50)))
    async with following() as follower:
        assert len(follower.calls[0]) == 101
        for i in range(50):
            assert IPv4Interface(f"10.0.{i}.1/24") in follower.last[f"eth{i}"].addresses
        ip(*(f"link delete eth{i}" for i in range(50)))
        await follower.until(lambda told: told.keys() == {"lo"})


@in_namespace
async def test_what_waits_is_one_change() -> None:
    ip(*PAIR)
    await carriers("eth0", "far0")
    async with following() as follower:
        count = len(follower.calls)
        ip(*(f"address add 10.0.0.{i}/24 dev eth0" for i in range(1, 51)))
        await follower.until(lambda told: IPv4Interface("10.0.0.50/24") in told["eth0"].addresses)
        assert len(follower.calls) == count + 1


@in_namespace
async def test_what_changes_nothing_is_not_told() -> None:
    ip(*PAIR)
    await carriers("eth0", "far0")
    async with following() as follower:
        count = len(follower.calls)
        ip("link set eth0 alias nice")
        await trio.testing.wait_all_tasks_blocked()
        ip("link set eth0 address 02:00:00:00:00:99")
        await follower.until(lambda told: told["eth0"].mac[-1] == 0x99)
        assert len(follower.calls) == count + 1


@in_namespace
async def test_more_news_than_the_socket_holds() -> None:
    """The loop stands still while everything about eth0 changes 6,000 times over: the kernel drops the most of it."""
    ip(*PAIR)
    async with following() as follower:
        everything = [f"10.0.{i // 250}.{i % 250 + 1}/32" for i in range(3000)]
        ip(*(f"address add {address} dev eth0" for address in everything))
        ip(*(f"address delete {address} dev eth0" for address in everything[:-1]), "link set eth0 arp off")
        await follower.until(
            lambda told: (
                not told["eth0"].has_arp
                and [a for a in told["eth0"].addresses if a.version == 4] == [ip_interface(everything[-1])]
            )
        )


@in_namespace
async def test_a_long_list_leaves_others_their_turns() -> None:
    ip(*(f"address add 10.0.{i // 250}.{i % 250 + 1}/32 dev lo" for i in range(3000)))
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_turns)
        async with following() as follower:
            assert len(follower.last["lo"].addresses) == 3002
        nursery.cancel_scope.cancel()
    assert turns >= 3000 / netlink.MAX_MESSAGES_PER_TURN


@in_namespace
async def test_a_list_that_changed_while_it_was_made_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    received = netlink._receive
    lists = 0

    def mix_the_first(sock: socket.socket) -> bytes:
        nonlocal lists
        data = received(sock)
        if data[4:6] == struct.pack("=H", netlink.RTM_NEWLINK):
            lists += 1
            if lists == 1:
                data = data[:6] + struct.pack("=H", netlink.NLM_F_DUMP_INTR) + data[8:]
        return data

    monkeypatch.setattr(netlink, "_receive", mix_the_first)
    async with following() as follower:
        assert lists == 2
        assert len(follower.calls) == 1


@in_namespace
async def test_a_list_that_was_cut_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "RELIST_INTERVAL", 0.0)
    monkeypatch.setattr(netlink, "MAX_DATAGRAM", 64)
    follower = Follower()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow_interfaces, follower.take)
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        assert follower.calls == []
        monkeypatch.setattr(netlink, "MAX_DATAGRAM", 65_536)
        await follower.until(lambda told: told["lo"].is_loopback)
        nursery.cancel_scope.cancel()


@in_namespace
async def test_lists_that_never_come_out_whole_do_not_leave_it_without_interfaces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    apply = InterfaceTable.apply

    def mix(table: InterfaceTable, message: netlink.Message) -> None:
        apply(table, message)
        table.is_mixed = True

    monkeypatch.setattr(InterfaceTable, "apply", mix)
    monkeypatch.setattr(netlink, "RELIST_INTERVAL", 0.0)
    async with following() as follower:
        assert follower.last.keys() == {"lo"}
        ip(*PAIR)
        await follower.until(lambda told: "eth0" in told)


def subscribers() -> list[int]:
    """The ports of the sockets in this namespace that are told of interfaces."""
    lines = Path("/proc/thread-self/net/netlink").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    return [int(port) for _, protocol, port, groups, *_ in rows if (protocol, int(groups, 16)) == ("0", netlink.GROUPS)]


@in_namespace
async def test_only_the_kernel_is_believed() -> None:
    ip(*PAIR)
    async with following() as follower:
        ports = subscribers()
        assert len(ports) == 1
        body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, follower.last["lo"].index, 0, 0)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as forger:
            forger.sendto(rtnetlink.HEADER.pack(16 + len(body), netlink.RTM_DELLINK, 0, 0, 0) + body, (ports[0], 0))
        ip("link set eth0 address 02:00:00:00:00:99")
        await follower.until(lambda told: told["eth0"].mac[-1] == 0x99)
        assert "lo" in follower.last


async def test_a_refusal_is_an_error_that_says_so() -> None:
    refusal = rtnetlink.HEADER.pack(36, rtnetlink.NLMSG_ERROR, 0, 0, 0) + struct.pack("=i", -1) + bytes(16)
    with pytest.raises(PermissionError, match=re.escape("the kernel does not list its interfaces: Operation not")):
        await netlink._take_in(refusal, InterfaceTable())


def address_message(kind: int, address: str, flags: int = 0) -> bytes:
    interface = ip_interface(address)
    family = socket.AF_INET if interface.version == 4 else socket.AF_INET6
    attribute = struct.pack("=HH", 4 + len(interface.packed), 1) + interface.packed
    body = struct.pack("=BBBBI", family, interface.network.prefixlen, flags, 0, 1) + attribute
    return rtnetlink.HEADER.pack(16 + len(body), kind, 0, 0, 0) + body


def link_message(family: int, master: int = 0) -> bytes:
    body = struct.pack("=BxHiIIHH", family, 0, 1, 0, 0, 7, IFLA_IFNAME) + b"lo\0\0"
    if master:
        body += struct.pack("=HHI", 8, IFLA_MASTER, master)
    return rtnetlink.HEADER.pack(16 + len(body), netlink.RTM_NEWLINK, 0, 0, 0) + body


async def test_what_a_bridge_says_of_itself_does_not_enslave_it() -> None:
    table = InterfaceTable()
    await netlink._take_in(link_message(socket.AF_UNSPEC) + link_message(AF_BRIDGE, master=1), table)
    assert [interface.is_enslaved for interface in table.interfaces()] == [False]


async def test_an_address_whose_uniqueness_is_still_being_checked_is_not_there_yet() -> None:
    table = InterfaceTable()
    await netlink._take_in(link_message(socket.AF_UNSPEC), table)
    seen = []
    for kind, flags in ((20, netlink.IFA_F_TENTATIVE), (20, 0), (20, netlink.IFA_F_TENTATIVE), (20, 0), (21, 0)):
        await netlink._take_in(address_message(kind, "2001:db8::1/64", flags), table)
        seen.append(len(table.interfaces()[0].addresses))
    assert seen == [0, 1, 0, 1, 0]


async def test_addresses_of_other_families_are_passed_over() -> None:
    message = bytearray(address_message(rtnetlink.RTM_NEWADDR, "192.0.2.1/24"))
    message[rtnetlink.HEADER.size] = socket.AF_APPLETALK
    table = InterfaceTable()
    await netlink._take_in(link_message(socket.AF_UNSPEC) + bytes(message), table)
    assert table.interfaces()[0].addresses == ()


async def test_deleted_interfaces_leave_nothing_behind() -> None:
    table = InterfaceTable()
    await netlink._take_in(address_message(rtnetlink.RTM_DELADDR, "192.0.2.1/24"), table)
    assert not table._addresses
