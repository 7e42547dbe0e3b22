"""Protocol versions: what a member announces, and whether two views may be merged (memberlist-protocol.md §7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gossip.config import VersionCheck
from gossip.messages import State

if TYPE_CHECKING:
    from collections.abc import Iterable

PROTOCOL_MIN: Final = 1
PROTOCOL_MAX: Final = 5
PORTS_SINCE: Final = 2
STREAM_PINGS_SINCE: Final = 3
NACKS_SINCE: Final = 4
CRC_SINCE: Final = 5
VERSIONS_BYTES: Final = 6


def own_versions(protocol: int, delegate: tuple[int, int, int]) -> bytes:
    """The six bytes that a member with this configuration announces."""
    return bytes((PROTOCOL_MIN, PROTOCOL_MAX, protocol, *delegate))


def are_sane(vsn: bytes | None) -> bool:
    """False for a range that no member can have; such an alive is ignored. Missing versions pass."""
    if vsn is None or len(vsn) < 3:
        return True
    low, high = vsn[0], vsn[1]
    return 0 < low <= high and high > 0


def disagreement(
    remote: Iterable[tuple[int, bytes | None]], local: Iterable[tuple[int, bytes]], check: VersionCheck
) -> str | None:
    """Why these views must not be merged, or ``None``. Both are (state, versions) of every member.

    The ranges are those of the live members; who must fit them is ``check``. With ``ALL`` a member without versions
    counts as version 0, as in memberlist; with ``ALIVE`` it is left out, so that it blocks nobody (§16 rows 7, 8).
    """
    remote_views, local_views = list(remote), list(local)
    announced = [vsn for state, vsn in remote_views if state == State.ALIVE and vsn is not None and len(vsn) >= 5]
    announced += [vsn for state, vsn in local_views if state == State.ALIVE]
    held = [
        (state, vsn if vsn is not None and len(vsn) >= VERSIONS_BYTES else bytes(VERSIONS_BYTES))
        for state, vsn in remote_views
    ]
    held += local_views
    if check is VersionCheck.ALIVE:
        announced = [vsn for vsn in announced if any(vsn)]
        held = [(state, vsn) for state, vsn in held if state == State.ALIVE and any(vsn)]
    for subject, low_at, current_at in (("protocol", 0, 2), ("delegate protocol", 3, 5)):
        lowest = max((vsn[low_at] for vsn in announced), default=0)
        highest = min((vsn[low_at + 1] for vsn in announced), default=255)
        for _, vsn in held:
            if not lowest <= vsn[current_at] <= highest:
                spoken = f"{lowest} to {highest} that all live members speak"
                return f"{subject} version {vsn[current_at]} is outside the range {spoken}"
    return None
