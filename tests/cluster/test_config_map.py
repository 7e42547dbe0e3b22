"""MetalLB's ConfigMap, field by field (metallb-interface.md §1): what is taken, and what is said about the rest."""

from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import pytest

from cluster.model import (
    BFDProfile,
    BGPAdvertisement,
    Community,
    Configuration,
    L2Advertisement,
    LabelSelector,
    Operator,
    Peer,
    Pool,
    Requirement,
)
from tests.cluster.helpers import ADVERTISEMENT, FILE, PEER, POOL, PROFILE, config, read, refused, said, wrap


def networks(*texts: str) -> tuple[Any, ...]:
    return tuple(map(ip_network, texts))


def selector(*requirements: tuple[str, Operator, tuple[str, ...]]) -> LabelSelector:
    return LabelSelector(
        requirements=tuple(Requirement(key=key, operator=op, values=values) for key, op, values in requirements)
    )


# ---- what is taken


def test_nothing_is_required() -> None:
    assert config("") == config("{}") == config("address-pools:\npeers:\n") == Configuration()


EVERY_KEY = """
address-pools:
- name: office
  protocol: layer2
  addresses: [192.0.2.0/29, "2001:db8::10-2001:db8::13"]
  auto-assign: false
  avoid-buggy-ips: true
- name: edge
  protocol: bgp
  addresses:
  - 198.51.100.0/24
  bgp-advertisements:
  - aggregation-length: 24
    aggregation-length-v6: 64
    localpref: 200
    communities: [no-export, "65000:100"]
  - aggregation-length: 32
- name: rest
  protocol: bgp
  addresses: [203.0.113.0/30]
bgp-communities:
  no-export: 65535:65281
bfd-profiles:
- name: fast
  receive-interval: 10
  transmit-interval: 60000
  echo-interval: 50
  detect-multiplier: 2
  echo-mode: true
  passive-mode: true
  minimum-ttl: 254
peers:
- my-asn: 64500
  peer-asn: 64501
  peer-address: 192.0.2.1
  peer-port: 1179
  source-address: 192.0.2.9
  hold-time: 1m30.9s
  keepalive-time: 30s
  router-id: 192.0.2.9
  node-selectors:
  - match-labels: {zone: b, rack: a}
    match-expressions:
    - {key: disk, operator: NotIn, values: [slow, old]}
  - {}
  password: secret
  bfd-profile: fast
  ebgp-multihop: true
- my-asn: 64500
  peer-asn: 64500
  peer-address: 2001:db8::1
"""

EVERY_VALUE = Configuration(
    pools=(
        Pool(
            name="office",
            networks=networks("192.0.2.0/29", "2001:db8::10/126"),
            auto_assign=False,
            avoid_buggy_ips=True,
        ),
        Pool(name="edge", networks=networks("198.51.100.0/24")),
        Pool(name="rest", networks=networks("203.0.113.0/30")),
    ),
    l2_advertisements=(L2Advertisement(name="l2advertisement1", pools=("office",)),),
    bgp_advertisements=(
        BGPAdvertisement(
            name="bgpadvertisement1",
            pools=("edge",),
            aggregation_length=24,
            aggregation_length_v6=64,
            local_pref=200,
            communities=(Community(65000, 100), Community(65535, 65281)),
        ),
        BGPAdvertisement(name="bgpadvertisement2", pools=("edge",)),
        BGPAdvertisement(name="bgpadvertisement3", pools=("rest",)),
    ),
    peers=(
        Peer(
            name="peer1",
            my_asn=64500,
            peer_asn=64501,
            peer_address=IPv4Address("192.0.2.1"),
            peer_port=1179,
            source_address=IPv4Address("192.0.2.9"),
            hold_time=90,
            keepalive_time=30,
            router_id=IPv4Address("192.0.2.9"),
            node_selectors=(
                selector(
                    ("rack", Operator.IN, ("a",)),
                    ("zone", Operator.IN, ("b",)),
                    ("disk", Operator.NOT_IN, ("slow", "old")),
                ),
                LabelSelector(),
            ),
            password="secret",
            bfd_profile="fast",
            ebgp_multihop=True,
        ),
        Peer(name="peer2", my_asn=64500, peer_asn=64500, peer_address=IPv6Address("2001:db8::1")),
    ),
    bfd_profiles=(
        BFDProfile(
            name="fast",
            receive_interval=10,
            transmit_interval=60000,
            echo_interval=50,
            detect_multiplier=2,
            echo_mode=True,
            passive_mode=True,
            minimum_ttl=254,
        ),
    ),
)


def test_every_key_at_once() -> None:
    assert config(EVERY_KEY) == EVERY_VALUE


