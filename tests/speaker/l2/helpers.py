"""What the tests of layer 2 share: interfaces, and frames that scapy makes and reads."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address

from scapy.layers.l2 import ARP, Ether

from speaker.l2.announcer import Announcer
from speaker.l2.config import L2Config
from speaker.l2.first_use import FirstUse
from speaker.l2.interfaces import Interface

EVERYBODY = "ff:ff:ff:ff:ff:ff"
NOBODY = "00:00:00:00:00:00"
OWN = "02:00:00:00:00:01"
OWN_TOO = "02:00:00:00:00:02"
CLIENT = "02:00:00:00:00:c1"
CLIENT_IP = "192.0.2.9"
STRANGER = "02:00:00:00:00:5f"
ETH0 = Interface(index=2, name="eth0", mac=bytes.fromhex(OWN.replace(":", "")))
ETH1 = Interface(index=3, name="eth1", mac=bytes.fromhex(OWN_TOO.replace(":", "")))
VIP = IPv4Address("192.0.2.100")
VIP_TOO = IPv4Address("192.0.2.101")


@dataclass(frozen=True, order=True)
class Said:
    """A frame as scapy reads it."""

    destination: str
    source: str
    operation: str
    sender: tuple[str, str]
    """Hardware and IP address."""
    target: tuple[str, str]


OPERATIONS = {1: "request", 2: "reply"}


def read(frame: bytes) -> Said:
    ether = Ether(frame)
    arp = ether[ARP]
    assert (ether.type, arp.hwtype, arp.ptype, arp.hwlen, arp.plen) == (0x0806, 1, 0x0800, 6, 4)
    assert not arp.payload, "something follows the packet"
    return Said(ether.dst, ether.src, OPERATIONS[arp.op], (arp.hwsrc, arp.psrc), (arp.hwdst, arp.pdst))


def ask(
    target: IPv4Address = VIP,
    sender: tuple[str, str] = (CLIENT, CLIENT_IP),
    destination: str = EVERYBODY,
    source: str | None = None,
) -> bytes:
    """A host asks who has the address."""
    mac, ip = sender
    packet = ARP(op=1, hwsrc=mac, psrc=ip, hwdst=NOBODY, pdst=str(target))
    return bytes(Ether(dst=destination, src=source or mac) / packet)


def tell(sender: tuple[str, str], to: tuple[str, str] = (CLIENT, CLIENT_IP)) -> bytes:
    """A host answers another."""
    return bytes(Ether(dst=to[0], src=sender[0]) / ARP(op=2, hwsrc=sender[0], psrc=sender[1], hwdst=to[0], pdst=to[1]))


def gratuitous(operation: str, mac: str = OWN, address: IPv4Address = VIP) -> Said:
    """metallb-interface.md §4.6."""
    return Said(EVERYBODY, mac, operation, (mac, str(address)), (EVERYBODY, str(address)))


def answer(mac: str = OWN, address: IPv4Address = VIP, to: tuple[str, str] = (CLIENT, CLIENT_IP)) -> Said:
    """metallb-interface.md §4.5."""
    return Said(to[0], mac, "reply", (mac, str(address)), to)


def make_announcer(*interfaces: Interface, config: L2Config | None = None, now: float = 0.0) -> Announcer:
    announcer = Announcer(random.Random(1), config or L2Config())
    announcer.set_interfaces(interfaces or (ETH0,), now)
    return announcer


def drain(core: Announcer | FirstUse) -> list[tuple[int, Said]]:
    return [(index, read(frame)) for index, frame in core.frames_to_send()]


def run(core: Announcer | FirstUse, until: float, since: float = 0.0) -> list[tuple[float, int, bytes]]:
    """Fire the timers on a jump clock up to and including an instant: when what went out where."""
    now, sent, turns = since, [], 0
    while (due := core.next_timer()) <= until:
        now = max(now, due)
        core.handle_timer(now)
        sent += [(now, index, frame) for index, frame in core.frames_to_send()]
        turns += 1
        assert turns < 1_000_000, "the timer does not get on"
    return sent


def heard(sent: Iterable[tuple[float, int, bytes]]) -> list[tuple[float, int, Said]]:
    """The same with the frames read; instants to the microsecond."""
    return [(round(at, 6), index, read(frame)) for at, index, frame in sent]
