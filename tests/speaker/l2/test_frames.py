"""Frames as an independent implementation makes and reads them."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether

from speaker.l2.frames import FRAME_BYTES, ARPPacket, BadFrame, Encoder, decode_arp_untrusted
from tests.speaker.l2.helpers import (
    CLIENT,
    CLIENT_IP,
    ETH0,
    EVERYBODY,
    NOBODY,
    OWN,
    VIP,
    Said,
    answer,
    ask,
    gratuitous,
    read,
    tell,
)

ENCODER = Encoder(ETH0.mac)
MACS = st.binary(min_size=6, max_size=6)
IPS = st.binary(min_size=4, max_size=4)


def packed(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def test_the_answer() -> None:
    frame = ENCODER.reply(VIP.packed, packed(CLIENT), IPv4Address(CLIENT_IP).packed)
    assert read(frame) == answer()
    assert len(frame) == FRAME_BYTES


def test_the_gratuitous_frames() -> None:
    frames = [ENCODER.gratuitous_request(VIP.packed), ENCODER.gratuitous_reply(VIP.packed)]
    assert [read(frame) for frame in frames] == [gratuitous("request"), gratuitous("reply")]
    assert {len(frame) for frame in frames} == {FRAME_BYTES}


def test_the_probe() -> None:
    frame = ENCODER.probe(VIP.packed)
    assert read(frame) == Said(EVERYBODY, OWN, "request", (OWN, "0.0.0.0"), (NOBODY, str(VIP)))
    assert decode_arp_untrusted(frame).is_probe
    assert len(frame) == FRAME_BYTES


@pytest.mark.parametrize("mac", [b"", bytes(5), bytes(20)])
def test_no_frames_are_made_for_what_is_no_ethernet_address(mac: bytes) -> None:
    with pytest.raises(ValueError, match=f"6 bytes, not {len(mac)}"):
        Encoder(mac)


def test_a_request_is_read() -> None:
    assert decode_arp_untrusted(ask()) == ARPPacket(
        ethernet_destination=b"\xff" * 6,
        ethernet_source=packed(CLIENT),
        operation=1,
        sender_mac=packed(CLIENT),
        sender_ip=IPv4Address(CLIENT_IP).packed,
        target_mac=bytes(6),
        target_ip=VIP.packed,
    )


def test_what_is_a_probe() -> None:
    frames = {
        "request": ask(),
        "probe": ask(sender=(CLIENT, "0.0.0.0")),
        "announcement": ask(sender=(CLIENT, str(VIP))),
        "reply without an address": tell((CLIENT, "0.0.0.0")),
    }
    assert [name for name, frame in frames.items() if decode_arp_untrusted(frame).is_probe] == ["probe"]


@pytest.mark.parametrize("padding", [0, 1, 18, 22, 9000])
def test_padding_is_ignored(padding: int) -> None:
    assert decode_arp_untrusted(ask() + b"\xaa" * padding) == decode_arp_untrusted(ask())


BAD = {
    "nothing": (b"", "0 bytes are too short"),
    "cut": (ask()[:41], "41 bytes are too short"),
    "a VLAN": (bytes(Ether() / Dot1Q(vlan=7) / ARP()), "VLAN"),
    "a VLAN in a VLAN": (bytes(Ether() / Dot1AD(vlan=7) / Dot1Q(vlan=8) / ARP()), "VLAN"),
    "IPv4": (bytes(Ether(type=0x0800) / (b"\x45" * 60)), "EtherType 0800"),
    "RARP": (bytes(Ether(type=0x8035) / ARP()), "EtherType 8035"),
    "other hardware": (bytes(Ether() / ARP(hwtype=6)) + bytes(18), "other than IPv4 over Ethernet"),
    "other protocol": (bytes(Ether() / ARP(ptype=0x86DD)), "other than IPv4 over Ethernet"),
    "long hardware addresses": (bytes(Ether() / ARP(hwlen=8)) + bytes(8), "other than IPv4 over Ethernet"),
    "long IP addresses": (bytes(Ether() / ARP(plen=16)) + bytes(32), "other than IPv4 over Ethernet"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_arp_for_ipv4_is_refused_with_the_reason(name: str) -> None:
    frame, reason = BAD[name]
    with pytest.raises(BadFrame, match=reason):
        decode_arp_untrusted(frame)


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        packet = decode_arp_untrusted(data)
    except BadFrame:
        return
    assert (packet.ethernet_destination, packet.target_ip) == (data[:6], data[38:42])


@given(st.tuples(MACS, MACS, st.integers(0, 0xFFFF), MACS, IPS, MACS, IPS), st.binary(max_size=22))
def test_every_frame_that_scapy_makes_is_read_as_scapy_reads_it(
    fields: tuple[bytes, bytes, int, bytes, bytes, bytes, bytes], padding: bytes
) -> None:
    destination, source, operation, sender_mac, sender_ip, target_mac, target_ip = fields
    frame = Ether(dst=destination.hex(":"), src=source.hex(":")) / ARP(
        op=operation,
        hwsrc=sender_mac.hex(":"),
        psrc=str(IPv4Address(sender_ip)),
        hwdst=target_mac.hex(":"),
        pdst=str(IPv4Address(target_ip)),
    )
    assert tuple(decode_arp_untrusted(bytes(frame) + padding)) == fields


@given(MACS, IPS, MACS, IPS)
def test_whatever_is_made_is_read_again(mac: bytes, ip: bytes, to_mac: bytes, to_ip: bytes) -> None:
    encoder = Encoder(mac)
    assert decode_arp_untrusted(encoder.reply(ip, to_mac, to_ip)) == (to_mac, mac, 2, mac, ip, to_mac, to_ip)
    assert decode_arp_untrusted(encoder.probe(ip)) == (b"\xff" * 6, mac, 1, mac, bytes(4), bytes(6), ip)
