"""Starts, other pools, statuses on their way: nobody loses an address that the configuration leaves them, and at no
moment do two have it (metallb-interface.md §3.7–3.9)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cluster.model import ObjectName
from controller.reconciler import Outcome, Reconciler
from tests.controller.helpers import Source, addresses, given, name, pool, service, settled, snapshot

if TYPE_CHECKING:
    from cluster.model import Address, Pool, Service

FOUR = pool("four", "192.0.2.0/30")
EIGHT = pool("eight", "192.0.2.0/29")


# ---- starts


@pytest.mark.parametrize("order", [1, -1])
def test_holders_are_heard_before_anybody_gets_a_new_address(order: int) -> None:
    """§3.8: those that wait, and those whose address is not allowed any more, come after all that hold one."""
    letters = "abcde"[::order]
    source = given(
        [FOUR],
        service(letters[0]),
        service(letters[1], ingress="10.0.0.1"),
        service(letters[2], asks="192.0.2.3"),
        service(letters[3], ingress="192.0.2.0", noted="four"),
        service(letters[4], ingress="192.0.2.1", noted="four"),
    )
    source.turn()
    got = {"192.0.2.2": letters[1], "192.0.2.3": letters[2], "192.0.2.0": letters[3], "192.0.2.1": letters[4]}
    assert {source.has(letter): letter for letter in letters} == {"": letters[0], **got}


def test_who_has_more_addresses_is_heard_first() -> None:
    dual = pool("dual", "192.0.2.0/30", "2001:db8::/126")
    source = given(
        [dual],
        service("a", ingress="192.0.2.1"),
        service("b", cluster="10.96.0.1 fd00::1", ingress="192.0.2.1 2001:db8::1"),
    )
    source.turn()
    assert source.everybody() == {"a": "192.0.2.0", "b": "192.0.2.1 2001:db8::1"}
    assert source.told() == ["a: Normal ClearAssignment", "a: Normal IPAllocated"]


def test_a_restart_changes_nothing() -> None:
    """But what became free while nobody looked goes to who waits."""
    source = settled([FOUR], *[service(letter) for letter in "abcde"])
    source.take_out("b")
    before = source.everybody()
    source.restart()
    source.turn()
    assert source.everybody() == before | {"e": "192.0.2.1"}


def test_a_restart_tells_only_what_is_still_wrong() -> None:
    source = settled([pool("one", "192.0.2.0/32")], service("a"), service("b"))
    source.restart()
    source.turn()
    assert source.told() == ["b: Warning AllocationFailed"]


def test_nothing_is_given_or_taken_before_there_is_a_configuration() -> None:
    """§3.8: then those that hold one are heard first, as if it had been there from the start."""
    reconciler = Reconciler()
    services = [service("a"), service("b", ingress="192.0.2.0", noted="four")]
    assert reconciler.reconcile(snapshot([], services, is_configured=False)) == Outcome()
    (status,) = reconciler.reconcile(snapshot([FOUR], services)).statuses
    assert (status.service, status.ingress) == (name("a"), addresses("192.0.2.1"))


def test_of_two_that_have_one_address_the_first_keeps_it() -> None:
    source = settled([FOUR], service("a", ingress="192.0.2.2"), service("b", ingress="192.0.2.2"))
    assert source.everybody() == {"a": "192.0.2.2", "b": "192.0.2.0"}
    # Who has it in this controller's knowledge has it before all others.
    source.put(service("0", ingress="192.0.2.2"))
    source.turn()
    assert source.everybody() == {"0": "192.0.2.1", "a": "192.0.2.2", "b": "192.0.2.0"}


# ---- other pools


@pytest.mark.parametrize(
    ("pools", "has", "noted", "told"),
    [
        ([EIGHT], "0 1 2 3", "eight eight eight eight", []),
        ([replace(FOUR, name="new")], "0 1 2 3", "new new new new", []),
        ([pool("l", "192.0.2.0/31"), pool("h", "192.0.2.2/31")], "0 1 2 3", "l l h h", []),
        ([pool("before", "10.0.0.0/24"), FOUR], "0 1 2 3", "four four four four", []),
        ([pool("four", "192.0.2.2-192.0.2.5")], "4 5 2 3", "four four four four", ["a", "b"]),
        ([replace(EIGHT, avoid_buggy_ips=True)], "4 1 2 3", "eight eight eight eight", ["a"]),
        ([replace(FOUR, auto_assign=False)], "0 1 2 3", "four four four four", []),
    ],
    ids=["grow", "rename", "split", "one more", "shrink", "avoid buggy addresses", "no more automatic"],
)
def test_other_pools(pools: list[Pool], has: str, noted: str, told: list[str]) -> None:
    """§3.9: who may keep an address does, bookkeeping follows, and only those that move hear of it."""
    for restarts in (False, True):
        source = settled([FOUR], *[service(letter) for letter in "abcd"])
        source.pools = tuple(pools)
        if restarts:
            source.restart()
        source.turn()
        assert [source.has(letter) for letter in "abcd"] == [f"192.0.2.{last}" for last in has.split()]
        assert [source.services[name(letter)].allocated_from_pool for letter in "abcd"] == noted.split()
        assert source.told() == [f"{n}: Normal {what}" for n in told for what in ("ClearAssignment", "IPAllocated")]


def test_shrink_under_more_than_are_left() -> None:
    source = settled([FOUR], *[service(letter) for letter in "abcd"])
    source.pools = (pool("four", "192.0.2.3/32"),)
    source.turn()
    assert source.everybody() == {"a": "", "b": "", "c": "", "d": "192.0.2.3"}
    assert source.told()[:2] == ["a: Normal ClearAssignment", "a: Warning AllocationFailed"]
    source.pools = (FOUR,)
    source.turn()
    assert source.everybody() == {"a": "192.0.2.0", "b": "192.0.2.1", "c": "192.0.2.2", "d": "192.0.2.3"}


def test_a_pool_more_helps_who_waits() -> None:
    source = settled([FOUR], *[service(letter) for letter in "abcde"], service("f", address_pool="new"))
    assert source.has("e") == source.has("f") == ""
    source.pools = (FOUR, pool("new", "198.51.100.0/24"))
    source.turn()
    assert (source.has("e"), source.has("f")) == ("198.51.100.0", "198.51.100.1")


# ---- the order of writes


def interrupted(source: Source, outcome: Outcome) -> list[dict[Address, list[ObjectName]]]:
    """Who has which address in the statuses after each write."""
    moments = []
    for status in outcome.statuses:
        source.write(Outcome(statuses=(status,)))
        holders: dict[Address, list[ObjectName]] = {}
        for each in source.services.values():
            for address in each.ingress:
                holders.setdefault(address, []).append(each.name)
        moments.append(holders)
    return moments


@pytest.mark.parametrize(
    ("requests", "writes"),
    [
        ({"a": "192.0.2.1", "b": "192.0.2.0"}, ["a", "b", "a=192.0.2.1", "b=192.0.2.0"]),
        ({"a": "192.0.2.1", "b": "192.0.2.2"}, ["b", "a=192.0.2.1", "b=192.0.2.2"]),
        ({"a": "192.0.2.3"}, ["a=192.0.2.3"]),
        ({"a": "192.0.2.1", "b": "10.0.0.1"}, ["b", "a=192.0.2.1"]),
    ],
    ids=["swap", "follow", "move", "take over"],
)
def test_an_address_is_taken_from_one_before_another_has_it(requests: dict[str, str], writes: list[str]) -> None:
    source = settled([FOUR], service("a"), service("b"))
    for text, wanted in requests.items():
        source.put(replace(source.services[name(text)], requested_addresses=addresses(wanted)))
    outcome = source.look()
    assert ["=".join([s.service.name, *map(str, s.ingress)]) for s in outcome.statuses] == writes
    for holders in interrupted(source, outcome):
        assert all(len(names) == 1 for names in holders.values())


def test_what_is_seen_between_two_writes_changes_no_decision() -> None:
    """Of three on one address one leaves and one comes; that it was cleared in between is not the end of it."""
    source = settled([FOUR], service("a", key="k"), service("b", port="81", key="k"), service("x"))
    source.put(replace(source.services[name("b")], sharing_key="l"), service("c", port="81", key="k"))
    outcome = source.look()
    cleared, given_to_b, given_to_c = outcome.statuses
    assert (cleared.ingress, given_to_b.ingress, given_to_c.ingress) == (
        (),
        *map(addresses, ("192.0.2.2", "192.0.2.0")),
    )
    source.write(Outcome(statuses=(cleared,)))
    source.take_out("x")
    again = source.look()
    assert again.statuses == (given_to_b, given_to_c)
    source.write(again)
    assert source.turn() == Outcome()


def test_an_address_that_may_have_been_written_is_taken_away_first() -> None:
    """Two swap what they were given, and nobody knows yet whether that stands."""
    source = given([FOUR], service("s"), service("t"))
    on_its_way = source.look()
    for text, wanted in {"s": "192.0.2.1", "t": "192.0.2.0"}.items():
        source.put(replace(source.services[name(text)], requested_addresses=addresses(wanted)))
    outcome = source.look()
    source.write(on_its_way)
    for holders in interrupted(source, outcome):
        assert all(len(names) == 1 for names in holders.values())
    assert source.everybody() == {"s": "192.0.2.1", "t": "192.0.2.0"}


def test_an_address_that_somebody_else_wrote_is_taken_away_first() -> None:
    source = settled([FOUR], service("s"), service("t", asks="192.0.2.1"))
    s, t = source.services[name("s")], source.services[name("t")]
    source.services[s.name] = replace(s, requested_addresses=addresses("192.0.2.2"))
    source.services[t.name] = replace(t, ingress=addresses("192.0.2.2"))
    outcome = source.look()
    for holders in interrupted(source, outcome):
        assert all(len(names) == 1 for names in holders.values())
    assert source.everybody() == {"s": "192.0.2.2", "t": "192.0.2.1"}


# ---- statuses on their way


def late(source: Source) -> Service:
    """Service `s`, its status given out and not in the snapshot yet."""
    source.look()
    return source.services[name("s")]


def test_what_was_given_stands_while_its_status_is_on_the_way() -> None:
    """A lower address that becomes free meanwhile is no reason to take another; what was given out is said again."""
    source = settled([FOUR], service("a"))
    source.put(service("s"))
    s = late(source)
    source.put(replace(s, labels=(("x", "y"),)))
    source.take_out("a")
    (status,) = source.look().statuses
    assert status.ingress == addresses("192.0.2.1")
    assert source.told() == []
    source.write(source.outcome)
    assert source.turn() == Outcome()


def test_what_was_taken_away_is_not_claimed_again_while_its_status_stands() -> None:
    source = settled([FOUR], service("s"))
    source.pools = (pool("four", "192.0.2.1/32"),)
    source.put(replace(source.services[name("s")], requested_addresses=addresses("192.0.2.3")))
    assert late(source).ingress == addresses("192.0.2.0")
    source.pools = (FOUR,)
    source.put(replace(source.services[name("s")], requested_addresses=()), service("t", asks="192.0.2.0"))
    source.turn()
    assert source.everybody() == {"s": "192.0.2.1", "t": "192.0.2.0"}


def test_a_status_that_is_lost_is_said_again_with_the_next_change() -> None:
    source = settled([FOUR], service("a"))
    source.put(service("s"))
    late(source)
    assert source.look() == Outcome()
    source.put(service("t"))
    source.turn()
    assert source.everybody() == {"a": "192.0.2.0", "s": "192.0.2.1", "t": "192.0.2.2"}


def test_what_was_written_and_is_cleared_by_somebody_is_given_anew() -> None:
    source = settled([FOUR], service("a"), service("s"))
    source.take_out("a")
    source.services[name("s")] = service("s")
    source.turn()
    assert source.everybody() == {"s": "192.0.2.0"}


@pytest.mark.parametrize(
    ("stands", "has"),
    [("", "192.0.2.0"), ("192.0.2.3", "192.0.2.3"), ("192.0.2.2", "192.0.2.0"), ("10.0.0.1", "192.0.2.0")],
    ids=["cleared", "another", "another's", "nobody's"],
)
def test_what_somebody_else_wrote_counts(stands: str, has: str) -> None:
    """§3.7 step 5 and 6: the status is where addresses are kept, so who changes it is obeyed if that is allowed."""
    source = settled([FOUR], service("a"), service("s"), service("t"))
    source.take_out("a")
    source.turn()
    s = source.services[name("s")]
    source.services[s.name] = replace(s, ingress=addresses(stands), allocated_from_pool=None)
    source.turn()
    assert source.everybody() == {"s": has, "t": "192.0.2.2"}
    assert source.services[s.name].allocated_from_pool == "four"
