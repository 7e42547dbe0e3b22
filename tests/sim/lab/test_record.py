"""What follows from a client's questions and answers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.lab.record import (
    Ask,
    Noise,
    Silence,
    Tenure,
    by_target,
    moves,
    noise,
    owners,
    read_line,
    silences,
    tenures,
    write_line,
)

EVERY = 0.005


def asked(story: str, start: float = 0.0) -> list[Ask]:
    """Questions, one a letter: who answered it, `.` for nobody, `*` for a and b both."""
    answers = {".": (), "*": ("b", "a")}
    asks = []
    for number, letter in enumerate(story):
        at = start + number * EVERY
        by = answers.get(letter, (letter,))
        asks.append(Ask("10.0.0.1", at, at, at + 0.001 if by else None, by))
    return asks


def test_a_silence_lasts_from_the_first_question_without_an_answer_to_the_next_that_gets_one() -> None:
    (silence,) = silences(asked("aaa...bb"))
    assert silence == Silence(3 * EVERY, 6 * EVERY, 3, 3)
    assert silence.lasts(until=99.0) == pytest.approx(3 * EVERY)


def test_a_silence_that_has_not_ended_lasts_up_to_the_end_of_the_record() -> None:
    assert [silence.lost for silence in silences(asked("a.a.."))] == [1, 2]
    last = silences(asked("a.a.."))[-1]
    assert last.ends_at is None
    assert last.lasts(until=1.0) == pytest.approx(1.0 - 3 * EVERY)


def test_an_answer_that_comes_late_is_silence_but_not_lost() -> None:
    asks = [replace(ask, answered_at=0.5) if ask.asked_at == 2 * EVERY else ask for ask in asked("aaa.aa")]
    assert silences(asks) == [Silence(2 * EVERY, 4 * EVERY, 2, 1)]


def test_a_meter_that_did_not_ask_heard_no_silence() -> None:
    assert silences(asked("aaa") + asked("aaa", start=60.0)) == []


@given(st.text("ab.*", max_size=60))
def test_every_lost_question_is_in_one_silence_and_every_answer_in_one_tenure(story: str) -> None:
    asks = asked(story)
    assert sum(silence.lost for silence in silences(asks)) == story.count(".")
    for ask in asks:
        held = [tenure for tenure in tenures(asks) if tenure.begins_at <= ask.asked_at <= tenure.ends_at]
        if ask.answered_at is not None:
            assert [tenure.nodes for tenure in held] == [tuple(sorted(ask.by))]
        quiet = [s for s in silences(asks) if s.begins_at <= ask.asked_at and (s.ends_at or 1e9) > ask.asked_at]
        assert len(quiet) == (ask.answered_at is None)


def test_tenures_and_moves() -> None:
    assert tenures(asked("aa.abb")) == [Tenure(("a",), 0.0, 3 * EVERY), Tenure(("b",), 4 * EVERY, 5 * EVERY)]
    assert moves(tenures(asked("aa.abb.a"))) == 2
    assert moves(tenures(asked("aa**bb"))) == 1  # an overlap is part of the move
    assert moves(tenures(asked("aa**aa"))) == 0
    assert moves(tenures(asked("..."))) == 0


def test_owners_are_the_fewest_and_the_most_that_answered_one_question() -> None:
    assert owners(asked("aa**b")) == (1, 2)
    assert owners(asked("aa..b.a")) == (1, 1)  # lost frames
    assert owners(asked("aa...b")) == (0, 1)
    assert owners(asked("..")) == (0, 0)
    assert owners([]) == (0, 0)


def test_the_meter_says_how_late_it_was() -> None:
    asks = [Ask("x", 0.0, 0.001, 0.003, ("a",)), Ask("x", 1.0, 1.004), Ask("x", 2.0, 2.002, 2.003, ("a",))]
    told = noise(asks)
    assert told.asks == 3
    assert (told.late_median, told.late_worst) == pytest.approx((0.002, 0.004))
    assert (told.answer_median, told.answer_worst) == pytest.approx((0.0015, 0.002))
    assert noise([]) == Noise(0, 0.0, 0.0, 0.0, 0.0)


def test_questions_are_sorted_by_target_and_time_whenever_their_answers_came() -> None:
    late = [Ask("y", 2.0, 2.0), Ask("x", 1.0, 1.0), Ask("y", 0.0, 0.0)]
    assert by_target(late) == {"x": [late[1]], "y": [late[2], late[0]]}


@given(
    st.builds(Ask, st.text(), st.floats(0, 1e9), st.floats(0, 1e9), st.none() | st.floats(0, 1e9), st.tuples(st.text()))
)
def test_a_line_is_read_as_it_was_written(ask: Ask) -> None:
    assert read_line(write_line(ask)) == ask


@pytest.mark.parametrize("line", ["", "nonsense", "[]", "{}", "1", '{"target": "x"}', '{"target": 1'])
def test_another_line_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"line|JSON|Expecting"):
        read_line(line)
