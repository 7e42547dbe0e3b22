"""What the two processes of a speaker tell each other: messages of MessagePack, each behind its length.

Rules kept here:

* Nothing is lost or doubled on the way; a message arrives whole or the link is at its end. Bytes that are no message
  raise :class:`BadMessage` and nothing else, and the link with them is given up.
* A new link begins with :class:`Hello`, and everything is told again: the first part of the demand and the first report
  say `is_reset`, so that what vanished meanwhile goes.
* A message is small: what can be long comes in parts, so that the reader never has to hold its loop up for one.

Source: design.md §8.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from cluster.model import Address
from speaker.demand import DemandChange

MAX_PART_OBJECTS: Final = 200
"""Groups, nodes, addresses in one message."""
MAX_PART_BYTES: Final = 64 * 1024
"""Bytes that a message is meant to have. One group that is longer by itself is sent all the same."""
MAX_MESSAGE_BYTES: Final = 8 * 1024 * 1024
"""Bytes that a message may have: room for one group that is served on every node of the largest cluster."""

Value: TypeAlias = str | int | float | bool | None | tuple[str, ...]
"""What a log record says of one of its fields."""


class BadMessage(ValueError):
    """Bytes on the link are no message."""


class Level(StrEnum):
    """How much a log line matters."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


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
    version: str


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
    """What changed about this node's addresses, at most MAX_PART_OBJECTS in all."""

    announced: tuple[Address, ...] = ()
    """Answered for from now on."""
    withdrawn: tuple[Address, ...] = ()
    """Answered for no longer."""
    known: tuple[Address, ...] = ()
    """Found to be free, or announced already: no first use any more. Kept with the demand."""
    is_reset: bool = False
    """Everything reported before is void."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    """The speaker ends: write what is to be written, and end too."""


ToFast: TypeAlias = Hello | Wanted | SourceState
"""What the slow process tells."""
ToSlow: TypeAlias = LogRecord | Report | Bye
"""What the fast process tells."""
Message: TypeAlias = ToFast | ToSlow


def encode(message: Message) -> bytes:
    """A message behind its length. Raises :class:`BadMessage` when it is longer than MAX_MESSAGE_BYTES."""
    raise NotImplementedError


def decode_untrusted(packed: bytes) -> Message:
    """The message in these bytes, without its length. Raises :class:`BadMessage`."""
    raise NotImplementedError


def divide(change: DemandChange) -> Iterator[DemandChange]:
    """The change in parts that messages are meant to hold; is_complete is that of the change, on the last part."""
    raise NotImplementedError


class Unframer:
    """Finds the messages in a stream of bytes, wherever it is cut."""

    def feed(self, data: bytes) -> None:
        """What was received next."""
        raise NotImplementedError

    def next_message(self) -> Message | None:
        """The next message, None until more is fed. Raises :class:`BadMessage`; the stream is then at its end."""
        raise NotImplementedError
