"""What layer 2 has done, as frozen values. Metrics, the status and the tests read these and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Ignored(StrEnum):
    """Why a frame got no answer. The value is what metrics say."""

    BAD_FRAME = "bad-frame"
    """No untagged ARP for IPv4 over Ethernet."""
    NOT_SERVED = "not-served"
    """It came on an interface that is not served on."""
    OWN = "own"
    """It came from this node."""
    NOT_A_REQUEST = "not-a-request"
    NOT_FOR_US = "not-for-us"
    """Its Ethernet destination is neither everybody nor the interface that it came on."""
    NOT_ANNOUNCED = "not-announced"
    """It asks for an address that is not announced here."""
    GROUP_SENDER = "group-sender"
    """The answer would go to a group of hosts, or to nobody."""
    OVERLOAD = "overload"
    """More answers waited to be sent than there is room for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressCounters:
    """Counts for one address since it was announced (metallb-interface.md §6.6, metallb_layer2_*)."""

    requests_received: int = 0
    """Those that an answer was due to."""
    responses_sent: int = 0
    gratuitous_sent: int = 0
    """Frames, on all interfaces together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class L2Statistics:
    """Counts since the start, except those said to be of now."""

    announced: int
    """Of now: addresses."""
    requesters: int
    """Of now: hosts that asked lately."""
    frames_waiting: int
    """Of now: handed out at the next drain."""
    requests_received: int
    """Those that an answer was due to."""
    responses_sent: int
    gratuitous_sent: int
    """Frames, those sent to one host included."""
    claims: int
    """Claims handed out or waiting to be."""
    claims_dropped: int
    """Claims for which there was no room."""
    ignored: Mapping[Ignored, int]
    """Every cause, also those that did not occur."""
