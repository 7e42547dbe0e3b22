"""When what failed is tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

RETRY_MIN: Final = 1.0
RETRY_MAX: Final = 60.0
"""Seconds from a try to the next: doubled from the one to the other."""


def retry_delays() -> Iterator[float]:
    """Seconds before each further try of what goes on failing, for ever."""
    delay = RETRY_MIN
    while True:
        yield delay
        delay = min(2 * delay, RETRY_MAX)
