"""What the two processes of a speaker tell each other: messages of MessagePack, each behind its length.

Rules kept here:

* A message arrives whole or not at all. Bytes that are no message raise :class:`BadMessage` and nothing else, and the
  link with them is given up.
* A new link begins with :class:`Hello`, and everything is told again: the first part of the demand says `is_reset`, so
  that what vanished meanwhile goes.
* A message is small: what can be long comes in parts, so that the reader never has to hold its loop up for one.
* Text that was never UTF-8 has its odd bytes written out, since the other end only shows it.

Source: design.md §8.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from cluster.model import Address, ExternalTrafficPolicy, ObjectName
from speaker.demand import MAX_PART_OBJECTS, DemandChange, Group, NodeFacts
from speaker.packing import BadPacking, pack, unpack_untrusted
from speaker.shapes import (
    ADDRESS,
    FLAG,
    INTEGER,
    NUMBER,
    PLAIN,
    TEXT,
    BadShape,
    Shape,
    choice_of,
    mapping_of,
    optional,
    record,
    tuple_of,
)
from telemetry.levels import Level

VERSION: Final = 1
"""Of these messages. A slow process that speaks another version was installed while the fast one ran."""
BEAT_INTERVAL: Final = 5.0
"""Seconds in which the slow process says something, be it the same again."""
MAX_PART_BYTES: Final = 64 * 1024
"""Bytes that a message is meant to have. One object that is longer by itself is sent all the same."""
MAX_MESSAGE_BYTES: Final = 8 * 1024 * 1024
"""Bytes that a message may have: room for one group that is served on every node of the largest cluster."""

Value: TypeAlias = str | int | float | bool | tuple[str, ...] | None
"""What a log record says of one of its fields."""


class BadMessage(ValueError):
    """Bytes on the link are no message, or a message is too long for it."""


class SourceHealth(StrEnum):
    """Whether what is wanted is known."""

    LOADING = "loading"
    """Nothing was read yet."""
    CURRENT = "current"
    STALE = "stale"
    """The last good state is in force; the reasons say why it is not newer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The slow process has started."""

    pid: int
    version: int = VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A part of what is wanted. The last part of a change is_complete."""

    change: DemandChange
    is_reset: bool = False
    """The parts from this one to the complete one are everything: what they do not name is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """How the source of what is wanted fares."""

    health: SourceHealth
    reasons: tuple[str, ...] = ()
    """One sentence each, with the place and the cure."""
    as_of: float | None = None
    """When what is in force was last known to be true, in seconds since the epoch; None: never."""
    warnings: tuple[str, ...] = ()
    """What is wrong and keeps nothing back, as the reasons are told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecord:
    """A line for the log."""

    at: float
    """Seconds since the epoch."""
    level: Level
    event: str
    fields: Mapping[str, Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Addresses that need no probe before their first use any more, at most MAX_PART_OBJECTS. Kept with the demand."""

    known: tuple[Address, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    """The speaker ends: write what is to be written, and end too."""


ToFast: TypeAlias = Hello | Wanted | SourceState
"""What the slow process tells."""
ToSlow: TypeAlias = LogRecord | Report | Bye
"""What the fast process tells."""
Message: TypeAlias = ToFast | ToSlow


# ---- what a message looks like

_ADDRESSES: Final = tuple_of(ADDRESS)
_TEXTS: Final = tuple_of(TEXT)

_GROUP: Final = record(
    Group,
    key=ADDRESS,
    addresses=_ADDRESSES,
    services=tuple_of(record(ObjectName, namespace=TEXT, name=TEXT)),
    pools=_TEXTS,
    advertisements=_TEXTS,
    policy=choice_of(ExternalTrafficPolicy),
    serving_nodes=_TEXTS,
    is_served=FLAG,
    spare=optional(ADDRESS),
)
_NODE: Final = record(NodeFacts, name=TEXT, is_excluded=FLAG, network_unavailable=FLAG)
_PARTS: Final[dict[str, Shape]] = {"groups": _GROUP, "gone": ADDRESS, "nodes": _NODE, "gone_nodes": TEXT}
"""The shapes of what a change of the demand has many of."""

_KINDS: Final[tuple[tuple[type[Message], Shape], ...]] = (
    (Hello, record(Hello, pid=INTEGER, version=INTEGER)),
    (
        Wanted,
        record(
            Wanted,
            change=record(DemandChange, **{name: tuple_of(shape) for name, shape in _PARTS.items()}, is_complete=FLAG),
            is_reset=FLAG,
        ),
    ),
    (
        SourceState,
        record(SourceState, health=choice_of(SourceHealth), reasons=_TEXTS, as_of=optional(NUMBER), warnings=_TEXTS),
    ),
    (LogRecord, record(LogRecord, at=NUMBER, level=choice_of(Level), event=TEXT, fields=mapping_of(PLAIN))),
    (Report, record(Report, known=_ADDRESSES)),
    (Bye, record(Bye)),
)
"""A message is an array of its place in this table and its fields."""
_PLACES: Final = {cls: place for place, (cls, _) in enumerate(_KINDS)}
_LENGTH: Final = struct.Struct("!I")


def encode(message: Message) -> bytes:
    """A message behind its length. Raises :class:`BadMessage` when it is longer than MAX_MESSAGE_BYTES."""
    place = _PLACES[type(message)]
    packed = pack([place, _KINDS[place][1].write(message)])
    if len(packed) > MAX_MESSAGE_BYTES:
        raise BadMessage(f"a message of {len(packed)} bytes; the limit is {MAX_MESSAGE_BYTES}")
    return _LENGTH.pack(len(packed)) + packed


def decode_untrusted(packed: bytes) -> Message:
    """The message in these bytes, without its length. Raises :class:`BadMessage`."""
    try:
        match unpack_untrusted(packed, MAX_MESSAGE_BYTES):
            case [int(place), value] if not isinstance(place, bool) and 0 <= place < len(_KINDS):
                message: Message = _KINDS[place][1].read(value)
                return message
    except (BadPacking, BadShape) as reason:
        raise BadMessage(f"no message of version {VERSION}: {reason}") from None
    raise BadMessage(f"no kind of message that version {VERSION} has")


def divide(change: DemandChange) -> Iterator[DemandChange]:
    """The change in parts that messages are meant to hold, one at least; only the last may be complete."""
    part: list[tuple[str, object]] = []
    size = 0
    for name, shape in _PARTS.items():
        for thing in getattr(change, name):
            length = len(pack(shape.write(thing)))
            if part and (len(part) == MAX_PART_OBJECTS or size + length > MAX_PART_BYTES):
                yield _joined(part, is_complete=False)
                part, size = [], 0
            part.append((name, thing))
            size += length
    yield _joined(part, is_complete=change.is_complete)


def _joined(part: list[tuple[str, object]], *, is_complete: bool) -> DemandChange:
    many = {name: tuple(thing for kind, thing in part if kind == name) for name in _PARTS}
    return DemandChange(**many, is_complete=is_complete)  # type: ignore[arg-type]  # the names tell the types


class Unframer:
    """Finds the messages in a stream of bytes, wherever it is cut."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def is_between(self) -> bool:
        """Whether what was fed so far ended with a message."""
        return not self._buffer

    def feed(self, data: bytes) -> None:
        """What was received next. Take the messages out before more is fed: then no more than one is ever held."""
        self._buffer += data

    def next_message(self) -> Message | None:
        """The next message, None until more is fed. Raises :class:`BadMessage`, and then there is no going on."""
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > MAX_MESSAGE_BYTES:
            raise BadMessage(f"a message of {length} bytes; the limit is {MAX_MESSAGE_BYTES}")
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            return None
        packed = bytes(self._buffer[_LENGTH.size : end])
        del self._buffer[:end]
        return decode_untrusted(packed)