def test_what_is_left_out_has_its_default() -> None:
    got = config(PEER + ADVERTISEMENT.replace("localpref: 1", "{}") + PROFILE)
    assert got.pools[0].auto_assign is True
    assert got.pools[0].avoid_buggy_ips is False
    assert got.bgp_advertisements == (BGPAdvertisement(name="bgpadvertisement1", pools=("p",)),)
    (peer,) = got.peers
    assert (peer.peer_port, peer.hold_time, peer.keepalive_time, peer.node_selectors) == (
        179,
        90,
        None,
        (LabelSelector(),),
    )
    assert (peer.source_address, peer.router_id, peer.password, peer.bfd_profile, peer.ebgp_multihop) == (
        None,
        None,
        None,
        None,
        False,
    )
    assert got.bfd_profiles == (BFDProfile(name="fast"),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.225.28.229-10.225.28.229", ["10.225.28.229/32"]),
        ("192.0.2.1 - 192.0.2.6", ["192.0.2.1/32", "192.0.2.2/31", "192.0.2.4/31", "192.0.2.6/32"]),
        ("192.0.2.77/24", ["192.0.2.0/24"]),
        ("2001:db8::ff/64", ["2001:db8::/64"]),
        ("0.0.0.0-255.255.255.255", ["0.0.0.0/0"]),
    ],
)
def test_addresses(text: str, expected: list[str]) -> None:
    (pool,) = config(POOL.replace("192.0.2.0/24", f'"{text}"')).pools
    assert pool.networks == networks(*expected)


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ('"0"', 0), ("3s", 3), ("3999ms", 3), ("1m30s", 90), ("18h12m15s", 65535)]
)
def test_hold_time(text: str, seconds: int) -> None:
    assert config(f"{PEER}  hold-time: {text}\n").peers[0].hold_time == seconds


# ---- where the document stands


HOLD = "peers: [{my-asn: 0, peer-asn: 1, peer-address: 192.0.2.1}]"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (f"  config: |\n    {HOLD}\n", (6, 22)),
        (f"  config: |\n\n    # note\n    {HOLD}\n", (8, 22)),
        (f"  config: |-\n        {HOLD}\n", (6, 26)),
        (f"  config: |2\n      {HOLD}\n", (6, 24)),
        (f"  config: &c |\n    {HOLD}\n", (6, 22)),
        (f"  config: !!str |\n    {HOLD}\n", (6, 22)),
        (f"  config:\n    &c\n    |\n    {HOLD}\n", (6, 5)),
        (f"  config: >\n    {HOLD}\n", (5, 11)),
        (f'  config: "{HOLD}"\n', (5, 11)),
        (f"  config: |\r\n    peers:\r\n    - {HOLD[8:-1]}\r\n", (7, 16)),
    ],
)
def test_places_are_those_of_the_file(text: str, place: tuple[int, int]) -> None:
    head = wrap("").partition("  config:")[0]
    (problem,) = read(head + text).problems
    assert problem.message == "peers[0].my-asn: '0' is out of range"
    assert (problem.place.file, problem.place.line, problem.place.column) == (FILE, *place)


def test_a_mistake_in_the_syntax_of_the_document_has_its_place_in_the_file() -> None:
    assert refused("peers:\n\t- a") == ["2:1: a tab stands where YAML wants spaces; indent with spaces"]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("data: {}", "4:7: data: the key config is missing; "),
        ("spec: {}", "1:1: the key config is missing; "),
        ("data:\n  config:\n    peers: []", "6:5: data.config: is a mapping, not text; "),
        ("data: {config: 5}", "4:16: data.config: is the number 5, not text; "),
    ],
)
def test_a_config_map_without_its_document(data: str, problem: str) -> None:
    head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config, namespace: metallb-system}\n"
    assert said(head + data) == [problem + "write `config: |` and the configuration below it, indented"]


def test_a_second_document_is_refused() -> None:
    assert refused("peers: []\n---\npeers: []\n") == [
        "3:1: is a second document, which MetalLB does not read; join the two"
    ]


@pytest.mark.parametrize("metadata", ["{name: config, namespace: default}", "{name: other, namespace: metallb-system}"])
def test_another_config_map_is_none_of_our_business(metadata: str) -> None:
    text = wrap("zebra: 1").replace("{name: config, namespace: metallb-system}", metadata)
    reading = read(text)
    assert (reading.problems, reading.ignored) == ((), (("ConfigMap", 1),))


def test_a_config_map_that_names_no_namespace_is_taken() -> None:
    assert read(wrap(POOL).replace(", namespace: metallb-system", "")).snapshot.config.pools[0].name == "p"


# ---- text without quotes


def test_numbers_and_switches_are_text_where_text_is_wanted() -> None:
    """As MetalLB's parser (yaml.v2) puts any scalar into a field for text, spelt as it stands there."""
    read = config(
        "bgp-communities: {7: 65000:50}\n"
        "bfd-profiles: [{name: 0x10}]\n"
        "address-pools:\n"
        "- name: 2026-01-01\n"
        "  protocol: bgp\n"
        "  addresses: [192.0.2.0/24]\n"
        "  bgp-advertisements: [{communities: [7, 1:30]}]\n"
        "peers:\n"
        "- {my-asn: 64500, peer-asn: 64501, peer-address: 192.0.2.1, hold-time: 0, password: 012345,\n"
        "   bfd-profile: 0x10,\n"
        "   node-selectors: [{match-labels: {rack: 1.50, 7: yes}}]}\n"
    )
    assert [pool.name for pool in read.pools] == ["2026-01-01"]
    assert read.bgp_advertisements[0].communities == (Community(1, 30), Community(65000, 50))
    (peer,) = read.peers
    assert (peer.hold_time, peer.password, peer.bfd_profile) == (0, "012345", "0x10")
    assert [(entry.key, entry.values) for entry in peer.node_selectors[0].requirements] == [
        ("7", ("yes",)),
        ("rack", ("1.50",)),
    ]


def test_text_without_quotes_is_no_number() -> None:
    assert refused(PEER.replace("64500", "'64500'")) == [
        "2:11: peers[0].my-asn: '64500' is text, not a whole number; write 64500 without quotes"
    ]
