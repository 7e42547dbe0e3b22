"""The file in which a speaker keeps, for its next start, the demand and the addresses that need no probe any more.

Rules kept here:

* A line of JSON says what follows: for whom it was kept, when, and the checksum of it all. Then come the messages that
  would tell the same on the link, so the reader takes them one by one.
* All of it counts or none: whoever reads checks the sum before the first message.
* What another node, another source or another version has kept is of no use here.

Source: design.md §8.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from cluster.model import Address
from speaker.demand import MAX_PART_OBJECTS, Demand, DemandChange, changes
from speaker.link import VERSION, BadMessage, Message, Report, Unframer, Wanted, divide, encode
from speaker.settings import Settings

FILE_NAME: Final = "demand"
"""In the state folder."""
MAX_FILE_BYTES: Final = 64 * 1024 * 1024
"""Room for the demand of a /16 that is full."""
MAX_HEAD_BYTES: Final = 4096
MAX_AGE: Final = 7 * 86_400.0
"""Seconds after which a kept demand says nothing about the present."""


class UnusableState(ValueError):
    """A file holds no state to start from; the message says why."""


@dataclass(frozen=True, slots=True)
class Origin:
    """For whom a state is kept."""

    node: str
    source: str
    load_balancer_class: str | None

    @classmethod
    def of(cls, settings: Settings) -> Origin:
        """Of a speaker with these settings."""
        return cls(settings.node, settings.source, settings.load_balancer_class)


def encode_saved(origin: Origin, wanted: Demand, known: Iterable[Address], saved_at: float) -> bytes:
    """The file's content. ``saved_at``: when the demand was last known to be true, in seconds since the epoch."""
    parts = [part for change in changes(Demand(), wanted) for part in divide(change)] or [DemandChange()]
    messages: list[Message] = [*_reports(tuple(known)), *(Wanted(change=part) for part in parts)]
    body = b"".join(encode(message) for message in messages)
    head = _head(origin, saved_at)
    return json.dumps({**head, "sha256": _sum(head, body)}).encode() + b"\n" + body


def _reports(known: tuple[Address, ...]) -> Iterator[Report]:
    for start in range(0, len(known), MAX_PART_OBJECTS):
        yield Report(known=known[start : start + MAX_PART_OBJECTS])


def _head(origin: Origin, saved_at: float) -> dict[str, object]:
    return {
        "starling": "demand",
        "version": VERSION,
        "node": origin.node,
        "source": origin.source,
        "load_balancer_class": origin.load_balancer_class,
        "saved_at": saved_at,
    }


def _sum(head: dict[str, object], body: bytes) -> str:
    digest = hashlib.sha256(json.dumps(head).encode())
    digest.update(body)
    return digest.hexdigest()


def check_saved_untrusted(data: bytes, origin: Origin, now: float) -> tuple[float, bytes]:
    """When the file with this content was saved, and its messages. ``now`` in seconds since the epoch.

    Raises :class:`UnusableState` for a file that is torn, foreign, or older than MAX_AGE. A date to come is no reason:
    the clock of a machine that has just started may be wrong.
    """
    line, newline, body = data.partition(b"\n")
    head = _read_head(line if newline and len(line) <= MAX_HEAD_BYTES else b"")
    saved_at, found = head.get("saved_at"), head.pop("sha256", None)
    for name, value in _head(origin, 0.0).items():
        if name != "saved_at" and head.get(name) != value:
            raise UnusableState(f"{_MISFITS[name]} ({name}: {head.get(name)!r:.70})")
    if not isinstance(saved_at, float) or not math.isfinite(saved_at) or found != _sum(head, body):
        raise UnusableState("it is torn")
    if now - saved_at > MAX_AGE:
        raise UnusableState(
            f"it is {(now - saved_at) / 86_400:.1f} days old; after {MAX_AGE / 86_400:g} it is not used"
        )
    return saved_at, body


_MISFITS: Final = {
    "starling": "it is no demand that a speaker kept",
    "version": "another version wrote it",
    "node": "it is another node's",
    "source": "it comes from another source",
    "load_balancer_class": "it is for services of another class",
}
"""What it means that the first line says something else."""


def _read_head(line: bytes) -> dict[str, object]:
    try:
        head = json.loads(line)
    except (ValueError, RecursionError):
        head = None
    if not isinstance(head, dict):
        raise UnusableState("its first line is not one that a speaker writes")
    return head


def decode_saved_untrusted(body: bytes) -> Iterator[Report | Wanted]:
    """The messages, one by one. Raises :class:`UnusableState`."""
    unframer = Unframer()
    unframer.feed(body)
    try:
        while (message := unframer.next_message()) is not None:
            if not isinstance(message, Report | Wanted):
                raise UnusableState(f"a {type(message).__name__} is in it")
            yield message
    except BadMessage as reason:
        raise UnusableState(str(reason)) from None
    if not unframer.is_between:
        raise UnusableState("it is torn")
