"""What the network does to a packet: latency, jitter, loss, duplication, and who cannot reach whom.

Rules kept here:

* Each direction between two nodes draws from a sequence of its own, seeded by the run's seed and the two names: a new
  node, or traffic elsewhere, changes nothing for it.
* A link that leaves nothing to chance draws nothing.
* Faults are values in a list; a repaired network is the one there was before.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from gossip import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

_MULTIPLIER: Final = 6_364_136_223_846_793_005
_INCREMENT: Final = 1_442_695_040_888_963_407
_MASK: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One direction of a path. Raises :class:`ConfigError` for values no network has."""

    latency: float = 0.000_2
    """Seconds a packet takes at least."""
    jitter: float = 0.000_1
    """Seconds it may take longer, evenly spread. Packets sent closer together than this may overtake each other."""
    loss: float = 0.0
    """Part of the packets that never arrive, each on its own."""
    duplicate: float = 0.0
    """Part of the packets that arrive twice."""

    def __post_init__(self) -> None:
        for name in ("latency", "jitter"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"link.{name} {getattr(self, name)} must not be negative")
        for name in ("loss", "duplicate"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"link.{name} {getattr(self, name)} must be in 0..1")


LAN: Final = Link()
"""A switch between machines in one room."""


@dataclass(frozen=True, slots=True)
class _Cut:
    """Nothing from ``sources`` reaches ``targets``."""

    sources: frozenset[str]
    targets: frozenset[str]


class Network:
    """Every path between nodes, by their names: one link for all, others for single directions, and cuts."""

    def __init__(self, seed: str, link: Link = LAN) -> None:
        self.link = link
        """For every direction that has none of its own; may be replaced while running."""
        self._seed: Final = seed
        self._links: dict[tuple[str, str], Link] = {}
        self._cuts: list[_Cut] = []
        self._states: dict[tuple[str, str], int] = {}

    def set_link(self, source: str, target: str, link: Link) -> None:
        """Give the direction from ``source`` to ``target`` a link of its own."""
        self._links[source, target] = link

    def partition(self, *groups: Iterable[str]) -> None:
        """No node of one group hears any of another. Partitions and cuts add up until :meth:`repair`."""
        sides = [frozenset(group) for group in groups]
        self._cuts += [_Cut(source, target) for source in sides for target in sides if source is not target]

    def partition_oneway(self, sources: Iterable[str], targets: Iterable[str]) -> None:
        """``targets`` no longer hear ``sources``; the other way stays open."""
        self._cuts.append(_Cut(frozenset(sources), frozenset(targets)))

    def repair(self) -> None:
        """Mend every partition and cut. Links keep their loss and latency."""
        self._cuts.clear()

    def carry(self, source: str, target: str) -> tuple[float, ...]:
        """The seconds after which the copies of one packet arrive: one copy, none when it is lost, sometimes two."""
        direction = (source, target)
        if self._cuts and any(source in cut.sources and target in cut.targets for cut in self._cuts):
            return ()
        link = self._links.get(direction, self.link) if self._links else self.link
        if link.loss and self._draw(direction) < link.loss:
            return ()
        first = link.latency + (link.jitter * self._draw(direction) if link.jitter else 0.0)
        if link.duplicate and self._draw(direction) < link.duplicate:
            return first, link.latency + link.jitter * self._draw(direction)
        return (first,)

    def _draw(self, direction: tuple[str, str]) -> float:
        """The next number in [0, 1) of this direction's own sequence.

        A linear congruential generator, because its state is one integer: ``random.Random`` has 2.5 kB, and a ring
        of a thousand has a million directions.
        """
        state = self._states.get(direction)
        if state is None:
            state = int.from_bytes(sha256("\0".join((self._seed, *direction)).encode()).digest()[:8], "big")
        self._states[direction] = state = (state * _MULTIPLIER + _INCREMENT) & _MASK
        return (state >> 11) * 2.0**-53
