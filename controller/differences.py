"""What is different between two lists of services, in time for what differs rather than for what is there.

Source: design.md §3 (only what an event touched is decided again).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress, count
from operator import is_not
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.model import ObjectName, Service


@dataclass(frozen=True, slots=True)
class Differences:
    """From one list of services to another."""

    changed: tuple[Service, ...]
    """New, or not equal to what they were; by name."""
    gone: tuple[ObjectName, ...]


def compare(before: Sequence[Service], after: Sequence[Service]) -> Differences:
    """What is different. Both are sorted by name, no name comes twice.

    A source gives what did not change as the same objects, and the beginning and the end that are the same are passed
    without a step of Python's for each.
    """
    start = next(compress(count(), map(is_not, before, after)), min(len(before), len(after)))
    room = min(len(before), len(after)) - start
    same = next(compress(count(), map(is_not, reversed(before), reversed(after))), room)
    return _merge(before[start : len(before) - same], after[start : len(after) - same])


def _merge(before: Sequence[Service], after: Sequence[Service]) -> Differences:
    changed = []
    gone = []
    index = 0
    for service in after:
        while index < len(before) and before[index] is not service and before[index].name < service.name:
            gone.append(before[index].name)
            index += 1
        if index < len(before) and (before[index] is service or before[index].name == service.name):
            if before[index] != service:
                changed.append(service)
            index += 1
        else:
            changed.append(service)
    gone += [service.name for service in before[index:]]
    return Differences(tuple(changed), tuple(gone))
