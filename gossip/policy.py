"""The two vetoes an application has, as pure predicates (memberlist-protocol.md §14: the alive and merge
delegates)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gossip.members import Member


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something is vetoed, for the log and for the caller of ``join``."""

    reason: str


def _nobody(_: object) -> Refusal | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Predicates over frozen values. They must be pure: they may run for claims that are then ignored as stale."""

    alive: Callable[[Member], Refusal | None] = _nobody
    """Asked for every alive claim, our own included; a refused one is ignored."""
    merge: Callable[[Sequence[Member]], Refusal | None] = _nobody
    """Asked for the remote members of a joining push/pull; a refused one is not merged. The other side is not
    told."""

    @property
    def accepts_all(self) -> bool:
        """Whether no alive claim is ever refused, so that building what is asked can be saved."""
        return self.alive is _nobody

    @property
    def merges_all(self) -> bool:
        """The same for the members of a joining push/pull."""
        return self.merge is _nobody


ACCEPT_ALL: Final = Policy()
