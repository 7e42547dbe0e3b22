"""Two hundred addresses on five nodes: how soon those of a node that goes are announced by the others."""

from __future__ import annotations

from datetime import datetime

import pytest
import yaml

from sim.lab.plan import render_manifests
from tests.e2e.figures import Measured
from tests.e2e.recorder import Recorder
from tests.e2e.stage import Stage, cluster

pytestmark = [pytest.mark.needs("netns"), pytest.mark.slow]

SERVICES = 200
FIRST_WITHIN = 1.0
LAST_WITHIN = 5.0
"""Seconds from a verdict to the first and the last frame. The aim is far less (design.md §10)."""


def many() -> dict[str, str]:
    """A cluster of five nodes; the services come in parts."""
    nodes = [f"n{number}" for number in range(1, 6)]
    texts = cluster(5, 1, ["10.225.28.30-10.225.28.229"])
    for part in range(1, SERVICES, 50):
        names = [f"svc-{number}" for number in range(part, part + 50)]
        some = render_manifests(nodes, names)
        texts |= {f"{part:03}-{name}": some[name] for name in ("services.yaml", "endpoints.yaml")}
    del texts["services.yaml"], texts["endpoints.yaml"]
    return texts


CLUSTER = many()
PROFILE = "lan"


def at_of(line: dict[str, str]) -> float:
    return datetime.fromisoformat(line["ts"]).timestamp()


@pytest.mark.parametrize("end", ["stopped", "killed"])
async def test_the_addresses_of_a_node_that_goes(
    stage: Stage, observer: Recorder, measured: Measured, end: str
) -> None:
    assert len(stage.addresses) == SERVICES
    goer = max(stage.nodes, key=lambda node: len(stage.owned_by(node)))
    moved = stage.owned_by(goer)
    rest = [node for node in stage.nodes if node != goer]
    heirs = {address: stage.winner(address, rest) for address in moved}
    since = len(observer.frames)
    (stage.stop if end == "stopped" else stage.kill)(goer)
    event = "memberLeft" if end == "stopped" else "memberFailed"
    verdicts = {node: at_of(await stage.logged(node, event, member=goer)) for node in rest}
    await stage.settled(observer, {address: stage.winner(address, rest) for address in stage.addresses})
    firsts: dict[str, list[float]] = {}
    for address, heir in heirs.items():
        times = [one.at for one in observer.announcements(address, since) if one.ether.src == stage.mac(heir)]
        firsts.setdefault(heir, []).append(min(times) - verdicts[heir])
    for times in firsts.values():
        measured(f"verdict to the first address, of a node that was {end}", min(times))
        measured(f"verdict to the last of {len(moved)} addresses, of a node that was {end}", max(times))
    assert sum(map(len, firsts.values())) == len(moved) > SERVICES // 5
    assert max(min(times) for times in firsts.values()) < FIRST_WITHIN
    assert max(max(times) for times in firsts.values()) < LAST_WITHIN
    others = [address for address in stage.addresses if address not in moved]
    assert not [one for address in others for one in observer.announcements(address, since)]


def test_the_manifests_are_those_of_two_hundred_services() -> None:
    documents = [one for name, text in CLUSTER.items() if "services" in name for one in yaml.safe_load_all(text)]
    assert len({one["metadata"]["name"] for one in documents}) == SERVICES
