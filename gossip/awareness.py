"""Lifeguard's health score: how far a member trusts its own view (memberlist-protocol.md §9.4)."""

from __future__ import annotations


class Awareness:
    """An integer in ``0 .. maximum - 1``; 0 is healthy. Deadlines of probes are multiplied by score + 1."""

    __slots__ = ("_maximum", "score")

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self.score = 0

    def apply(self, delta: int) -> None:
        """Add ``delta`` and clamp."""
        self.score = max(0, min(self._maximum - 1, self.score + delta))

    def scale(self, duration: float) -> float:
        """``duration`` (seconds) stretched by the score."""
        return duration * (self.score + 1)
