"""Another machine of the LAN has an address that a service is to have, or says that it has."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from scapy.layers.l2 import ARP, Ether

from sim.lab.namespaces import run
from tests.e2e.clusters import cluster
from tests.e2e.recorder import EVERYBODY, Frame, Recorder, socket_in
from tests.e2e.stage import Stage

pytestmark = [pytest.mark.needs("netns"), pytest.mark.slow]

CLUSTER = cluster(3, 3, ["10.225.28.100-10.225.28.102", "10.225.28.150-10.225.28.159"])
RETRY_WITHIN = 40.0
"""Seconds; the first retry comes after 5, a second after 10 more."""


def service(name: str, address: str) -> str:
    return f"""\
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: default}}
spec:
  type: LoadBalancer
  loadBalancerIP: {address}
  selector: {{app: {name}}}
  ports: [{{name: http, protocol: TCP, port: 80, targetPort: 9376}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, namespace: default, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: http, protocol: TCP, port: 9376}}]
endpoints:
- {{addresses: [10.244.1.99], nodeName: n1, conditions: {{ready: true, serving: true, terminating: false}}}}
"""


@asynccontextmanager
async def served(stage: Stage, address: str) -> AsyncIterator[str]:
    """A new service with this address; gives the node that is to own it."""
    stage.manifests.put("late.yaml", service("late", address))
    try:
        yield stage.winner(address)
    finally:
        stage.manifests.path("late.yaml").unlink()


@asynccontextmanager
async def second_address(stage: Stage, address: str) -> AsyncIterator[str]:
    """The client host has this address, too; gives its hardware address."""
    prefix = stage.client.namespace.prefix
    await run(prefix, "ip", "address", "add", f"{address}/32", "dev", "eth0")
    try:
        yield stage.client.mac
    finally:
        await run(prefix, "ip", "address", "del", f"{address}/32", "dev", "eth0")


async def test_a_claim_is_reported_and_the_owner_goes_on(stage: Stage, observer: Recorder) -> None:
    address = stage.addresses[0]
    owner = stage.winner(address)
    mac = "02:00:00:00:0e:0e"
    since = len(observer.frames)
    claim = ARP(op=1, hwsrc=mac, psrc=address, hwdst=EVERYBODY, pdst=address)
    observer.send(Ether(src=mac, dst=EVERYBODY) / claim)
    line = await stage.speakers.logged(owner, "strangerClaims", ip=address, mac=mac, interface="eth0")
    assert line["level"] == "warn"
    said = await observer.wait_for(
        lambda frame: frame.is_gratuitous and frame.claims(address) and frame.ether.src == stage.mac(owner), since
    )
    assert said.arp.hwsrc == stage.mac(owner)  # whoever believed the stranger knows better now
    assert {answer.ether.src for answer in await observer.ask(address)} == {stage.mac(owner)}
    assert await stage.fetch(address) == owner
    reasons = (await stage.speakers.status(owner))["reasons"]
    assert any(address in reason and mac in reason and "eth0" in reason for reason in reasons)


async def test_a_machine_that_has_the_address_is_reported_by_who_owns_it(stage: Stage, observer: Recorder) -> None:
    """A plain second address: it is heard as soon as its host asks for somebody from there."""
    address = stage.addresses[0]
    owner = stage.winner(address)
    node = stage.host(owner)
    async with second_address(stage, address) as mac:
        await run(stage.client.namespace.prefix, "ip", "neigh", "flush", "dev", "eth0")
        with socket_in(stage.client.namespace, socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind((address, 0))
            sock.sendto(b"", (node.address, 9))
        line = await stage.speakers.logged(owner, "strangerClaims", ip=address)
        assert (line["mac"], line["interface"]) == (mac, "eth0")


async def test_an_address_in_use_is_not_announced_until_it_is_free(stage: Stage, observer: Recorder) -> None:
    address = "10.225.28.150"
    since = len(observer.frames)
    async with second_address(stage, address) as mac, served(stage, address) as owner:
        line = await stage.speakers.logged(owner, "addressInUse", ip=address, mac=mac, interface="eth0")
        assert line["level"] == "warn"
        assert [answer.ether.src for answer in await observer.ask(address)] == [mac]
        status = await stage.speakers.status(owner)
        assert status["verdict"] == "warning"
        assert any(address in reason and mac in reason for reason in status["reasons"])
        (shown,) = [one for one in status["addresses"] if one["address"] == address]
        assert shown["standing"] == "in use"
        assert not observer.announcements(address, since)

        await run(stage.client.namespace.prefix, "ip", "address", "del", f"{address}/32", "dev", "eth0")
        try:
            announced = await observer.wait_for(
                lambda frame: frame.is_gratuitous and frame.claims(address) and not frame.is_outgoing,
                since,
                RETRY_WITHIN,
            )
            assert announced.ether.src == stage.mac(owner)
            await stage.settled(observer, {address: owner})
            assert (await stage.speakers.status(owner))["verdict"] == "ok"
        finally:
            await run(stage.client.namespace.prefix, "ip", "address", "add", f"{address}/32", "dev", "eth0")


async def test_a_free_address_is_asked_for_and_then_announced(stage: Stage, observer: Recorder) -> None:
    address = "10.225.28.151"
    since = len(observer.frames)
    async with served(stage, address) as owner:
        first = await observer.wait_for(
            lambda frame: frame.is_gratuitous and frame.claims(address) and frame.ether.src == stage.mac(owner), since
        )
        probes = [
            frame
            for frame in observer.frames[since:]
            if frame.arp.op == 1 and frame.arp.psrc == "0.0.0.0" and frame.arp.pdst == address
        ]
        assert [probe.ether.src for probe in probes] == [stage.mac(owner)] * 2
        assert all(probe.ether.dst == EVERYBODY and probe.arp.hwsrc == stage.mac(owner) for probe in probes)
        assert probes[0].at < probes[1].at < first.at


@asynccontextmanager
async def answers_everything(stage: Stage, observer: Recorder, mac: str) -> AsyncIterator[None]:
    """A host that answers any question, but those about hosts of the lab; a Linux router would not answer probes."""
    known = {host.address for host in stage.lab.lan.hosts.values()} | set(stage.addresses)

    def is_asked(frame: Frame) -> bool:
        return bool(frame.arp.op == 1 and not frame.is_gratuitous and frame.arp.pdst not in known)

    async def answer() -> None:
        since = len(observer.frames)
        while True:
            asked = await observer.wait_for(is_asked, since, 60.0)
            since = observer.frames.index(asked) + 1
            arp = ARP(op=2, hwsrc=mac, psrc=asked.arp.pdst, hwdst=asked.arp.hwsrc, pdst=asked.arp.psrc)
            observer.send(Ether(src=mac, dst=asked.ether.src) / arp)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        yield
        nursery.cancel_scope.cancel()


async def test_one_that_answers_for_everything_keeps_nobody_from_an_address(stage: Stage, observer: Recorder) -> None:
    address, mac = "10.225.28.152", "02:00:00:00:0d:0d"
    since = len(observer.frames)
    async with answers_everything(stage, observer, mac), served(stage, address) as owner:
        line = await stage.speakers.logged(owner, "proxyARP", ip=address)
        assert (line["level"], line["mac"], line["interface"]) == ("warn", mac, "eth0")
        await observer.wait_for(
            lambda frame: frame.is_gratuitous and frame.claims(address) and frame.ether.src == stage.mac(owner), since
        )
