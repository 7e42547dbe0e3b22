"""What a client saw: every question and its answer, and what follows from them. Pure: the meters write, this reads.

Rules kept here:

* Only a question that was asked and not answered promptly counts as silence: a meter that was late itself makes none.
  So a silence is known to within one interval between questions. What a kernel kept back until it knew where to send
  it is answered late; to its user that is silence too.
* Times are seconds of one clock (monotonic) that every process of the machine shares.
* Whose answer it was is what the answer says, or the hardware address that sent it.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, Final

ANSWER_TIMEOUT: Final = 1.0
"""Seconds after which an answer is none, and the question lost."""
PROMPT: Final = 0.1
"""Seconds within which an answer is no silence."""
OWNERLESS_FROM: Final = 3
"""Questions in a row without an answer that say that nobody has an address."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to one address, and what came of it."""

    target: str
    due_at: float
    """When it should have been asked."""
    asked_at: float
    answered_at: float | None = None
    by: tuple[str, ...] = ()
    """Who answered, each once, the first first."""

    @property
    def is_prompt(self) -> bool:
        """Whether it was answered soon enough."""
        return self.answered_at is not None and self.answered_at - self.asked_at <= PROMPT


@dataclass(frozen=True, slots=True)
class Silence:
    """A time without prompt answers: from the first question that got none to the next that got one."""

    begins_at: float
    ends_at: float | None
    """None: it had not ended with the record."""
    asks: int
    """Questions asked in it."""
    lost: int
    """Those that were never answered."""

    def lasts(self, until: float) -> float:
        """Seconds, up to now if it goes on."""
        return (until if self.ends_at is None else self.ends_at) - self.begins_at


@dataclass(frozen=True, slots=True)
class Tenure:
    """A time in which all answers came from one node (or from several at once: `nodes` has them all)."""

    nodes: tuple[str, ...]
    begins_at: float
    """When the first question that it answered was asked."""
    ends_at: float
    """When the last one was."""


@dataclass(frozen=True, slots=True)
class Noise:
    """How far the meter itself can be trusted: seconds."""

    asks: int
    late_median: float
    late_worst: float
    """How long after its time a question was asked."""
    answer_median: float
    answer_worst: float
    """From question to answer."""


def read_line(line: str) -> Ask:
    """What a meter printed. Raises ValueError for anything else."""
    try:
        fields = json.loads(line)
        return Ask(fields["target"], fields["due"], fields["asked"], fields["answered"], tuple(fields["by"]))
    except (TypeError, KeyError) as exc:
        raise ValueError(f"not a line of a meter: {line!r}") from exc


def write_line(ask: Ask) -> str:
    """The line that a meter prints."""
    fields: dict[str, Any] = {"target": ask.target, "due": ask.due_at, "asked": ask.asked_at}
    return json.dumps(fields | {"answered": ask.answered_at, "by": list(ask.by)})


def silences(asks: Iterable[Ask]) -> list[Silence]:
    """The silences of one address, in order. `asks` are in the order in which they were asked."""
    found: list[Silence] = []
    quiet: list[Ask] = []
    for ask in asks:
        if not ask.is_prompt:
            quiet.append(ask)
        elif quiet:
            found.append(_silence(quiet, ask.asked_at))
            quiet = []
    return [*found, _silence(quiet, None)] if quiet else found


def _silence(quiet: Sequence[Ask], ends_at: float | None) -> Silence:
    return Silence(quiet[0].asked_at, ends_at, len(quiet), sum(ask.answered_at is None for ask in quiet))


def tenures(asks: Iterable[Ask]) -> list[Tenure]:
    """Who held one address when, in order; unanswered questions neither begin nor end a tenure."""
    found: list[Tenure] = []
    for ask in asks:
        if ask.answered_at is None:
            continue
        nodes = tuple(sorted(ask.by))
        begins_at = ask.asked_at
        if found and found[-1].nodes == nodes:
            begins_at = found.pop().begins_at
        found.append(Tenure(nodes, begins_at, ask.asked_at))
    return found


def moves(held: Sequence[Tenure]) -> int:
    """How often the address went from one node to another. A time of two owners on the way is part of the move."""
    single = [tenure.nodes for tenure in held if len(tenure.nodes) == 1]
    return sum(before != after for before, after in pairwise(single))


def owners(asks: Iterable[Ask]) -> tuple[int, int]:
    """The fewest and the most nodes that answered one question; (0, 0) when none was asked.

    That nobody answered counts from the third question in a row: one or two are lost frames.
    """
    counts = []
    for number, run in groupby(len(ask.by) for ask in asks):
        if number or len(list(run)) >= OWNERLESS_FROM:
            counts.append(number)
    return (min(counts), max(counts)) if counts else (0, 0)


def noise(asks: Sequence[Ask]) -> Noise:
    """What the meter says of itself."""
    late = [ask.asked_at - ask.due_at for ask in asks] or [0.0]
    answered = [ask.answered_at - ask.asked_at for ask in asks if ask.answered_at is not None] or [0.0]
    return Noise(len(asks), statistics.median(late), max(late), statistics.median(answered), max(answered))


def by_target(asks: Iterable[Ask]) -> Mapping[str, list[Ask]]:
    """The questions to each address, in the order in which they were asked."""
    found: dict[str, list[Ask]] = {}
    for ask in sorted(asks, key=lambda ask: ask.asked_at):
        found.setdefault(ask.target, []).append(ask)
    return found
