"""Interfaces without a packet socket: not served on, shown, and tried again until they have one."""

from __future__ import annotations

import os
import resource
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from speaker.fast import retrying
from speaker.fast.interface_side import InterfaceSide
from speaker.fast.packet_sockets import PacketSockets
from speaker.l2.interfaces import Interface, refusal, why_unfit
from tests.speaker.fast.namespace import in_namespace, ip
from tests.speaker.fast.troubles import Said, a_health

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

ETH0 = Interface(index=2, name="eth0", mac=bytes.fromhex("020000000001"))
ETH1 = Interface(index=3, name="eth1", mac=bytes.fromhex("020000000002"))


class Sockets:
    """Those of some interfaces cannot be opened."""

    def __init__(self) -> None:
        self.failing: dict[int, str] = {}
        self.tried_at: list[float] = []

    def set_interfaces(self, indexes: Iterable[int]) -> dict[int, str]:
        self.tried_at.append(trio.current_time())
        return {index: self.failing[index] for index in indexes if index in self.failing}


class Stage:
    def __init__(self, sockets: Any) -> None:
        self.sockets = sockets
        self.said = Said()
        self.health = a_health(self.said)
        self.told: list[tuple[Interface, ...]] = []
        self.news = trio.Event()
        self.side = InterfaceSide(sockets, ("eth0", "eth1"), self.health, self.take)

    def take(self, interfaces: tuple[Interface, ...]) -> None:
        self.told.append(interfaces)
        self.news.set()

    def served(self) -> list[str]:
        """What others would be told that this node serves on."""
        return [interface.name for interface in self.told[-1] if refusal(interface, ("eth0", "eth1")) is None]

    def troubles(self) -> list[str]:
        return [finding.text for finding in self.health.findings() if "packet socket" in finding.text]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage(Sockets())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.side.run)
        yield made
        nursery.cancel_scope.cancel()


async def test_an_interface_without_a_socket_is_not_served_on_and_the_reason_is_shown(
    stage: Stage, autojump_clock: object
) -> None:
    stage.sockets.failing[ETH1.index] = "Too many open files"
    stage.side.change((ETH0, ETH1))
    assert stage.served() == ["eth0"]
    assert [interface.mac for interface in stage.told[-1]] == [ETH0.mac, ETH1.mac]
    assert why_unfit(stage.told[-1], ("eth0", "eth1")) == ("eth1: no packet socket can be opened on it",)
    assert stage.troubles() == ["no packet socket can be opened on eth1 (Too many open files)"]


async def test_it_is_tried_again_without_a_change_until_it_has_one(stage: Stage, autojump_clock: object) -> None:
    stage.sockets.failing[ETH1.index] = "Too many open files"
    stage.side.change((ETH0, ETH1))
    await trio.sleep(200)
    assert [round(at - stage.sockets.tried_at[0]) for at in stage.sockets.tried_at] == [
        0, 1, 3, 7, 15, 31, 63, 123, 183,
    ]  # fmt: skip
    assert len(stage.told) == 1
    stage.sockets.failing.clear()
    await trio.sleep(61)
    assert stage.served() == ["eth0", "eth1"]
    assert stage.troubles() == []
    assert stage.said.events == ["trouble", "troubleOver"]
    tries = len(stage.sockets.tried_at)
    await trio.sleep(3600)
    assert len(stage.sockets.tried_at) == tries


async def test_the_next_change_tries_at_once_and_later_trouble_begins_with_short_delays(
    stage: Stage, autojump_clock: object
) -> None:
    stage.sockets.failing[ETH1.index] = "Too many open files"
    stage.side.change((ETH0, ETH1))
    await trio.sleep(40)
    stage.sockets.failing.clear()
    stage.side.change((ETH1,))
    assert stage.served() == ["eth1"]
    await trio.sleep(100)
    stage.sockets.failing[ETH0.index] = "Too many open files"
    stage.side.change((ETH0, ETH1))
    began_at = trio.current_time()
    await trio.sleep(10)
    assert [round(at - began_at) for at in stage.sockets.tried_at if at >= began_at] == [0, 1, 3, 7]


async def test_of_many_some_are_named(stage: Stage, autojump_clock: object) -> None:
    many = tuple(Interface(index=number, name=f"eth{number}", mac=ETH0.mac) for number in range(2, 22))
    stage.sockets.failing.update((interface.index, "Too many open files") for interface in many)
    side = InterfaceSide(stage.sockets, None, stage.health, stage.told.append)
    side.change(many)
    (trouble,) = stage.troubles()
    assert trouble.endswith("eth9 (Too many open files), 12 more")


@contextmanager
def no_more_files() -> Iterator[None]:
    """No descriptor beyond those that are open can be had."""
    lowest = os.open("/", os.O_RDONLY)
    os.close(lowest)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@in_namespace
async def test_where_there_are_no_descriptors_left_it_is_served_on_once_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retrying, "RETRY_MIN", 0.001)
    ip("link add eth0 up type veth peer name far0")
    index = socket.if_nametoindex("eth0")
    async with trio.open_nursery() as nursery:
        sockets = PacketSockets(nursery, lambda index, frame: None)
        stage = Stage(sockets)
        nursery.start_soon(stage.side.run)
        with no_more_files():
            stage.side.change((Interface(index=index, name="eth0", mac=ETH0.mac),))
            assert stage.served() == []
            assert stage.troubles() == ["no packet socket can be opened on eth0 (Too many open files)"]
            stage.news = trio.Event()
        await stage.news.wait()
        assert stage.served() == ["eth0"]
        assert sockets.indexes == (index,)
        nursery.cancel_scope.cancel()
