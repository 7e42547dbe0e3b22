"""serf's language: what it wrote itself, what we write, and whatever a peer may send."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.errors import BadPacket, LocalError
from gossip.packing import pack
from gossip.serf import (
    MAX_EVENT_BYTES,
    MAX_LTIME,
    MAX_REMEMBERED,
    JoinIntent,
    LamportClock,
    LeaveIntent,
    SerfMessage,
    SerfSide,
    UserEvent,
    decode_tags_untrusted,
    decode_untrusted,
    encode,
    encode_tags,
    has_tags,
)
from tests.vectors import Vector, name_of, nilable, vectors

SERF: Final = vectors("serf")
TAGS: Final = [vector for vector in SERF if "tags" in vector.fields]
READ: Final = {"join", "leave", "userEvent"}
MESSAGES: Final = [vector for vector in SERF if vector.fields.get("type") in READ]
STATES: Final = [vector for vector in SERF if vector.fields.get("type") == "pushPull"]
OTHERS: Final = [vector for vector in SERF if vector.fields.get("type") in {"query", "queryResponse", "relay"}]

texts = st.binary(max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
ltimes = st.integers(0, MAX_LTIME) | st.sampled_from([0, 127, 128, 255, 256, 65535, 65536, 2**32, MAX_LTIME])
messages = st.one_of(
    st.builds(LeaveIntent, ltimes, texts, st.booleans()),
    st.builds(JoinIntent, ltimes, texts),
    st.builds(UserEvent, ltimes, texts, st.none() | st.binary(max_size=40), st.booleans()),
)


def message_of(fields: dict[str, Any]) -> SerfMessage:
    if fields["type"] == "leave":
        return LeaveIntent(fields["LTime"], fields["Node"], fields["Prune"])
    if fields["type"] == "join":
        return JoinIntent(fields["LTime"], fields["Node"])
    return UserEvent(fields["LTime"], fields["Name"], nilable(fields["Payload"]), fields["CC"])


def state(ltime: int, event_ltime: int) -> bytes:
    """An agent's state that tells its clocks and nothing else."""
    return b"\x02\x82" + pack("EventLTime") + pack(event_ltime) + pack("LTime") + pack(ltime)


def test_every_recorded_vector_is_of_a_kind() -> None:
    assert [len(kind) for kind in (TAGS, MESSAGES, STATES, OTHERS)] == [5, 5, 2, 3]
    assert len(SERF) == 16  # and one is the payload of an ack, which is no message


# ---- tags


@pytest.mark.parametrize("vector", TAGS, ids=name_of)
@pytest.mark.rule("12.2")
def test_tags_that_serf_wrote_are_read(vector: Vector) -> None:
    assert decode_tags_untrusted(vector.data) == (vector.fields["tags"] or {})
    assert has_tags(vector.data) == (vector.fields["serfProtocol"] > 2)


@pytest.mark.parametrize(
    "vector", [v for v in TAGS if v.fields["serfProtocol"] > 2 and v.fields["tags"] is not None], ids=name_of
)
@pytest.mark.rule("12.2")
def test_tags_are_written_as_serf_writes_them(vector: Vector) -> None:
    assert encode_tags(vector.fields["tags"]) == vector.data


@given(st.dictionaries(texts, texts, max_size=40))
def test_tags_come_back(tags: dict[str, str]) -> None:
    assert decode_tags_untrusted(encode_tags(tags)) == tags


@pytest.mark.parametrize(
    "meta",
    [b"\xff", b"\xff\x01", b"\xff\x81\xa1k\x01", b"\xff\x81\x01\xa1v", b"\xff\x82\xa1k\xa1v", b"\xff\xc1"],
    ids=["nothing", "a number", "a number as value", "a number as key", "cut short", "no msgpack"],
)
def test_metadata_that_only_looks_like_tags_is_refused(meta: bytes) -> None:
    with pytest.raises(BadPacket):
        decode_tags_untrusted(meta)


@given(st.binary(max_size=80))
def test_any_metadata_is_read_or_refused(meta: bytes) -> None:
    for data in (meta, b"\xff" + meta):
        with suppress(BadPacket):
            assert all(isinstance(text, str) for pair in decode_tags_untrusted(data).items() for text in pair)


# ---- messages


@pytest.mark.parametrize("vector", MESSAGES, ids=name_of)
@pytest.mark.rule("12.2")
def test_messages_are_read_and_written_as_serf_does(vector: Vector) -> None:
    message = message_of(vector.fields)
    assert decode_untrusted(vector.data) == message
    assert encode(message) == vector.data


@pytest.mark.parametrize("vector", OTHERS, ids=name_of)
def test_what_only_serf_understands_is_left_alone(vector: Vector) -> None:
    assert decode_untrusted(vector.data) is None
    assert SerfSide("a").hear_untrusted(vector.data) is None


@given(messages)
def test_messages_come_back(message: SerfMessage) -> None:
    assert decode_untrusted(encode(message)) == message


@given(st.sampled_from([0, 1, 3]), st.binary(max_size=80))
def test_any_payload_is_read_or_refused(number: int, rest: bytes) -> None:
    with suppress(BadPacket):
        decode_untrusted(bytes((number,)) + rest)


@pytest.mark.parametrize(
    "rest",
    [
        b"\x81" + pack("LTime") + pack(MAX_LTIME + 1),
        b"\x81" + pack("LTime") + b"\xff",
        b"\x81" + pack("Node") + b"\x01",
        b"\x81" + pack("Prune") + b"\x01",
        b"\x81\x01\x01",
        b"\x90",
    ],
    ids=[
        "a time out of reach",
        "a negative time",
        "a number as name",
        "a number as flag",
        "a number as key",
        "an array",
    ],
)
def test_a_message_that_makes_no_sense_is_refused(rest: bytes) -> None:
    with pytest.raises(BadPacket):
        decode_untrusted(b"\x00" + rest)


