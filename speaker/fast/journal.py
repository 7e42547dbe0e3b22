"""What the fast process has to say: lines for the log and reports of addresses, on their way to the slow process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from speaker.chronicle import record_of
from speaker.events import Announced, Event, OwnerChanged, Withdrawn
from speaker.link import Level, LogRecord, Report

if TYPE_CHECKING:
    from collections.abc import Iterable

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

    def __init__(self, node: str, child: Child) -> None:
        self._node = node
        self._child = child

    def say(self, level: Level, event: str, **fields: Value) -> None:
        """A line."""
        self._child.send(LogRecord(at=time.time(), level=level, event=event, fields=fields))

    def note(self, event: Event) -> None:
        """An event of the core."""
        self._child.send(record_of(event, time.time()))
        match event:
            case Announced(address, _):
                self._child.send(Report(announced=(address,), known=(address,)))
            case Withdrawn(address, _):
                self._child.send(Report(withdrawn=(address,)))
            case OwnerChanged(decision, _) if decision.owner != self._node:
                self._child.send(Report(known=decision.addresses))
            case _:
                pass

    def note_ring(self, notice: Notice) -> None:
        """An event of the ring."""
        fields: dict[str, Value] = {"member": notice.member}
        if notice.address is not None:
            fields["address"] = "{}:{}".format(*notice.address)
        evidence = notice.evidence or {}
        fields.update((key, str(value)) for key, value in evidence.items() if key not in METADATA)
        level = NOTICE_LEVELS.get(notice.event, Level.INFO)
        event = "member" + notice.event.title().replace("_", "")
        self._child.send(LogRecord(at=notice.at, level=level, event=event, fields=fields))

    def report_all(self, announced: Iterable[Address], part: int) -> None:
        """Everything again, to a slow process that has just started."""
        addresses = tuple(announced)
        self._child.send(Report(is_reset=True, announced=addresses[:part], known=addresses[:part]))
        for start in range(part, len(addresses), part):
            some = addresses[start : start + part]
            self._child.send(Report(announced=some, known=some))
