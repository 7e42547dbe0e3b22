"""How layer 2 announces: times and rates, and what follows from them.

Source: design.md §6; docs/specs/metallb-interface.md §4.6 for the frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from speaker.l2.requesters import MAX_PER_ADDRESS

MAX_ROUND_FRAMES = 2 + MAX_PER_ADDRESS
"""A request, a reply, and an answer for each host that asked lately."""


@dataclass(frozen=True, slots=True, kw_only=True)
class L2Config:
    """Times are seconds. Raises ValueError where they contradict each other."""

    train: tuple[float, ...] = (0.0, 0.02, 0.1, 0.3, 0.9)
    """When everybody is told after an address was gained. The first lost frame is made up for within 20 ms, a switch
    that learns slowly within the second; more cost every host of the LAN an interrupt for each address."""
    refresh_interval: float = 60.0
    """Between two refreshes afterwards. Shorter mends a wrong cache sooner and costs bandwidth in proportion."""
    refresh_jitter: float = 0.1
    """Part of the interval by which each may be early or late, so that thousands of addresses do not stay in step."""
    backoff_min: float = 1.0
    """Between the first two re-announcements of an address; doubled for each further one."""
    backoff_max: float = 60.0
    """Most between two re-announcements; when none was wanted for as long, the next counts as the first."""
    frames_per_second: float = 8000.0
    """Unasked frames on one interface. 3,300 addresses have been told of once in 0.42 s; it is 5 Mbit/s on the wire."""
    frames_per_turn: int = 128
    """Unasked frames made in one go: about a millisecond."""

    def __post_init__(self) -> None:
        if not self.train or self.train[0] != 0 or any(late <= early for early, late in pairwise(self.train)):
            raise ValueError(f"l2.train {self.train} must begin with 0 and ascend")
        if not 0 <= self.refresh_jitter < 1:
            raise ValueError(f"l2.refresh_jitter {self.refresh_jitter} must be in [0, 1)")
        if not 0 < self.backoff_min <= self.backoff_max:
            raise ValueError(f"l2.backoff_min {self.backoff_min} must be in (0, l2.backoff_max {self.backoff_max}]")
        if self.refresh_interval <= 0 or self.frames_per_second <= 0:
            raise ValueError("l2.refresh_interval and l2.frames_per_second must be more than 0")
        if self.frames_per_turn < MAX_ROUND_FRAMES:
            raise ValueError(f"l2.frames_per_turn {self.frames_per_turn} must be at least {MAX_ROUND_FRAMES}")
