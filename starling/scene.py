"""What the demonstration shows at one moment: nodes, the client's heartbeat, the story so far. Pure.

Rules kept here:

* It knows what was heard and done, not how it is drawn: a terminal, a picture and plain lines read the same scene.
* Times are seconds of one clock; the story counts from the scene's beginning.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field
from typing import Final

MAX_BEATS: Final = 70
"""Of the heartbeat that are shown; the oldest go first."""
SILENT_AFTER: Final = 0.1
"""Seconds without an answer that are called silence."""


@dataclass(slots=True)
class NodeSeen:
    """A node as the demonstration shows it."""

    name: str
    address: str
    has_cable: bool = True
    speaker: str = "runs"


@dataclass(slots=True)
class Scene:
    """Everything that is shown."""

    began_at: float
    service: str = ""
    address: str = ""
    nodes: list[NodeSeen] = field(default_factory=list)
    owners: tuple[str, ...] = ()
    """Who answered for the address last, by ARP."""
    answered_at: float | None = None
    """When the client was answered last."""
    ended_at: float | None = None
    """When the client asked no more."""
    beats: list[tuple[float, str]] = field(default_factory=list)
    """When each request was made and which node answered it; "" when none did. In order of time."""
    story: list[tuple[float, str]] = field(default_factory=list)
    """What happened when, and what came of it."""

    def number(self, name: str) -> int:
        """A node's number, from 1; 0 for what is no node."""
        names = [node.name for node in self.nodes]
        return names.index(name) + 1 if name in names else 0

    def node(self, name: str) -> NodeSeen:
        """A node by its name."""
        return self.nodes[self.number(name) - 1]

    def beat(self, at: float, by: str) -> None:
        """A request of the client's and its answer; answers may be told in any order."""
        insort(self.beats, (at, by))
        del self.beats[:-MAX_BEATS]

    def answer(self, at: float) -> None:
        """The client had an answer."""
        self.answered_at = at if self.answered_at is None else max(at, self.answered_at)

    def tell(self, at: float, text: str) -> str:
        """One more line of the story; gives it with its time, as plain text."""
        self.story.append((at, text))
        return f"{at - self.began_at:7.2f} s  {text}"

    def silent_for(self, now: float) -> float:
        """Seconds since the client's last answer, or 0 when there is one every moment or none was expected yet.

        What comes after the last question is no silence.
        """
        until = now if self.ended_at is None else min(now, self.ended_at)
        silent = 0.0 if self.answered_at is None else until - self.answered_at
        return silent if silent > SILENT_AFTER else 0.0
