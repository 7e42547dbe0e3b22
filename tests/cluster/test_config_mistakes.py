"""What is said about every field of MetalLB's ConfigMap that is wrong: place, message and cure.

Rules: metallb-interface.md §1.
"""

import pytest

from tests.cluster.helpers import ADVERTISEMENT, BGP_POOL, PEER, POOL, PROFILE, SELECTOR, refused

UINT32 = 2**32 - 1
IP_HINT = "write one such as 192.0.2.1 or 2001:db8::1"
FORMS = "write a CIDR such as 192.0.2.0/24 or a range such as 192.0.2.10-192.0.2.20"

# The ends of every range, both sides of them: the last good value is taken, the next one is not.
RANGES = [
    (ADVERTISEMENT, "    aggregation-length", 24, 32, (0, 32)),
    (ADVERTISEMENT, "    aggregation-length-v6", 64, 128, (0, 128)),
    (BGP_POOL + "  bgp-advertisements:\n  - aggregation-length: 32\n", "    localpref", 0, UINT32, (0, UINT32)),
    (PEER.replace("  peer-asn: 64501\n", ""), "  peer-asn", 1, UINT32, (1, UINT32)),
    (PEER.replace("my-asn: 64500\n  ", ""), "  my-asn", 1, UINT32, (1, UINT32)),
    (PEER, "  peer-port", 1, 65535, (1, 65535)),
    *((PROFILE, f"  {key}-interval", 10, 60000, (10, 60000)) for key in ("receive", "transmit", "echo")),
    (PROFILE, "  detect-multiplier", 2, 255, (2, 255)),
    (PROFILE, "  minimum-ttl", 1, 254, (1, 254)),
]


@pytest.mark.parametrize(("base", "key", "low", "high", "told"), RANGES, ids=[key.strip() for _, key, *_ in RANGES])
def test_whole_numbers(base: str, key: str, low: int, high: int, told: tuple[int, int]) -> None:
    line, column = base.count("\n") + 1, len(key) + 3
    for good in (low, high):
        assert refused(f"{base}{key}: {good}\n") == []
    for bad in (told[0] - 1, high + 1):
        (problem,) = [text for text in refused(f"{base}{key}: {bad}\n") if "shorter" not in text]
        assert problem.startswith(f"{line}:{column}: ")
        assert problem.endswith(f"'{bad}' is out of range; write a whole number from {told[0]} to {told[1]}")
    for text, shown in (
        ("true", "'true' is read as true, not as"),
        ("1.5", "'1.5' is read as a number with a fraction"),
    ):
        (problem,) = refused(f"{base}{key}: {text}\n")
        assert shown in problem
        assert problem.endswith("; write a whole number")
    (problem,) = refused(f'{base}{key}: "7"\n')
    assert problem.endswith("'7' is text, not a whole number; write 7 without quotes")


SWITCHES = [
    (POOL, "  auto-assign"),
    (POOL, "  avoid-buggy-ips"),
    (PEER, "  ebgp-multihop"),
    (PROFILE, "  echo-mode"),
    (PROFILE, "  passive-mode"),
]


@pytest.mark.parametrize(("base", "key"), SWITCHES)
def test_switches(base: str, key: str) -> None:
    for good in ("true", "false", "yes", "no", "on", "off"):
        assert refused(f"{base}{key}: {good}\n") == []
    (problem,) = refused(f'{base}{key}: "true"\n')
    assert problem.endswith(f"{key.strip()}: 'true' is text, not true or false; write true without quotes")
    (problem,) = refused(f"{base}{key}: 1\n")
    assert problem.endswith(f"{key.strip()}: '1' is read as the number 1, not as true or false; write true or false")


TEXTS = [
    (POOL.replace("name: p\n  ", ""), "  name"),
    (POOL.replace("  protocol: layer2\n", ""), "  protocol"),
    (PEER.replace("  peer-address: 192.0.2.1\n", ""), "  peer-address"),
    (PEER, "  source-address"),
    (PEER, "  hold-time"),
    (PEER, "  keepalive-time"),
    (PEER, "  router-id"),
    (PEER, "  bfd-profile"),
    ("bgp-communities:\n", "  alias"),
    (PROFILE.replace("- name: fast\n", "- echo-mode: false\n"), "  name"),
    (SELECTOR.replace("key: rack\n      ", ""), "      key"),
    (SELECTOR.replace("      operator: Exists\n", ""), "      operator"),
]


