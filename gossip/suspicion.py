"""How long a suspicion lasts, and who has confirmed it (memberlist-protocol.md §9.5; Lifeguard, section IV-B).

The formulas are pure and stand beside the record that uses them. Durations are seconds; results are whole
milliseconds, as peers compute them, so that all members of a mixed ring wait alike.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gossip.timers import Timer


def suspicion_timeout(mult: int, n: int, interval: float) -> float:
    """The shortest time in which a member may refute, in a ring of ``n`` with this probe ``interval``."""
    node_scale = max(1.0, math.log10(max(1, n)))
    return mult * math.floor(node_scale * 1000) * interval / 1000


def expected_confirmations(mult: int, n: int) -> int:
    """Independent accusers that bring the timeout down to its minimum; 0 in a ring too small to have them."""
    k = mult - 2
    return 0 if n - 2 < k else max(0, k)


def remaining_suspicion_time(confirmations: int, k: int, elapsed: float, shortest: float, longest: float) -> float:
    """Seconds left after ``elapsed``, given the confirmations so far; at most 0 when the time is up."""
    fraction = math.log(confirmations + 1) / math.log(k + 1)
    total = math.floor(1000 * (longest - fraction * (longest - shortest))) / 1000
    return max(total, shortest) - elapsed


class Suspicion:
    """One suspicion of one member: started at an instant, shortened by each new accuser up to ``k`` of them."""

    __slots__ = ("accusers", "k", "longest", "shortest", "started_at", "timer")

    def __init__(self, accuser: str, k: int, shortest: float, longest: float, started_at: float) -> None:
        self.accusers = [accuser]
        self.k = k
        self.shortest = shortest
        self.longest = longest
        self.started_at = started_at
        self.timer: Timer | None = None

    @property
    def confirmations(self) -> int:
        """Accusers beside the first."""
        return len(self.accusers) - 1

    @property
    def expires_at(self) -> float:
        """The instant at which the member is held dead, by what is known now."""
        if self.k < 1:
            return self.started_at + self.shortest
        return self.started_at + remaining_suspicion_time(self.confirmations, self.k, 0.0, self.shortest, self.longest)

    def confirm(self, accuser: str) -> bool:
        """Count an accuser. False when it adds nothing: already heard, or enough of them."""
        if self.confirmations >= self.k or accuser in self.accusers:
            return False
        self.accusers.append(accuser)
        return True

    def cancel(self) -> None:
        """The member is cleared, or gone: never expire."""
        if self.timer is not None:
            self.timer.cancel()
