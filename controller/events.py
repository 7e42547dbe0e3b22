"""What the controller tells about a service, as Kubernetes events: a kind, a reason people grep for, a message.

Source: docs/specs/metallb-interface.md §3.10.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cluster.model import ObjectName


class EventType(StrEnum):
    """Whether somebody should look."""

    NORMAL = "Normal"
    WARNING = "Warning"


class Reason(StrEnum):
    """Why an event is told, and why a service has no address."""

    IP_ALLOCATED = "IPAllocated"
    """The service got addresses that it did not have."""
    CLEAR_ASSIGNMENT = "ClearAssignment"
    """What it has is not allowed any more; another is tried in the same pass."""
    ALLOCATION_FAILED = "AllocationFailed"
    """It has none. It is tried again when something changes that could help."""
    NOT_ENOUGH_CLUSTER_IPS = "not enough clusterips"
    """RequireDualStack without a cluster IP of each family."""
    NO_FAMILY = "noclusterIPsIPFamily"
    """Its address family cannot be told."""
    DEPRECATED_ANNOTATION = "deprecatedAnnotation"
    """It uses annotations under MetalLB's old prefix."""


TYPES: dict[Reason, EventType] = {
    Reason.IP_ALLOCATED: EventType.NORMAL,
    Reason.CLEAR_ASSIGNMENT: EventType.NORMAL,
    Reason.ALLOCATION_FAILED: EventType.WARNING,
    Reason.NOT_ENOUGH_CLUSTER_IPS: EventType.WARNING,
    Reason.NO_FAMILY: EventType.WARNING,
    Reason.DEPRECATED_ANNOTATION: EventType.WARNING,
}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that became true of a service. It is told once, when it does."""

    service: ObjectName
    reason: Reason
    message: str

    @property
    def type(self) -> EventType:
        """Normal or Warning, by the reason."""
        return TYPES[self.reason]
