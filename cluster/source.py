"""What a source of desired state gives, whichever it is: a snapshot that is in force, and what is wrong with it.

Rules kept here:

* A snapshot is swapped whole. What is wrong never takes the last good one away.
* What was reported is in the snapshots from then on, whether or not it could be written yet.

Source: design.md §8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cluster.errors import ClusterError, Problem

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from cluster.model import ServiceStatus, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReading:
    """What a source says at one instant."""

    snapshot: Snapshot | None
    """What is in force: the last that was good, with the statuses of now. None before there was any."""
    problems: tuple[Problem, ...] = ()
    """What is wrong with the manifests of now; while there is any, the snapshot is an older one."""
    warnings: tuple[Problem, ...] = ()
    """What is wrong and keeps nothing back: a status that cannot be read, or not be written yet."""


class Source(Protocol):
    """Where the desired state comes from, and where statuses go."""

    def snapshots(self) -> AsyncGenerator[SourceReading, None]:
        """A reading now, and another whenever it is a different one, for ever. Raises SourceTaken."""
        ...

    async def report(self, *statuses: ServiceStatus) -> tuple[Problem, ...]:
        """Write statuses, in this order, and give back why some could not be written.

        Raises nothing: they are tried again for as long as `snapshots` is iterated, and are warnings of its readings.
        """
        ...


class SourceTaken(ClusterError):
    """Another controller writes the statuses of this source."""
