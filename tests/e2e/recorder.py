"""A raw socket on a host of the lab: what arrives there, stamped by the kernel, read by scapy; and any frame to send.

Rules kept here:

* scapy reads every frame and writes every frame. Nothing of the speaker's takes part, so that a mistake which its
  encoder and its decoder share is seen.
* A frame's time is when the kernel received it: a test that was busy blames nobody. It is in seconds since the epoch.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import trio
from scapy.layers.l2 import ARP, Ether

from sim.lab.addresses import INTERFACE
from sim.lab.lan import Host
from sim.lab.namespaces import Namespace

CLONE_NEWNET = 0x40000000
SO_TIMESTAMPNS = 35
SO_RCVBUFFORCE = 33
TIMESPEC = struct.Struct("@ll")
ETH_P_ALL = 0x0003
ETH_P_ARP = 0x0806
BUFFER_BYTES = 16 * 1024 * 1024
EVERYBODY = "ff:ff:ff:ff:ff:ff"
NOBODY = "00:00:00:00:00:00"
FIRST_WITHIN = 1.0
"""Seconds in which one who means to answer has done so, on a machine that others use too."""
OTHERS_WITHIN = 0.15
"""Seconds after which the others have, too."""


def socket_in(namespace: Namespace, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """A socket of another network namespace; it stays there, whoever uses it."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as here, open(f"/proc/{namespace.pid}/ns/net") as there:
        if libc.setns(there.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"namespace of {namespace.pid}")
        try:
            return socket.socket(family, kind, protocol)
        finally:
            if libc.setns(here.fileno(), CLONE_NEWNET):
                os.abort()  # nothing may go on in the wrong network


@dataclass(frozen=True)
class Frame:
    """A frame with ARP in it."""

    at: float
    data: bytes
    is_outgoing: bool
    """The host itself sent it."""

    @cached_property
    def ether(self) -> Any:
        return Ether(self.data)

    @cached_property
    def arp(self) -> Any:
        return self.ether[ARP]

    @property
    def is_gratuitous(self) -> bool:
        """Whether it tells everybody, unasked, whose the address is."""
        return bool(self.arp.psrc == self.arp.pdst and self.ether.dst == EVERYBODY)

    def claims(self, address: str) -> bool:
        """Whether its sender says that the address is its own."""
        return bool(self.arp.psrc == address)

    def answers(self, address: str, asker: str) -> bool:
        """Whether it is the answer to a question about the address from this hardware address."""
        return bool(self.arp.op == 2 and self.claims(address) and self.ether.dst == asker)


class Recorder:
    """What a host hears. :func:`record` makes one."""

    def __init__(self, host: Host, interface: str = INTERFACE) -> None:
        self.host = host
        self.frames: list[Frame] = []
        self._arrived = trio.Event()
        self._socket = socket_in(host.namespace, socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        self._socket.setblocking(False)
        self._socket.bind((interface, ETH_P_ALL))  # with ETH_P_ARP it would not hear what the host itself sends

    def close(self) -> None:
        self._socket.close()

    async def run(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            self._read()

    def _read(self) -> None:
        while True:
            try:
                data, ancillary, _, (_, protocol, kind, *_) = self._socket.recvmsg(2048, 128)
            except BlockingIOError:
                break
            if protocol == ETH_P_ARP:
                at = next((_seconds(value) for _, kind_, value in ancillary if kind_ == SO_TIMESTAMPNS), time.time())
                self.frames.append(Frame(at, data, kind == socket.PACKET_OUTGOING))
        self._arrived.set()
        self._arrived = trio.Event()

    def send(self, packet: Any) -> None:
        """Put a frame on the wire."""
        self._socket.send(bytes(packet))

    async def wait_for(self, wanted: Callable[[Frame], bool], since: int = 0, within: float = 40.0) -> Frame:
        """The first such frame from place `since` on; waits for it."""
        with trio.fail_after(within):
            while True:
                seen = len(self.frames)
                for frame in self.frames[since:seen]:
                    if wanted(frame):
                        return frame
                since = seen
                await self._arrived.wait()

    async def listen(self, seconds: float) -> None:
        """Hear what comes: nothing tells that nothing more does."""
        await trio.sleep(seconds)

    # ---- questions

    def question(self, address: str, **changes: Any) -> Any:
        """A request of this host for an address, as its kernel would make it."""
        fields: dict[str, Any] = {
            "op": 1,
            "hwsrc": self.host.mac,
            "psrc": self.host.address,
            "hwdst": NOBODY,
            "pdst": address,
        } | changes
        to = fields.pop("to", EVERYBODY)
        return Ether(src=fields["hwsrc"], dst=to) / ARP(**fields)

    async def ask(self, address: str, **changes: Any) -> list[Frame]:
        """Send a request, and give every answer; the first is waited for longer than another one after it."""

        def is_answer(frame: Frame) -> bool:
            return frame.answers(address, self.host.mac)

        since = len(self.frames)
        self.send(self.question(address, **changes))
        with suppress(trio.TooSlowError):
            await self.wait_for(is_answer, since, FIRST_WITHIN)
            await self.listen(OTHERS_WITHIN)
        return [frame for frame in self.frames[since:] if is_answer(frame)]

    async def owners(self, addresses: Iterable[str]) -> dict[str, list[str]]:
        """The hardware addresses that answer for each address, asked for all at once."""
        wanted, since = list(addresses), len(self.frames)
        for address in wanted:
            self.send(self.question(address))
        await self.listen(OTHERS_WITHIN)
        answers = [frame for frame in self.frames[since:] if frame.arp.op == 2 and frame.ether.dst == self.host.mac]
        return {
            address: list(dict.fromkeys(frame.ether.src for frame in answers if frame.claims(address)))
            for address in wanted
        }

    def announcements(self, address: str, since: int = 0) -> list[Frame]:
        """Gratuitous frames for an address, of others."""
        return [
            frame
            for frame in self.frames[since:]
            if frame.is_gratuitous and frame.claims(address) and not frame.is_outgoing
        ]


def _seconds(value: bytes) -> float:
    seconds, nanoseconds = TIMESPEC.unpack(value)
    return float(seconds + nanoseconds / 1e9)


@asynccontextmanager
async def record(*hosts: Host, interface: str = INTERFACE) -> AsyncIterator[list[Recorder]]:
    """Recorders on these hosts, at work."""
    recorders = [Recorder(host, interface) for host in hosts]
    try:
        async with trio.open_nursery() as nursery:
            for recorder in recorders:
                nursery.start_soon(recorder.run)
            yield recorders
            nursery.cancel_scope.cancel()
    finally:
        for recorder in recorders:
            recorder.close()
