"""Addresses as operators write them, and CIDRs that overlap."""

import itertools
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import ValueRefused
from cluster.model import Address, Network
from cluster.ranges import find_overlaps, parse_address, parse_ipv4, parse_networks

V4_BITS, V6_BITS = 32, 128
ENDS = st.one_of(
    st.tuples(*[st.integers(0, 2**V4_BITS - 1).map(IPv4Address)] * 2),
    st.tuples(*[st.integers(0, 2**V6_BITS - 1).map(IPv6Address)] * 2),
)
# Few enough addresses that many networks overlap.
NETWORKS = st.one_of(
    st.builds(lambda n, bits: ip_network((n, bits), strict=False), st.integers(0, 63), st.integers(26, 32)),
    st.builds(
        lambda n, bits: ip_network((IPv6Address(n), bits), strict=False), st.integers(0, 63), st.integers(122, 128)
    ),
)


@given(ENDS)
def test_a_range_and_its_cidrs_are_the_same_addresses(ends: tuple[Address, Address]) -> None:
    first, last = sorted(ends, key=int)
    networks = parse_networks(f"{first}-{last}")
    assert networks[0].network_address == first
    assert networks[-1].broadcast_address == last
    assert all(int(a.broadcast_address) + 1 == int(b.network_address) for a, b in itertools.pairwise(networks))
    # Minimal: no two neighbours make one CIDR.
    assert not [
        (a, b) for a, b in itertools.pairwise(networks) if a.prefixlen == b.prefixlen and a.supernet() == b.supernet()
    ]
    assert tuple(network for cidr in networks for network in parse_networks(str(cidr))) == networks


@given(NETWORKS)
def test_a_cidr_is_the_range_of_its_ends(network: Network) -> None:
    assert parse_networks(f"{network.network_address} - {network.broadcast_address}") == (network,)


@given(st.text(max_size=30) | st.from_regex(r"[0-9a-f.:/%-]{1,40}", fullmatch=True))
def test_any_text_is_networks_or_refused(text: str) -> None:
    for parse in (parse_networks, parse_address, parse_ipv4):
        with suppress(ValueRefused):  # anything else is a failure
            parse(text)


@given(st.lists(NETWORKS, max_size=12))
def test_overlaps_are_those_that_comparing_all_pairs_finds(networks: list[Network]) -> None:
    def overlap(a: Network, b: Network) -> bool:
        return int(a.network_address) <= int(b.broadcast_address) and int(b.network_address) <= int(a.broadcast_address)

    found = list(find_overlaps((network, index) for index, network in enumerate(networks)))
    expected = [
        later
        for later, network in enumerate(networks)
        if any(network.version == other.version and overlap(network, other) for other in networks[:later])
    ]
    assert [later for later, _, _ in found] == expected
    for later, earlier, network in found:
        assert earlier < later
        assert network == networks[later]
        assert overlap(networks[earlier], network)


def test_many_equal_networks_take_no_time_squared() -> None:
    same = ip_network("192.0.2.0/24")
    assert len(list(find_overlaps((same, index) for index in range(20_000)))) == 19_999


@pytest.mark.parametrize("text", ["192.0.2.1", "::", "2001:db8::1"])
def test_addresses(text: str) -> None:
    assert parse_address(text) == ip_address(text)


@pytest.mark.parametrize(
    "text", ["", " 192.0.2.1", "192.0.2.1 ", "192.0.2", "192.0.2.01", "fe80::1%eth0", "1", "192.0.2.١"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueRefused, match="is not an IP address; write one such as"):
        parse_address(text)


def test_a_message_repeats_only_the_beginning_of_a_value() -> None:
    with pytest.raises(ValueRefused) as refused:
        parse_address("\x1b" + "x" * 100)
    assert refused.value.message == "'\\x1b" + "x" * 59 + "…' is not an IP address"
