"""What is wanted, from a snapshot: groups, and what there is for and against them; and what changes between two."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.model import (
    Address,
    BGPAdvertisement,
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
from speaker.demand import Demand, DemandChange, Group, NodeFacts, address_order, changes, demand
from tests.speaker.ownership_helpers import groups, node_lists

POOL = Pool(name="p", networks=(ip_network("192.0.2.0/28"), ip_network("2001:db8::/124")))
BGP_POOL = Pool(name="routed", networks=(ip_network("198.51.100.0/28"),))
CONFIG = Configuration(
    pools=(POOL, BGP_POOL),
    l2_advertisements=(L2Advertisement(name="l2", pools=("p",)),),
    bgp_advertisements=(BGPAdvertisement(name="bgp", pools=("routed",)),),
)
LOCAL = ExternalTrafficPolicy.LOCAL


def named(name: str) -> ObjectName:
    return ObjectName("default", name)


def service(name: str, *ingress: str, **changed: object) -> Service:
    values: dict[str, object] = {
        "name": named(name),
        "type": ServiceType.LOAD_BALANCER,
        "ingress": tuple(map(ip_address, ingress)),
    }
    return Service(**{**values, **changed})  # type: ignore[arg-type]  # the fields are given by name


def endpoints(name: str, *nodes: str | None, ready: bool | None = True) -> EndpointSlice:
    listed = tuple(Endpoint(addresses=(ip_address("10.1.0.1"),), node_name=node, ready=ready) for node in nodes)
    return EndpointSlice(name=named(f"{name}-slice"), service=named(name), endpoints=listed)


def wanted(
    *services: Service, slices: tuple[EndpointSlice, ...] = (), config: Configuration = CONFIG
) -> tuple[Group, ...]:
    return demand(Snapshot(config=config, services=services, endpoint_slices=slices)).groups


def ips(*texts: str) -> tuple[Address, ...]:
    return tuple(map(ip_address, texts))


# ---- which services


def test_only_services_of_our_class_that_have_an_address_are_wanted() -> None:
    services = (
        service("ours", "192.0.2.1"),
        service("pending"),
        service("inside", "192.0.2.2", type=ServiceType.CLUSTER_IP),
        service("theirs", "192.0.2.3", load_balancer_class="other"),
    )
    snapshot = Snapshot(config=CONFIG, services=services)
    assert [group.services for group in demand(snapshot).groups] == [(named("ours"),)]
    assert [group.services for group in demand(snapshot, "other").groups] == [(named("theirs"),)]
    assert demand(snapshot, "third").groups == ()


def test_a_group_says_what_bears_on_it() -> None:
    (group,) = wanted(
        service("web", "2001:db8::1", "192.0.2.1", external_traffic_policy=LOCAL),
        slices=(endpoints("web", "b", None), endpoints("web", "a", "b"), endpoints("other", "c")),
    )
    assert group == Group(
        key=ip_address("2001:db8::1"),
        addresses=ips("192.0.2.1", "2001:db8::1"),
        services=(named("web"),),
        pools=("p",),
        advertisements=("l2",),
        policy=LOCAL,
        serving_nodes=("a", "b"),
        is_served=True,
    )


# ---- groups


def test_services_that_share_an_address_are_one_group_over_any_number_of_links() -> None:
    (group,) = wanted(
        service("s1", "192.0.2.3", "2001:db8::1"),
        service("s2", "192.0.2.2", "2001:db8::1"),
        service("s3", "192.0.2.2"),
        slices=(endpoints("s3", "c"), endpoints("s1", "a")),
    )
    assert group.key == ip_address("192.0.2.2"), "the lowest of the first addresses"
    assert group.addresses == ips("192.0.2.2", "192.0.2.3", "2001:db8::1")
    assert group.services == (named("s1"), named("s2"), named("s3"))
    assert group.serving_nodes == ("a", "c")


@pytest.mark.parametrize("second", ExternalTrafficPolicy)
def test_a_group_is_local_when_all_its_services_are(second: ExternalTrafficPolicy) -> None:
    (group,) = wanted(
        service("s1", "192.0.2.1", external_traffic_policy=LOCAL),
        service("s2", "192.0.2.1", external_traffic_policy=second),
    )
    assert group.policy is second


def test_a_group_is_served_by_an_endpoint_of_any_of_its_services() -> None:
    services = (service("s1", "192.0.2.1"), service("s2", "192.0.2.1"))
    assert wanted(*services, slices=(endpoints("s2", None),))[0].is_served
    assert not wanted(*services, slices=(endpoints("s2", "a", ready=False),))[0].is_served
    assert wanted(*services, slices=(endpoints("s2", "a", ready=False),))[0].serving_nodes == ()


def test_slices_that_name_no_service_serve_nobody() -> None:
    (group,) = wanted(service("web", "192.0.2.1"), slices=(replace(endpoints("web", "a"), service=None),))
    assert not group.is_served


@pytest.mark.parametrize(
    ("address", "pools"), [("203.0.113.1", ()), ("198.51.100.1", ("routed",)), ("192.0.2.16", ()), ("2001:db8::10", ())]
)
def test_an_address_that_is_not_advertised_is_a_group_by_itself(address: str, pools: tuple[str, ...]) -> None:
    """Its service's other address is announced all the same, and others that have it are not drawn in."""
    first, second = service("s1", address, "192.0.2.1"), service("s2", address, "192.0.2.2")
    found = {group.key: group for group in wanted(first, second)}
    assert found[ip_address(address)].services == (named("s1"), named("s2"))
    assert found[ip_address(address)].pools == pools
    assert found[ip_address(address)].advertisements == ()
    assert found[ip_address("192.0.2.1")].services == (named("s1"),)
    assert found[ip_address("192.0.2.1")].advertisements == ("l2",)
    assert len(found) == 3


