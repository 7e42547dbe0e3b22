"""The capability marker: what is said comes out as it went in, and no bytes of a peer do harm."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from ipaddress import IPv4Interface, IPv6Interface

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speaker.l2.interfaces import Interface
from speaker.marker import (
    MAX_INTERFACES,
    MAX_MACS,
    MAX_MARKER_BYTES,
    MarkedInterface,
    Marker,
    Tier,
    decode_untrusted,
    encode,
    marker_of,
)

ETH0 = Interface(index=2, name="eth0", mac=b"\x02\x00\x00\x00\x00\x01", addresses=(IPv4Interface("192.0.2.9/24"),))
LINK_LOCAL = IPv6Interface("fe80::1/64")

marked = st.builds(
    MarkedInterface,
    name_hash=st.binary(min_size=2, max_size=2),
    has_ipv4=st.booleans(),
    has_ipv6=st.booleans(),
    has_carrier=st.booleans(),
)
markers = st.builds(
    Marker,
    tier=st.sampled_from(Tier),
    interfaces=st.lists(marked, unique=True, max_size=MAX_INTERFACES).map(sorted).map(tuple),
    macs=st.lists(st.binary(min_size=6, max_size=6), unique=True, max_size=MAX_MACS).map(sorted).map(tuple),
    watch=st.integers(0, 255),
)


def meta(value: object) -> bytes:
    packed = msgpack.packb(value)
    assert isinstance(packed, bytes)
    return b"S1" + packed


@given(markers)
def test_a_marker_comes_out_as_it_went_in(marker: Marker) -> None:
    assert decode_untrusted(encode(marker)) == marker


def test_the_bytes_are_those_of_the_specification() -> None:
    marker = marker_of([replace(ETH0, addresses=(*ETH0.addresses, LINK_LOCAL))], Tier.SETTLING, watch=3)
    name_hash = sha256(b"eth0").digest()[:2]
    assert encode(marker)[:2] == b"S1"
    assert msgpack.unpackb(encode(marker)[2:]) == {"w": 3, "t": 1, "i": [[name_hash, 0b101]], "m": [ETH0.mac]}


def test_the_largest_marker_fits_into_metadata() -> None:
    interfaces = tuple(MarkedInterface(bytes([0, number]), True, True, True) for number in range(MAX_INTERFACES))
    macs = tuple(bytes([2, 0, 0, 0, 0, number]) for number in range(MAX_MACS))
    largest = Marker(tier=Tier.DRAINING, interfaces=interfaces, macs=macs, watch=255)
    assert decode_untrusted(encode(largest)) == largest
    assert len(encode(largest)) <= MAX_MARKER_BYTES


@given(st.binary(max_size=600))
def test_any_bytes_have_a_marker_or_none(data: bytes) -> None:
    decode_untrusted(data)
    decode_untrusted(b"S1" + data)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.binary(max_size=8)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("wtimxa"), inner, max_size=5),
    max_leaves=12,
)


@given(values)
def test_any_values_have_a_marker_or_none(value: object) -> None:
    decode_untrusted(meta(value))


@given(markers, st.data())
def test_a_marker_with_a_wrong_byte_does_no_harm(marker: Marker, data: st.DataObject) -> None:
    packed = bytearray(encode(marker))
    packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    decoded = decode_untrusted(bytes(packed))
    assert decoded is None or decode_untrusted(encode(decoded)) == decoded


MAC = b"\x02\x00\x00\x00\x00\x01"
GOOD: dict[str, object] = {"w": 1, "t": 0, "i": [[b"ab", 5]], "m": [MAC]}
WRONG: list[tuple[str, object]] = [
    ("w", "1"),
    ("w", -1),
    ("w", 256),
    ("w", True),
    ("t", 3),
    ("t", 0.0),
    ("t", None),
    ("i", {}),
    ("i", [[b"ab"]]),
    ("i", [[b"abc", 1]]),
    ("i", [["ab", 1]]),
    ("i", [[b"ab", 256]]),
    ("i", [[b"ab", 1, 1]]),
    ("i", [[bytes([number, 0]), 1] for number in range(MAX_INTERFACES + 1)]),
    ("m", MAC),
    ("m", [MAC[:5]]),
    ("m", [MAC.decode()]),
    ("m", [bytes([2, 0, 0, 0, 0, number]) for number in range(MAX_MACS + 1)]),
]


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_a_value_of_the_wrong_kind_is_no_marker(key: str, value: object) -> None:
    assert decode_untrusted(meta(GOOD)) is not None
    assert decode_untrusted(meta({**GOOD, key: value})) is None


EMPTY = meta({**GOOD, "a": b""})
"""The application's bytes have one more byte of length when there are more than 255."""


