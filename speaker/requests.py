"""What a speaker is asked over its control socket, beside what every member of the ring answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gossip.control import REQUESTS, Request, Requests


@dataclass(frozen=True, slots=True)
class ShowDecision(Request):
    """Who owns an address, and why."""

    address: str


@dataclass(frozen=True, slots=True)
class ShowStatus(Request):
    """How the speaker fares. Addresses come as items, some at a time."""


SPEAKER_REQUESTS: Final[Requests] = {"why": ShowDecision, "status": ShowStatus}
"""The speaker's own requests by their names on the socket."""
ALL_REQUESTS: Final[Requests] = {**REQUESTS, **SPEAKER_REQUESTS}
"""Everything that a speaker answers."""