def test_every_advertisement_of_a_pool_is_named() -> None:
    more = (L2Advertisement(name="z", pools=("p", "routed")), L2Advertisement(name="b", pools=("p",)))
    (group,) = wanted(service("web", "192.0.2.1"), config=replace(CONFIG, l2_advertisements=more))
    assert group.advertisements == ("b", "z")


def test_the_edges_of_a_pools_blocks_belong_to_it() -> None:
    blocks = tuple(map(ip_network, ("192.0.2.4/30", "10.0.0.0/31", "192.0.2.16/32")))
    config = replace(CONFIG, pools=(replace(POOL, networks=blocks),))
    inside = ["192.0.2.4", "192.0.2.7", "10.0.0.0", "10.0.0.1", "192.0.2.16"]
    outside = ["192.0.2.3", "192.0.2.8", "9.255.255.255", "10.0.0.2", "192.0.2.15", "192.0.2.17", "::a00:0"]
    found = wanted(*(service(f"s{at}", address) for at, address in enumerate(inside + outside)), config=config)
    assert {group.key for group in found if group.pools} == set(ips(*inside))


addresses = st.sampled_from(ips("192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2", "203.0.113.1"))
services_drawn = st.lists(st.lists(addresses, max_size=2), max_size=8)


@given(services_drawn)
def test_groups_are_a_partition_and_do_not_depend_on_order(ingresses: list[list[Address]]) -> None:
    services = [service(f"s{at}", *map(str, ingress)) for at, ingress in enumerate(ingresses)]
    found = wanted(*services)
    assert found == wanted(*reversed(services))
    told = [address for group in found for address in group.addresses]
    assert len(told) == len(set(told))
    assert set(told) == {address for ingress in ingresses for address in ingress}
    assert list(found) == sorted(found, key=lambda group: address_order(group.key))
    for group in found:
        assert group.key in group.addresses
        assert set(group.services) == {
            item.name for item in services if not set(item.ingress).isdisjoint(group.addresses)
        }
    # Two that share an advertised address are together.
    home = {address: group.key for group in found if group.advertisements for address in group.addresses}
    for item in services:
        assert len({home[address] for address in item.ingress if address in home}) <= 1


