"""What an agent is asked over its control socket, and how it answers: one JSON object a line.

A request names what to do and its fields: ``{"do": "join", "targets": ["10.0.0.1"]}``. The answer is any number of
``item`` lines and one last line, ``result`` or ``error``; an ``error`` comes with the exit code of the command.

Rules kept here:

* A table has every request; a field is read by its type, so a handler gets what it declares or is not called. The
  table is an argument: whoever runs an agent may have more requests than the ring's.
* Lines have a limit both ways. What is no request raises :class:`LocalError` and says what would be right.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from gossip.control.notices import SCHEMA
from gossip.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_LINE: Final = 1024 * 1024
"""Bytes of one line, a request's or an answer's."""
EXIT_NO: Final = 1
"""The answer is no."""
EXIT_USAGE: Final = 2
"""Wrong usage."""
EXIT_UNAVAILABLE: Final = 3
"""It could not be done here."""


@dataclass(frozen=True, slots=True)
class Request:
    """What can be asked. A request is a subclass, and its fields have the types that are read here."""


@dataclass(frozen=True, slots=True)
class ListMembers(Request):
    """Everybody known; members come as items, some at a time."""


@dataclass(frozen=True, slots=True)
class ShowInfo(Request):
    """The agent, its settings and its statistics."""


@dataclass(frozen=True, slots=True)
class FollowNotices(Request):
    """Notices from now on, an item each, until the asker hangs up or the agent ends."""


@dataclass(frozen=True, slots=True)
class Join(Request):
    """Exchange views with whoever answers at ``[name/]host[:port]``."""

    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leave(Request):
    """Say goodbye to the ring, and end."""


@dataclass(frozen=True, slots=True)
class ForceLeave(Request):
    """Stop pinging and listing a member that is dead or left."""

    name: str


@dataclass(frozen=True, slots=True)
class PingMember(Request):
    """Ask a member, by name or address, for one ack."""

    to: str


@dataclass(frozen=True, slots=True)
class SendMessage(Request):
    """Send a user message to one member, by name or address."""

    to: str
    payload: bytes
    reliable: bool


@dataclass(frozen=True, slots=True)
class SpreadMessage(Request):
    """Spread a user message to everybody, best effort."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class FireEvent(Request):
    """Fire a user event that serf agents understand."""

    name: str
    payload: bytes
    coalesce: bool


@dataclass(frozen=True, slots=True)
class ListKeys(Request):
    """The agent's keys, the primary first."""


@dataclass(frozen=True, slots=True)
class ChangeKeys(Request):
    """``install``, ``use`` or ``remove`` a key of this agent."""

    action: str
    key: bytes


Requests: TypeAlias = "Mapping[str, type[Request]]"
"""Requests by their names on the socket."""

REQUESTS: Final[Requests] = {
    "members": ListMembers,
    "info": ShowInfo,
    "events": FollowNotices,
    "join": Join,
    "leave": Leave,
    "force-leave": ForceLeave,
    "ping": PingMember,
    "send": SendMessage,
    "broadcast": SpreadMessage,
    "event": FireEvent,
    "list-keys": ListKeys,
    "change-keys": ChangeKeys,
}
"""What every agent is asked."""


def _read_text(value: object) -> str:
    if not isinstance(value, str):
        raise LocalError("must be a string")
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise LocalError("must be text that bytes can stand for") from None
    return value


def _read_texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise LocalError("must be an array of strings")
    return tuple(_read_text(item) for item in value)


def _read_hex(value: object) -> bytes:
    try:
        return bytes.fromhex(_read_text(value))
    except ValueError:
        raise LocalError("must be hexadecimal digits, two a byte") from None


def _read_flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise LocalError("must be true or false")
    return value


_READERS: Final[dict[str, Callable[[object], object]]] = {
    "str": _read_text,
    "tuple[str, ...]": _read_texts,
    "bytes": _read_hex,
    "bool": _read_flag,
}
"""By the annotation of a request's field."""


def encode_request(request: Request, requests: Requests = REQUESTS) -> bytes:
    """A request of this table as a line. Raises :class:`LocalError` when it is longer than the agent reads."""
    name = next(name for name, cls in requests.items() if cls is type(request))
    values = {field.name: getattr(request, field.name) for field in fields(request)}
    shown = {name: value.hex() if isinstance(value, bytes) else value for name, value in values.items()}
    line = encode_line({"do": name, **shown})
    if len(line) > MAX_LINE:
        raise LocalError(f"a request of {len(line)} bytes is too long; the agent reads {MAX_LINE}")
    return line


def decode_request(line: bytes, requests: Requests = REQUESTS) -> Request:
    """The request of this table in a line. Raises :class:`LocalError` naming what is wrong with it."""
    try:
        asked = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise LocalError("a request is one JSON object a line") from exc
    if not isinstance(asked, dict) or not isinstance(asked.get("do"), str):
        raise LocalError('a request is a JSON object that says what to "do"')
    cls = requests.get(asked["do"])
    if cls is None:
        raise LocalError(f"no request {asked['do']!r:.40}; there are {', '.join(requests)}")
    return cls(**{field.name: _read_field(asked, field.name, str(field.type)) for field in fields(cls)})


def _read_field(asked: dict[str, Any], name: str, kind: str) -> Any:
    if name not in asked:
        raise LocalError(f"{asked['do']}: the field {name!r} is missing")
    try:
        return _READERS[kind](asked[name])
    except LocalError as reason:
        raise LocalError(f"{asked['do']}: {name} {reason}") from None


def encode_line(value: object) -> bytes:
    """One line of JSON."""
    return json.dumps(value).encode() + b"\n"


def item_line(value: object) -> bytes:
    """One of many parts of an answer."""
    return encode_line({"schema": SCHEMA, "item": value})


def result_line(value: object) -> bytes:
    """The end of an answer."""
    return encode_line({"schema": SCHEMA, "result": value})


def error_line(reason: str, code: int) -> bytes:
    """The end of an answer that is none; ``code`` is what the command exits with."""
    return encode_line({"schema": SCHEMA, "error": reason, "code": code})