@pytest.mark.parametrize(("base", "key"), TEXTS, ids=[key.strip() for _, key in TEXTS])
def test_text_means_the_same_without_quotes(base: str, key: str) -> None:
    for text in ("65000:50", "no", "12", "1.50", "0x10", "1_000", "2026-01-01", ".inf"):
        assert refused(f"{base}{key}: {text}\n") == refused(f"{base}{key}: '{text}'\n")
    (problem,) = refused(f"{base}{key}: [a]\n")
    assert problem.endswith(f"{key.strip()}: is a list, not text; write text, in quotes if in doubt")


REQUIRED = [
    (POOL, "name", "name: p\n  ", "", "address-pools[0]", "default"),
    (POOL, "protocol", "  protocol: layer2\n", "", "address-pools[0]", "layer2"),
    (POOL, "addresses", "  addresses: [192.0.2.0/24]\n", "", "address-pools[0]", "[192.0.2.10-192.0.2.20]"),
    (PEER, "my-asn", "my-asn: 64500\n  ", "", "peers[0]", "64500"),
    (PEER, "peer-asn", "  peer-asn: 64501\n", "", "peers[0]", "64501"),
    (PEER, "peer-address", "  peer-address: 192.0.2.1\n", "", "peers[0]", "192.0.2.1"),
    (PROFILE, "name", "name: fast", "echo-mode: true", "bfd-profiles[0]", "default"),
]


@pytest.mark.parametrize(("base", "key", "old", "new", "where", "example"), REQUIRED)
def test_what_is_missing(base: str, key: str, old: str, new: str, where: str, example: str) -> None:
    assert refused(base) == []
    assert refused(base.replace(old, new)) == [f"2:3: {where}: {key} is missing; add `{key}: {example}`"]
    null = base.replace(f"{key}: ", f"{key}: ~ # ")
    assert refused(null) == [f"2:3: {where}: {key} is missing; add `{key}: {example}`"]


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("address-pool: []", "1:1: 'address-pool' is no key of this mapping; did you mean address-pools?"),
        (
            "zebra: []",
            "1:1: 'zebra' is no key of this mapping; its keys are peers, bgp-communities, address-pools, bfd-profiles",
        ),
        (
            f"{POOL}  autoAssign: true",
            "5:3: address-pools[0]: 'autoAssign' is no key of this mapping; did you mean auto-assign?",
        ),
        (
            f"{ADVERTISEMENT}    local-pref: 1",
            (
                "7:5: address-pools[0].bgp-advertisements[0]: 'local-pref' is no key of this mapping; did you "
                "mean localpref?"
            ),
        ),
        (
            f"{PEER}  bfdProfile: fast",
            "5:3: peers[0]: 'bfdProfile' is no key of this mapping; did you mean bfd-profile?",
        ),
        (
            f"{PEER}  node-selectors:\n  - matchLabels: {{}}",
            "6:5: peers[0].node-selectors[0]: 'matchLabels' is no key of this mapping; did you mean match-labels?",
        ),
        (
            f"{SELECTOR}      value: [a]",
            (
                "9:7: peers[0].node-selectors[0].match-expressions[0]: 'value' is no key of this mapping; did "
                "you mean values?"
            ),
        ),
        (
            f"{PROFILE}  min-ttl: 4",
            "3:3: bfd-profiles[0]: 'min-ttl' is no key of this mapping; did you mean minimum-ttl?",
        ),
        (
            f"{POOL}  zebra: ~",
            (
                "5:3: address-pools[0]: 'zebra' is no key of this mapping; its keys are name, protocol, "
                "addresses, auto-assign, avoid-buggy-ips, bgp-advertisements"
            ),
        ),
    ],
)
def test_unknown_keys(document: str, problem: str) -> None:
    assert refused(document) == [problem]


