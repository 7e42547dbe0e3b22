"""One service after another: what each gets, keeps and loses, and what is told (metallb-interface.md §3.7, 3.9, 3.10).

The cases are those of §7.2, row "controller: mutation", that concern one address.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cluster.model import IPFamily, IPFamilyPolicy, Service, ServiceType
from controller.reconciler import Outcome, Reconciler
from tests.controller.helpers import Source, addresses, given, name, pool, service, settled, snapshot

if TYPE_CHECKING:
    from cluster.model import Pool

AUTO = pool("auto", "192.0.2.0/29")
ASKED = pool("asked", "198.51.100.0/29", auto_assign=False)
SIX = pool("six", "2001:db8::/126")
POOLS = [AUTO, ASKED, SIX]
OLD_PREFIX = ("metallb.universe.tf/address-pool",)


@pytest.mark.parametrize(
    ("new", "has", "noted"),
    [
        (service("s"), "192.0.2.0", "auto"),
        (service("s", asks="192.0.2.5"), "192.0.2.5", "auto"),
        (service("s", asks="198.51.100.3"), "198.51.100.3", "asked"),
        (service("s", asks="198.51.100.3", address_pool="asked"), "198.51.100.3", "asked"),
        (service("s", address_pool="asked"), "198.51.100.0", "asked"),
        (service("s", ingress="192.0.2.4"), "192.0.2.4", "auto"),
        (service("s", ingress="192.0.2.4", noted="auto"), "192.0.2.4", "auto"),
        (service("s", ingress="192.0.2.4", noted="other"), "192.0.2.4", "auto"),
        (service("s", ingress="10.0.0.1"), "192.0.2.0", "auto"),
        (service("s", ingress="2001:db8::1"), "192.0.2.0", "auto"),
        (service("s", ingress="192.0.2.4 192.0.2.5"), "192.0.2.0", "auto"),
        (service("s", ingress="192.0.2.4 2001:db8::1"), "192.0.2.0", "auto"),
        (service("s", ingress="192.0.2.4", asks="192.0.2.5"), "192.0.2.5", "auto"),
        (service("s", ingress="192.0.2.4", address_pool="asked"), "198.51.100.0", "asked"),
        (service("s", cluster="fd00::1"), "2001:db8::", "six"),
        (service("s", cluster="fd00::1", ingress="192.0.2.4"), "2001:db8::", "six"),
        (service("s", cluster=""), "192.0.2.0", "auto"),
        (service("s", cluster="", ip_families=(IPFamily.IPV6,)), "2001:db8::", "six"),
        (service("s", ip_family_policy=IPFamilyPolicy.SINGLE_STACK), "192.0.2.0", "auto"),
        (service("s", ip_family_policy=IPFamilyPolicy.PREFER_DUAL_STACK), "192.0.2.0", "auto"),
        (
            service("s", cluster="10.96.0.1 fd00::1", ip_family_policy=IPFamilyPolicy.PREFER_DUAL_STACK),
            "192.0.2.0",
            "auto",
        ),
        (
            service(
                "s",
                cluster="fd00::1 10.96.0.1",
                ip_families=(IPFamily.IPV6, IPFamily.IPV4),
                ip_family_policy=IPFamilyPolicy.PREFER_DUAL_STACK,
            ),
            "2001:db8::",
            "six",
        ),
        (service("s", kind=ServiceType.CLUSTER_IP), "", None),
        (service("s", kind=ServiceType.NODE_PORT, ingress="192.0.2.4", noted="auto"), "", None),
        (service("s", kind=ServiceType.NODE_PORT, load_balancer_class="other", ingress="10.0.0.1"), "10.0.0.1", None),
        (service("s", load_balancer_class="other"), "", None),
        (service("s", load_balancer_class="other", ingress="192.0.2.4"), "192.0.2.4", None),
    ],
    ids=[
        "any",
        "asks for an address",
        "asks for one that is not automatic",
        "asks for an address and its pool",
        "asks for a pool",
        "has one, pool not noted",
        "has one",
        "has one, another pool noted",
        "has one that is nobody's",
        "has one of the wrong family",
        "has two of one family",
        "has one too many",
        "has one and asks for another",
        "has one and asks for another pool",
        "IPv6",
        "IPv6, has IPv4",
        "no cluster IP",
        "no cluster IP, families",
        "single stack",
        "prefers dual stack, one cluster IP",
        "prefers dual stack, no pool of both",
        "prefers dual stack, IPv6 first",
        "not a load balancer",
        "was a load balancer",
        "was another's load balancer",
        "another's class",
        "another's class, has one",
    ],
)
def test_what_a_service_has_in_the_end(new: Service, has: str, noted: str | None) -> None:
    source = settled(POOLS, new)
    assert source.has("s") == has
    assert source.services[name("s")].allocated_from_pool == noted


FAILED = 'Failed to allocate IP for "default/s": '


@pytest.mark.parametrize(
    ("pools", "new", "reason", "message"),
    [
        ([], service("s"), "AllocationFailed", FAILED + "no available IPs: no pool is configured"),
        ([ASKED], service("s"), "AllocationFailed", FAILED + "no available IPs: no pool assigns automatically"),
        ([SIX], service("s"), "AllocationFailed", FAILED + "no available IPs: the pools that assign automatically"),
        (POOLS, service("s", asks="10.0.0.1"), "AllocationFailed", FAILED + '["10.0.0.1"] is not allowed in config'),
        (POOLS, service("s", address_pool="no"), "AllocationFailed", FAILED + 'unknown pool "no"'),
        (POOLS, service("s", asks="192.0.2.1", address_pool="no"), "AllocationFailed", FAILED + 'unknown pool "no"'),
        (
            POOLS,
            service("s", asks="192.0.2.1", address_pool="asked"),
            "AllocationFailed",
            FAILED + '["192.0.2.1"] is in pool "auto", and pool "asked" is asked for',
        ),
        (
            POOLS,
            service("s", address_pool="six"),
            "AllocationFailed",
            FAILED + "no available IPs in pool six for ipv4 IPFamily",
        ),
        (
            POOLS,
            service("s", asks="2001:db8::1"),
            "AllocationFailed",
            FAILED + '["2001:db8::1"] is not of the service\'s address family, IPv4',
        ),
        (
            POOLS,
            service("s", ip_family_policy=IPFamilyPolicy.REQUIRE_DUAL_STACK),
            "not enough clusterips",
            "RequireDualStack needs two cluster IPs",
        ),
        (
            POOLS,
            service("s", cluster="10.96.0.1 fd00::1", ip_family_policy=IPFamilyPolicy.REQUIRE_DUAL_STACK),
            "AllocationFailed",
            FAILED + "no available IPs",
        ),
        (POOLS, service("s", cluster="10.96.0.1 10.96.0.2"), "noclusterIPsIPFamily", "the cluster IPs are of one fam"),
    ],
    ids=[
        "no pool",
        "no automatic pool",
        "no pool of the family",
        "an address of no pool",
        "unknown pool",
        "an address, unknown pool",
        "an address of another pool",
        "a pool of the other family",
        "an address of the other family",
        "dual stack without cluster IPs",
        "dual stack without a pool",
        "two cluster IPs of one family",
    ],
)
def test_why_a_service_has_none(pools: list[Pool], new: Service, reason: str, message: str) -> None:
    """Told, and written where the address would stand; whatever stood there is not there any more."""
    for standing in ("", "192.0.2.4"):
        source = settled(pools, replace(new, ingress=addresses(standing)))
        assert source.has("s") == ""
        (status,) = source.outcome.statuses
        assert (status.reason, status.ingress, status.pool) == (reason, (), None)
        assert (status.message or "").startswith(message)
        assert source.told()[-1] == f"s: Warning {reason}"
        assert source.messages()[-1] == status.message


def test_without_a_default_family_a_service_needs_a_cluster_ip() -> None:
    """§3.7 step 3."""
    source = given(POOLS, service("s", cluster=""))
    source.reconciler = Reconciler(default_family=None)
    source.turn()
    assert source.told() == ["s: Warning noclusterIPsIPFamily"]
    assert "clusterIP" in source.why("s")


# ---- one change after another


def changed(old: Service, **changes: object) -> Service:
    return replace(old, **changes)  # type: ignore[arg-type]  # the cases name fields of a service


@pytest.mark.parametrize(
    ("changes", "has"),
    [
        ({"labels": (("a", "b"),)}, "192.0.2.0"),
        ({"ports": service("", port="81").ports}, "192.0.2.0"),
        ({"sharing_key": "k"}, "192.0.2.0"),
        ({"external_traffic_policy": service("", local=True).external_traffic_policy}, "192.0.2.0"),
        ({"requested_addresses": addresses("192.0.2.0")}, "192.0.2.0"),
        ({"requested_addresses": addresses("192.0.2.3")}, "192.0.2.3"),
        ({"requested_addresses": addresses("192.0.2.1")}, ""),
        ({"requested_addresses": addresses("10.0.0.1")}, ""),
        ({"address_pool": "auto"}, "192.0.2.0"),
        ({"address_pool": "asked"}, "198.51.100.0"),
        ({"address_pool": "no"}, ""),
        ({"cluster_ips": addresses("fd00::1")}, "2001:db8::"),
        ({"type": ServiceType.NODE_PORT}, ""),
        ({"type": ServiceType.EXTERNAL_NAME}, ""),
        ({"load_balancer_class": "other"}, "192.0.2.0"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else str(value),
)
def test_a_service_that_has_one_and_changes(changes: dict[str, object], has: str) -> None:
    """Its neighbour, who has the next address, is never touched."""
    source = settled(POOLS, service("s"), service("t"))
    source.put(changed(source.services[name("s")], **changes))
    outcome = source.turn()
    assert source.everybody() == {"s": has, "t": "192.0.2.1"}
    assert {status.service for status in outcome.statuses} <= {name("s")}
    # An address that was given up goes to who comes next.
    source.put(service("new"))
    source.turn()
    assert source.has("new") == (
        "192.0.2.2" if has == "192.0.2.0" and "load_balancer_class" not in changes else "192.0.2.0"
    )


def test_a_class_of_its_own() -> None:
    """§3.3: with a class, exactly the services of that class; the others are not touched, whatever stands there."""
    source = given(POOLS, service("s"), service("t", load_balancer_class="mine"), service("u", ingress="10.0.0.1"))
    source.reconciler = Reconciler("mine")
    source.turn()
    assert source.everybody() == {"s": "", "t": "192.0.2.0", "u": "10.0.0.1"}
    # The class goes with the type, and the address with them.
    source.put(changed(source.services[name("t")], type=ServiceType.CLUSTER_IP, load_balancer_class=None))
    source.turn()
    assert source.has("t") == ""


def test_an_address_that_goes_with_its_service_wakes_who_waits() -> None:
    tight = [pool("p", "192.0.2.1/32")]
    source = settled(tight, service("a"), service("b"), service("c"))
    assert source.everybody() == {"a": "192.0.2.1", "b": "", "c": ""}
    assert source.told() == ["a: Normal IPAllocated", "b: Warning AllocationFailed", "c: Warning AllocationFailed"]
    source.take_out("a")
    source.turn()
    assert source.everybody() == {"b": "192.0.2.1", "c": ""}
    assert source.told() == ["b: Normal IPAllocated"]


@pytest.mark.parametrize(
    "change",
    [
        {"requested_addresses": addresses("198.51.100.1")},
        {"type": ServiceType.CLUSTER_IP},
        {"load_balancer_class": "other"},
        {"sharing_key": "k", "ports": service("", port="81").ports},
        {"address_pool": "asked"},
    ],
    ids="-".join,
)
def test_what_a_holder_changes_wakes_who_waits(change: dict[str, object]) -> None:
    source = settled([pool("p", "192.0.2.1/32"), ASKED], service("a"), service("b", key="k"))
    assert source.has("b") == ""
    source.put(changed(source.services[name("a")], **change))
    source.turn()
    assert source.has("b") == "192.0.2.1"


def test_who_waits_is_not_asked_for_nothing() -> None:
    """It would be no use, and its reason is told once."""
    source = settled([pool("p", "192.0.2.1/32")], service("a"), service("b"))
    source.put(changed(source.services[name("a")], labels=(("x", "y"),)))
    assert source.turn() == Outcome()
    source.put(service("c"))
    assert [status.service.name for status in source.turn().statuses] == ["c"]
    source.take_out("c")
    assert source.turn() == Outcome()


def test_a_reason_is_not_told_again_when_it_is_written() -> None:
    """Though there is one more in the way by then."""
    source = settled([pool("p", "192.0.2.1/32")], service("a", port="80", key="k"))
    source.put(service("b", asks="192.0.2.1", ingress="10.0.0.1"), service("c", port="81", key="k"))
    source.turn()
    assert source.has("c") == "192.0.2.1"
    assert source.why("b").endswith("address also in use by default/a")


def test_another_reason_is_told_again() -> None:
    source = settled(POOLS, service("s", asks="10.0.0.1"))
    source.put(service("s", asks="10.0.0.2"))
    source.turn()
    assert source.told() == ["s: Warning AllocationFailed"]
    assert '"10.0.0.2"' in source.why("s")
    source.put(service("s", kind=ServiceType.CLUSTER_IP))
    source.turn()
    assert (source.told(), source.why("s")) == ([], "")


# ---- sharing


@pytest.mark.parametrize(
    ("a", "b", "together"),
    [
        (service("a", key="k"), service("b", port="81", key="k"), True),
        (service("a", key="k"), service("b", port="80/UDP", key="k"), True),
        (service("a", key="k"), service("b", key="k"), False),
        (service("a", port="80 81", key="k"), service("b", port="81 82", key="k"), False),
        (service("a", key="k"), service("b", port="81", key="other"), False),
        (service("a", key="k"), service("b", port="81"), False),
        (service("a", key="k"), service("b", port="81", local=True, key="k"), False),
        (service("a", local=True, key="k"), service("b", port="81", local=True, key="k"), True),
        (
            service("a", local=True, selector=(("x", "1"),), key="k"),
            service("b", port="81", local=True, key="k"),
            False,
        ),
        (service("a", selector=(("x", "1"),), key="k"), service("b", port="81", key="k"), True),
        (
            service("a", local=True, selector=(("x", "1"),), key="k"),
            service("b", port="81", local=True, selector=(("x", "1"),), key="k"),
            True,
        ),
        (service("a", key="k"), service("other/b", port="81", key="k"), True),
    ],
    ids=[
        "other port",
        "other transport",
        "same port",
        "one port in common",
        "other key",
        "no key",
        "local and not",
        "both local, no selector",
        "both local, other selectors",
        "both not, other selectors",
        "both local, same selector",
        "other namespace",
    ],
)
def test_who_may_share(a: Service, b: Service, together: bool) -> None:
    source = settled(POOLS, a, b)
    assert source.everybody() == {"a": "192.0.2.0", "b": "192.0.2.0" if together else "192.0.2.1"}


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"ports": service("", port="80").ports}, 'port TCP/80 is already in use on "192.0.2.0"'),
        ({"sharing_key": "other"}, 'can\'t change sharing key for "default/b", address also in use by default/a'),
        ({"sharing_key": None}, 'can\'t change sharing key for "default/b", address also in use by default/a'),
        (
            {"external_traffic_policy": service("", local=True).external_traffic_policy},
            'can\'t change sharing key for "default/b", address also in use by default/a',
        ),
    ],
    ids=["port", "other key", "no key", "local"],
)
def test_who_may_not_share_any_more_gets_another(change: dict[str, object], cause: str) -> None:
    source = settled(POOLS, service("a", key="k"), service("b", port="81", key="k"))
    source.put(changed(source.services[name("b")], **change))
    source.turn()
    assert source.everybody() == {"a": "192.0.2.0", "b": "192.0.2.1"}
    assert source.told() == ["b: Normal ClearAssignment", "b: Normal IPAllocated"]
    assert cause in source.messages()[0]


def test_where_one_is_refused_another_may_share() -> None:
    source = settled([pool("p", "192.0.2.1/32")], service("a", key="k"))
    source.put(service("b"), service("c", key="k"), service("d", port="81", key="k"), service("e", port="82"))
    source.turn()
    assert source.everybody() == {"a": "192.0.2.1", "b": "", "c": "", "d": "192.0.2.1", "e": ""}


def test_sharers_that_change_their_key_together_stay_together() -> None:
    source = settled(POOLS, service("a", key="k"), service("b", port="81", key="k"))
    for text in ("a", "b"):
        source.put(changed(source.services[name(text)], sharing_key="new"))
    assert source.turn() == Outcome()
    assert source.everybody() == {"a": "192.0.2.0", "b": "192.0.2.0"}


# ---- what is told


def test_events_have_the_words_that_people_grep_for() -> None:
    source = settled(POOLS, service("s"))
    assert source.messages() == ['Assigned IP ["192.0.2.0"]']
    source.pools = (pool("other", "203.0.113.0/24"),)
    source.turn()
    assert source.told() == ["s: Normal ClearAssignment", "s: Normal IPAllocated"]
    assert source.messages() == [
        '["192.0.2.0"] is not allowed any more, another is tried: ["192.0.2.0"] is not allowed in config',
        'Assigned IP ["203.0.113.0"]',
    ]
    source.pools = ()
    source.turn()
    assert source.told() == ["s: Normal ClearAssignment", "s: Warning AllocationFailed"]


def test_an_old_annotation_is_told_of_when_something_is_written() -> None:
    """§3.1: the address is there all the same."""
    old = service("s", address_pool="asked", deprecated_annotations=OLD_PREFIX)
    source = settled(POOLS, old)
    assert source.has("s") == "198.51.100.0"
    assert source.told() == ["s: Normal IPAllocated", "s: Warning deprecatedAnnotation"]
    assert source.messages()[1] == "metallb.universe.tf/address-pool: the prefix is deprecated, write metallb.io/"
    source.put(changed(source.services[name("s")], requested_addresses=addresses("198.51.100.5")))
    source.turn()
    assert source.told() == ["s: Normal IPAllocated"]
    source.restart()
    assert source.turn() == Outcome()


def test_not_configured_is_not_an_empty_configuration() -> None:
    """§1.1: a ConfigMap that is gone changes nothing, one without pools takes every address away."""
    source = settled(POOLS, service("a"))
    (a,) = source.services.values()
    gone = snapshot([], [a, service("b")], is_configured=False)
    (status,) = source.reconciler.reconcile(gone).statuses
    assert (status.service.name, status.ingress) == ("b", addresses("192.0.2.1"))
    empty: Source = given([], a)
    empty.reconciler = source.reconciler
    empty.turn()
    assert empty.has("a") == ""
