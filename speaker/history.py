"""Where each address has been: the last moves, for `why`."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from cluster.model import Address

MAX_MOVES: Final = 16
"""Moves kept for one group."""


@dataclass(frozen=True, slots=True)
class Move:
    """A group went from one node to another; None is nobody."""

    at: float
    previous: str | None
    owner: str | None


class History:
    """The moves of every group that there is."""

    def __init__(self) -> None:
        self._moves: dict[Address, deque[Move]] = {}

    def note(self, key: Address, move: Move) -> None:
        """A group has moved."""
        self._moves.setdefault(key, deque(maxlen=MAX_MOVES)).append(move)

    def forget(self, key: Address) -> None:
        """There is no such group any more."""
        self._moves.pop(key, None)

    def moves(self, key: Address) -> tuple[Move, ...]:
        """The last moves of a group, oldest first."""
        return tuple(self._moves.get(key, ()))
