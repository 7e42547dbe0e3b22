"""The measurements of the controller measure what they say."""

from __future__ import annotations

import pytest

from cluster.model import Service
from tests.bench.bench_controller import POOL, SMALL_POOL, Cluster, fresh, make_services

COUNT = 300
"""More than the small pool has."""


@pytest.mark.parametrize(
    ("services", "count"),
    [
        (make_services(COUNT), COUNT),
        (make_services(COUNT, sharing_key="k"), COUNT),
        (make_services(COUNT, sharing_key="k", first_port=1), 1),
    ],
    ids=["alone", "sharing, one port", "sharing, a port each"],
)
def test_everybody_gets_an_address(services: tuple[Service, ...], count: int) -> None:
    statuses = fresh(services).statuses
    assert len(statuses) == COUNT
    assert len({status.ingress[0] for status in statuses}) == count


def test_a_cluster_has_settled_and_one_change_is_one_change() -> None:
    cluster = Cluster(POOL, COUNT)
    assert not cluster.outcome.statuses
    assert not cluster.change_one().statuses
    assert not cluster.read_anew().statuses
    assert not cluster.restart().statuses
    assert not cluster.change_pools().statuses
    assert [status.service.name for status in cluster.swap().statuses] == ["t000000001"]


def test_one_that_waits_gets_what_another_frees() -> None:
    cluster = Cluster(SMALL_POOL, COUNT)
    (freed,) = next(iter(cluster.services.values())).ingress
    new, *failed = cluster.swap().statuses[::-1]
    assert new.ingress == (freed,)
    assert [status.ingress for status in failed] == [()]
