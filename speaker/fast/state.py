"""The demand that was kept from the last run, to answer from before the slow process has read anything.

Rules kept here:

* A file that is torn, foreign or too old is ignored as a whole, and said to be.
* The slow process writes it, and this one only reads it: the file and its sum in a thread, its parts in turns.

Source: design.md §8.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import trio

from cluster.model import Address
from speaker.demand import DemandChange
from speaker.link import Report
from speaker.saved import (
    FILE_NAME,
    MAX_FILE_BYTES,
    Origin,
    UnusableState,
    check_saved_untrusted,
    decode_saved_untrusted,
)
from speaker.settings import Settings

__all__ = ["KeptState", "UnusableState", "load_state"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptState:
    """What the last run kept."""

    saved_at: float
    """When the demand was last known to be true, in seconds since the epoch."""
    parts: tuple[DemandChange, ...]
    """The whole demand, the last part complete."""
    known: tuple[Address, ...]
    """Addresses that need no probe before their first use."""


async def load_state(settings: Settings, now: float) -> KeptState | None:
    """What the last run kept in the state folder; None when it kept nothing. ``now`` in seconds since the epoch.

    Raises :class:`UnusableState` naming the file.
    """
    path = os.path.join(settings.state, FILE_NAME)
    try:
        checked = await trio.to_thread.run_sync(_read, path, Origin.of(settings), now)
        return None if checked is None else await _decode(*checked)
    except OSError as exc:
        raise UnusableState(f"{path} is ignored: {exc.strerror}") from None
    except UnusableState as reason:
        raise UnusableState(f"{path} is ignored: {reason}") from None


def _read(path: str, origin: Origin, now: float) -> tuple[float, bytes] | None:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    if len(data) > MAX_FILE_BYTES:
        raise UnusableState(f"it has more than {MAX_FILE_BYTES} bytes")
    return check_saved_untrusted(data, origin, now)


async def _decode(saved_at: float, body: bytes) -> KeptState:
    parts: list[DemandChange] = []
    known: list[Address] = []
    for message in decode_saved_untrusted(body):
        if isinstance(message, Report):
            known += message.known
        else:
            parts.append(message.change)
        await trio.lowlevel.checkpoint()
    if not parts or not parts[-1].is_complete:
        raise UnusableState("its demand is not whole")
    return KeptState(saved_at=saved_at, parts=tuple(parts), known=tuple(known))