def test_a_marker_may_be_as_long_as_metadata() -> None:
    assert decode_untrusted(meta({**GOOD, "a": bytes(MAX_MARKER_BYTES - 1 - len(EMPTY))})) is not None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"S",
        b"S1",
        b"S2" + meta(GOOD)[2:],
        meta([1, 2]),
        meta(GOOD) + b"\x00",
        meta(GOOD)[:-1],
        b"S1" + b"\x91" * 400,
        meta({**GOOD, "a": bytes(MAX_MARKER_BYTES - len(EMPTY))}),
        b'{"metallb": true}',
        b"\xff\x81\xa1k\xa1v",  # the tags of a serf agent
    ],
)
def test_what_is_no_speaker_of_ours_has_none(data: bytes) -> None:
    assert decode_untrusted(data) is None


def test_a_later_version_may_say_more_and_an_earlier_one_less() -> None:
    known = decode_untrusted(meta(GOOD))
    assert decode_untrusted(meta({**GOOD, "a": b"theirs", "z": [1, {"y": None}]})) == known
    assert decode_untrusted(meta({})) == Marker()


def test_order_and_repetition_do_not_matter() -> None:
    twice = meta({**GOOD, "i": [[b"zz", 1], [b"ab", 5], [b"ab", 5]], "m": [MAC, MAC]})
    assert decode_untrusted(twice) == Marker(
        watch=1, interfaces=(MarkedInterface(b"ab", True, False, True), MarkedInterface(b"zz", True)), macs=(MAC,)
    )


@pytest.mark.parametrize(
    ("interface", "families"),
    [
        (ETH0, (4,)),
        (replace(ETH0, addresses=()), (4,)),  # an address on it is not needed for ARP
        (replace(ETH0, addresses=(LINK_LOCAL,)), (4,)),  # nothing here speaks NDP
        (replace(ETH0, has_broadcast=False, addresses=(LINK_LOCAL,)), ()),
        (replace(ETH0, has_arp=False), ()),
        (replace(ETH0, has_carrier=False), ()),
    ],
)
def test_the_families_are_those_that_can_be_announced(interface: Interface, families: tuple[int, ...]) -> None:
    assert marker_of([interface]).families == families


def test_the_families_of_several_interfaces_are_united() -> None:
    one, other = MarkedInterface(b"aa", has_ipv6=True, has_carrier=True), MarkedInterface(b"bb", True, True, False)
    assert Marker(interfaces=(one, other)).families == (6,)
    assert Marker(interfaces=(one, replace(other, has_carrier=True))).families == (4, 6)


def test_of_too_many_the_lowest_are_told_in_whatever_order_they_come() -> None:
    many = [
        replace(ETH0, index=number, name=f"eth{number}", mac=bytes([2, 0, 0, 0, number // 256, number % 256]))
        for number in range(100)
    ]
    marker = marker_of(many)
    assert marker == marker_of(reversed(many))
    assert (len(marker.interfaces), len(marker.macs)) == (MAX_INTERFACES, MAX_MACS)
    assert marker.macs == tuple(interface.mac for interface in many[:MAX_MACS])
    assert decode_untrusted(encode(marker)) == marker


def test_an_interface_without_an_ethernet_address_has_no_mac_to_tell() -> None:
    assert marker_of([replace(ETH0, mac=bytes(20))]).macs == ()
