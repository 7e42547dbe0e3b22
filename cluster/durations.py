"""Durations as Go writes them: `90s`, `1m30s`, `1.5h`.

Source: docs/specs/metallb-interface.md §1.4; the grammar is that of Go's time.ParseDuration.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from cluster.errors import ValueRefused, quote

MAX_DURATION_CHARACTERS: Final = 64
"""Characters of a duration."""

_UNITS: Final = {
    "ns": Fraction(1, 10**9),
    "us": Fraction(1, 10**6),
    "µs": Fraction(1, 10**6),  # the sign for micro …
    "μs": Fraction(1, 10**6),  # … and the Greek letter
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
}
_PART = re.compile(rf"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)({'|'.join(_UNITS)})")
_WHOLE = re.compile(rf"(?P<sign>[+-]?)(?:0|(?:{_PART.pattern})+)")


def parse_duration(text: str) -> Fraction:
    """Seconds, exactly. Zero needs no unit; anything else does. Raises ValueRefused."""
    found = _WHOLE.fullmatch(text) if len(text) <= MAX_DURATION_CHARACTERS else None
    if not found:
        raise ValueRefused(f"{quote(text)} is not a duration", "write a number with its unit, such as 90s or 1m30s")
    seconds = sum((Fraction(number) * _UNITS[unit] for number, unit in _PART.findall(text)), Fraction())
    return -seconds if found["sign"] == "-" else seconds
