"""Frames come in by the interface they were sent to and go out by the one they are meant for; only ARP is heard."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from speaker.fast import packet_sockets
from speaker.fast.packet_sockets import PacketSockets
from speaker.l2.filters import Program
from tests.speaker.fast.namespace import carriers, in_namespace, ip, mac_of

if TYPE_CHECKING:
    import pytest

PAIRS = (
    "link add eth0 up type veth peer name far0",
    "link set far0 up",
    "link add eth1 up type veth peer name far1",
    "link set far1 up",
)
EVERYBODY = "ff:ff:ff:ff:ff:ff"


class Ears:
    """The sockets under test, and what they heard: (index, frame)."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.frames: list[tuple[int, bytes]] = []
        self.then: Callable[[int], None] = lambda index: None
        self._heard = trio.Event()
        self.sockets = PacketSockets(nursery, self._take)

    def _take(self, index: int, frame: bytes) -> None:
        self.frames.append((index, frame))
        self._heard.set()
        self._heard = trio.Event()
        self.then(index)

    async def until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            await self._heard.wait()


@asynccontextmanager
async def ears() -> AsyncIterator[Ears]:
    async with trio.open_nursery() as nursery:
        listening = Ears(nursery)
        yield listening
        listening.sockets.close()


async def open_pairs() -> None:
    """eth0 with its other end far0, eth1 with far1."""
    ip(*PAIRS)
    await carriers("eth0", "far0", "eth1", "far1")


