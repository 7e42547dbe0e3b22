"""What the fast process has to say: lines for the log and reports of addresses, on their way to the slow process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from speaker.chronicle import record_of
from speaker.demand import MAX_PART_OBJECTS
from speaker.events import AddressKnown, Announced, Event
from speaker.link import LogRecord, Report
from telemetry.levels import Level

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.model import Address
    from gossip.control import Notice
    from speaker.fast.child import Child
    from speaker.link import Value

NOTICE_LEVELS = {"failed": Level.WARN, "conflict": Level.WARN, "warning": Level.WARN, "lost": Level.WARN}
"""Notices of the ring that matter more than others."""

METADATA = ("meta", "previous")
"""What a notice shows that only the speakers can read."""


class Journal:
    """Tells the slow process. Nothing here waits."""

    def __init__(self, child: Child) -> None:
        self._child = child

    def say(self, level: Level, event: str, **fields: Value) -> None:
        """A line."""
        self._child.send(LogRecord(at=time.time(), level=level, event=event, fields=fields))

    def note(self, event: Event) -> None:
        """An event of the core."""
        record = record_of(event, time.time())
        if record is not None:
            self._child.send(record)
        if isinstance(event, Announced | AddressKnown):
            self._child.send(Report(known=(event.address,)))

    def note_ring(self, notice: Notice) -> None:
        """An event of the ring."""
        fields: dict[str, Value] = {"member": notice.member}
        if notice.address is not None:
            fields["address"] = "{}:{}".format(*notice.address)
        evidence = notice.evidence or {}
        fields.update((key, _plain(value)) for key, value in evidence.items() if key not in METADATA)
        level = NOTICE_LEVELS.get(notice.event, Level.INFO)
        event = "member" + notice.event.title().replace("_", "")
        self._child.send(LogRecord(at=notice.at, level=level, event=event, fields=fields))

    def report_known(self, addresses: Sequence[Address]) -> None:
        """All of them again, to a slow process that has just started."""
        for start in range(0, len(addresses), MAX_PART_OBJECTS):
            self._child.send(Report(known=tuple(addresses[start : start + MAX_PART_OBJECTS])))


def _plain(value: object) -> Value:
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
