"""Who owns what among 10,000 services: from the snapshot to the last group that an event touched."""

from __future__ import annotations

import gc
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_network

from cluster.model import (
    Configuration,
    Endpoint,
    EndpointSlice,
    ExternalTrafficPolicy,
    L2Advertisement,
    Node,
    ObjectName,
    Pool,
    Service,
    ServiceType,
    Snapshot,
)
from speaker.decisions import Decisions
from speaker.demand import Demand, changes, demand
from speaker.marker import MarkedInterface, Marker
from speaker.ownership import MemberFacts
from tests.bench.measuring import RUNS, Row, time_calls
from tests.interop.programs import GoPeer

SERVICES = 10_000
MANY_NODES = 50
TURN = 100
"""Groups in a turn."""
MARKER = Marker(interfaces=(MarkedInterface(b"e0", has_ipv4=True, has_ipv6=True, has_carrier=True),))


async def measure(peer: GoPeer | None) -> AsyncIterator[Row]:
    """CPU time. Nothing here has a counterpart in memberlist."""
    snapshot = cluster(3)
    before = demand(snapshot)
    yield Row(f"group {SERVICES} services", time_calls(lambda: demand(snapshot)))
    yield Row(f"find no change among {SERVICES} groups", time_calls(lambda: changes(before, demand(snapshot))))
    events: dict[str, tuple[Snapshot, Iterable[int], Iterable[int]]] = {
        "1 of 3 nodes dies": (snapshot, range(3), range(2)),
        "a 4th node joins 3": (snapshot, range(3), range(4)),
        f"1 of {MANY_NODES} nodes dies, all Local": (local_cluster(), range(MANY_NODES), range(MANY_NODES - 1)),
    }
    for what, (wanted, live_before, live_after) in events.items():
        runs = [Deciding(wanted, live_before).follow(live_after) for _ in range(RUNS)]
        yield Row(f"{what}, {SERVICES} groups", [run.total for run in runs])
        yield Row(f"{what}, longest turn", [run.longest for run in runs])


def cluster(nodes: int, serving: Callable[[int], Iterable[int]] | None = None) -> Snapshot:
    """Services of one address each; with ``serving``, of policy Local, on the nodes that it says."""
    names = [ObjectName("default", f"service-{number:05}") for number in range(SERVICES)]
    policy = ExternalTrafficPolicy.CLUSTER if serving is None else ExternalTrafficPolicy.LOCAL
    return Snapshot(
        config=Configuration(
            pools=(Pool(name="pool", networks=(ip_network("10.0.0.0/16"),)),),
            l2_advertisements=(L2Advertisement(name="l2", pools=("pool",)),),
        ),
        services=tuple(
            Service(
                name=name,
                type=ServiceType.LOAD_BALANCER,
                ingress=(IPv4Address("10.0.0.0") + number,),
                external_traffic_policy=policy,
            )
            for number, name in enumerate(names)
        ),
        endpoint_slices=tuple(
            EndpointSlice(
                name=name,
                service=name,
                endpoints=tuple(
                    Endpoint(addresses=(IPv4Address("10.1.0.1"),), node_name=f"node-{node}", ready=True)
                    for node in (range(3) if serving is None else serving(number))
                ),
            )
            for number, name in enumerate(names)
        ),
        nodes=tuple(Node(name=f"node-{number}") for number in range(nodes)),
    )


def local_cluster() -> Snapshot:
    """Each service on three nodes of its own choice: few have the same."""
    return cluster(MANY_NODES, lambda number: sorted({number * step % MANY_NODES for step in (1, 3, 7)}))


@dataclass
class Spent:
    """CPU seconds: of all turns, and of the longest."""

    total: float = 0.0
    longest: float = 0.0


class Deciding:
    """Decisions about all groups, settled."""

    def __init__(self, snapshot: Snapshot, live: Iterable[int]) -> None:
        self.nodes = [node.name for node in snapshot.nodes]
        self.decisions = Decisions("node-0")
        for part in changes(Demand(), demand(snapshot)):
            self.decisions.change_demand(part)
        self.follow(live)

    def follow(self, live: Iterable[int]) -> Spent:
        """These nodes and no others are alive: what it takes until everything is decided."""
        names = [f"node-{number}" for number in live]
        members = [
            MemberFacts(name=name, is_live=name in names, marker=MARKER) for name in sorted({*names, *self.nodes})
        ]
        gc.collect()
        gc.disable()  # the fast process has no full collection in between either
        try:
            return self._follow(members)
        finally:
            gc.enable()

    def _follow(self, members: list[MemberFacts]) -> Spent:
        spent, started_at = Spent(), time.process_time()
        self.decisions.change_members(members)
        while not self.decisions.is_settled:
            turn_at = time.process_time()
            self.decisions.remake(TURN)
            spent.longest = max(spent.longest, time.process_time() - turn_at)
        spent.total = time.process_time() - started_at
        return spent