# ---- spare


def spare_of(*held: str, networks: tuple[str, ...] = ("192.0.2.0/28",), nodes: tuple[Node, ...] = ()) -> Address | None:
    config = replace(CONFIG, pools=(replace(POOL, networks=tuple(map(ip_network, networks))),))
    services = tuple(service(f"s{at}", address) for at, address in enumerate(held))
    return demand(Snapshot(config=config, services=services, nodes=nodes)).groups[0].spare


def test_the_spare_is_the_highest_address_that_nobody_has() -> None:
    assert spare_of("192.0.2.1") == ip_address("192.0.2.15")
    assert spare_of("192.0.2.1", "192.0.2.15", "192.0.2.14") == ip_address("192.0.2.13")
    node = Node(name="n", internal_addresses=ips("192.0.2.15"))
    assert spare_of("192.0.2.1", nodes=(node,)) == ip_address("192.0.2.14")


def test_a_broadcast_address_is_no_spare() -> None:
    assert spare_of("192.0.2.1", networks=("192.0.2.0/24",)) == ip_address("192.0.2.254")


def test_a_full_pool_has_no_spare() -> None:
    assert spare_of("192.0.2.1", networks=("192.0.2.1/32",)) is None
    assert spare_of("192.0.2.1", networks=("192.0.2.0/31", "2001:db8::/124")) is None, "of the same family"
    assert spare_of("203.0.113.1") is None, "nor has an address outside of all"


def test_a_service_that_takes_the_spare_changes_no_other_group() -> None:
    before = demand(Snapshot(config=CONFIG, services=(service("s1", "192.0.2.1"),)))
    after = demand(Snapshot(config=CONFIG, services=(service("s1", "192.0.2.1"), service("s2", "192.0.2.15"))))
    (change,) = changes(before, after)
    assert [group.key for group in change.groups] == [ip_address("192.0.2.15")]


# ---- nodes


def test_nodes_are_told_by_name_with_what_there_is_against_them() -> None:
    nodes = (
        Node(name="b", exclude_from_external_load_balancers=True),
        Node(name="a", network_unavailable=True),
    )
    snapshot = Snapshot(nodes=nodes)
    unavailable = NodeFacts(name="a", network_unavailable=True)
    assert demand(snapshot).nodes == (unavailable, NodeFacts(name="b", is_excluded=True))


# ---- changes


demands = st.builds(
    Demand,
    groups=st.lists(groups(), max_size=8, unique_by=lambda group: group.key).map(
        lambda drawn: tuple(sorted(drawn, key=lambda group: address_order(group.key)))
    ),
    nodes=node_lists.map(lambda drawn: tuple(sorted(drawn, key=lambda node: node.name))),
)


def apply(before: Demand, parts: tuple[DemandChange, ...]) -> Demand:
    told = {group.key: group for group in before.groups}
    nodes = {node.name: node for node in before.nodes}
    for part in parts:
        for key in part.gone:
            del told[key]
        for name in part.gone_nodes:
            del nodes[name]
        told.update((group.key, group) for group in part.groups)
        nodes.update((node.name, node) for node in part.nodes)
    return Demand(
        groups=tuple(sorted(told.values(), key=lambda group: address_order(group.key))),
        nodes=tuple(sorted(nodes.values(), key=lambda node: node.name)),
    )


@given(demands, demands, st.integers(1, 30))
def test_the_changes_lead_from_one_demand_to_the_other(before: Demand, after: Demand, limit: int) -> None:
    parts = changes(before, after, limit)
    assert apply(before, parts) == after
    sizes = [len(part.groups) + len(part.gone) + len(part.nodes) + len(part.gone_nodes) for part in parts]
    assert all(size == limit for size in sizes[:-1])
    assert all(0 < size <= limit for size in sizes)
    assert [part.is_complete for part in parts] == [False] * (len(parts) - 1) + [True] * bool(parts)


@given(demands)
def test_no_difference_is_no_change(some: Demand) -> None:
    assert changes(some, some) == ()
