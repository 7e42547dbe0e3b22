"""The verdicts of the kernel on frames that scapy made."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether

from speaker.l2 import filters
from speaker.l2.frames import MAX_FRAME_BYTES
from tests.speaker.fast.namespace import in_namespace, ip, mac_of
from tests.speaker.l2.helpers import CLIENT, EVERYBODY

if TYPE_CHECKING:
    from scapy.packet import Packet

SO_ATTACH_FILTER = 26
ETH_P_ALL, ETH_P_ARP = 0x0003, 0x0806
LAST = b"the last frame, by which the end is seen"

KEPT = {
    "request": Ether(dst=EVERYBODY, src=CLIENT) / ARP(op=1),
    "reply": Ether(dst=EVERYBODY, src=CLIENT) / ARP(op=2),
    "request with nonsense in it": Ether(dst=EVERYBODY, src=CLIENT) / ARP(op=77, hwtype=9),
}
DROPPED = {
    "IPv4": Ether(dst=EVERYBODY, src=CLIENT) / IP(dst="192.0.2.1") / UDP(),
    "RARP": Ether(dst=EVERYBODY, src=CLIENT, type=0x8035) / ARP(),
    "LLDP": Ether(dst="01:80:c2:00:00:0e", src=CLIENT, type=0x88CC) / b"\x02\x07\x04",
    "an 802.3 length": Ether(dst=EVERYBODY, src=CLIENT, type=0x0100) / ARP(),
}


def attach(sock: socket.socket) -> None:
    program = filters.encode_program(filters.ARP)
    buffer = ctypes.create_string_buffer(program)
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(filters.ARP), ctypes.addressof(buffer)))


def passes(frame: bytes) -> bytes:
    """What is left of a frame that was sent through the filter; empty when it was dropped."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        attach(ours)
        ours.setblocking(False)
        try:
            theirs.send(frame)
            return ours.recv(65_536)
        except (BlockingIOError, PermissionError):
            return b""


def test_an_instruction_takes_eight_bytes() -> None:
    assert len(filters.encode_program(filters.ARP)) == 8 * len(filters.ARP)


@pytest.mark.parametrize("name", KEPT)
def test_arp_passes(name: str) -> None:
    assert passes(bytes(KEPT[name])) == bytes(KEPT[name])


@pytest.mark.parametrize("name", DROPPED)
def test_other_protocols_do_not(name: str) -> None:
    assert passes(bytes(DROPPED[name])) == b""


@pytest.mark.parametrize("length", [0, 1, 13])
def test_what_is_too_short_to_say_is_dropped(length: int) -> None:
    assert passes(bytes(KEPT["request"])[:length]) == b""


def test_a_huge_frame_is_cut() -> None:
    frame = bytes(KEPT["request"]) + bytes(1400)
    assert passes(frame) == frame[:MAX_FRAME_BYTES]


@contextmanager
def packet_socket(name: str, protocol: int) -> Iterator[trio.socket.SocketType]:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    attach(sock)
    sock.bind((name, protocol))
    with trio.socket.from_stdlib_socket(sock) as wrapped:
        yield wrapped


def say(name: str, *frames: Packet) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind((name, 0))
        for frame in frames:
            sock.send(bytes(frame))


async def until_last(sock: trio.socket.SocketType) -> list[bytes]:
    """The frames that came before the last."""
    found: list[bytes] = []
    while not (data := await sock.recv(2048)).endswith(LAST[: MAX_FRAME_BYTES - 42]):
        found.append(data)
    return found


def arp(target: str, *tags: Packet) -> Packet:
    frame = Ether(dst=EVERYBODY, src=CLIENT)
    for tag in tags:
        frame /= tag
    return frame / ARP(op=1, pdst=target)


VETH = ("link add eth0 type veth peer name far", "link set eth0 up", "link set far up")
FIRST, SECOND = arp("192.0.2.1"), arp("192.0.2.2")


TAGGED = (
    arp("192.0.2.7", Dot1Q(vlan=7)),
    arp("192.0.2.8", Dot1Q(vlan=4095, prio=5)),
    arp("192.0.2.9", Dot1AD(vlan=7)),
    arp("192.0.2.10", Dot1AD(vlan=7), Dot1Q(vlan=8)),
    arp("192.0.2.11", Dot1Q(vlan=0), Dot1Q(vlan=8)),
)


@pytest.mark.parametrize("protocol", [ETH_P_ALL, ETH_P_ARP])
@in_namespace
async def test_tagged_frames_are_dropped_though_the_kernel_takes_the_tag_off(protocol: int) -> None:
    ip(*VETH)
    with packet_socket("eth0", protocol) as sock:
        say("far", FIRST, *TAGGED, SECOND, arp("192.0.2.3") / LAST)
        assert [Ether(frame).pdst for frame in await until_last(sock)] == ["192.0.2.1", "192.0.2.2"]


@pytest.mark.parametrize("protocol", [ETH_P_ALL, ETH_P_ARP])
@in_namespace
async def test_a_frame_with_a_priority_and_no_vlan_passes(protocol: int) -> None:
    ip(*VETH)
    with packet_socket("eth0", protocol) as sock:
        say("far", arp("192.0.2.5", Dot1Q(vlan=0, prio=5)), arp("192.0.2.3") / LAST)
        assert [Ether(frame).pdst for frame in await until_last(sock)] == ["192.0.2.5"]


@in_namespace
async def test_what_is_sent_here_or_meant_for_another_host_is_not_heard() -> None:
    ip(*VETH, "link set eth0 promisc on")
    with packet_socket("eth0", ETH_P_ALL) as sock:
        say("eth0", FIRST)
        say("far", Ether(dst="02:00:00:00:00:ee", src=CLIENT) / ARP(pdst="192.0.2.6"))
        say("far", Ether(dst=mac_of("eth0").hex(":"), src=CLIENT) / ARP(pdst="192.0.2.7"))
        say("far", SECOND, arp("192.0.2.3") / LAST)
        assert [Ether(frame).pdst for frame in await until_last(sock)] == ["192.0.2.7", "192.0.2.2"]
