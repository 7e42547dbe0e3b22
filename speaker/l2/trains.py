"""What everybody is told unasked: for each address on each interface a train of frames, then a refresh for ever.

Rules kept here:

* An address has one train on an interface. It is planned from round to round, each from when the one before went out: a
  round that was late or had to queue is not made up for by two at once.
* The first frame of every address goes before the second of any, and that before all repeats.
* A train that was stopped leaves nothing behind that could still be sent.

Source: design.md §6; docs/specs/metallb-interface.md §4.6.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, IntEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from speaker.l2.config import MAX_ROUND_FRAMES, L2Config
from speaker.l2.frames import Encoder
from speaker.l2.interfaces import Interface
from speaker.l2.known import Known
from speaker.l2.pacing import Pacer
from speaker.l2.requesters import Requesters
from speaker.l2.timers import Timer, Timers

if TYPE_CHECKING:
    from random import Random

MAX_DUE: Final = 256
"""Trains that come due in one turn: after a pause, thousands are."""


class Lane(IntEnum):
    """What goes first when frames have to wait."""

    FIRST = 0
    SECOND = 1
    REPEAT = 2
    REFRESH = 3


class Part(Enum):
    """What a round is made of."""

    REQUEST = "to everybody, as a request: it replaces a cache's entry however new that is"
    REPLY = "to everybody, as a reply"
    ANSWERS = "to each host that asked lately, the answer that it would get now"


@dataclass(frozen=True, slots=True)
class Round:
    """One step of a train."""

    gap: float
    """Seconds after the round before."""
    lane: Lane
    parts: tuple[Part, ...]


def plan(config: L2Config) -> tuple[Round, ...]:
    """The rounds of a train. The last is repeated for ever."""
    everybody = (Part.REQUEST, Part.REPLY)
    return (
        Round(0.0, Lane.FIRST, (Part.REQUEST,)),
        Round(0.0, Lane.SECOND, (Part.REPLY,)),
        Round(0.0, Lane.REPEAT, (Part.ANSWERS,)),
        *(Round(late - early, Lane.REPEAT, everybody) for early, late in pairwise(config.train)),
        Round(config.refresh_interval, Lane.REFRESH, (*everybody, Part.ANSWERS)),
    )


class Port:
    """An interface that is served on, and the trains that run there."""

    __slots__ = ("encoder", "interface", "pacer", "trains")

    def __init__(self, interface: Interface, config: L2Config) -> None:
        self.interface = interface
        self.encoder: Final = Encoder(interface.mac)
        self.pacer: Final[Pacer[Train]] = Pacer(len(Lane), config.frames_per_second)
        self.trains: Final[dict[bytes, Train]] = {}

    def is_as_before(self, interface: Interface) -> bool:
        """Whether what was said on it still holds, now that it is as told."""
        return (interface.mac, interface.has_carrier) == (self.interface.mac, self.interface.has_carrier)


class Train:
    """One address on one interface: waiting in the pacer, or for its timer."""

    __slots__ = ("known", "number", "port", "timer")

    def __init__(self, known: Known, port: Port) -> None:
        self.known: Final = known
        self.port: Final = port
        self.number = 0
        """Of the round that comes next."""
        self.timer: Timer[Train] | None = None


class Trains:
    """All of them. ``gratuitous_sent`` counts frames."""

    def __init__(self, rng: Random, config: L2Config, requesters: Requesters) -> None:
        self._rng: Final = rng
        self._config: Final = config
        self._requesters: Final = requesters
        self._rounds: Final = plan(config)
        self._timers: Final[Timers[Train]] = Timers()
        self.gratuitous_sent = 0

    def begin(self, known: Known, ports: Iterable[Port], now: float) -> None:
        """Start the train of the address on these interfaces, or start it over; on those that have a carrier."""
        for port in ports:
            if port.interface.has_carrier:
                self._stop(known, port)
                train = port.trains[known.packed] = Train(known, port)
                port.pacer.put(self._rounds[0].lane, train, now)

    def stop(self, known: Known, ports: Iterable[Port]) -> None:
        """Say no more of the address on these interfaces."""
        for port in ports:
            self._stop(known, port)

    def close(self, port: Port) -> None:
        """Say no more on the interface."""
        for train in tuple(port.trains.values()):
            self._stop(train.known, port)

    def _stop(self, known: Known, port: Port) -> None:
        train = port.trains.pop(known.packed, None)
        if train is None:
            return
        if train.timer is not None:
            train.timer.cancel()
        else:
            port.pacer.drop(train)

    def next_at(self, ports: Iterable[Port]) -> float:
        """When :meth:`take_turn` has something to give."""
        return min(self._timers.next_at(), min((port.pacer.ready_at() for port in ports), default=math.inf))

    def take_turn(self, ports: Iterable[Port], now: float) -> list[tuple[int, bytes]]:
        """What is due by ``now``, a turn's worth at most: frames with the index of their interface, the interfaces by
        turns."""
        for _ in range(MAX_DUE):
            train = self._timers.take_due(now)
            if train is None:
                break
            train.timer = None
            train.port.pacer.put(self._rounds[train.number].lane, train, now)
        frames: list[tuple[int, bytes]] = []
        busy, room = deque(ports), self._config.frames_per_turn
        while busy and room >= MAX_ROUND_FRAMES:
            port = busy.popleft()
            train = port.pacer.take(now)
            if train is not None:
                made = self._go(train, now)
                frames += made
                room -= len(made) or 1  # a round of answers that nobody asked for takes its time, too
                busy.append(port)
        return frames

    def _go(self, train: Train, now: float) -> list[tuple[int, bytes]]:
        """The frames of the train's next round, and the plan for the one after."""
        known, port = train.known, train.port
        made: list[bytes] = []
        for part in self._rounds[train.number].parts:
            if part is Part.REQUEST:
                made.append(port.encoder.gratuitous_request(known.packed))
            elif part is Part.REPLY:
                made.append(port.encoder.gratuitous_reply(known.packed))
            else:
                recent = self._requesters.recent(known.packed, port.interface.index, now)
                made += [port.encoder.reply(known.packed, mac, ip) for mac, ip in recent]
        known.gratuitous_sent += len(made)
        self.gratuitous_sent += len(made)
        port.pacer.charge(len(made))
        self._plan(train, now)
        index = port.interface.index
        return [(index, frame) for frame in made]

    def _plan(self, train: Train, now: float) -> None:
        last = len(self._rounds) - 1
        train.number = min(train.number + 1, last)
        following = self._rounds[train.number]
        gap = following.gap
        if train.number == last:
            jitter = self._config.refresh_jitter
            gap *= self._rng.uniform(1 - jitter, 1 + jitter)
        if gap > 0:
            train.timer = self._timers.schedule(now + gap, train)
        else:
            train.port.pacer.put(following.lane, train, now)
