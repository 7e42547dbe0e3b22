"""A client that asks addresses every few milliseconds and prints what came of each question, a JSON line each.

Rules kept here:

* Questions keep their beat: one that is late is asked late and says so, one whose time has passed by more than a beat
  is left out. The meter never waits for an answer before it asks again.
* The arrival of a datagram is the kernel's time stamp, so that a meter that was busy blames nobody.
* It asks from a host of its own. ARP is asked with raw frames, from a host that uses the address for nothing else: an
  answer there would mend the neighbour table of a client that has missed a gratuitous one.

Run as `python -m sim.lab.meter KIND --every SECONDS TARGET…` on a host; kinds: udp, http, arp.
"""

from __future__ import annotations

import argparse
import os
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import trio

from sim.lab.addresses import INTERFACE
from sim.lab.record import ANSWER_TIMEOUT, Ask, write_line

MAX_DATAGRAM: Final = 2 * 1024
MAX_ANSWER: Final = 8 * 1024
MAX_DATAGRAMS_PER_TURN: Final = 256
SO_TIMESTAMPNS: Final = 35
"""asm-generic/socket.h; the value is the control message's type too."""
TIMESPEC: Final = struct.Struct("@ll")
ETHERTYPE_ARP: Final = 0x0806
BROADCAST: Final = b"\xff" * 6
ARP: Final = struct.Struct("!6s6sHHHBBH6s4s6s4s")
"""Destination, source, type; hardware, protocol, their lengths, operation; sender, target (RFC 826)."""
ARP_FORMAT: Final = (1, 0x0800, 6, 4)
ARP_REQUEST: Final = 1
ARP_REPLY: Final = 2


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked: an address and, unless it is asked by ARP, a port."""

    address: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Target:
        """`ADDRESS` or `ADDRESS:PORT`."""
        address, _, port = text.partition(":")
        return cls(address, int(port or 0))


def tell(ask: Ask) -> None:
    """Print what came of a question; when nobody reads that any more, end."""
    try:
        sys.stdout.write(write_line(ask) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os._exit(0)  # at once: an orderly end would try to write the rest


async def beats(every: float) -> AsyncIterator[float]:
    """The times at which to ask."""
    due = time.monotonic()
    while True:
        late = time.monotonic() - due
        if late < 0:
            await trio.sleep(-late)
        else:
            await trio.lowlevel.checkpoint()
        yield due
        due += every * max(1, int((time.monotonic() - due) / every))


def stamped_at(ancillary: list[tuple[int, int, bytes]]) -> float:
    """When the kernel received a datagram, on the monotonic clock; now, if it does not say."""
    now = time.monotonic()
    for _, kind, value in ancillary:
        if kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = TIMESPEC.unpack(value)
            return now - max(0.0, time.time() - float(seconds + nanoseconds / 1e9))
    return now


class DatagramMeter:
    """Sends numbered datagrams to an echo and waits for each."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._waiting: dict[int, Ask] = {}
        self._next = 0

    async def ask(self, target: Target, due: float) -> None:
        """Send the next number; what becomes of it is told when it is known."""
        number, self._next = self._next, self._next + 1
        self._waiting[number] = Ask(target.address, due, time.monotonic())
        with suppress(OSError):  # no route, no neighbour: no answer
            self._socket.sendto(b"%d" % number, (target.address, target.port))
        while self._waiting:
            oldest = next(iter(self._waiting))
            if self._waiting[oldest].asked_at > time.monotonic() - ANSWER_TIMEOUT:
                break
            tell(self._waiting.pop(oldest))
        await trio.lowlevel.checkpoint()

    async def listen(self) -> None:
        """Take answers for ever."""
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            for _ in range(MAX_DATAGRAMS_PER_TURN):
                if not self._take_one():
                    break

    def _take_one(self) -> bool:
        try:
            data, ancillary, _, (address, _) = self._socket.recvmsg(MAX_DATAGRAM, 64)
        except BlockingIOError:
            return False
        except OSError:  # an ICMP error that belongs to an earlier datagram
            return True
        number, _, node = data.decode(errors="replace").partition(" ")
        ask = self._waiting.get(int(number)) if number.isdecimal() else None
        if ask is not None and ask.target == address:
            del self._waiting[int(number)]
            tell(replace(ask, answered_at=stamped_at(ancillary), by=(node,)))
        return True


