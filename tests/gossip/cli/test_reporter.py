"""What an agent makes of its ring's events."""

from __future__ import annotations

from dataclasses import replace

from gossip import (
    BroadcastSpread,
    Event,
    Member,
    MemberJoined,
    NameConflict,
    State,
    UserMessageReceived,
    UserStateReceived,
)
from gossip.codec import encode as encode_message
from gossip.control.notices import Notice
from gossip.control.reporter import NOTHING, TOLD_INTERVAL, Report, Reporter
from gossip.messages import Dead, Suspect
from gossip.packing import pack
from gossip.serf import JoinIntent, LeaveIntent, SerfSide, UserEvent, decode_untrusted, encode
from tests.gossip.helpers import make_member

BEA = Member("bea", ("10.0.0.2", 7946), b"", bytes(6), 3, State.ALIVE, 0.0)
CONFLICT = NameConflict(BEA, ("10.0.0.9", 7946))
STATE = UserStateReceived(b"\x02\x81" + pack("LTime") + pack(8), join=True)


def message(payload: bytes) -> UserMessageReceived:
    return UserMessageReceived(payload, ("10.0.0.2", 7946), reliable=False)


def names(report: Report) -> list[str]:
    return [notice.event for notice in report.notices]


def hear(reporter: Reporter, *events: Event, now: float = 0.0) -> list[str]:
    return [name for event in events for name in names(reporter.hear(event, 1e9 + now, now))]


def test_events_are_told_and_answers_to_callers_are_not() -> None:
    assert hear(Reporter("ann", None), MemberJoined(BEA), message(b"x"), BroadcastSpread(1), STATE) == [
        "joined",
        "message",
        "state",
    ]


def test_a_conflict_is_told_once_in_a_while_for_each_claim() -> None:
    reporter = Reporter("ann", None)
    other = NameConflict(BEA, ("10.0.0.10", 7946))
    assert hear(reporter, CONFLICT, CONFLICT, other) == ["conflict", "conflict"]
    assert hear(reporter, CONFLICT, now=TOLD_INTERVAL) == ["conflict"]


def test_what_cannot_be_read_is_warned_of_with_source_and_reason_once_in_a_while() -> None:
    reporter, member = Reporter("ann", None), make_member("ann")
    assert reporter.check(member.statistics(), 1e9, 0.0) == NOTHING
    for _ in range(3):
        member.receive_datagram(b"\xff", ("10.0.0.66", 7946), 0.0)
    (warning,) = reporter.check(member.statistics(), 1e9, 0.0).notices
    assert (warning.at, warning.event, warning.member) == (1e9, "warning", None)
    assert warning.evidence is not None
    assert str(warning.evidence["reason"]).startswith("cannot be read: 10.0.0.66 port 7946: ")
    assert (warning.evidence["datagrams"], warning.evidence["streams"]) == (3, 0)
    assert "--key-file" in str(warning.evidence["hint"])

    member.receive_datagram(b"\xff", ("10.0.0.66", 7946), 1.0)
    assert reporter.check(member.statistics(), 1e9, 1.0) == NOTHING
    member.receive_datagram(b"\xff", ("10.0.0.66", 7946), 9.0)
    (later,) = reporter.check(member.statistics(), 1e9, TOLD_INTERVAL).notices
    assert later.evidence is not None
    assert later.evidence["datagrams"] == 2


def test_a_stream_that_cannot_be_read_is_warned_of_too() -> None:
    statistics = replace(make_member().statistics(), stream_problems=1, last_stream_problem="10.0.0.3 port 5: no")
    (warning,) = Reporter("ann", None).check(statistics, 1e9, 0.0).notices
    assert warning.evidence is not None
    assert warning.evidence["reason"] == "cannot be read: 10.0.0.3 port 5: no"


def test_accusations_that_were_refuted_are_told_together_and_once() -> None:
    reporter, member = Reporter("ann", None), make_member("ann")
    for incarnation in (1, 2):
        member.receive_datagram(encode_message(Suspect(incarnation, "ann", "bea")), ("10.0.0.2", 7946), 0.0)
    assert reporter.check(member.statistics(), 1e9, 0.0) == Report(
        (Notice(1e9, "refuted", "ann", evidence={"accusations": 2, "incarnation": 3}),)
    )
    assert reporter.check(member.statistics(), 1e9, 1.0) == NOTHING
    member.receive_datagram(encode_message(Dead(3, "ann", "bea")), ("10.0.0.2", 7946), 1.0)
    assert names(reporter.check(member.statistics(), 1e9, 2.0)) == ["refuted"]


def test_who_is_accused_and_hears_nonsense_is_told_of_both() -> None:
    statistics = replace(make_member().statistics(), refutations=1, datagram_problems=1)
    assert names(Reporter("ann", None).check(statistics, 1e9, 0.0)) == ["refuted", "warning"]


# ---- with serf's habits


def test_a_user_event_is_told_and_passed_on_once() -> None:
    reporter, deploy = Reporter("ann", SerfSide("ann")), message(encode(UserEvent(1, "deploy", b"v1")))
    report = reporter.hear(deploy, 1e9, 0.0)
    assert names(report) == ["user-event"]
    assert report.spread == (deploy.payload,)
    assert reporter.hear(deploy, 1e9, 0.0) == NOTHING


def test_intents_are_passed_on_and_not_told() -> None:
    intent = message(encode(JoinIntent(4, "bea")))
    assert Reporter("ann", SerfSide("ann")).hear(intent, 1e9, 0.0) == Report(spread=(intent.payload,))


def test_who_joins_says_so_with_a_time_above_all_others() -> None:
    reporter = Reporter("ann", SerfSide("ann"))
    (said,) = reporter.hear(STATE, 1e9, 0.0).spread
    assert decode_untrusted(said) == JoinIntent(9, "ann")
    assert reporter.hear(replace(STATE, join=False), 1e9, 0.0) == NOTHING


def test_a_false_intent_that_we_leave_is_voided_until_we_do_leave() -> None:
    reporter = Reporter("ann", SerfSide("ann"))
    (said,) = reporter.hear(message(encode(LeaveIntent(6, "ann"))), 1e9, 0.0).spread
    assert decode_untrusted(said) == JoinIntent(7, "ann")
    reporter.leaving = True
    true = message(encode(LeaveIntent(9, "ann")))
    assert reporter.hear(true, 1e9, 0.0).spread == (true.payload,)


def test_what_is_not_serfs_is_warned_of_once_in_a_while() -> None:
    reporter = Reporter("ann", SerfSide("ann"))
    odd: list[Event] = [message(b"\x00\xc1"), message(b"\x03\x01"), UserStateReceived(b"mine", join=False)]
    assert hear(reporter, *odd) == ["warning"]
    assert hear(reporter, *odd, now=TOLD_INTERVAL) == ["warning"]


def test_queries_are_neither_told_nor_passed_on() -> None:
    assert Reporter("ann", SerfSide("ann")).hear(message(b"\x04\x80"), 1e9, 0.0) == NOTHING
