"""Which claim about a member wins. Pure; the only place that compares incarnations.

Theory of operation. A member is held to be in one of four states at an *incarnation* that only it may raise. Others
may accuse it at the incarnation they know; it refutes by announcing itself alive at a higher one. So an alive claim
must be strictly newer than everything known, accusations included, while an accusation needs only not to be older
(memberlist-protocol.md §8.2–8.4, 8.6)::

    held \\ claim   alive          suspect        dead, left
    alive          newer wins     not older wins not older wins
    suspect        newer wins     confirms       not older wins
    dead, left     newer wins     is noted       is noted

Two rules go beyond memberlist's and change no byte on the wire:

* A *noted* accusation raises what the next alive must exceed, so that an old alive cannot revive a member (§16 row
  3).
* Nobody's incarnation jumps by more than :data:`MAX_INCARNATION_JUMP`, so that a few forged packets cannot exhaust the
  32 bits (§16 row 4).
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from gossip.messages import MAX_INCARNATION, State

MAX_INCARNATION_JUMP: Final = 2**20
"""A claim further ahead than this of all that is known about a member is forged: nobody refutes that often unheard."""


class Ruling(Enum):
    """What becomes of a claim."""

    WINS = "the claim becomes the state"
    CONFIRMS = "one more accuser of a suspect"
    IS_NOTED = "changes nothing, but the next alive must be newer than it"
    IS_STALE = "older than what is known"
    IS_FORGED = "further ahead than any member can be"


_AGAINST_THE_LIVING: Final = {
    (State.ALIVE, State.SUSPECT): Ruling.WINS,
    (State.SUSPECT, State.SUSPECT): Ruling.CONFIRMS,
    (State.ALIVE, State.DEAD): Ruling.WINS,
    (State.SUSPECT, State.DEAD): Ruling.WINS,
}
"""(held, claimed) → ruling for an accusation that is not older; a left claim counts as dead. Everything else is
noted."""


def judge_alive(incarnation: int, known: int, accused: int) -> Ruling:
    """An alive claim about another member, known at ``known`` and last accused at ``accused``."""
    newest = max(known, accused)
    if incarnation <= newest:
        return Ruling.IS_STALE
    return Ruling.IS_FORGED if incarnation - newest > MAX_INCARNATION_JUMP else Ruling.WINS


def judge_accusation(claimed: State, incarnation: int, held: State, known: int, accused: int) -> Ruling:
    """A suspect (``State.SUSPECT``) or dead (``State.DEAD``) claim about a member held in ``held``, ourselves
    included."""
    if incarnation < known:
        return Ruling.IS_STALE
    if incarnation - max(known, accused) > MAX_INCARNATION_JUMP:
        return Ruling.IS_FORGED
    return _AGAINST_THE_LIVING.get((held, claimed), Ruling.IS_NOTED)


def refuting_incarnation(own: int, accused: int) -> int | None:
    """What to announce to overrule an accusation at ``accused``; ``None`` when the 32 bits are spent, never a
    wrapped number."""
    incarnation = max(own, accused) + 1
    return incarnation if incarnation <= MAX_INCARNATION else None
