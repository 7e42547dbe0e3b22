"""What the controller tells, as log lines.

Rules kept here:

* What is wrong is said when it begins, with its place and its cure, and once more when it is over.
* What became of a service is said once, when it does.

Source: docs/specs/metallb-interface.md §3.10, §6.7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from controller.events import EventType, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.errors import Problem
    from cluster.model import Address, ObjectName, Snapshot
    from cluster.source import SourceReading
    from controller.reconciler import Outcome
    from telemetry.logs import Log

MAX_TOLD: Final = 20
"""Problems of one reading that are told; the others are counted."""
NOT_CONFIGURED: Final = "nothing configures pools; write the ConfigMap metallb-system/config"

_EVENTS: Final = {
    Reason.IP_ALLOCATED: "ipAllocated",
    Reason.CLEAR_ASSIGNMENT: "clearAssignment",
    Reason.ALLOCATION_FAILED: "allocationFailed",
    Reason.NOT_ENOUGH_CLUSTER_IPS: "notEnoughClusterIPs",
    Reason.NO_FAMILY: "noIPFamily",
    Reason.DEPRECATED_ANNOTATION: "deprecatedAnnotation",
}
"""What the log calls the events of services."""


class Notices:
    """Tells what readings and outcomes bring that is new."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._problems: dict[Problem, None] = {}
        self._warnings: dict[Problem, None] = {}
        self._is_loaded = False
        self._is_configured = True
        self._addresses: dict[ObjectName, tuple[Address, ...]] = {}

    def hear(self, reading: SourceReading) -> None:
        """A reading of the source: what is wrong now, and what is no longer."""
        self._tell_problems(reading)
        self._tell_warnings(reading)
        if reading.snapshot is not None:
            self._tell_of_snapshot(reading.snapshot)

    def tell(self, outcome: Outcome) -> None:
        """What follows from a snapshot."""
        statuses = {status.service: status for status in outcome.statuses}
        for event in outcome.events:
            status = statuses.get(event.service)
            ips = [str(address) for address in status.ingress] if status else []
            write = self._log.info if event.type is EventType.NORMAL else self._log.warning
            pool = status.pool if status else None
            key = "msg" if event.type is EventType.NORMAL else "error"
            name = _EVENTS[event.reason]
            write(
                name, service=str(event.service), ip=ips or None, pool=pool, reason=event.reason, **{key: event.message}
            )
        for status in outcome.statuses:
            self._addresses[status.service] = status.ingress
            ips = [str(address) for address in status.ingress]
            self._log.info(
                "serviceUpdated", service=str(status.service), ip=ips, pool=status.pool, reason=status.reason
            )

    def _tell_problems(self, reading: SourceReading) -> None:
        before, self._problems = self._problems, dict.fromkeys(reading.problems)
        state = "what was in force before stays" if reading.snapshot is not None else "nothing is in force"
        self._tell_new(self._log.error, "configStale", self._problems, before, state)
        if not self._problems and (before or not self._is_loaded):
            self._is_loaded = True
            self._log.info("configLoaded", msg="the manifests are right")

    def _tell_warnings(self, reading: SourceReading) -> None:
        before, self._warnings = self._warnings, dict.fromkeys(reading.warnings)
        self._tell_new(self._log.warning, "sourceFailed", self._warnings, before, None)
        if before and not self._warnings:
            self._log.info("sourceRestored", msg="statuses are read and written again")

    def _tell_new(
        self,
        write: Callable[..., None],
        event: str,
        now: dict[Problem, None],
        before: dict[Problem, None],
        msg: str | None,
    ) -> None:
        new = [problem for problem in now if problem not in before]
        for problem in new[:MAX_TOLD]:
            write(
                event,
                file=problem.place.file,
                line=problem.place.line,
                column=problem.place.column,
                error=problem.message,
                hint=problem.hint,
                msg=msg,
            )
        if len(new) > MAX_TOLD:
            write(event, error=f"and {len(new) - MAX_TOLD} more", hint="see `starling check`", msg=msg)

    def _tell_of_snapshot(self, snapshot: Snapshot) -> None:
        if self._is_configured and not snapshot.is_configured:
            self._log.warning("noConfig", error=NOT_CONFIGURED)
        self._is_configured = snapshot.is_configured
        before, self._addresses = self._addresses, {service.name: service.ingress for service in snapshot.services}
        for name, addresses in before.items():
            if name not in self._addresses:
                self._log.info("serviceDeleted", service=str(name), ip=[str(address) for address in addresses])
