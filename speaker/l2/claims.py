"""Claims: what somebody else says to be theirs by sending ARP with it as the sender, of any kind (RFC 5227 §2.4).

Rules kept here:

* However often an address is claimed, one claim in CLAIM_INTERVAL is told; at most MAX_CLAIMS wait to be read.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from speaker.l2.interfaces import Interface
from speaker.l2.known import Known

MAX_CLAIMS: Final = 256
"""Claims waiting to be drained."""
CLAIM_INTERVAL: Final = 1.0
"""Seconds between two claims told of one address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Somebody else says that an address is theirs."""

    address: IPv4Address
    mac: bytes
    """The hardware address that they tell; none of this node's."""
    index: int
    interface: str
    """Where it was heard, by number and by name."""
    at: float


class Claims:
    """The queue. ``told`` and ``dropped`` count."""

    __slots__ = ("_waiting", "dropped", "told")

    def __init__(self) -> None:
        self._waiting: Final[deque[Claim]] = deque()
        self.told = 0
        self.dropped = 0
        """For want of room."""

    def hear(self, known: Known, mac: bytes, interface: Interface, now: float) -> None:
        """The hardware address claims the address."""
        if now - known.claimed_at < CLAIM_INTERVAL:
            return
        if len(self._waiting) >= MAX_CLAIMS:
            self.dropped += 1
            return
        known.claimed_at = now
        self.told += 1
        self._waiting.append(
            Claim(address=known.address, mac=mac, index=interface.index, interface=interface.name, at=now)
        )

    def take(self) -> Claim | None:
        """The next one; None when there is no more."""
        return self._waiting.popleft() if self._waiting else None
