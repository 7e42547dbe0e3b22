"""What is told of the ring's events, to a script and to a person."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip import (
    BroadcastSpread,
    Event,
    JoinCompleted,
    Member,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberSuspected,
    MemberUpdated,
    NameConflict,
    PingCompleted,
    PingTimedOut,
    State,
    StreamMessageSent,
    UserMessageReceived,
    UserStateReceived,
)
from gossip.control.notices import (
    MAX_RESTRAINED,
    MAX_SHOWN_BYTES,
    Notice,
    Restraint,
    describe_member,
    notice_of,
    notice_of_user_event,
    render_json,
    render_line,
)
from gossip.serf import UserEvent, encode_tags

VSN = bytes((1, 5, 2, 2, 5, 5))
BEA = Member("bea", ("10.0.0.2", 7946), b"\x01", VSN, 3, State.ALIVE, 0.0)
SIX = Member("six", ("2001:db8::6", 7946), b"", VSN, 1, State.ALIVE, 0.0)
AT = 1_795_507_711.25
"""2026-11-24 08:08:31.25 UTC."""
NOW = 100.0


def told(event: Event) -> Notice:
    notice = notice_of(event, AT, NOW)
    assert notice is not None
    return notice


@pytest.mark.parametrize(
    ("event", "name", "evidence"),
    [
        (MemberJoined(BEA), "joined", None),
        (MemberUpdated(BEA, SIX), "updated", {"meta": "01", "previous": ""}),
        (MemberSuspected(BEA, "ann", 103.5), "suspected", {"accuser": "ann", "expires_in": 3.5}),
        (MemberSuspected(BEA, "ann", 99.0), "suspected", {"accuser": "ann", "expires_in": 0.0}),
        (MemberFailed(BEA, "ann"), "failed", {"accuser": "ann"}),
        (MemberLeft(BEA), "left", None),
        (
            NameConflict(BEA, ("10.0.0.9", 7946)),
            "conflict",
            {
                "held_by": "10.0.0.2:7946",
                "claimed_by": "10.0.0.9:7946",
                "hint": "two members have this name: rename one, or stop one",
            },
        ),
    ],
)
def test_events_about_a_member(event: Event, name: str, evidence: object) -> None:
    assert told(event).as_json() == {
        "schema": 1,
        "at": AT,
        "event": name,
        "member": "bea",
        "address": "10.0.0.2",
        "port": 7946,
        "evidence": evidence,
    }


def test_events_about_what_came() -> None:
    message = told(UserMessageReceived(b"\x00\xff", ("10.0.0.2", 7946), reliable=True))
    assert message.as_json() == {
        "schema": 1,
        "at": AT,
        "event": "message",
        "member": None,
        "address": None,
        "port": None,
        "evidence": {"source": "10.0.0.2:7946", "reliable": True, "length": 2, "payload": "00ff"},
    }
    assert told(UserStateReceived(b"s", join=True)).evidence == {"join": True, "length": 1, "payload": "73"}
    event = notice_of_user_event(UserEvent(7, "deploy", b"v1"), AT)
    assert (event.event, event.evidence) == (
        "user-event",
        {"name": "deploy", "ltime": 7, "length": 2, "payload": "7631"},
    )


@pytest.mark.parametrize(
    "event",
    [
        JoinCompleted(1, (), ()),
        BroadcastSpread(1),
        StreamMessageSent(1, None),
        PingCompleted("bea", BEA.address, 0.1, b"", None),
        PingTimedOut("bea", BEA.address, 1),
    ],
)
def test_answers_to_a_caller_are_not_told(event: Event) -> None:
    assert notice_of(event, AT, NOW) is None


def test_a_large_payload_is_cut_and_its_length_told() -> None:
    notice = told(UserMessageReceived(bytes(MAX_SHOWN_BYTES + 1), ("10.0.0.2", 1), reliable=True))
    assert notice.evidence is not None
    assert notice.evidence["length"] == MAX_SHOWN_BYTES + 1
    assert notice.evidence["payload"] == "00" * MAX_SHOWN_BYTES
    assert len(render_line(notice)) < 400


def test_lines_for_a_person() -> None:
    lines = [
        told(MemberJoined(BEA)),
        told(MemberSuspected(SIX, "ann", 103.5)),
        told(UserMessageReceived(b"hello", ("10.0.0.2", 7946), reliable=False)),
        Notice(AT, "listening", "bea", BEA.address, {"api": None, "label": "", "encrypted": True}),
    ]
    assert "".join(render_line(notice) for notice in lines) == (
        "2026-11-24T08:08:31.250Z  joined      bea           10.0.0.2:7946\n"
        "2026-11-24T08:08:31.250Z  suspected   six           [2001:db8::6]:7946     accuser ann, expires in 3.5\n"
        "2026-11-24T08:08:31.250Z  message     -                                    "
        "source 10.0.0.2:7946, reliable no, length 5, payload 'hello'\n"
        "2026-11-24T08:08:31.250Z  listening   bea           10.0.0.2:7946          encrypted yes\n"
    )


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_no_name_or_payload_can_steer_a_terminal_or_break_a_line(name: bytes, payload: bytes) -> None:
    text = name.decode("utf-8", "surrogateescape")
    member = Member(text, ("10.0.0.2", 7946), b"", VSN, 1, State.ALIVE, 0.0)
    notices = [
        told(MemberFailed(member, text)),
        told(UserMessageReceived(payload, ("10.0.0.2", 1), reliable=False)),
        notice_of_user_event(UserEvent(1, text, payload), AT),
    ]
    for notice in notices:
        line = render_line(notice)
        assert line.endswith("\n")
        assert line[:-1].isprintable()
        shown = json.loads(render_json(notice))
        json.dumps(shown, ensure_ascii=False).encode()
        assert Notice.from_json(shown).as_json() == shown


def test_a_notice_comes_back_from_its_json() -> None:
    for notice in (told(MemberSuspected(BEA, "ann", 103.5)), Notice(AT, "warning", evidence={"reason": "x"})):
        assert Notice.from_json(notice.as_json()) == notice


@pytest.mark.parametrize(
    ("meta", "serf", "tags"),
    [
        (encode_tags({"role": "web"}), False, {"role": "web"}),
        (encode_tags({"role": "web"}), True, {"role": "web"}),
        (b"web", True, {"role": "web"}),
        (b"web", False, {}),
        (b"\xff\x01", True, {}),
        (b"", True, {}),
    ],
)
def test_tags_of_members(meta: bytes, serf: bool, tags: dict[str, str]) -> None:
    member = Member("caf\udce9", ("10.0.0.2", 7946), meta, VSN, 3, State.SUSPECT, 0.0)
    assert describe_member(member, serf=serf) == {
        "name": "caf\\xe9",
        "address": "10.0.0.2",
        "port": 7946,
        "state": "suspect",
        "incarnation": 3,
        "tags": tags,
        "meta": meta.hex(),
    }


def test_what_repeats_is_told_once_in_an_interval_for_each_subject() -> None:
    restraint = Restraint(10.0)
    assert [restraint.permits("a", now) for now in (0.0, 9.9, 10.0, 19.0)] == [True, False, True, False]
    assert restraint.permits("b", 19.0)


def test_subjects_beyond_the_limit_are_forgotten_longest_told_first() -> None:
    restraint = Restraint(10.0)
    for subject in range(MAX_RESTRAINED + 1):
        assert restraint.permits(subject, 0.0)
    assert restraint.permits(0, 1.0)
    assert not restraint.permits(MAX_RESTRAINED, 1.0)
