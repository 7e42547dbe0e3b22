"""Layer 2 without sockets: an answer beside scapy's, and the announcement of thousands of addresses."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from ipaddress import IPv4Address

from scapy.layers.l2 import ARP, Ether

from speaker.l2.announcer import Announcer
from speaker.l2.first_use import FirstUse
from speaker.l2.interfaces import Interface
from tests.bench.measuring import RUNS, Row, time_calls
from tests.interop.programs import GoPeer

ETH0 = Interface(index=2, name="eth0", mac=bytes.fromhex("020000000001"))
VIP = IPv4Address("192.0.2.100")
ADDRESSES = tuple(IPv4Address("10.0.0.0") + number for number in range(3300))
"""What one of three nodes gains of 10,000 services when another dies."""
REQUEST = bytes(
    Ether(dst="ff:ff:ff:ff:ff:ff", src="02:00:00:00:00:c1")
    / ARP(op=1, hwsrc="02:00:00:00:00:c1", psrc="192.0.2.9", pdst=str(VIP))
)


def make_announcer() -> Announcer:
    announcer = Announcer(random.Random(1))
    announcer.set_interfaces([ETH0], 0.0)
    return announcer


class Answering:
    """One request, one answer."""

    def __init__(self) -> None:
        self.announcer = make_announcer()
        self.announcer.announce(VIP, 0.0)
        self.announcer.handle_timer(0.0)
        self.announcer.frames_to_send()

    def run(self) -> bytes:
        self.announcer.receive(ETH0.index, REQUEST, 0.0)
        ((_, frame),) = self.announcer.frames_to_send()
        return frame


def answer_by_scapy() -> bytes:
    """The same by a packet library."""
    asked = Ether(REQUEST)[ARP]
    mac = ETH0.mac.hex(":")
    answer = ARP(op=2, hwsrc=mac, psrc=asked.pdst, hwdst=asked.hwsrc, pdst=asked.psrc)
    return bytes(Ether(dst=asked.hwsrc, src=mac) / answer)


class Train:
    """All of ADDRESSES announced at once: CPU seconds, and by the jump clock when the last was first told of."""

    def __init__(self, until: float = 1.0) -> None:
        started = time.process_time()
        announcer = make_announcer()
        for address in ADDRESSES:
            announcer.announce(address, 0.0)
        self.announcing = time.process_time() - started
        self.longest_turn = 0.0
        told: dict[bytes, float] = {}
        now = 0.0
        while (due := announcer.next_timer()) <= until:
            now = max(now, due)
            turn = time.process_time()
            announcer.handle_timer(now)
            frames = announcer.frames_to_send()
            self.longest_turn = max(self.longest_turn, time.process_time() - turn)
            for _, frame in frames:
                told.setdefault(frame[28:32], now)
        self.cpu = time.process_time() - started
        self.told = len(told)
        self.last_first = max(told.values())


class Asking:
    """All of ADDRESSES asked for at once."""

    def __init__(self) -> None:
        started = time.process_time()
        first_use = FirstUse()
        first_use.set_interfaces([ETH0])
        for address in ADDRESSES:
            first_use.probe(address, None, 0.0)
        self.at = 0.0
        self.free = 0
        while self.free < len(ADDRESSES):
            self.at = max(self.at, first_use.next_timer())
            first_use.handle_timer(self.at)
            first_use.frames_to_send()
            while first_use.next_outcome() is not None:
                self.free += 1
        self.cpu = time.process_time() - started


async def measure(_peer: GoPeer | None) -> AsyncIterator[Row]:
    """An answer; a train of frames for each of thousands of addresses; the question whether they are in use."""
    answering = Answering()
    assert answering.run() == answer_by_scapy()
    yield Row("ARP: a request read and answered", time_calls(answering.run))
    yield Row("the same by scapy", time_calls(answer_by_scapy))
    trains = [Train() for _ in range(RUNS)]
    yield Row("3,300 addresses gained: CPU in the first second", [train.cpu for train in trains])
    yield Row("of which before the first frame", [train.announcing for train in trains])
    yield Row("its longest turn afterwards: CPU", [train.longest_turn for train in trains])
    yield Row("until the last is first told of: virtual time", [train.last_first for train in trains])
    asked = [Asking() for _ in range(RUNS)]
    yield Row("3,300 new addresses asked for: CPU", [asking.cpu for asking in asked])
    yield Row("until the last is known to be free: virtual time", [asking.at for asking in asked])
