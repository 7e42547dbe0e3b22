"""A machine of the simulation: one core, and what surrounds it."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from gossip import Address, StreamCommand, StreamId
    from sim.streams import End


class Core(Protocol):
    """A sans-I/O core as :class:`gossip.Membership` is one: inputs with ``now``, drains, and one deadline."""

    def receive_datagram(self, data: bytes, source: Address, now: float) -> None:
        """Bytes that came from ``source``."""

    def accept_stream(self, source: Address, now: float) -> StreamId:
        """A connection came in; the number given back names it."""

    def receive_stream(self, stream: StreamId, data: bytes, now: float) -> None:
        """Bytes of a stream, ``b""`` at its end."""

    def stream_failed(self, stream: StreamId, reason: str, now: float) -> None:
        """It could not be opened, or broke."""

    def handle_timer(self, now: float) -> None:
        """Do what is due."""

    def datagrams_to_send(self) -> list[tuple[bytes, Address]]:
        """Drain: bytes and where to."""

    def stream_commands(self) -> list[StreamCommand]:
        """Drain: what to do with streams."""

    def next_event(self) -> object | None:
        """Drain: the next thing for the user, ``None`` if there is no more."""

    def next_timer(self) -> float:
        """The earliest deadline, ``math.inf`` if there is none."""


Boot: TypeAlias = "Callable[[Node, Random, float], Core]"
"""Makes and starts the core of a node, at its start and at each restart, from a generator of its own and ``now``."""


class Node:
    """``core`` is ``None`` while no process runs; ``host_is_up`` tells whether a kernel would say so."""

    __slots__ = ("address", "boot", "boots", "core", "host_is_up", "inbox", "name", "paused", "streams", "wake_at")

    def __init__(self, name: str, address: Address, boot: Boot) -> None:
        self.name: Final = name
        self.address: Final = address
        self.boot: Final = boot
        self.boots = 0
        self.core: Core | None = None
        self.host_is_up = True
        self.paused = False
        self.inbox: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        """Inputs that wait while the process is paused."""
        self.streams: dict[StreamId, End] = {}
        """Those that the core has not closed."""
        self.wake_at = math.inf
        """When the core is next woken; never later than its deadline."""
