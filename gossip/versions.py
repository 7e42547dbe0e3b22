"""Protocol versions: what a member announces, and whether two views may be merged (memberlist-protocol.md §7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gossip.config import VersionCheck
from gossip.members import NO_VERSIONS
from gossip.messages import State
from gossip.policy import Refusal

if TYPE_CHECKING:
    from gossip.members import Record
    from gossip.messages import NodeState

PROTOCOL_MIN: Final = 1
PROTOCOL_MAX: Final = 5
PORTS_SINCE: Final = 2
STREAM_PINGS_SINCE: Final = 3
NACKS_SINCE: Final = 4
CRC_SINCE: Final = 5
VERSIONS_BYTES: Final = 6
RANGES_BYTES: Final = 5
"""As many hold both ranges; the last byte is the version in use."""


def own_versions(protocol: int, delegate: tuple[int, int, int]) -> bytes:
    """The six bytes that a member with this configuration announces."""
    return bytes((PROTOCOL_MIN, PROTOCOL_MAX, protocol, *delegate))


def are_sane(vsn: bytes | None) -> bool:
    """False for a range that no member can have; such an alive is ignored. Missing versions pass."""
    if vsn is None or len(vsn) < 3:
        return True
    low, high = vsn[0], vsn[1]
    return 0 < low <= high and high > 0


class _Span:
    """The range that all live members speak of one protocol, and the oldest and newest that is in use."""

    def __init__(self, subject: str, low_at: int) -> None:
        self.subject = subject
        self.low_at = low_at
        self.lowest, self.highest = 0, 255
        self.oldest, self.newest = 255, 0

    def narrow(self, vsn: bytes) -> None:
        self.lowest = max(self.lowest, vsn[self.low_at])
        self.highest = min(self.highest, vsn[self.low_at + 1])

    def use(self, vsn: bytes) -> None:
        current = vsn[self.low_at + 2]
        self.oldest = min(self.oldest, current)
        self.newest = max(self.newest, current)

    @property
    def misfit(self) -> int | None:
        """A version in use that is out of range. Without any in use, there is none."""
        if self.oldest > self.newest:
            return None
        in_use = (self.oldest, self.newest)
        return next((version for version in in_use if not self.lowest <= version <= self.highest), None)


class VersionSurvey:
    """The versions in two views, added member by member, and whether everybody's is in everybody's range.

    The ranges are those of the live members; who must fit them is ``check``. With ``ALL`` a member without versions
    counts as version 0, as in memberlist; with ``ALIVE`` it is left out, so that it blocks nobody (§16 rows 7, 8).
    """

    def __init__(self, check: VersionCheck) -> None:
        self._only_alive = check is VersionCheck.ALIVE
        self._spans = (_Span("protocol", 0), _Span("delegate protocol", 3))

    def add(self, member: NodeState | Record) -> None:
        """Count one member in."""
        vsn = member.vsn or b""
        is_alive = member.state == State.ALIVE
        if self._only_alive and not (is_alive and any(vsn)):
            return
        is_whole = len(vsn) >= VERSIONS_BYTES
        for span in self._spans:
            if is_alive and len(vsn) >= RANGES_BYTES:
                span.narrow(vsn)
            if is_whole or not self._only_alive:
                span.use(vsn if is_whole else NO_VERSIONS)

    def objection(self) -> Refusal | None:
        """Why the views must not be merged."""
        for span in self._spans:
            if span.misfit is not None:
                spoken = f"{span.lowest} to {span.highest} that all live members speak"
                return Refusal(f"{span.subject} version {span.misfit} is outside the range {spoken}")
        return None
