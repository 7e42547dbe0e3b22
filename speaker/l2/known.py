"""What is kept for one address that is announced, or watched, or both."""

from __future__ import annotations

import math
from ipaddress import IPv4Address
from typing import Final

from speaker.l2.statistics import AddressCounters
from speaker.l2.timers import Timer


class Known:
    """One address. The trains, the claims and the announcer each keep their part of it here."""

    __slots__ = (
        "address", "backoff", "claimed_at", "gratuitous_sent", "is_announced", "is_watched", "packed",
        "reannounce_after", "requests_received", "responses_sent", "restart",
    )  # fmt: skip

    def __init__(self, address: IPv4Address) -> None:
        self.address: Final = address
        self.packed: Final = address.packed
        self.is_announced = False
        self.is_watched = False
        self.claimed_at = -math.inf
        """When a claim was last told."""
        self.reannounce_after = -math.inf
        self.backoff = 0.0
        """Seconds from the next re-announcement to the one after it."""
        self.restart: Timer[Known] | None = None
        """A re-announcement that has to wait."""
        self.reset_counters()

    def reset_counters(self) -> None:
        """Count from zero."""
        self.requests_received = 0
        self.responses_sent = 0
        self.gratuitous_sent = 0

    def counters(self) -> AddressCounters:
        """The counts as they are now."""
        return AddressCounters(
            requests_received=self.requests_received,
            responses_sent=self.responses_sent,
            gratuitous_sent=self.gratuitous_sent,
        )
