"""What an agent tells a person or a script: the ring's events and its own, as one kind of value.

Rules kept here:

* One table says what is told of each event; events that only answer a caller are not told.
* A notice is plain JSON. Names that are not UTF-8 show their odd bytes as ``\\xNN``; bytes are hex, cut to a limit.
* A line for a terminal holds nothing that could steer the terminal.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from gossip.errors import BadPacket
from gossip.events import (
    Event,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberSuspected,
    MemberUpdated,
    NameConflict,
    UserMessageReceived,
    UserStateReceived,
)
from gossip.serf import decode_tags_untrusted, has_tags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gossip.addresses import Address
    from gossip.members import Member
    from gossip.serf import UserEvent

SCHEMA: Final = 1
"""Of every JSON object that is printed."""
MAX_SHOWN_BYTES: Final = 16_384
"""Bytes of a payload that a notice shows; its length is told in any case."""
MAX_LINE_VALUE: Final = 160
"""Characters of one value in a line for a person."""
MAX_RESTRAINED: Final = 256
"""Subjects that a :class:`Restraint` remembers."""


@dataclass(frozen=True, slots=True)
class Notice:
    """``at`` is seconds since the epoch; ``member`` and ``address`` say whom it is about, ``evidence`` why it is
    believed or what came."""

    at: float
    event: str
    member: str | None = None
    address: Address | None = None
    evidence: Mapping[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """The object that is printed."""
        host, port = self.address if self.address is not None else (None, None)
        return {
            "schema": SCHEMA,
            "at": round(self.at, 6),
            "event": self.event,
            "member": None if self.member is None else printable(self.member),
            "address": host,
            "port": port,
            "evidence": self.evidence,
        }

    @classmethod
    def from_json(cls, shown: Mapping[str, Any]) -> Notice:
        """The notice that :meth:`as_json` made this of."""
        address = None if shown["address"] is None else (shown["address"], shown["port"])
        return cls(shown["at"], shown["event"], shown["member"], address, shown["evidence"])

    def as_line(self) -> str:
        """The same for a person: time (UTC), event, member, address, evidence."""
        at = datetime.fromtimestamp(self.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        address = "" if self.address is None else format_address(self.address)
        evidence = ", ".join(f"{label} {value}" for label, value in plain_items(self.evidence or {}))
        return harmless(f"{at}  {self.event:<10}  {self.member or '-':<12}  {address:<21}  {evidence}").rstrip()


def notice_of(event: Event, at: float, now: float) -> Notice | None:
    """What is told of an event; ``None`` for one that only answers a caller. ``now`` is in the ring's clock, ``at`` the
    same instant in seconds since the epoch."""
    row = _TOLD.get(type(event))
    if row is None:
        return None
    name, evidence = row
    member: Member | None = getattr(event, "member", None)
    if member is None:
        return Notice(at, name, evidence=evidence(event, now))
    return Notice(at, name, member.name, member.address, evidence(event, now))


def notice_of_user_event(event: UserEvent, at: float) -> Notice:
    """What is told of an event fired with ``serf event`` or ``starling ring event``."""
    evidence = {"name": printable(event.name), "ltime": event.ltime, **show_payload(event.payload or b"")}
    return Notice(at, "user-event", evidence=evidence)


def _nothing(event: Event, now: float) -> None:
    return None


_TOLD: Final[dict[type, tuple[str, Callable[[Any, float], Mapping[str, Any] | None]]]] = {
    MemberJoined: ("joined", _nothing),
    MemberUpdated: (
        "updated",
        lambda event, now: {"meta": event.member.meta.hex(), "previous": event.previous.meta.hex()},
    ),
    MemberSuspected: (
        "suspected",
        lambda event, now: {
            "accuser": printable(event.accuser),
            "expires_in": round(max(0.0, event.expires_at - now), 3),
        },
    ),
    MemberFailed: ("failed", lambda event, now: {"accuser": printable(event.accuser)}),
    MemberLeft: ("left", _nothing),
    NameConflict: (
        "conflict",
        lambda event, now: {
            "held_by": format_address(event.member.address),
            "claimed_by": format_address(event.address),
            "hint": "two members have this name: rename one, or stop one",
        },
    ),
    UserMessageReceived: (
        "message",
        lambda event, now: {
            "source": format_address(event.source),
            "reliable": event.reliable,
            **show_payload(event.payload),
        },
    ),
    UserStateReceived: ("state", lambda event, now: {"join": event.join, **show_payload(event.state)}),
}
"""The name of each event that is told, and its evidence."""


def render_json(notice: Notice) -> str:
    """One line of JSON."""
    return json.dumps(notice.as_json()) + "\n"


def render_line(notice: Notice) -> str:
    """One line of text."""
    return notice.as_line() + "\n"


def describe_member(member: Member, *, serf: bool) -> dict[str, Any]:
    """A member as ``ring members`` shows it. Tags are those that its metadata holds in serf's form; with ``serf`` it
    holds no other."""
    try:
        tags = decode_tags_untrusted(member.meta) if serf or has_tags(member.meta) else {}
    except BadPacket:
        tags = {}
    host, port = member.address
    return {
        "name": printable(member.name),
        "address": host,
        "port": port,
        "state": member.state.name.lower(),
        "incarnation": member.incarnation,
        "tags": {printable(key): printable(value) for key, value in tags.items()},
        "meta": member.meta.hex(),
    }


class Restraint:
    """Keeps what repeats from being told more often than once in ``interval`` seconds for each subject."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._told_at: dict[object, float] = {}

    def permits(self, subject: object, now: float) -> bool:
        """Whether to tell of this subject now; a yes counts as told."""
        told_at = self._told_at.get(subject)
        if told_at is not None and now - told_at < self._interval:
            return False
        self._told_at.pop(subject, None)
        self._told_at[subject] = now
        if len(self._told_at) > MAX_RESTRAINED:
            del self._told_at[next(iter(self._told_at))]
        return True


def show_payload(payload: bytes) -> dict[str, Any]:
    """Length, and as much of it in hex as is shown."""
    return {"length": len(payload), "payload": payload[:MAX_SHOWN_BYTES].hex()}


def printable(text: str) -> str:
    """Text whose odd bytes, if it was never UTF-8, are written out."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def harmless(text: str) -> str:
    """Text for a terminal: whatever is not printable is written out."""
    if text.isprintable():
        return text
    shown = printable(text)
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in shown)


def format_address(address: Address) -> str:
    """As an operator types it, IPv6 in brackets."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def plain_items(values: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Names and values for a person: nothing empty, nothing at length, payloads as text where they are text."""
    for key, value in values.items():
        if value is None or value == "":
            continue
        text = _plain_payload(str(value)) if key == "payload" else _plain(value)
        yield key.replace("_", " "), text if len(text) <= MAX_LINE_VALUE else f"{text[:MAX_LINE_VALUE]}…"


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _plain_payload(shown: str) -> str:
    decoded = bytes.fromhex(shown).decode("utf-8", "replace")
    return repr(decoded) if decoded.isprintable() and "\ufffd" not in decoded else shown
