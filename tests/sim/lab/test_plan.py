"""What a lab consists of, from manifests and as manifests."""

from __future__ import annotations

from ipaddress import IPv4Interface

import pytest

from cluster.folder import read_files
from cluster.manifests import parse_manifests
from cluster.model import Snapshot
from sim.lab.errors import LabError
from sim.lab.plan import CLIENT, MAX_NODES, MAX_SERVICES, OBSERVER, PlannedService, plan_of, render_manifests
from tests.tree import ROOT


def snapshot(texts: dict[str, str]) -> Snapshot:
    return parse_manifests((name, text.encode()) for name, text in texts.items())


def edited(old: str, new: str) -> Snapshot:
    return snapshot({name: text.replace(old, new) for name, text in render_manifests(["n1", "n2"], ["svc-1"]).items()})


def test_manifests_for_a_number_are_read_back_as_that_plan() -> None:
    made = snapshot(render_manifests(["n1", "n2", "n3"], ["svc-1", "svc-2"]))
    plan = plan_of(made)
    assert list(plan.nodes) == ["n1", "n2", "n3"]
    assert plan.nodes["n2"] == IPv4Interface("10.225.28.22/24")
    assert plan.services == (PlannedService("default/svc-1", 80), PlannedService("default/svc-2", 80))
    assert plan.ports == [80]
    assert [pool.networks[0].num_addresses for pool in made.config.pools] == [2]
    assert {endpoint.node_name for part in made.endpoint_slices for endpoint in part.endpoints} == {"n1", "n2", "n3"}
    assert all(endpoint.is_usable for part in made.endpoint_slices for endpoint in part.endpoints)


def test_the_example_is_a_plan() -> None:
    plan = plan_of(parse_manifests(read_files([str(ROOT / "examples" / "hostnames")]).read))
    assert list(plan.nodes) == ["rain-kubernetes-1", "rain-kubernetes-2", "rain-kubernetes-3"]
    hostnames = plan.service("hostnames")
    assert hostnames is not None
    assert hostnames is plan.service("default/hostnames")
    assert plan.service("other/hostnames") is None


def test_whoever_asks_has_an_address_of_the_network_that_is_nobody_elses() -> None:
    plan = plan_of(edited("10.225.28.100-10.225.28.100", "10.225.28.253-10.225.28.254"))
    assert list(plan.askers) == [CLIENT, OBSERVER]
    assert [str(asker) for asker in plan.askers.values()] == ["10.225.28.252/24", "10.225.28.251/24"]


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (Snapshot(), "name no node; add a Node with an InternalIP"),
        (edited("type: LoadBalancer", "type: ClusterIP"), "have no service of type LoadBalancer with a port; add one"),
        (
            edited("address: 10.225.28.22", "address: 10.225.29.22"),
            r"several networks \(10.225.28.0/24, 10.225.29.0/24",
        ),
        (edited("address: 10.225.28.22", "address: fd00::1"), "node n2 has no IPv4 address; give it an InternalIP"),
        (edited("10.225.28.100-10.225.28.100", "10.225.28.0/24"), "leave no address of 10.225.28.0/24 to ask from"),
    ],
)
def test_manifests_that_are_no_lab_say_what_is_missing(made: Snapshot, said: str) -> None:
    with pytest.raises(LabError, match=said):
        plan_of(made)


@pytest.mark.parametrize(
    ("nodes", "services", "said"),
    [
        (0, 1, "1 to 50 nodes, not 0"),
        (MAX_NODES + 1, 1, "1 to 50 nodes, not 51"),
        (1, 0, "1 to 100 services, not 0"),
        (1, MAX_SERVICES + 1, "1 to 100 services, not 101"),
    ],
)
def test_more_than_a_lab_holds_is_refused(nodes: int, services: int, said: str) -> None:
    with pytest.raises(LabError, match=said):
        render_manifests([f"n{number}" for number in range(nodes)], [f"s{number}" for number in range(services)])


@pytest.mark.slow
def test_the_largest_lab_fits_its_network() -> None:
    names = [f"n{number}" for number in range(MAX_NODES)]
    services = [f"s{number}" for number in range(MAX_SERVICES)]
    plan = plan_of(snapshot(render_manifests(names, services)))
    assert len(plan.nodes) == MAX_NODES
    assert len({*plan.nodes.values(), *plan.askers.values()}) == MAX_NODES + 2
