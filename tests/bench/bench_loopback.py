"""Fifty members in one process on loopback, with real sockets: how long until everybody knows everybody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import trio

from gossip import profile
from gossip.driver import Ring, open_ring
from tests.bench.measuring import RUNS, Row
from tests.interop.peers import fresh_address
from tests.interop.programs import PORT, GoPeer

MEMBERS = 50


async def measure(peer: GoPeer | None) -> AsyncIterator[Row]:
    """Both with the timings of the profile ``local``, each member started and joined when the one before has."""
    theirs = None
    if peer is not None:
        replies = [await peer.command("cluster", n=MEMBERS, within=60) for _ in range(RUNS)]
        theirs = [reply["seconds"] for reply in replies]
    yield Row(f"{MEMBERS} members on loopback converge", [await converge() for _ in range(RUNS)], theirs)


async def converge() -> float:
    """Seconds from the first start until all see all."""
    async with AsyncExitStack() as stack:
        started_at, rings = trio.current_time(), list[Ring]()
        for number in range(MEMBERS):
            address = (fresh_address(), PORT)
            ring = await stack.enter_async_context(open_ring(f"member-{number}", address, profile("local")))
            if rings:
                await ring.join([f"{rings[0].view.local.address[0]}:{PORT}"])
            rings.append(ring)
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for ring in rings:
                    nursery.start_soon(see_everybody, ring)
        return trio.current_time() - started_at


async def see_everybody(ring: Ring) -> None:
    """Return when this member has all the others on its list."""
    async with ring.subscribe() as events:
        while len(ring.view.live_members()) < MEMBERS:
            await anext(events)
