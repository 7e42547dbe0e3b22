"""The link: every message comes back as it was, however the bytes are cut, and nothing else passes for one."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv4Address
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.model import ExternalTrafficPolicy, ObjectName
from speaker.demand import MAX_PART_OBJECTS, DemandChange, Group, NodeFacts
from speaker.link import (
    MAX_MESSAGE_BYTES,
    MAX_PART_BYTES,
    BadMessage,
    Bye,
    Hello,
    LogRecord,
    Message,
    Report,
    SourceHealth,
    SourceState,
    Unframer,
    Wanted,
    decode_untrusted,
    divide,
    encode,
)
from speaker.packing import pack
from telemetry.levels import Level

T = TypeVar("T")
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
addresses = st.ip_addresses()
instants = st.floats(allow_nan=False, allow_infinity=False)


def tuples(strategy: st.SearchStrategy[T]) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(strategy, max_size=3).map(tuple)


groups = st.builds(
    Group,
    key=addresses,
    addresses=tuples(addresses),
    services=tuples(st.builds(ObjectName, texts, texts)),
    pools=tuples(texts),
    advertisements=tuples(texts),
    policy=st.sampled_from(ExternalTrafficPolicy),
    serving_nodes=tuples(texts),
    is_served=st.booleans(),
    spare=st.none() | addresses,
)
nodes = st.builds(NodeFacts, name=texts, is_excluded=st.booleans(), network_unavailable=st.booleans())
changes = st.builds(
    DemandChange,
    groups=tuples(groups),
    gone=tuples(addresses),
    nodes=tuples(nodes),
    gone_nodes=tuples(texts),
    is_complete=st.booleans(),
)
plain = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | instants | texts | tuples(texts)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Hello, pid=st.integers(0, 2**31), version=st.integers(0, 9)),
    st.builds(Wanted, change=changes, is_reset=st.booleans()),
    st.builds(
        SourceState,
        health=st.sampled_from(SourceHealth),
        reasons=tuples(texts),
        as_of=st.none() | instants,
        warnings=tuples(texts),
    ),
    st.builds(
        LogRecord,
        at=instants,
        level=st.sampled_from(Level),
        event=texts,
        fields=st.dictionaries(texts, plain, max_size=3),
    ),
    st.builds(Report, known=tuples(addresses)),
    st.just(Bye()),
)


def read_all(unframer: Unframer) -> list[Message]:
    read = []
    while (message := unframer.next_message()) is not None:
        read.append(message)
    return read


@given(st.lists(messages, max_size=4), st.lists(st.integers(0, 400), max_size=6))
def test_messages_come_back_however_their_bytes_are_cut(told: list[Message], cuts: list[int]) -> None:
    stream = b"".join(map(encode, told))
    heard: list[Message] = []
    unframer = Unframer()
    ends = sorted(min(cut, len(stream)) for cut in cuts)
    for start, end in zip([0, *ends], [*ends, len(stream)], strict=True):
        unframer.feed(stream[start:end])
        heard += read_all(unframer)
    assert heard == told
    assert unframer.is_between


@given(messages)
def test_a_message_that_is_cut_off_is_waited_for(message: Message) -> None:
    whole = encode(message)
    for end in range(len(whole)):
        unframer = Unframer()
        unframer.feed(whole[:end])
        assert unframer.next_message() is None
        assert unframer.is_between == (end == 0)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_message_or_refused(packed: bytes) -> None:
    with suppress(BadMessage):
        decode_untrusted(packed)


anything = st.recursive(
    plain | st.binary(max_size=16),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(texts | st.binary(max_size=3), inner, max_size=3),
    max_leaves=30,
)


@given(st.integers(-1, 6) | anything, anything)
def test_any_value_is_a_message_or_refused(kind: object, value: object) -> None:
    with suppress(BadMessage):
        decode_untrusted(pack([kind, value]))


@given(messages, st.data())
def test_a_message_with_wrong_bytes_is_another_one_or_refused(message: Message, data: st.DataObject) -> None:
    packed = bytearray(encode(message)[4:])
    for _ in range(data.draw(st.integers(1, 3))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    with suppress(BadMessage):
        encode(decode_untrusted(bytes(packed)))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"", "BufferFull|incomplete|not msgpack"),
        (pack([17, []]), "no kind of message"),
        (pack([True, [1, 1]]), "no kind of message"),
        (pack({}), "no kind of message"),
        (pack([0, [1]]), "list where an array of 2 should be"),
        (pack([0, [1, True]]), "bool where an integer should be"),
        (pack([2, ["fine", [], None, []]]), "str where one of loading, current, stale should be"),
        (pack([2, ["stale", [], float("nan"), []]]), "float where a finite number should be"),
        (pack([4, [[b"12345"]]]), "bytes where an address should be"),
        (pack([3, [0.0, "info", "started", {"pid": {}}]]), "dict where a plain value should be"),
    ],
)
def test_what_is_wrong_is_said(value: bytes, said: str) -> None:
    with pytest.raises(BadMessage, match=said):
        decode_untrusted(value)


def test_a_length_beyond_the_limit_is_refused_before_anything_is_kept() -> None:
    unframer = Unframer()
    unframer.feed((MAX_MESSAGE_BYTES + 1).to_bytes(4, "big"))
    with pytest.raises(BadMessage, match=f"a message of {MAX_MESSAGE_BYTES + 1} bytes; the limit is"):
        unframer.next_message()


def test_a_message_beyond_the_limit_is_not_sent() -> None:
    with pytest.raises(BadMessage, match="the limit is"):
        encode(SourceState(health=SourceHealth.STALE, reasons=("x" * MAX_MESSAGE_BYTES,)))


def test_what_the_log_says_is_written_whatever_it_is() -> None:
    record = LogRecord(at=1.0, level=Level.WARN, event="odd", fields={"member": "a\udcffb", "count": 2**70})
    heard = decode_untrusted(encode(record)[4:])
    assert heard == LogRecord(
        at=1.0, level=Level.WARN, event="odd", fields={"member": "a\\udcffb", "count": str(2**70)}
    )


# ---- parts


@given(changes)
def test_a_small_change_is_one_part(change: DemandChange) -> None:
    assert list(divide(change)) == [change]


def a_group(number: int, *serving: str) -> Group:
    return Group(
        key=IPv4Address(number),
        addresses=(IPv4Address(number),),
        services=(ObjectName("default", f"service-{number}"),),
        pools=("pool",),
        advertisements=("pool",),
        policy=ExternalTrafficPolicy.LOCAL,
        serving_nodes=serving,
        is_served=bool(serving),
    )


@pytest.mark.parametrize(
    ("change", "least"),
    [
        (DemandChange(groups=tuple(a_group(number) for number in range(1000))), 5),
        (DemandChange(gone_nodes=tuple(f"node-{number}" for number in range(401)), is_complete=False), 3),
        (DemandChange(groups=tuple(a_group(number, *["n" * 250] * 200) for number in range(6))), 5),
    ],
    ids=["many groups", "many nodes", "long groups"],
)
def test_a_long_change_is_in_parts_that_make_it_up(change: DemandChange, least: int) -> None:
    parts = list(divide(change))
    assert len(parts) >= least
    assert [part.is_complete for part in parts] == [False] * (len(parts) - 1) + [change.is_complete]
    assert tuple(group for part in parts for group in part.groups) == change.groups
    assert tuple(name for part in parts for name in part.gone_nodes) == change.gone_nodes
    for part in parts:
        objects = len(part.groups) + len(part.gone) + len(part.nodes) + len(part.gone_nodes)
        assert 0 < objects <= MAX_PART_OBJECTS
        assert objects == 1 or len(encode(Wanted(change=part))) < MAX_PART_BYTES + 1024
