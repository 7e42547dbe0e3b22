"""Two owners: exactly one of them yields, both know which, and why."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speaker.conflicts import MAX_AGE_DIFFERENCE, Cause, Claimant, Settlement, settle
from tests.speaker.hashing import by_hash
from tests.speaker.ownership_helpers import names

ADDRESS = ip_address("192.0.2.7")
"""By the hash with it b comes first."""


def claimant(node: str, *, is_isolated: bool = False, age: float = 0.0) -> Claimant:
    return Claimant(node=node, is_isolated=is_isolated, age=age)


def test_the_order_is_what_these_tests_take_it_for() -> None:
    assert by_hash(ADDRESS, "abcd")[0] == "b"


@pytest.mark.parametrize(
    ("one", "other", "yields", "cause"),
    [
        (claimant("b", is_isolated=True), claimant("a", age=9.0), "b", Cause.ISOLATED),
        (claimant("b", age=2.1), claimant("a"), "b", Cause.OLDER),
        (claimant("b", age=2.0), claimant("a"), "a", Cause.RULE),
        (claimant("b", age=7.0, is_isolated=True), claimant("a", age=5.0, is_isolated=True), "a", Cause.RULE),
        (claimant("b", age=7.5, is_isolated=True), claimant("a", age=5.0, is_isolated=True), "b", Cause.OLDER),
    ],
    ids=["isolated", "older", "as old as may be", "both isolated", "both, one older"],
)
def test_the_first_row_that_tells_them_apart_decides(one: Claimant, other: Claimant, yields: str, cause: Cause) -> None:
    winner = other.node if yields == one.node else one.node
    assert settle(ADDRESS, one, other) == Settlement(yields=yields, to=winner, cause=cause)


claimants = st.builds(
    Claimant, node=names, is_isolated=st.booleans(), age=st.sampled_from([0.0, 1.0, MAX_AGE_DIFFERENCE, 2.5, 1e9])
)


@given(address=st.ip_addresses(), one=claimants, other=claimants)
def test_both_sides_come_to_the_same_end(address: IPv4Address | IPv6Address, one: Claimant, other: Claimant) -> None:
    if one.node == other.node:
        return
    end = settle(address, one, other)
    assert settle(address, other, one) == end
    assert {end.yields, end.to} == {one.node, other.node}


def test_an_age_that_was_never_known_is_the_oldest() -> None:
    never = float("inf")
    assert settle(ADDRESS, claimant("b", age=never), claimant("a")).yields == "b"
    assert settle(ADDRESS, claimant("b", age=never), claimant("a", age=never)).cause is Cause.RULE
