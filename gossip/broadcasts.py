"""News waiting to be piggybacked: a transmit-limited queue, and how a packet is filled from two of them.

Rules kept here:

* The least sent goes first, among those the longest that fits, then the newest (memberlist-protocol.md §10.1).
* Numbers that order entries never restart (§16 row 5); news about a member replaces older news about it, by name
  (§16 row 6).
* While user messages wait, membership news leaves them a share of each packet (§16 row 17); nothing is taken out
  that does not fit (row 18).
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from typing import TYPE_CHECKING, Final

from gossip.codec import MAX_COMPOUND_PARTS

if TYPE_CHECKING:
    from collections.abc import Callable

COMPOUND_ENTRY_BYTES: Final = 2
"""Each part of a compound costs its two-byte length (§4.2)."""
MAX_QUEUED_USER_MESSAGES: Final = 4096
"""User messages held for spreading at once; beyond it those sent most are dropped, then the shortest and oldest."""


def retransmit_limit(mult: int, n: int) -> int:
    """How often a message is sent in a ring of ``n``."""
    return mult * math.ceil(math.log10(n + 1))


class _Entry:
    __slots__ = ("key", "message", "number", "spread", "transmits")

    def __init__(self, message: bytes, key: str | None, number: int, spread: Callable[[], None] | None) -> None:
        self.message = message
        self.key = key
        self.number = number
        self.spread = spread
        self.transmits = 0

    @property
    def rank(self) -> tuple[int, int]:
        """Longest first, then newest."""
        return -len(self.message), -self.number


def _rank(entry: _Entry) -> tuple[int, int]:
    return entry.rank


class BroadcastQueue:
    """A transmit-limited queue (§10.1). ``limit_for`` gives the transmit limit at the moment of asking."""

    def __init__(self, limit_for: Callable[[], int]) -> None:
        self._limit_for = limit_for
        self._tiers: dict[int, list[_Entry]] = {}
        self._by_key: dict[str, _Entry] = {}
        self._numbers = 0
        self._size = 0
        self._bytes = 0

    def __len__(self) -> int:
        return self._size

    def __bool__(self) -> bool:
        return self._size > 0

    def queue(self, message: bytes, key: str | None = None, spread: Callable[[], None] | None = None) -> None:
        """Add a message. One with a ``key`` replaces the older one of that key; ``spread`` is called when it is
        done with."""
        if key is not None:
            older = self._by_key.pop(key, None)
            if older is not None:
                self._remove(older)
                _finish(older)
        self._numbers += 1
        entry = _Entry(message, key, self._numbers, spread)
        if key is not None:
            self._by_key[key] = entry
        self._insert(entry)

    def take(
        self, room: int, overhead: int = COMPOUND_ENTRY_BYTES, max_messages: int = MAX_COMPOUND_PARTS
    ) -> list[bytes]:
        """Messages that fit into ``room`` bytes at ``overhead`` each. Each taken one has been sent once more."""
        taken: list[_Entry] = []
        for transmits in sorted(self._tiers):
            tier = self._tiers[transmits]
            while tier and len(taken) < max_messages and room > overhead:
                place = bisect_left(tier, (-(room - overhead), -math.inf), key=_rank)
                if place == len(tier):
                    break
                entry = tier.pop(place)
                room -= overhead + len(entry.message)
                taken.append(entry)
            if not tier:
                del self._tiers[transmits]
        if taken:
            self._put_back(taken)
        return [entry.message for entry in taken]

    def pending_bytes(self, overhead: int = COMPOUND_ENTRY_BYTES) -> int:
        """What it would cost to send everything once."""
        return self._bytes + overhead * self._size

    def prune(self, keep: int) -> None:
        """Drop from the back of the order until at most ``keep`` are left."""
        while self._size > keep:
            transmits = max(self._tiers)
            entry = self._tiers[transmits][-1]
            self._remove(entry)
            self._release(entry)

    def _put_back(self, taken: list[_Entry]) -> None:
        limit = self._limit_for()
        for entry in taken:
            self._count(entry, -1)
            entry.transmits += 1
            if entry.transmits >= limit:
                self._release(entry)
            else:
                self._insert(entry)

    def _insert(self, entry: _Entry) -> None:
        insort(self._tiers.setdefault(entry.transmits, []), entry, key=_rank)
        self._count(entry, 1)

    def _remove(self, entry: _Entry) -> None:
        tier = self._tiers[entry.transmits]
        del tier[bisect_left(tier, entry.rank, key=_rank)]
        if not tier:
            del self._tiers[entry.transmits]
        self._count(entry, -1)

    def _count(self, entry: _Entry, change: int) -> None:
        self._size += change
        self._bytes += change * len(entry.message)

    def _release(self, entry: _Entry) -> None:
        if entry.key is not None and self._by_key.get(entry.key) is entry:
            del self._by_key[entry.key]
        _finish(entry)


def _finish(entry: _Entry) -> None:
    if entry.spread is not None:
        entry.spread()


class Broadcasts:
    """The two queues of a member, and how they share a packet."""

    def __init__(self, limit_for: Callable[[], int], user_share: float) -> None:
        self.membership = BroadcastQueue(limit_for)
        self.user = BroadcastQueue(limit_for)
        self._user_share = user_share

    def __bool__(self) -> bool:
        return bool(self.membership) or bool(self.user)

    def fill(self, room: int, max_messages: int = MAX_COMPOUND_PARTS) -> list[bytes]:
        """Messages for one packet with ``room`` bytes left, membership first (§10.2)."""
        reserved = min(int(room * self._user_share), self.user.pending_bytes()) if self.user else 0
        messages = self.membership.take(room - reserved, max_messages=max_messages) if self.membership else []
        if self.user:
            room -= sum(COMPOUND_ENTRY_BYTES + len(message) for message in messages)
            messages += self.user.take(room, max_messages=max_messages - len(messages))
        return messages