class HttpMeter:
    """Opens a connection for each question, as a browser or a probe would."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    async def ask(self, target: Target, due: float) -> None:
        """Begin one request."""
        self._nursery.start_soon(self._fetch, target, due)
        await trio.lowlevel.checkpoint()

    async def _fetch(self, target: Target, due: float) -> None:
        ask = Ask(target.address, due, time.monotonic())
        request = f"GET / HTTP/1.1\r\nHost: {target.address}\r\nConnection: close\r\n\r\n"
        answer = b""
        with trio.move_on_after(ANSWER_TIMEOUT):
            try:
                stream = await trio.open_tcp_stream(target.address, target.port)
                async with stream:
                    await stream.send_all(request.encode())
                    while len(answer) < MAX_ANSWER and (chunk := await stream.receive_some()):
                        answer += chunk
            except (OSError, trio.BrokenResourceError):
                answer = b""
        head, _, body = answer.decode(errors="replace").partition("\r\n\r\n")
        if head.startswith("HTTP/1.1 200") and body.endswith("\n"):
            ask = replace(ask, answered_at=time.monotonic(), by=(body.strip(),))
        tell(ask)


class ArpMeter:
    """Asks who has an address, and takes what is answered before the next question for the answers to this one."""

    def __init__(self, source: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE_ARP))
        self._socket.setblocking(False)
        self._socket.bind((INTERFACE, ETHERTYPE_ARP))
        self._mac = self._socket.getsockname()[4]
        self._source = socket.inet_aton(source)
        self._open: dict[str, Ask] = {}

    async def ask(self, target: Target, due: float) -> None:
        """Broadcast a question, and tell what came of the one before."""
        if target.address in self._open:
            tell(self._open[target.address])
        self._open[target.address] = Ask(target.address, due, time.monotonic())
        asked = socket.inet_aton(target.address)
        body = (*ARP_FORMAT, ARP_REQUEST, self._mac, self._source, bytes(6), asked)
        with suppress(OSError):  # no carrier
            self._socket.send(ARP.pack(BROADCAST, self._mac, ETHERTYPE_ARP, *body))
        await trio.lowlevel.checkpoint()

    async def listen(self) -> None:
        """Take answers for ever."""
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            for _ in range(MAX_DATAGRAMS_PER_TURN):
                try:
                    self._take(self._socket.recv(MAX_DATAGRAM))
                except BlockingIOError:
                    break

    def _take(self, frame: bytes) -> None:
        if len(frame) < ARP.size:
            return
        to, _, _, *_, operation, mac, address, _, _ = ARP.unpack_from(frame)
        ask = self._open.get(socket.inet_ntoa(address))
        if ask is not None and operation == ARP_REPLY and to == self._mac:
            by = tuple(dict.fromkeys((*ask.by, mac.hex(":"))))
            answered_at = time.monotonic() if ask.answered_at is None else ask.answered_at
            self._open[ask.target] = replace(ask, answered_at=answered_at, by=by)


async def measure(kind: str, every: float, source: str, targets: list[Target]) -> None:
    """Ask all targets at every beat, for ever."""
    async with trio.open_nursery() as nursery:
        meter: DatagramMeter | HttpMeter | ArpMeter
        match kind:
            case "udp":
                meter = DatagramMeter()
                nursery.start_soon(meter.listen)
            case "http":
                meter = HttpMeter(nursery)
            case _:
                meter = ArpMeter(source)
                nursery.start_soon(meter.listen)
        ask: Callable[[Target, float], Awaitable[None]] = meter.ask
        async for due in beats(every):
            for target in targets:
                await ask(target, due)


def main() -> None:
    """Read the command line and measure until the end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("udp", "http", "arp"))
    parser.add_argument("--every", type=float, required=True)
    parser.add_argument("--source", default="0.0.0.0")
    parser.add_argument("targets", nargs="+", type=Target.parse)
    words = parser.parse_args()
    trio.run(measure, words.kind, words.every, words.source, words.targets)


if __name__ == "__main__":
    main()
