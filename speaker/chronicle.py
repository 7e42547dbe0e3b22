"""What the core's events read like in the log: one table from event to line.

Names of events and keys are MetalLB's where it has them (docs/specs/metallb-interface.md §6.7).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from speaker.events import (
    AddressInUse,
    Announced,
    Event,
    MemberClaims,
    NobodyAnnounces,
    OwnerChanged,
    ProxyARPFound,
    StrangerClaims,
    Withdrawn,
    Yielded,
)
from speaker.link import LogRecord, Value
from speaker.ownership import REASONS, Decision
from telemetry.levels import Level

Line = tuple[Level, str, Mapping[str, Value]]


def _about(decision: Decision) -> dict[str, Value]:
    return {
        "ips": tuple(map(str, decision.addresses)),
        "service": ",".join(map(str, decision.services)),
        "protocol": "layer2",
    }


def _owner_changed(event: OwnerChanged) -> Line:
    return Level.INFO, "ownerChanged", {**_about(event.decision), "from": event.previous, "to": event.decision.owner}


def _nobody(event: NobodyAnnounces) -> Line:
    reasons = tuple(event.decision.reasons) or tuple(
        dict.fromkeys(reason for candidate in event.decision.candidates for reason in candidate.reasons)
    )
    said = "; ".join(REASONS[reason] for reason in reasons)
    return Level.WARN, "nobodyAnnounces", {**_about(event.decision), "reason": said}


def _announced(event: Announced) -> Line:
    return Level.INFO, "serviceAnnounced", {"ip": str(event.address), "interfaces": event.interfaces}


def _withdrawn(event: Withdrawn) -> Line:
    return Level.INFO, "serviceWithdrawn", {"ip": str(event.address), "reason": event.reason}


def _in_use(event: AddressInUse) -> Line:
    cure = "take the address from that machine, or out of the pool"
    return (
        Level.WARN,
        "addressInUse",
        {**_claim(event), "retry_after": event.retry_after, "msg": f"the address is not announced; {cure}"},
    )


def _proxy(event: ProxyARPFound) -> Line:
    return (
        Level.WARN,
        "proxyARP",
        {**_claim(event), "msg": "it answers for unused addresses too; announced all the same"},
    )


def _stranger(event: StrangerClaims) -> Line:
    return (
        Level.WARN,
        "strangerClaims",
        {**_claim(event), "msg": "two machines answer for the address; this one goes on"},
    )


def _member(event: MemberClaims) -> Line:
    fields = {"ip": str(event.address), "member": event.member, "interface": event.interface}
    return Level.WARN, "twoOwners", fields


def _yielded(event: Yielded) -> Line:
    return Level.WARN, "yielded", {"ip": str(event.address), "to": event.to, "reason": event.reason}


def _claim(event: AddressInUse | ProxyARPFound | StrangerClaims) -> dict[str, Value]:
    return {"ip": str(event.address), "mac": event.mac.hex(":"), "interface": event.interface}


_LINES: Final[dict[type[Event], Callable[[Any], Line]]] = {
    OwnerChanged: _owner_changed,
    NobodyAnnounces: _nobody,
    Announced: _announced,
    Withdrawn: _withdrawn,
    AddressInUse: _in_use,
    ProxyARPFound: _proxy,
    StrangerClaims: _stranger,
    MemberClaims: _member,
    Yielded: _yielded,
}


def record_of(event: Event, at: float) -> LogRecord | None:
    """The line for an event, None for one that is nobody's news; ``at`` in seconds since the epoch."""
    line = _LINES.get(type(event))
    if line is None:
        return None
    level, name, fields = line(event)
    return LogRecord(at=at, level=level, event=name, fields=fields)
