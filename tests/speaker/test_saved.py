"""The kept demand: it comes back whole for whom it was kept, and any other bytes are told to be unusable."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.model import ExternalTrafficPolicy, ObjectName
from speaker.demand import Demand, Group, NodeFacts
from speaker.link import Hello, Report, Wanted, encode
from speaker.saved import (
    MAX_AGE,
    Origin,
    UnusableState,
    check_saved_untrusted,
    decode_saved_untrusted,
    encode_saved,
)

ANN = Origin("ann", "/manifests", None)
AT = 1_700_000_000.25


def a_group(number: int) -> Group:
    return Group(
        key=IPv4Address(number),
        addresses=(IPv4Address(number),),
        services=(ObjectName("default", f"service-{number}"),),
        pools=("pool",),
        advertisements=("pool",),
        policy=ExternalTrafficPolicy.CLUSTER,
        serving_nodes=("ann",),
        is_served=True,
    )


def a_demand(count: int) -> Demand:
    return Demand(groups=tuple(a_group(number) for number in range(count)), nodes=(NodeFacts(name="ann"),))


SMALL = encode_saved(ANN, a_demand(1), [IPv4Address(0)], AT)


def load(data: bytes, origin: Origin = ANN, now: float = AT) -> tuple[float, list[Wanted], list[Report]]:
    """The date, the parts of the demand and the reports in a file with this content."""
    saved_at, body = check_saved_untrusted(data, origin, now)
    messages = list(decode_saved_untrusted(body))
    parts = [message for message in messages if isinstance(message, Wanted)]
    return saved_at, parts, [message for message in messages if isinstance(message, Report)]


@pytest.mark.parametrize("count", [0, 1, 450])
def test_it_comes_back(count: int) -> None:
    wanted = a_demand(count)
    known = [IPv4Address(number) for number in range(count)]
    saved_at, parts, reports = load(encode_saved(ANN, wanted, known, AT))
    assert saved_at == AT
    assert tuple(group for part in parts for group in part.change.groups) == wanted.groups
    assert tuple(node for part in parts for node in part.change.nodes) == wanted.nodes
    assert [part.change.is_complete for part in parts] == [False] * (len(parts) - 1) + [True]
    assert [address for report in reports for address in report.known] == known
    assert max((len(part.change.groups) for part in parts), default=0) <= 200


def test_a_demand_of_nothing_is_one_too() -> None:
    _, parts, _ = load(encode_saved(ANN, Demand(), [], AT))
    assert [part.change.is_complete for part in parts] == [True]


def test_cut_off_anywhere_it_is_torn() -> None:
    for end in range(len(SMALL)):
        with pytest.raises(UnusableState):
            load(SMALL[:end])


def test_with_any_bit_changed_it_is_torn() -> None:
    for place in range(len(SMALL)):
        for bit in range(8):
            torn = bytearray(SMALL)
            torn[place] ^= 1 << bit
            with pytest.raises(UnusableState):
                load(bytes(torn))


@given(st.binary(max_size=200))
def test_any_bytes_are_unusable(data: bytes) -> None:
    with pytest.raises(UnusableState):
        load(data)


@given(st.binary(max_size=60))
def test_any_body_is_messages_or_unusable(body: bytes) -> None:
    with suppress(UnusableState):
        list(decode_saved_untrusted(body))


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        (replace(ANN, node="bea"), r"another node's \(node: 'ann'\)"),
        (replace(ANN, source="kube"), r"another source \(source: '/manifests'\)"),
        (replace(ANN, load_balancer_class="a/b"), r"another class \(load_balancer_class: None\)"),
    ],
)
def test_what_was_kept_for_another_is_foreign(origin: Origin, said: str) -> None:
    with pytest.raises(UnusableState, match=said):
        load(SMALL, origin)


def test_another_versions_is_foreign() -> None:
    head, _, body = SMALL.partition(b"\n")
    other = json.dumps({**json.loads(head), "version": 0}).encode()
    with pytest.raises(UnusableState, match="another version wrote it"):
        load(other + b"\n" + body)


def test_one_that_is_too_old_says_nothing_any_more() -> None:
    assert load(SMALL, now=AT + MAX_AGE)
    with pytest.raises(UnusableState, match=r"it is 7\.1 days old; after 7 it is not used"):
        load(SMALL, now=AT + MAX_AGE + 8640)


def test_one_from_the_future_is_used_since_clocks_start_wrong() -> None:
    assert load(SMALL, now=0.0)[0] == AT


def test_a_message_that_has_no_business_there_is_told() -> None:
    with pytest.raises(UnusableState, match="a Hello is in it"):
        list(decode_saved_untrusted(encode(Hello(pid=1))))
