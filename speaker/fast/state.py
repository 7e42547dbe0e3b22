"""The demand that was kept from the last run, to answer from before the slow process has read anything.

Rules kept here:

* A file that is torn, foreign or too old is ignored as a whole, and said to be.
* It is read in turns; nothing here takes more than a few milliseconds.

Source: design.md §8.
"""

from __future__ import annotations

from dataclasses import dataclass

from cluster.model import Address
from speaker.demand import DemandChange


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptState:
    """What the last run kept."""

    saved_at: float
    """Seconds since the epoch: when the demand was last known to be true."""
    parts: tuple[DemandChange, ...]
    """The whole demand, the last part complete."""
    known: tuple[Address, ...]
    """Addresses that need no probe before their first use."""


class UnusableState(ValueError):
    """The file holds no state to start from; the message says why."""


async def load_state(folder: str, now: float) -> KeptState | None:
    """What the last run kept in the folder; None when there is no file. `now` in seconds since the epoch.

    Raises :class:`UnusableState`.
    """
    raise NotImplementedError
