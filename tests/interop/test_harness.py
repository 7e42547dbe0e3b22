"""The harness against itself: real peers with one another, before anything is said about our ring."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from sim.lab.addresses import number_hosts
from sim.lab.lan import open_lan
from tests.interop.peers import GO_VERSIONS, open_peers
from tests.interop.programs import PORT, Mailbox, PeerError

if TYPE_CHECKING:
    from tests.interop.peers import Peers

KEY = bytes(range(16))


async def test_a_wait_that_fails_shows_what_was_said_instead() -> None:
    mailbox: Mailbox[str] = Mailbox()
    mailbox.put("something else")
    with pytest.raises(AssertionError, match=r"no greeting within 0\.01 s; said instead:\n  something else"):
        await mailbox.take(lambda item: item == "hello", "greeting", 0.01)


@pytest.mark.needs("go-peers")
async def test_go_peers_of_both_versions_form_an_encrypted_labelled_ring(peers: Peers) -> None:
    old, new = [await peers.go(f"go-{v}", v, key=KEY.hex(), label="flock", meta="ff80") for v in GO_VERSIONS]
    await old.command("join", addrs=[f"{new.address}:{PORT}"])
    await new.event("join", node=old.name, addr=f"{old.address}:{PORT}", meta="ff80")
    await old.event("join", node=new.name)

    await old.command("send", to=new.name, payload="c0ffee", reliable=True)
    await new.command("send", to=old.name, payload="00", reliable=False)
    await new.command("broadcast", payload="0b")
    await new.event("message", payload="c0ffee")
    await old.event("message", payload="00")
    await old.event("message", payload="0b")

    await new.command("update", meta="01")
    await old.event("update", node=new.name, meta="01")
    await new.command("leave")
    await old.event("leave", node=new.name)
    assert (await old.members())[new.name]["state"] == "left"


@pytest.mark.needs("go-peers")
@pytest.mark.parametrize("version", GO_VERSIONS)
async def test_a_go_peer_brings_as_many_members_as_told(peers: Peers, version: str) -> None:
    peer = await peers.go("many", version)
    assert (await peer.command("populate", count=20, prefix="extra-"))["n"] == 21
    members = await peer.members()
    assert len(members) == 21
    assert {member["state"] for member in members.values()} == {"alive"}


@pytest.mark.needs("go-peers")
async def test_a_refused_command_is_an_error(peers: Peers) -> None:
    peer = await peers.go("plain", GO_VERSIONS[-1])
    with pytest.raises(PeerError, match="started without --key"):
        await peer.command("keys", action="list")
    assert (await peer.command("health"))["score"] == 0


@pytest.mark.needs("serf")
async def test_serf_agents_join_exchange_an_event_and_leave(peers: Peers) -> None:
    first = await peers.serf("serf-1", "-tag", "role=web", key=KEY)
    second = await peers.serf("serf-2", key=KEY)
    assert re.search(r"encrypted = true", await first.run("info"))
    await second.run("join", f"{first.address}:{PORT}")
    await first.saw("Join", "serf-2")
    assert (await second.members())["serf-1"]["tags"] == {"role": "web"}
    await first.run("event", "deploy", "v7")
    await second.logged("script output: v7")
    await second.run("leave")
    assert await second.wait() == 0
    await first.saw("Leave", "serf-2")


@pytest.mark.needs("serf")
async def test_no_process_outlives_its_test() -> None:
    async with open_peers() as peers:
        agent = await peers.serf("short-lived")
        process = agent.process
    assert process.returncode is not None


@pytest.mark.needs("netns", "go-peers")
async def test_peers_on_hosts_of_a_lan_meet_and_lose_what_they_are_told_to_lose(peers: Peers) -> None:
    async with open_lan(number_hosts(["here", "there"])) as lan:
        here, there = [
            await peers.go(name, GO_VERSIONS[-1], address=host.address, prefix=host.namespace.prefix)
            for name, host in lan.hosts.items()
        ]
        await here.command("join", addrs=[f"{there.address}:{PORT}"])
        await lan.lose("there", 1000)
        with pytest.raises(PeerError, match="timeout"):
            await here.command("send", to=there.name, payload="01", reliable=True)
        await lan.lose("there", 0)
        await here.command("send", to=there.name, payload="02", reliable=True)
        assert (await there.event("message"))["payload"] == "02"
        await peers.end()
