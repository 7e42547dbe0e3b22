"""Who asked lately is remembered, and whatever strangers send, only so many."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from speaker.l2.requesters import MAX_PER_ADDRESS, MAX_REQUESTERS, REMEMBERED, Requesters

VIP, VIP_TOO = b"\xc0\0\2\x64", b"\xc0\0\2\x65"
MAC = b"\2\0\0\0\0\1"


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def test_who_asked_is_known_by_address_and_interface() -> None:
    requesters = Requesters()
    requesters.note(VIP, 2, MAC, number(1), 0.0)
    requesters.note(VIP, 3, MAC, number(2), 0.0)
    requesters.note(VIP_TOO, 2, MAC, number(3), 0.0)
    assert requesters.recent(VIP, 2, 1.0) == [(MAC, number(1))]
    assert requesters.recent(VIP, 3, 1.0) == [(MAC, number(2))]
    assert requesters.recent(VIP, 4, 1.0) == []
    assert requesters.recent(number(0), 2, 1.0) == []


def test_who_asks_again_is_known_once_by_the_latest_hardware_address() -> None:
    requesters = Requesters()
    requesters.note(VIP, 2, MAC, number(1), 0.0)
    requesters.note(VIP, 2, b"other!", number(1), REMEMBERED - 1)
    assert requesters.recent(VIP, 2, REMEMBERED + 1) == [(b"other!", number(1))]
    assert len(requesters) == 1


def test_who_has_not_asked_for_long_is_forgotten() -> None:
    requesters = Requesters()
    requesters.note(VIP, 2, MAC, number(1), 0.0)
    requesters.note(VIP, 2, MAC, number(2), 1.0)
    assert requesters.recent(VIP, 2, REMEMBERED) == [(MAC, number(2))]
    assert requesters.recent(VIP, 2, REMEMBERED + 1) == []
    assert len(requesters) == 0


def test_of_too_many_for_one_address_the_one_that_asked_longest_ago_goes() -> None:
    requesters = Requesters()
    for value in range(MAX_PER_ADDRESS):
        requesters.note(VIP, 2, MAC, number(value), float(value))
    requesters.note(VIP, 2, MAC, number(0), 100.0)
    requesters.note(VIP, 2, MAC, number(999), 100.0)
    known = [ip for _, ip in requesters.recent(VIP, 2, 100.0)]
    assert len(known) == MAX_PER_ADDRESS
    assert number(0) in known
    assert number(1) not in known


def test_of_too_many_in_all_those_of_the_address_nobody_asked_for_longest_go() -> None:
    requesters = Requesters()
    for value in range(MAX_REQUESTERS):
        requesters.note(number(value % 256), 2, MAC, number(value), 0.0)
    requesters.note(number(0), 2, MAC, number(0), 1.0)
    requesters.note(VIP, 2, MAC, number(1), 1.0)
    assert len(requesters) == MAX_REQUESTERS
    assert len(requesters.recent(number(1), 2, 1.0)) == MAX_REQUESTERS // 256 - 1
    assert len(requesters.recent(number(0), 2, 1.0)) == MAX_REQUESTERS // 256


def test_an_address_whose_only_requester_had_to_go_is_no_longer_there() -> None:
    requesters = Requesters()
    for value in range(MAX_REQUESTERS + 10):
        requesters.note(number(value), 2, MAC, number(1), 0.0)
    assert len(requesters) == MAX_REQUESTERS
    assert [value for value in range(MAX_REQUESTERS) if not requesters.recent(number(value), 2, 0.0)] == list(range(10))


def test_a_forgotten_address_makes_room() -> None:
    requesters = Requesters()
    requesters.note(VIP, 2, MAC, number(1), 0.0)
    requesters.forget(VIP)
    requesters.forget(VIP)
    assert len(requesters) == 0
    assert requesters.recent(VIP, 2, 0.0) == []


@given(st.lists(st.tuples(st.integers(0, 6000), st.integers(0, 40), st.integers(1, 2)), max_size=60), st.data())
def test_the_count_is_that_of_the_remembered(asked: list[tuple[int, int, int]], data: st.DataObject) -> None:
    requesters = Requesters()
    for value in range(MAX_REQUESTERS - 20):
        requesters.note(number(value // 30), 1, MAC, number(value % 30), -REMEMBERED)
    for now, (address, host, index) in enumerate(asked):
        requesters.note(number(address), index, MAC, number(host), float(now))
        if data.draw(st.booleans()):
            requesters.recent(number(address), index, float(now))
        assert len(requesters) == sum(len(hosts) for hosts in requesters._asked.values()) <= MAX_REQUESTERS
        assert max(len(hosts) for hosts in requesters._asked.values()) <= MAX_PER_ADDRESS
