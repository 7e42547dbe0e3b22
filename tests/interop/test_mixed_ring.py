"""Five members of ours and five of memberlist's on a LAN that loses packets: nobody is ever held dead.

A minute by default; ``./run hunt`` goes on for ten. Frames are lost where they arrive, so that every path loses the
same share each way.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
import trio

from sim.lab.addresses import number_hosts
from sim.lab.lan import Lan, open_lan
from tests.interop.peers import GO_VERSIONS
from tests.interop.programs import PORT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.interop.peers import Peers
    from tests.interop.programs import GoPeer, OurAgent

PER_MILLE_LOST = 50
SECONDS = 600 if os.environ.get("STARLING_HUNT") else 60
OF_EACH = 5


@pytest.fixture
async def lan() -> AsyncIterator[Lan]:
    async with open_lan(number_hosts(f"host-{number}" for number in range(2 * OF_EACH))) as made:
        yield made


async def start_ring(peers: Peers, lan: Lan) -> tuple[list[GoPeer], list[OurAgent]]:
    """Alternately one of theirs, in both versions, and one of ours; all know all when it returns."""
    hosts = list(lan.hosts.values())
    theirs: list[GoPeer] = []
    ours: list[OurAgent] = []
    seed = f"{hosts[0].address}:{PORT}"
    for number, (their_host, our_host) in enumerate(zip(hosts[::2], hosts[1::2], strict=True)):
        version = GO_VERSIONS[number % len(GO_VERSIONS)]
        go = await peers.go(f"go-{number}", version, address=their_host.address, prefix=their_host.namespace.prefix)
        await go.command("join", addrs=[seed])
        theirs.append(go)
        ours.append(
            await peers.ours(
                f"ours-{number}", "--join", seed, address=our_host.address, prefix=our_host.namespace.prefix
            )
        )
    for go, agent in zip(theirs, ours, strict=True):  # once more, for those who came later
        await go.command("join", addrs=[seed])
        await agent.run("join", seed)
    everybody: list[GoPeer | OurAgent] = [*theirs, *ours]
    for member in everybody:
        for other in everybody:
            if other is not member:
                await member.sees_joining(other.name)
    return theirs, ours


def count_raised(agent: OurAgent) -> int:
    """Suspicions by the agent's own probes, not on the word of others."""
    suspected = [notice for notice in agent.notices.items if notice["event"] == "suspected"]
    return sum(notice["evidence"]["accuser"] == agent.name for notice in suspected)


@pytest.mark.needs("netns", "go-peers")
@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 120)
async def test_nobody_is_held_dead_while_packets_are_lost(
    peers: Peers, lan: Lan, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs, ours = await start_ring(peers, lan)
    for name in lan.hosts:
        await lan.lose(name, PER_MILLE_LOST)
    verdicts: list[str] = []
    with trio.move_on_after(SECONDS):
        async with trio.open_nursery() as nursery:

            async def await_verdict(member: GoPeer | OurAgent) -> None:
                verdicts.append(f"{member.name}: {await member.sees_dying(within=2 * SECONDS)} is gone")
                nursery.cancel_scope.cancel()

            for go in theirs:
                nursery.start_soon(await_verdict, go)
            for agent in ours:
                nursery.start_soon(await_verdict, agent)
    report = (
        f"{SECONDS} s at {PER_MILLE_LOST / 10:g} % loss:"
        f" suspicions raised by memberlist {sum(go.count_logged('has failed, no acks received') for go in theirs)},"
        f" by ours {sum(count_raised(agent) for agent in ours)};"
        f" refuted by memberlist {sum(go.count_logged('Refuting a suspect') for go in theirs)},"
        f" by ours {sum([(await agent.run('info'))['statistics']['refutations'] for agent in ours])}"
    )
    with capsys.disabled():
        sys.stdout.write(f"\n{report}\n")
    assert verdicts == []
    for name in lan.hosts:
        await lan.lose(name, 0)
    names = sorted(member.name for member in (*theirs, *ours))
    for go in theirs:
        assert sorted(await go.members()) == names
    for agent in ours:
        assert sorted(member["name"] for member in await agent.run("members")) == names