@pytest.mark.parametrize(
    ("document", "key", "first", "place"),
    [
        ("peers: []\naddress-pools: []\npeers: []", "peers", 6, "3:1"),
        (f"{POOL}  name: q", "name", 7, "5:3"),
        (f"{PEER}  my-asn: 64500", "my-asn", 7, "5:3"),
        (f"{ADVERTISEMENT}    localpref: 1", "localpref", 11, "7:5"),
        ("bgp-communities:\n  a: '1:1'\n  a: '1:2'", "a", 7, "3:3"),
    ],
)
def test_keys_given_twice(document: str, key: str, first: int, place: str) -> None:
    assert refused(document) == [f"{place}: the key '{key}' is given twice, first in line {first}; keep one of the two"]


@pytest.mark.parametrize(
    ("document", "problems"),
    [
        ("- a", ["1:1: is a list, not a mapping; write `key: value`, one a line"]),
        ("address-pools: {}", ["1:16: address-pools: is a mapping, not a list; begin each entry with a dash"]),
        ("address-pools: [x]", ["1:17: address-pools[0]: 'x' is text, not a mapping; write `key: value`, one a line"]),
        ("peers: [~]", ["1:9: peers[0]: is empty, not a mapping; write `key: value`, one a line"]),
        ("bgp-communities: []", ["1:18: bgp-communities: is a list, not a mapping; write `key: value`, one a line"]),
        (POOL.replace("name: p", "name: ''"), ["2:9: address-pools[0].name: is empty; write a name"]),
        (
            POOL.replace("layer2", "layer3"),
            ["3:13: address-pools[0].protocol: 'layer3' is not a value of this field; write layer2 or bgp"],
        ),
        (
            POOL.replace("[192.0.2.0/24]", "[]"),
            ["4:14: address-pools[0].addresses: is empty; write at least one CIDR or range"],
        ),
        (
            POOL.replace("[192.0.2.0/24]", "192.0.2.0/24"),
            ["4:14: address-pools[0].addresses: '192.0.2.0/24' is text, not a list; begin each entry with a dash"],
        ),
        (
            POOL.replace("192.0.2.0/24", "192.0.2.7"),
            [
                (
                    "4:15: address-pools[0].addresses[0]: '192.0.2.7' is one address, neither a CIDR nor a range; "
                    "write 192.0.2.7/32"
                )
            ],
        ),
        (
            POOL.replace("192.0.2.0/24", "192.0.2.9-192.0.2.1"),
            [
                (
                    "4:15: address-pools[0].addresses[0]: '192.0.2.9-192.0.2.1' begins after its end; write "
                    "192.0.2.1-192.0.2.9"
                )
            ],
        ),
        (
            POOL.replace("192.0.2.0/24", "'192.0.2.9-2001:db8::'"),
            [
                (
                    "4:15: address-pools[0].addresses[0]: '192.0.2.9-2001:db8::' begins in one address family and "
                    "ends in the other; write one range for each"
                )
            ],
        ),
        *(
            (
                POOL.replace("192.0.2.0/24", bad),
                [f"4:15: address-pools[0].addresses[0]: '{bad}' is not a CIDR; {FORMS}"],
            )
            for bad in (
                "192.0.2.0/33",
                "192.0.2.0/255.255.255.0",
                "2001:db8::/129",
                "fe80::1%eth0/64",
                "192.0.2/24",
                "192.0.02.0/24",
                "/24",
            )
        ),
        (
            POOL.replace("192.0.2.0/24", "everything"),
            [f"4:15: address-pools[0].addresses[0]: 'everything' is neither a CIDR nor a range; {FORMS}"],
        ),
        (
            POOL.replace("192.0.2.0/24", "a-b"),
            [f"4:15: address-pools[0].addresses[0]: 'a' is not an IP address; {IP_HINT}"],
        ),
        (
            POOL.replace("192.0.2.0/24", "192.0.2.0/24, 192.0.2.9-192.0.2.10"),
            [
                (
                    "4:29: address-pools[0].addresses[1]: '192.0.2.9-192.0.2.10' overlaps '192.0.2.0/24' of "
                    "address-pools[0].addresses[0] in 192.0.2.9/32; take the addresses out of one of the two"
                )
            ],
        ),
        (
            POOL + "- name: q\n  protocol: bgp\n  addresses: [198.51.100.0/24, 192.0.0.0/16]",
            [
                (
                    "7:32: address-pools[1].addresses[1]: '192.0.0.0/16' overlaps '192.0.2.0/24' of "
                    "address-pools[0].addresses[0] in 192.0.0.0/16; take the addresses out of one of the two"
                )
            ],
        ),
        (
            POOL + "- name: p\n  protocol: bgp\n  addresses: [198.51.100.0/24]",
            ["5:9: address-pools[1].name: 'p' is the name of address-pools[0] too; give each a name of its own"],
        ),
        (
            f"{POOL}  bgp-advertisements: [{{}}]",
            [
                (
                    "5:23: address-pools[0].bgp-advertisements: a layer2 pool has no BGP advertisements; take them "
                    "out, or write `protocol: bgp`"
                )
            ],
        ),
        (
            f"{ADVERTISEMENT}    aggregation-length: 23\n    aggregation-length-v6: 63",
            [
                (
                    "7:25: address-pools[0].bgp-advertisements[0].aggregation-length: '23' is shorter than the /24 "
                    "of '192.0.2.0/24'; write 24 or more, or leave it out"
                ),
                (
                    "8:28: address-pools[0].bgp-advertisements[0].aggregation-length-v6: '63' is shorter than the "
                    "/64 of '2001:db8::/64'; write 64 or more, or leave it out"
                ),
            ],
        ),
        (
            f"{ADVERTISEMENT}    communities: [unheard-of, 65000:70000, 65000]",
            [
                (
                    "7:19: address-pools[0].bgp-advertisements[0].communities[0]: 'unheard-of' is no alias of "
                    "bgp-communities; define it there"
                ),
                (
                    "7:31: address-pools[0].bgp-advertisements[0].communities[1]: '65000:70000' is not a community; "
                    'write two numbers up to 65535, such as "65000:100"'
                ),
                (
                    "7:44: address-pools[0].bgp-advertisements[0].communities[2]: '65000' is no alias of "
                    "bgp-communities; define it there"
                ),
            ],
        ),
        (
            f"bgp-communities:\n  a: x\n{ADVERTISEMENT}    communities: [a, b]",
            [
                "2:6: bgp-communities.a: 'x' is not a community; write two numbers up to 65535, such as \"65000:100\"",
                (
                    "9:22: address-pools[0].bgp-advertisements[0].communities[1]: 'b' is no alias of "
                    "bgp-communities; write 'a'"
                ),
            ],
        ),
        (
            PEER.replace("192.0.2.1", "router.example"),
            [f"4:17: peers[0].peer-address: 'router.example' is not an IP address; {IP_HINT}"],
        ),
        (
            f"{PEER}  source-address: 192.0.2.1/24",
            [f"5:19: peers[0].source-address: '192.0.2.1/24' is not an IP address; {IP_HINT}"],
        ),
        (
            f"{PEER}  router-id: 2001:db8::1",
            ["5:14: peers[0].router-id: '2001:db8::1' is not an IPv4 address; write one such as 192.0.2.1"],
        ),
        *(
            (
                f"{PEER}  hold-time: '{bad}'",
                [
                    (
                        f"5:14: peers[0].hold-time: '{bad}' is not a duration; write a number with its unit, "
                        "such as 90s or 1m30s"
                    )
                ],
            )
            for bad in ("90", "", "90 s", "1d", "s")
        ),
        (
            f"{PEER}  hold-time: 2999ms",
            ["5:14: peers[0].hold-time: '2999ms' is too short; write 3s or more, or 0s for no limit"],
        ),
        (
            f"{PEER}  hold-time: 65536s\n  keepalive-time: -1s",
            [
                "5:14: peers[0].hold-time: '65536s' is out of range; write 0s to 65535s",
                "6:19: peers[0].keepalive-time: '-1s' is out of range; write 0s to 65535s",
            ],
        ),
        (
            f"{PEER}  keepalive-time: 91s",
            ["5:19: peers[0].keepalive-time: 91s is longer than the hold time of 90s; write 30s, or leave it out"],
        ),
        (
            f"{PEER}  bfd-profile: fast",
            ["5:16: peers[0].bfd-profile: 'fast' is the name of none of the bfd-profiles; define it there"],
        ),
        (
            f"{PROFILE}{PEER}  bfd-profile: fats",
            ["7:16: peers[0].bfd-profile: 'fats' is the name of none of the bfd-profiles; write 'fast'"],
        ),
        (
            f"{PEER.replace('64501', '64500')}  ebgp-multihop: true",
            ["5:18: peers[0].ebgp-multihop: is for external peers, and both sides are in AS 64500; leave it out"],
        ),
        (
            PEER + PEER.removeprefix("peers:\n"),
            ["5:3: peers[1]: is the same as peers[0]; take one of the two out"],
        ),
        (
            f"{PROFILE}- name: fast",
            ["3:9: bfd-profiles[1].name: 'fast' is the name of bfd-profiles[0] too; give each a name of its own"],
        ),
        (
            SELECTOR.replace("Exists", "Is"),
            [
                (
                    "8:17: peers[0].node-selectors[0].match-expressions[0].operator: 'Is' is not a value of this "
                    "field; write In, NotIn, Exists or DoesNotExist"
                )
            ],
        ),
        (
            SELECTOR.replace("Exists", "NotIn"),
            [
                (
                    "7:7: peers[0].node-selectors[0].match-expressions[0]: NotIn compares with values, and there "
                    "are none; add `values: [a, b]`"
                )
            ],
        ),
        (
            f"{SELECTOR}      values: [a]",
            [
                (
                    "7:7: peers[0].node-selectors[0].match-expressions[0]: Exists compares with no values; take "
                    "them out, or write In"
                )
            ],
        ),
        (
            f"{PEER}  node-selectors:\n  - match-labels: {{'a b': c, d: 'e f', g: [yes]}}",
            [
                (
                    "6:20: peers[0].node-selectors[0].match-labels['a b']: 'a b' is no key of a label; write a name "
                    "such as rack or example.com/rack"
                ),
                (
                    "6:33: peers[0].node-selectors[0].match-labels.d: 'e f' is no value of a label; write up to 63 "
                    "letters, digits, dots, dashes and underscores"
                ),
                (
                    "6:43: peers[0].node-selectors[0].match-labels.g: is a list, not text; write text, in quotes if in "
                    "doubt"
                ),
            ],
        ),
        (
            f"{PEER}  password: [1234567]",
            ["5:13: peers[0].password: is a list, not text; write text, in quotes if in doubt"],
        ),
    ],
)
def test_what_is_wrong(document: str, problems: list[str]) -> None:
    assert refused(document) == problems


def test_a_mistake_in_one_field_hides_no_other() -> None:
    document = (
        "bgp-communities: {a: '9'}\n"
        "peers:\n- {my-asn: 0, peer-asn: x, peer-address: y, bfd-profile: z}\n"
        "address-pools:\n"
        "- {name: p, protocol: x, addresses: [192.0.2.0/24]}\n"
        "- name: p\n  addresses: [192.0.2.1/32]\n  bgp-advertisements: [{localpref: -1, communities: [b], "
        "aggregation-length: 8}]\n"
    )
    places = [problem.split(": ")[0] for problem in refused(document)]
    assert places == ["1:22", "3:12", "3:25", "3:42", "3:58", "5:23", "6:3", "6:9", "7:15", "8:36", "8:54", "8:78"]


def test_a_wider_entry_of_a_range_allows_a_shorter_length() -> None:
    """192.0.2.1-192.0.2.10 holds a /30 next to single addresses; the widest block counts (§1.3, from 0.12)."""
    document = ADVERTISEMENT.replace("192.0.2.0/24, ", "192.0.2.1-192.0.2.10, ")
    assert refused(f"{document}    aggregation-length: 30\n") == []
    assert len(refused(f"{document}    aggregation-length: 29\n")) == 1