def test_missing_and_unknown_keys_do_not_matter() -> None:
    assert decode_untrusted(b"\x01\x82" + pack("Node") + pack("b") + pack("New") + b"\x92\x01\xc0") == JoinIntent(
        0, "b"
    )


# ---- clocks and news


def test_a_stamp_is_above_everything_seen() -> None:
    clock = LamportClock()
    assert [clock.stamp(), clock.stamp()] == [1, 2]
    clock.witness(40)
    clock.witness(7)
    assert clock.stamp() == 41


@pytest.mark.parametrize("vector", STATES, ids=name_of)
@pytest.mark.rule("12.2")
def test_the_clocks_of_a_state_are_taken(vector: Vector) -> None:
    side = SerfSide("a")
    side.hear_state_untrusted(vector.data)
    assert decode_untrusted(side.leave_intent()) == LeaveIntent(vector.fields["LTime"] + 1, "a")
    assert decode_untrusted(side.user_event("x", b"")) == UserEvent(vector.fields["EventLTime"] + 1, "x", b"")


def test_the_state_of_a_full_size_agent_is_read() -> None:
    events = b"\xdc\x02\x00" + b"\xc0" * 512
    statuses = b"\xde" + (2_000).to_bytes(2, "big") + b"".join(pack(f"node-{i}") + pack(i) for i in range(2_000))
    side = SerfSide("a")
    side.hear_state_untrusted(
        b"\x02\x84" + pack("EventLTime") + pack(5) + pack("Events") + events + pack("LTime") + pack(9)
        + pack("StatusLTimes") + statuses
    )  # fmt: skip  # a map reads in pairs
    assert decode_untrusted(side.join_intent()) == JoinIntent(10, "a")


@given(st.binary(max_size=80))
def test_any_state_is_read_or_refused(rest: bytes) -> None:
    for data in (rest, b"\x02" + rest):
        with suppress(BadPacket):
            SerfSide("a").hear_state_untrusted(data)


def test_a_state_of_something_else_is_refused() -> None:
    with pytest.raises(BadPacket, match="not the state of a serf agent"):
        SerfSide("a").hear_state_untrusted(b"\x03\x80")


def test_news_is_given_out_once() -> None:
    side = SerfSide("a")
    deploy = UserEvent(4, "deploy", b"v1", coalesce=True)
    assert side.hear_untrusted(encode(deploy)) == deploy
    assert side.hear_untrusted(encode(deploy)) is None
    again = UserEvent(5, "deploy", b"v1", coalesce=True)
    assert side.hear_untrusted(encode(again)) == again


def test_more_than_can_be_remembered_does_not_go_round_for_ever() -> None:
    sides = [SerfSide(name) for name in "abc"]
    given_out: list[tuple[int, bytes]] = []
    said = [(0, encode(UserEvent(5, f"event-{number}"))) for number in range(MAX_REMEMBERED + 90)]
    while said:
        side, payload = said.pop(0)
        if sides[side].hear_untrusted(payload) is not None:
            given_out.append((side, payload))
            assert len(given_out) == len(set(given_out))
            said += [(other, payload) for other in range(3) if other != side]
    assert len(given_out) >= MAX_REMEMBERED
    later = encode(UserEvent(6, "later"))
    assert all(side.hear_untrusted(later) is not None for side in sides)


def test_what_we_said_ourselves_is_no_news() -> None:
    side = SerfSide("a")
    said = [side.join_intent(), side.user_event("x", b"1"), side.leave_intent()]
    assert [side.hear_untrusted(payload) for payload in said] == [None, None, None]


def test_what_nobody_can_remember_any_more_is_no_news() -> None:
    """Else two members that have forgotten it would pass it to each other for ever."""
    side = SerfSide("a")
    side.hear_state_untrusted(state(0, 1000))
    assert side.hear_untrusted(encode(UserEvent(1000 - MAX_REMEMBERED - 1, "old"))) is None
    assert side.hear_untrusted(encode(UserEvent(1000 - MAX_REMEMBERED, "just in time"))) is not None


def test_intents_and_events_have_clocks_of_their_own() -> None:
    side = SerfSide("a")
    side.hear_untrusted(encode(JoinIntent(70, "b")))
    side.hear_untrusted(encode(UserEvent(30, "x")))
    assert decode_untrusted(side.user_event("y", b"")) == UserEvent(31, "y", b"")
    assert decode_untrusted(side.leave_intent()) == LeaveIntent(71, "a")


def test_a_flood_is_remembered_only_in_part_and_what_is_forgotten_is_no_news() -> None:
    side = SerfSide("a")
    flood = [JoinIntent(7 + number // 100, f"node-{number}") for number in range(3 * MAX_REMEMBERED)]
    for intent in flood:
        assert side.hear_untrusted(encode(intent)) is not None
    assert [intent for intent in flood if side.hear_untrusted(encode(intent)) is not None] == []
    assert side.hear_untrusted(encode(JoinIntent(7, "late"))) is None
    assert side.hear_untrusted(encode(UserEvent(7, "events have a clock of their own"))) is not None


def test_a_user_event_has_the_size_that_serf_allows() -> None:
    side = SerfSide("a")
    assert side.user_event("x", bytes(MAX_EVENT_BYTES - 1))
    with pytest.raises(LocalError, match="513 bytes; serf allows 512"):
        side.user_event("x", bytes(MAX_EVENT_BYTES))
