"""Two hundred addresses on five nodes: those of a node that goes are announced by the others, each by one.

How soon is measured, and said at the end of the run; `./run bench speaker` judges it (design.md §10).
"""

from __future__ import annotations

import pytest
import yaml

from tests.e2e.clusters import MANY, many
from tests.e2e.figures import Measured
from tests.e2e.recorder import Recorder
from tests.e2e.speakers import at_of
from tests.e2e.stage import Stage

pytestmark = [pytest.mark.needs("netns"), pytest.mark.slow]

CLUSTER = many()
PROFILE = "lan"


@pytest.mark.parametrize("end", ["stopped", "killed"])
async def test_the_addresses_of_a_node_that_goes(
    stage: Stage, observer: Recorder, measured: Measured, end: str
) -> None:
    assert len(stage.addresses) == MANY
    goer = max(stage.nodes, key=lambda node: len(stage.owned_by(node)))
    moved = stage.owned_by(goer)
    rest = [node for node in stage.nodes if node != goer]
    heirs = {address: stage.winner(address, rest) for address in moved}
    since = len(observer.frames)
    (stage.stop if end == "stopped" else stage.kill)(goer)
    event = "memberLeft" if end == "stopped" else "memberFailed"
    verdicts = {node: at_of(await stage.speakers.logged(node, event, member=goer)) for node in rest}
    await stage.settled(observer, {address: stage.winner(address, rest) for address in stage.addresses})
    waits: dict[str, list[float]] = {}
    for address, heir in heirs.items():
        said = [one for one in observer.announcements(address, since) if one.ether.src != stage.mac(goer)]
        assert {one.ether.src for one in said} == {stage.mac(heir)}
        waits.setdefault(heir, []).append(said[0].at - verdicts[heir])
    for times in waits.values():
        measured(f"verdict to the first address, of a node that was {end}", min(times))
        measured(f"verdict to the last of {len(moved)} addresses, of a node that was {end}", max(times))
    assert len(moved) > MANY // 5
    assert set(waits) == set(rest)
    others = [address for address in stage.addresses if address not in moved]
    assert not [one for address in others for one in observer.announcements(address, since)]


def test_the_manifests_are_those_of_two_hundred_services() -> None:
    documents = [one for name, text in CLUSTER.items() if "services" in name for one in yaml.safe_load_all(text)]
    assert len({one["metadata"]["name"] for one in documents}) == MANY