def say(name: str, *frames: bytes) -> None:
    """Put frames on the wire from an interface."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind((name, 0))
        for frame in frames:
            sock.send(frame)


def request(target: str = "192.0.2.100", destination: str = EVERYBODY) -> bytes:
    return bytes(Ether(dst=destination, src="02:00:00:00:00:aa") / ARP(op=1, pdst=target, psrc="192.0.2.9"))


def index(name: str) -> int:
    return socket.if_nametoindex(name)


@in_namespace
async def test_arp_is_heard_and_nothing_else() -> None:
    await open_pairs()
    own = mac_of("eth0").hex(":")
    wanted = [request(), request(destination=own)]
    noise = [
        bytes(Ether(dst=own) / IP(dst="192.0.2.1") / UDP() / b"x"),
        bytes(Ether(dst=EVERYBODY) / IPv6(dst="ff02::1")),
        bytes(Ether(dst=EVERYBODY) / Dot1Q(vlan=7) / ARP(pdst="192.0.2.100")),
        bytes(Ether(dst="02:00:00:00:00:ee") / ARP(pdst="192.0.2.100")),
    ]
    async with ears() as heard:
        assert heard.sockets.set_interfaces([index("eth0")]) == {}
        say("far0", wanted[0], *noise, wanted[1])
        await heard.until(lambda: len(heard.frames) == 2)
        assert heard.frames == [(index("eth0"), frame) for frame in wanted]
        assert heard.sockets.statistics().received == 2


@in_namespace
async def test_each_frame_has_its_interface() -> None:
    await open_pairs()
    async with ears() as heard:
        heard.sockets.set_interfaces([index("eth1"), index("eth0")])
        say("far0", request("192.0.2.10"))
        say("far1", request("192.0.2.11"))
        await heard.until(lambda: len(heard.frames) == 2)
        assert sorted(heard.frames) == sorted(
            [(index("eth0"), request("192.0.2.10")), (index("eth1"), request("192.0.2.11"))]
        )


@in_namespace
async def test_what_is_sent_goes_out_there_and_is_not_heard_here() -> None:
    await open_pairs()
    async with ears() as heard:
        heard.sockets.set_interfaces([index("eth0"), index("far0"), index("far1")])
        heard.sockets.send(index("eth0"), request())
        await heard.until(lambda: bool(heard.frames))
        say("eth1", request())
        await heard.until(lambda: len(heard.frames) == 2)
        assert [where for where, _ in heard.frames] == [index("far0"), index("far1")]
        assert heard.sockets.statistics().sent == 1


@in_namespace
async def test_an_interface_that_is_served_no_longer_is_not_heard() -> None:
    await open_pairs()
    async with ears() as heard:
        heard.sockets.set_interfaces([index("eth0"), index("eth1")])
        heard.sockets.set_interfaces([index("eth1")])
        say("far0", request())
        say("far1", request())
        await heard.until(lambda: bool(heard.frames))
        assert [where for where, _ in heard.frames] == [index("eth1")]
        assert heard.sockets.indexes == (index("eth1"),)


@in_namespace
async def test_frames_that_cannot_be_sent_are_counted() -> None:
    await open_pairs()
    gone = index("eth1")
    async with ears() as heard:
        heard.sockets.set_interfaces([index("eth0"), gone])
        ip("link set eth0 down", "link delete eth1")
        heard.sockets.send(index("eth0"), request())  # down
        heard.sockets.send(gone, request())  # deleted
        heard.sockets.send(999, request())  # never there
        heard.sockets.send(index("eth0"), b"")
        statistics = heard.sockets.statistics()
        assert (statistics.sent, statistics.unsent) == (0, 4)


@in_namespace
async def test_down_and_up_again() -> None:
    await open_pairs()
    async with ears() as heard:
        heard.sockets.set_interfaces([index("eth0")])
        ip("link set eth0 down")
        await trio.testing.wait_all_tasks_blocked()
        ip("link set eth0 name lan", "link set lan up")
        await carriers("lan", "far0")
        say("far0", request())
        await heard.until(lambda: bool(heard.frames))
        assert heard.frames == [(index("lan"), request())]


@in_namespace
async def test_an_interface_that_vanishes_is_closed_quietly() -> None:
    await open_pairs()
    gone = index("eth0")
    async with ears() as heard:
        heard.sockets.set_interfaces([gone, index("eth1")])
        await trio.testing.wait_all_tasks_blocked()
        ip("link delete eth0")
        await trio.testing.wait_all_tasks_blocked()
        assert heard.sockets.indexes == (index("eth1"),)
        assert heard.sockets.set_interfaces([gone, index("eth1")]) == {gone: "No such device or address"}
        say("far1", request())
        await heard.until(lambda: bool(heard.frames))


@in_namespace
async def test_another_interface_under_the_same_index_is_served() -> None:
    await open_pairs()
    again = index("eth0")
    async with ears() as heard:
        heard.sockets.set_interfaces([again])
        await trio.testing.wait_all_tasks_blocked()
        ip("link delete eth0", f"link add lan index {again} up type veth peer name far2", "link set far2 up")
        await carriers("lan", "far2")
        heard.sockets.set_interfaces([again])
        say("far2", request())
        await heard.until(lambda: bool(heard.frames))
        assert heard.frames == [(again, request())]


@in_namespace
async def test_an_interface_that_is_renamed_while_it_is_opened_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    await open_pairs()
    wanted = index("eth0")
    async with ears() as heard:
        with monkeypatch.context() as patch:
            patch.setattr(socket, "if_indextoname", lambda index: "eth1")  # its name before the two were swapped
            assert heard.sockets.set_interfaces([wanted]) == {wanted: "the interface was renamed just now"}
        assert heard.sockets.set_interfaces([wanted]) == {}


@in_namespace
async def test_a_flood_on_one_interface_leaves_the_other_its_turn() -> None:
    await open_pairs()
    async with ears() as heard:
        heard.sockets.set_interfaces([index("eth0"), index("eth1")])
        say("far0", *[request()] * (3 * packet_sockets.MAX_FRAMES_PER_TURN - 20))
        say("far1", request())
        await heard.until(lambda: heard.sockets.statistics().received == 3 * packet_sockets.MAX_FRAMES_PER_TURN - 19)
        places = [place for place, (where, _) in enumerate(heard.frames) if where == index("eth1")]
        assert places[0] <= packet_sockets.MAX_FRAMES_PER_TURN


@in_namespace
async def test_frames_that_nobody_read_in_time_are_counted() -> None:
    await open_pairs()
    async with ears() as heard:
        heard.sockets.set_interfaces([index("eth0")])
        say("far0", *[request()] * 20_000)
        lost = heard.sockets.statistics().lost
        await heard.until(lambda: heard.sockets.statistics().received + lost == 20_000)
        assert lost > 0
        heard.sockets.close()
        assert heard.sockets.statistics().lost == lost


@in_namespace
async def test_what_is_heard_may_close_the_sockets() -> None:
    await open_pairs()
    async with ears() as heard:
        heard.sockets.set_interfaces([index("eth0")])
        heard.then = lambda where: heard.sockets.close()
        say("far0", request(), request())
        await heard.until(lambda: bool(heard.frames))
        await trio.testing.wait_all_tasks_blocked()
        assert heard.sockets.indexes == ()
        assert len(heard.frames) == 1


@in_namespace
async def test_a_cancelled_nursery_closes_the_sockets() -> None:
    await open_pairs()
    async with trio.open_nursery() as nursery:
        heard = Ears(nursery)
        heard.sockets.set_interfaces([index("eth0"), index("eth1")])
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert heard.sockets.indexes == ()


@in_namespace
async def test_the_filter_is_in_force_before_the_first_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a socket could hear in the moment between its opening and its binding."""
    await open_pairs()
    attach = packet_sockets._attach
    noise = bytes(Ether(dst=EVERYBODY) / ARP(pdst="192.0.2.1")) + bytes(18)

    def attach_in_a_storm(sock: socket.socket, program: Program) -> None:
        say("far0", noise)
        attach(sock, program)
        say("far0", noise)

    monkeypatch.setattr(packet_sockets, "_attach", attach_in_a_storm)
    async with ears() as heard:
        heard.sockets.set_interfaces([index("eth0")])
        say("far0", request())
        await heard.until(lambda: bool(heard.frames))
        assert heard.frames == [(index("eth0"), request())]
