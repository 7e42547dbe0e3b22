"""What happens to a node's interfaces: addresses are announced where they are heard, from the right MAC."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from sim.lab.namespaces import run
from sim.lab.nodes import starling
from tests.e2e.clusters import cluster
from tests.e2e.recorder import Recorder, record
from tests.e2e.stage import Stage, open_stage

pytestmark = [pytest.mark.needs("netns"), pytest.mark.slow]

OTHER_MAC = "02:00:00:00:0c:0c"
NEW = "lan1"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The speakers announce wherever they can."""
    usual = starling("local")

    def speaker(*arguments: object) -> list[str]:
        words = usual.speaker(*arguments)  # type: ignore[arg-type]  # they are passed on as they are
        words[words.index("--interface") + 1] = "auto"
        return words

    with open_stage(tmp_path_factory.mktemp("lab"), cluster(3, 3), replace(usual, speaker=speaker)) as opened:
        yield opened


async def test_an_interface_that_is_taken_down(stage: Stage, observer: Recorder) -> None:
    address = stage.addresses[0]
    owner = stage.winner(address)
    rest = [node for node in stage.nodes if node != owner]
    prefix = stage.host(owner).namespace.prefix
    await run(prefix, "ip", "link", "set", "eth0", "down")
    try:
        await stage.speakers.logged(owner, "serviceWithdrawn", ip=address)
        code, text = await stage.speakers.command("status", "--api", str(stage.lab.api(owner)))
        assert code == 1
        assert "no interface" in text
        await stage.settled(observer, {one: stage.winner(one, rest) for one in stage.addresses})
        assert await stage.fetch(address) == stage.winner(address, rest)
    finally:
        await run(prefix, "ip", "link", "set", "eth0", "up")
    await stage.settled(observer, {one: stage.winner(one) for one in stage.addresses})
    assert await stage.fetch(address) == owner


async def test_an_interface_that_is_new(stage: Stage, observer: Recorder) -> None:
    """A second LAN, with the client on it: everything that is announced is announced there at once."""
    address = stage.addresses[0]
    node, client = stage.host(stage.winner(address)), stage.client
    ends = f"{NEW} netns {node.namespace.pid} type veth peer name {NEW} netns {client.namespace.pid}"
    await run(stage.lab.lan.root.prefix, "ip", "link", "add", *ends.split())
    try:
        await run(client.namespace.prefix, "ip", "link", "set", NEW, "address", OTHER_MAC, "up")
        async with record(client, interface=NEW) as (there,):
            await run(node.namespace.prefix, "ip", "link", "set", NEW, "up")
            shown = await run(node.namespace.prefix, "ip", "-brief", "link", "show", NEW)
            mac = shown.split()[2]
            said = await there.wait_for(lambda frame: frame.is_gratuitous and frame.claims(address))
            assert (said.ether.src, said.arp.hwsrc) == (mac, mac)
            since = len(there.frames)
            there.send(there.question(address, hwsrc=OTHER_MAC))
            answer = await there.wait_for(lambda frame: frame.answers(address, OTHER_MAC), since)
            assert (answer.ether.src, answer.arp.hwsrc) == (mac, mac)
            assert [one.ether.src for one in await observer.ask(address)] == [node.mac]
    finally:
        await run(client.namespace.prefix, "ip", "link", "del", NEW)
    await stage.settled(observer, {one: stage.winner(one) for one in stage.addresses})


async def test_another_hardware_address(stage: Stage, observer: Recorder) -> None:
    address = stage.addresses[0]
    node = stage.host(stage.winner(address))
    prefix = node.namespace.prefix
    await run(prefix, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/eth0/arp_notify")  # else the host itself is lost
    for mac in (OTHER_MAC, node.mac):
        since = len(observer.frames)
        await run(prefix, "ip", "link", "set", "eth0", "address", mac)
        said = await observer.wait_for(
            lambda frame, mac=mac: frame.is_gratuitous and frame.claims(address) and frame.ether.src == mac,  # type: ignore[misc]  # bound now
            since,
        )
        assert said.arp.hwsrc == mac
        answers = await observer.ask(address)  # who asked lately is told once more by name, about now
        assert {(one.ether.src, one.arp.hwsrc) for one in answers} == {(mac, mac)}
        assert await stage.fetch(address) == node.name
    assert not [line for name in stage.nodes for line in stage.speakers.log(name) if line["event"] == "strangerClaims"]
