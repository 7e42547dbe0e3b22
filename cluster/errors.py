"""What can be wrong with a manifest: where, what, and what would be right.

Rules kept here:

* A problem always names its cure. What cannot be cured by editing the text names what to look at instead.
* Readers collect problems and go on; whoever needs a whole snapshot gets all of them in one :class:`ManifestError`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_SHOWN: Final = 60
"""Characters of a value that a message repeats."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A character of a file; the first one is line 1, column 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong, in a sentence without its end, and the cure in another."""

    place: Place
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}; {self.hint}"


class ClusterError(Exception):
    """Root of everything this package raises on purpose. Never raised itself."""


class ManifestError(ClusterError):
    """The manifests are wrong. Holds every problem, in the order of files and lines; nothing has changed."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class ValueRefused(ClusterError):
    """One value does not mean what its field needs: `message` says why, `hint` what would be right."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{message}; {hint}")
        self.message = message
        self.hint = hint


def quote(text: str) -> str:
    """A value as messages repeat it: cut to MAX_SHOWN characters, control characters escaped."""
    return repr(text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…")
