"""The core: the broadcast queue, one probe, and whole rings in virtual time."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace

from gossip import Keyring, Membership, profile
from gossip.broadcasts import BroadcastQueue
from sim.engine import Engine
from tests.bench.bench_wire import sample
from tests.bench.measuring import RUNS, Row, time_calls
from tests.gossip.helpers import events_of, make_member
from tests.interop.programs import GoPeer

QUEUED = 1_000
PACKET_ROOM = 1_400
HOUR = 3_600.0
MEMBERS = 100


async def measure(peer: GoPeer | None) -> AsyncIterator[Row]:
    """Nothing here has a counterpart: memberlist puts neither its queue nor its clock within reach."""
    yield Row(f"queue a broadcast, {QUEUED} wait", time_calls(Queueing().replace))
    yield Row(f"fill a packet, {QUEUED} wait", time_calls(Queueing().fill))
    for name, keyring in (("plain", Keyring()), ("encrypted", Keyring([bytes(range(16))]))):
        yield Row(f"one probe, both sides, {name}", time_calls(Probing(keyring).run))
    for name in ("memberlist", "lan"):
        yield Row(f"a virtual hour of {MEMBERS} members, `{name}`", [virtual_hour(name) for _ in range(RUNS)])


class Queueing:
    """A queue in which so many messages wait, each under a key of its own, none ever sent often enough."""

    def __init__(self) -> None:
        self.queue = BroadcastQueue(lambda: 1_000_000_000)
        self.message = sample(50)
        self.number = 0
        for _ in range(QUEUED):
            self.replace()

    def replace(self) -> None:
        self.number = (self.number + 1) % QUEUED
        self.queue.queue(self.message, f"node-{self.number}")

    def fill(self) -> None:
        assert self.queue.take(PACKET_ROOM)


class Probing:
    """Two members that know each other and have no news; :meth:`run` lets one probe the other and hear the ack."""

    def __init__(self, keyring: Keyring) -> None:
        silent = profile("lan")
        silent = replace(
            silent, push_pull=replace(silent.push_pull, interval=0.0), gossip=replace(silent.gossip, nodes=0)
        )
        answering = replace(silent, probe=replace(silent.probe, interval=0.0))
        self.prober = make_member("a", ("10.0.0.1", 7946), silent, keyring=keyring)
        self.probed = make_member("b", ("10.0.0.2", 7946), answering, keyring=keyring)
        self.now = 0.0
        for _ in range(10):  # until what is piggybacked has been sent often enough
            self.probed.ping(self.prober.local.address, self.now)
            self.run()
        assert self.prober.statistics().queued_broadcasts == self.probed.statistics().queued_broadcasts == 0

    def run(self) -> None:
        self.now += 1.0
        self.prober.handle_timer(self.now)
        self.carry(self.prober, self.probed)
        self.carry(self.probed, self.prober)
        self.carry(self.prober, self.probed)

    def carry(self, sender: Membership, receiver: Membership) -> None:
        for data, _ in sender.datagrams_to_send():
            receiver.receive_datagram(data, sender.local.address, self.now)
        events_of(sender)


def virtual_hour(name: str) -> float:
    """CPU seconds, which are those of the clock on a core of its own."""
    started_at = time.process_time()
    engine = Engine(seed=1)
    engine.add_ring(MEMBERS, profile(name))
    engine.run(HOUR)
    assert engine.is_converged()
    return time.process_time() - started_at
