"""What the manifests say of endpoints and nodes decides who may own an address, while everything runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from tests.e2e.recorder import Recorder
from tests.e2e.stage import Stage

pytestmark = [pytest.mark.needs("netns"), pytest.mark.slow]

EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"


def endpoints_on(stage: Stage, nodes: Iterable[str]) -> None:
    """The first service has a serving endpoint on each of these nodes."""
    ready = {"ready": True, "serving": True, "terminating": False}
    with stage.manifests.edited("endpoints.yaml") as documents:
        documents[0]["endpoints"] = [
            {"addresses": [f"10.244.9.{place}"], "nodeName": node, "conditions": ready}
            for place, node in enumerate(nodes, 1)
        ]


def make_local(stage: Stage) -> None:
    with stage.manifests.edited("services.yaml") as documents:
        documents[0]["spec"]["externalTrafficPolicy"] = "Local"


async def test_with_policy_local_an_address_follows_its_endpoints(stage: Stage, observer: Recorder) -> None:
    address = stage.addresses[0]
    owner = stage.winner(address)
    one, other = (node for node in stage.nodes if node != owner)
    make_local(stage)
    for nodes in ([one], [other], [one, other], [owner, one]):
        endpoints_on(stage, nodes)
        expected = stage.winner(address, nodes)
        await stage.settled(observer, {address: expected})
        assert await stage.fetch(address) == expected


async def test_without_an_endpoint_nobody_answers_and_that_is_said(stage: Stage, observer: Recorder) -> None:
    address = stage.addresses[0]
    owner = stage.winner(address)
    endpoints_on(stage, [])
    line = await stage.speakers.logged(owner, "nobodyAnnounces", ips=[address])
    assert line["level"] == "warn"
    assert "endpoint" in line["reason"]
    assert await observer.ask(address) == []
    told = await stage.speakers.why(owner, address)
    assert told["owner"] is None
    assert told["reasons"]
    assert (await stage.speakers.status(owner))["verdict"] == "warning"
    endpoints_on(stage, stage.nodes)
    await stage.settled(observer, {address: owner})


def change_first_node(stage: Stage, name: str, change: dict[str, Any]) -> None:
    with stage.manifests.edited("nodes.yaml") as documents:
        (node,) = (document for document in documents if document["metadata"]["name"] == name)
        for part, fields in change.items():
            node[part] |= fields


BARS: dict[str, tuple[dict[str, Any], str]] = {
    "excluded by its label": ({"metadata": {"labels": {EXCLUDED: ""}}}, "excluded"),
    "without a network": ({"status": {"conditions": [{"type": "NetworkUnavailable", "status": "True"}]}}, "network"),
}


@pytest.mark.parametrize("kind", BARS)
async def test_a_node_that_may_not_serve_gives_its_addresses_away(stage: Stage, observer: Recorder, kind: str) -> None:
    change, word = BARS[kind]
    barred = stage.winner(stage.addresses[0])
    rest = [node for node in stage.nodes if node != barred]
    change_first_node(stage, barred, change)
    await stage.settled(observer, {address: stage.winner(address, rest) for address in stage.addresses})
    told = await stage.speakers.why(barred, stage.addresses[0])
    (candidate,) = [one for one in told["candidates"] if one["node"] == barred]
    assert not candidate["eligible"]
    assert any(word in reason for reason in candidate["reasons"])
    stage.manifests.restore("nodes.yaml")
    await stage.settled(observer, {address: stage.winner(address) for address in stage.addresses})
    assert await stage.fetch(stage.addresses[0]) == barred


async def test_a_service_that_goes_takes_its_address_along(stage: Stage, observer: Recorder) -> None:
    address = stage.addresses[0]
    owner = stage.winner(address)
    with stage.manifests.edited("services.yaml") as documents:
        del documents[0]
    await stage.speakers.logged(owner, "serviceWithdrawn", ip=address)
    assert await observer.ask(address) == []
    stage.manifests.restore("services.yaml")
    await stage.settled(observer, {address: owner})
