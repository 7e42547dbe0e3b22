"""Durations in Go's spelling."""

from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.durations import MAX_DURATION_CHARACTERS, parse_duration
from cluster.errors import ValueRefused

UNITS = {"ns": 10**-9, "us": 10**-6, "µs": 10**-6, "μs": 10**-6, "ms": 10**-3, "s": 1, "m": 60, "h": 3600}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90s", 90),
        ("1m30s", 90),
        ("1.5h", 5400),
        (".5s", Fraction(1, 2)),
        ("1.s", 1),
        ("-2s", -2),
        ("+2s", 2),
        ("1h15m30.918273645s", 3600 + 900 + 30 + Fraction(918273645, 10**9)),
        ("100us", Fraction(1, 10_000)),
        ("100µs", Fraction(1, 10_000)),
    ],
)
def test_what_go_takes(text: str, seconds: Fraction) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "90", "s", ".s", "1 s", "1d", "1s-", "--1s", "1e3s", "٣s", "1s\n", "0" * 64 + "s"]
)
def test_what_go_refuses(text: str) -> None:
    with pytest.raises(ValueRefused, match="is not a duration; write a number with its unit, such as 90s or 1m30s"):
        parse_duration(text)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(sorted(UNITS))), min_size=1, max_size=4))
def test_parts_add_up(parts: list[tuple[int, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in parts)
    assert len(text) <= MAX_DURATION_CHARACTERS
    assert float(parse_duration(text)) == pytest.approx(sum(number * UNITS[unit] for number, unit in parts))


@given(st.text(max_size=80))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    with suppress(ValueRefused):  # anything else is a failure
        parse_duration(text)
