"""The allocator: who may hold an address, which one is given, and what a change of the pools does.

The cases are those of metallb-interface.md §7.2, rows "allocator".
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cluster.model import IPFamily, Pool, Transport
from controller.allocator import Allocator, Refused
from controller.claims import Claim, Share
from controller.space import MAX_NAMED, MAX_REMEMBERED_PORTS
from tests.controller.helpers import addresses, name, pool

if TYPE_CHECKING:
    from controller.claims import Families

V4: Families = (IPFamily.IPV4,)
V6: Families = (IPFamily.IPV6,)
DUAL: Families = (IPFamily.IPV4, IPFamily.IPV6)

FOUR = pool("four", "192.0.2.0/30")
SIX = pool("six", "2001:db8::/126")
BOTH = pool("both", "198.51.100.0/30", "2001:db8:1::/127")
BUGGY = pool("buggy", "203.0.113.254-203.0.114.1", "2001:db8:2::/127", avoid_buggy_ips=True)
POOLS = [FOUR, SIX, BOTH, BUGGY]


def claim(text: str, port: int = 80, key: str | None = None, backend: str | None = None) -> Claim:
    return Claim(
        name(text), ((Transport.TCP, port),), Share(key, (("app", backend),) if backend else None) if key else None
    )


def assigned(allocator: Allocator, *claims: Claim, to: str = "192.0.2.1") -> Allocator:
    for each in claims:
        allocator.assign(each, addresses(to))
    return allocator


def held(allocator: Allocator, text: str) -> str:
    allocation = allocator.allocation(name(text))
    return " ".join(map(str, allocation.addresses)) + f" of {allocation.pool}" if allocation else ""


def exhausted(allocator: Allocator, families: Families = V4, pool: str | None = None, key: str | None = None) -> str:
    """Services a, b, c, … until one is refused, and what each got last."""
    got = []
    for letter in "abcdefghij":
        try:
            allocation = allocator.allocate(claim(letter, key=key), [families], pool)
        except Refused:
            break
        got.append("+".join(map(str, allocation.addresses)))
    return " ".join(got)


# ---- assignment

OTHERS = [claim("a", key="k"), claim("b", 81, key="k")]


@pytest.mark.parametrize(
    ("before", "then"),
    [
        ([], claim("a")),
        ([claim("a")], claim("a")),
        ([claim("a")], claim("a", 81)),
        ([claim("a", key="k")], claim("b", 81, key="k")),
        ([claim("a", key="k", backend="x")], claim("b", 81, key="k", backend="x")),
        ([claim("a", key="k")], claim("a", key="other")),
        ([claim("a", key="k")], claim("a", key="k", backend="x")),
        ([claim("a")], claim("a", key="k")),
        (OTHERS, claim("a", 82, key="k")),
    ],
    ids=[
        "take",
        "take again",
        "alone, another port",
        "share",
        "share with a backend",
        "alone, another key",
        "alone, another backend",
        "alone, begin to share",
        "sharing, another port",
    ],
)
def test_may_hold(before: list[Claim], then: Claim) -> None:
    allocator = assigned(Allocator(POOLS), *before)
    allocator.assign(then, addresses("192.0.2.1"))
    assert held(allocator, str(then.service)) == "192.0.2.1 of four"
    for each in before:
        assert held(allocator, str(each.service)) == "192.0.2.1 of four"


CHANGED = 'can\'t change sharing key for "default/{}", address also in use by default/{}'
TAKEN = 'port TCP/80 is already in use on "192.0.2.1"'


@pytest.mark.parametrize(
    ("before", "then", "why"),
    [
        ([claim("a")], claim("b"), CHANGED.format("b", "a")),
        ([claim("a")], claim("b", 81), CHANGED.format("b", "a")),
        ([claim("a", key="k")], claim("b", 81), CHANGED.format("b", "a")),
        ([claim("a")], claim("b", 81, key="k"), CHANGED.format("b", "a")),
        ([claim("a", key="k")], claim("b", 81, key="other"), CHANGED.format("b", "a")),
        ([claim("a", key="k")], claim("b", 81, key="k", backend="x"), CHANGED.format("b", "a")),
        ([claim("a", key="k")], claim("b", key="k"), TAKEN),
        (OTHERS, claim("b", key="k"), TAKEN),
        (OTHERS, claim("a", key="other"), CHANGED.format("a", "b")),
        (OTHERS, claim("a", key="k", backend="x"), CHANGED.format("a", "b")),
        (OTHERS, claim("a"), CHANGED.format("a", "b")),
    ],
    ids=[
        "owned",
        "owned, on another port",
        "without a key",
        "the holder without a key",
        "another key",
        "another backend",
        "the same port",
        "sharing, to another's port",
        "sharing, to another key",
        "sharing, to another backend",
        "sharing, to no key",
    ],
)
def test_may_not_hold(before: list[Claim], then: Claim, why: str) -> None:
    allocator = assigned(Allocator(POOLS), *before)
    held_before = {str(each.service): held(allocator, str(each.service)) for each in [*before, then]}
    with pytest.raises(Refused) as refused:
        allocator.assign(then, addresses("192.0.2.1"))
    assert str(refused.value) == why
    assert {service: held(allocator, service) for service in held_before} == held_before
    # …and nothing of it is left behind: a third that may share does.
    if before[0].share:
        allocator.assign(claim("c", 99, key="k"), addresses("192.0.2.1"))


@pytest.mark.parametrize(
    "wanted",
    [
        "192.0.2.4",
        "192.0.1.255",
        "0.0.0.0",
        "255.255.255.255",
        "2001:db8::4",
        "203.0.113.255",
        "203.0.114.0",
        "192.0.2.1 2001:db8::1",
        "192.0.2.1 192.0.2.2",
        "198.51.100.1 192.0.2.1",
        "192.0.2.1 10.0.0.1",
        "203.0.113.255 2001:db8:2::1",
    ],
)
def test_not_allowed_in_config(wanted: str) -> None:
    """Outside all pools, avoided for its last octet, of two pools, two of one family."""
    allocator = Allocator(POOLS)
    quoted = " ".join(f'"{address}"' for address in wanted.split())
    with pytest.raises(Refused) as refused:
        allocator.assign(claim("a"), addresses(wanted))
    assert str(refused.value) == f"[{quoted}] is not allowed in config"


def test_no_pool_no_address() -> None:
    with pytest.raises(Refused, match=r"not allowed in config"):
        Allocator().assign(claim("a"), addresses("192.0.2.1"))


@pytest.mark.parametrize("wanted", ["2001:db8::1", "198.51.100.1 2001:db8:1::1", "2001:db8:1::1 198.51.100.1"])
def test_other_families_are_held_the_same_way(wanted: str) -> None:
    allocator = assigned(Allocator(POOLS), claim("a", key="k"), to=wanted)
    assert held(allocator, "a").startswith(wanted)
    with pytest.raises(Refused, match="already in use"):
        assigned(allocator, claim("b", key="k"), to=wanted)
    assigned(allocator, claim("b", 81, key="k"), to=wanted)
    allocator.release(name("a"))
    allocator.release(name("b"))
    assigned(allocator, claim("c"), to=wanted)


def test_what_is_refused_for_one_family_holds_neither() -> None:
    allocator = assigned(Allocator(POOLS), claim("a"), to="2001:db8:1::1")
    with pytest.raises(Refused):
        assigned(allocator, claim("b"), to="198.51.100.1 2001:db8:1::1")
    assigned(allocator, claim("c"), to="198.51.100.1")


def test_released_is_free_again() -> None:
    allocator = assigned(Allocator(POOLS), claim("a"))
    allocator.release(name("a"))
    assert held(allocator, "a") == ""
    assigned(allocator, claim("b"))


def test_moving_frees_what_was_held() -> None:
    allocator = assigned(Allocator(POOLS), claim("a"))
    assigned(allocator, claim("a"), to="192.0.2.2")
    assigned(allocator, claim("b"))
    assert (held(allocator, "a"), held(allocator, "b")) == ("192.0.2.2 of four", "192.0.2.1 of four")


def test_a_refusal_names_a_few_of_those_in_the_way() -> None:
    holders = [claim(f"s{number}", number, key="k") for number in range(100, 110)]
    allocator = assigned(Allocator(POOLS), *holders)
    with pytest.raises(Refused) as refused:
        assigned(allocator, claim("b"))
    assert str(refused.value).endswith("use by " + ",".join(f"default/s10{n}" for n in range(MAX_NAMED)) + ",…")


def test_what_became_free_is_counted() -> None:
    """Waiters are asked again when the count has changed, so it has to change for a port and for a key as well."""
    allocator = assigned(Allocator(POOLS), claim("a", key="k"))
    counts = [allocator.released]
    for step in (claim("a", key="k"), claim("a", 81, key="k"), claim("a", 81, key="other")):
        allocator.assign(step, addresses("192.0.2.1"))
        counts.append(allocator.released)
    allocator.release(name("a"))
    allocator.release(name("a"))
    counts.append(allocator.released)
    allocator.replace_pools([])
    counts.append(allocator.released)
    assert counts == [0, 0, 1, 2, 3, 4]


# ---- from a pool, from any


@pytest.mark.parametrize(
    ("families", "pool", "got"),
    [
        (V4, "four", "192.0.2.0 192.0.2.1 192.0.2.2 192.0.2.3"),
        (V6, "six", "2001:db8:: 2001:db8::1 2001:db8::2 2001:db8::3"),
        (V6, "four", ""),
        (
            DUAL,
            "both",
            "198.51.100.0+2001:db8:1:: 198.51.100.1+2001:db8:1::1",
        ),
        (DUAL, "four", ""),
        (V4, "buggy", "203.0.113.254 203.0.114.1"),
        (
            V4,
            None,
            " ".join(f"{net}.{last}" for net in ("192.0.2", "198.51.100") for last in range(4))
            + " 203.0.113.254 203.0.114.1",
        ),
    ],
)
def test_lowest_first_until_none_is_left(families: Families, pool: str | None, got: str) -> None:
    assert exhausted(Allocator(POOLS), families, pool) == got


def test_refusals_say_which_pool_has_none() -> None:
    allocator = Allocator([FOUR])
    assert len(exhausted(allocator).split()) == 4
    for families, wanted in ((V4, "ipv4"), (V6, "ipv6"), (DUAL, "dual")):
        with pytest.raises(Refused) as refused:
            allocator.allocate(claim("z"), [families], "four")
        assert str(refused.value) == f"no available IPs in pool four for {wanted} IPFamily"
    with pytest.raises(Refused, match=r"^no available IPs: the pools that assign automatically have none left$"):
        allocator.allocate(claim("z"), [V4])
    with pytest.raises(Refused, match=r'^unknown pool "five"$'):
        allocator.allocate(claim("z"), [V4], "five")


def test_one_goes_one_comes() -> None:
    allocator = Allocator([FOUR])
    exhausted(allocator)
    allocator.release(name("b"))
    assert allocator.allocate(claim("e"), [V4]).addresses == addresses("192.0.2.1")
    with pytest.raises(Refused):
        allocator.allocate(claim("f"), [V4])


def test_sharing_admits_more_than_there_are_addresses() -> None:
    allocator = Allocator([FOUR])
    exhausted(allocator, key="k")
    got = [
        str(allocator.allocate(claim(letter, port, key="k"), [V4]).addresses[0])
        for letter, port in [("v", 81), ("w", 81), ("x", 82)]
    ]
    assert got == ["192.0.2.0", "192.0.2.1", "192.0.2.0"]
    with pytest.raises(Refused):
        allocator.allocate(claim("y", 80, key="k"), [V4])
    with pytest.raises(Refused):
        allocator.allocate(claim("y", 83, key="other"), [V4])


@pytest.mark.parametrize(
    ("taken", "got"),
    [
        ([(0, None, 80), (1, "k", 80), (2, None, 80)], "192.0.2.1"),
        ([(1, "k", 80)], "192.0.2.0"),
        ([(0, "k", 99), (1, "k", 80)], "192.0.2.1"),
        ([(0, "other", 80)], "192.0.2.1"),
        ([(0, "k", 99), (1, None, 80), (3, "k", 80)], "192.0.2.2"),
    ],
    ids=["shareable", "free below it", "port taken below it", "other key", "free between"],
)
def test_the_lowest_usable_address_free_or_shared(taken: list[tuple[int, str | None, int]], got: str) -> None:
    allocator = Allocator([FOUR])
    for number, key, port in taken:
        assigned(allocator, claim(f"s{number}", port, key=key), to=f"192.0.2.{number}")
    assert allocator.allocate(claim("new", 99, key="k"), [V4]).addresses == addresses(got)


def test_a_port_that_becomes_free_is_found_again() -> None:
    """The search for a shareable address goes on where it ended, but not past room that came up behind it."""
    allocator = Allocator([FOUR])
    exhausted(allocator, key="k")
    allocator.allocate(claim("x", 81, key="k"), [V4])
    allocator.allocate(claim("y", 81, key="k"), [V4])
    allocator.release(name("x"))
    assert allocator.allocate(claim("z", 81, key="k"), [V4]).addresses == addresses("192.0.2.0")


def test_an_address_that_comes_to_be_shared_is_found_below_where_the_search_ended() -> None:
    allocator = assigned(Allocator([FOUR]), claim("a"), to="192.0.2.0")
    allocator.allocate(claim("b", key="k"), [V4])
    assert allocator.allocate(claim("c", 81, key="k"), [V4]).addresses == addresses("192.0.2.1")
    allocator.release(name("a"))
    assert allocator.allocate(claim("d", key="k"), [V4]).addresses == addresses("192.0.2.0")
    assert allocator.allocate(claim("e", 81, key="k"), [V4]).addresses == addresses("192.0.2.0")


def test_room_that_was_found_and_not_used_is_found_again() -> None:
    """The other family had none."""
    allocator = assigned(Allocator([BOTH]), claim("v", key="k"), to="198.51.100.0")
    exhausted(allocator, V6)
    with pytest.raises(Refused):
        allocator.allocate(claim("x", 81, key="k"), [DUAL])
    assert allocator.allocate(claim("y", 81, key="k"), [V4]).addresses == addresses("198.51.100.0")


def test_so_many_sets_of_ports_that_the_search_forgets() -> None:
    allocator = Allocator([pool("p", "192.0.2.0/32")])
    for port in range(1, 2 * MAX_REMEMBERED_PORTS):
        assert allocator.allocate(claim(f"s{port}", port, key="k"), [V4]).addresses == addresses("192.0.2.0")
    with pytest.raises(Refused):
        allocator.allocate(claim("again", 5, key="k"), [V4])


def test_pools_in_the_order_configured_blocks_in_the_order_listed() -> None:
    pools = [pool("z", "192.0.2.9-192.0.2.10", "192.0.2.3/32"), pool("a", "192.0.2.0/31")]
    assert exhausted(Allocator(pools)) == "192.0.2.9 192.0.2.10 192.0.2.3 192.0.2.0 192.0.2.1"


def test_a_pool_that_does_not_assign_automatically_is_left_to_those_that_ask() -> None:
    allocator = Allocator([replace(FOUR, auto_assign=False)])
    with pytest.raises(Refused, match="no available IPs: no pool assigns automatically"):
        allocator.allocate(claim("a"), [V4])
    assert allocator.allocate(claim("a"), [V4], "four").addresses == addresses("192.0.2.0")
    assigned(allocator, claim("b"))


def test_single_and_dual_users_of_one_pool() -> None:
    allocator = Allocator([BOTH])
    allocator.allocate(claim("a"), [V4])
    allocator.allocate(claim("b"), [V6])
    assert allocator.allocate(claim("c"), [DUAL]).addresses == addresses("198.51.100.1 2001:db8:1::1")
    with pytest.raises(Refused, match="no available IPs in pool both for dual IPFamily"):
        allocator.allocate(claim("d"), [DUAL], "both")


def test_both_families_come_from_one_pool() -> None:
    """§3.4: and the next choice is tried when no pool has both."""
    allocator = Allocator([FOUR, SIX])
    with pytest.raises(Refused, match="no available IPs"):
        allocator.allocate(claim("a"), [DUAL])
    assert allocator.allocate(claim("a"), [DUAL, V6, V4]).addresses == addresses("2001:db8::")


def test_a_pool_is_not_enumerated() -> None:
    """A /64, a /8 and ten thousand single addresses: the last one is held, the lowest found, at once."""
    single = Pool(
        name="many", networks=tuple(n for i in range(10_000) for n in pool("", f"10.1.{i >> 8}.{i & 255}/32").networks)
    )
    allocator = Allocator([single, pool("big", "11.0.0.0/8", "2001:db8::/64", avoid_buggy_ips=True)])
    assigned(allocator, claim("a"), to="2001:db8::ffff:ffff:ffff:ffff")
    assigned(allocator, claim("b"), to="11.255.255.254")
    assert allocator.allocate(claim("c"), [V6]).addresses == addresses("2001:db8::")
    assert allocator.allocate(claim("d"), [V4], "big").addresses == addresses("11.0.0.1")
    assert allocator.allocate(claim("e"), [V4]).addresses == addresses("10.1.0.0")


# ---- other pools

FOUR_MORE = pool("four", "192.0.2.0/29")
HALF = pool("four", "192.0.2.0/31")


@pytest.mark.parametrize(
    ("pools", "kept", "next_one"),
    [
        ([FOUR], "0 of four, 1 of four, 2 of four, 3 of four", None),
        ([FOUR_MORE], "0 of four, 1 of four, 2 of four, 3 of four", "192.0.2.4"),
        ([HALF], "0 of four, 1 of four, -, -", None),
        ([pool("four", "192.0.2.2/31")], "-, -, 2 of four, 3 of four", None),
        ([replace(FOUR, name="new")], "0 of new, 1 of new, 2 of new, 3 of new", None),
        ([pool("l", "192.0.2.0/31"), pool("h", "192.0.2.2-192.0.2.4")], "0 of l, 1 of l, 2 of h, 3 of h", "192.0.2.4"),
        ([replace(FOUR, avoid_buggy_ips=True)], "-, 1 of four, 2 of four, 3 of four", None),
        ([replace(FOUR, auto_assign=False)], "0 of four, 1 of four, 2 of four, 3 of four", None),
        ([SIX], "-, -, -, -", None),
        ([], "-, -, -, -", None),
    ],
    ids=[
        "the same",
        "grow",
        "shrink",
        "shrink at the bottom",
        "rename",
        "split and grow",
        "avoid buggy addresses",
        "no more automatic",
        "replace",
        "none",
    ],
)
def test_other_pools_under_four_services(pools: list[Pool], kept: str, next_one: str | None) -> None:
    allocator = Allocator([FOUR])
    exhausted(allocator)
    allocator.replace_pools(pools)
    now = [held(allocator, letter).removeprefix("192.0.2.") or "-" for letter in "abcd"]
    assert ", ".join(now) == kept
    try:
        assert str(allocator.allocate(claim("e"), [V4]).addresses[0]) == next_one
    except Refused:
        assert next_one is None


def test_both_addresses_go_when_one_pool_does_not_have_both() -> None:
    allocator = Allocator([BOTH])
    allocator.allocate(claim("a"), [DUAL])
    allocator.replace_pools([pool("l", "198.51.100.0/30"), pool("h", "2001:db8:1::/126")])
    assert held(allocator, "a") == ""
    assigned(allocator, claim("b"), to="198.51.100.0")


def test_sharers_stay_together_under_other_pools() -> None:
    allocator = assigned(Allocator([FOUR]), *OTHERS)
    allocator.replace_pools([FOUR_MORE])
    with pytest.raises(Refused, match="already in use"):
        assigned(allocator, claim("c", 81, key="k"))
    assigned(allocator, claim("c", 82, key="k"))
