"""Virtual time, and what happens in it by itself: one heap of what comes next, cores that are fed and drained.

Rules kept here:

* Nothing is decided but by the seed: same seed, same scenario, same digest, on every machine and under every
  PYTHONHASHSEED. What falls on one instant happens in the order in which it was scheduled.
* The stage is a driver like any other (:mod:`gossip.driver`): it drains a core after each input, and a paused process
  hears all that waited before any of its timers fires.
* The real codec is in the loop: what arrives are the bytes that were sent.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from heapq import heappop, heappush
from random import Random
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from gossip import Address, PingCompleted
from sim.network import LAN, Link, Network
from sim.node import Boot, Node
from sim.streams import Streams

if TYPE_CHECKING:
    from sim.node import Core

PORT: Final = 7946
"""Every node's."""
MAX_WAITING_DATAGRAMS: Final = 2048
"""Datagrams that a paused process finds when it goes on; its kernel drops the rest."""
_ENTRY: Final = Struct("<dII")


class Happening(NamedTuple):
    """``what`` happened on ``node`` at ``at`` seconds.

    ``about`` is the sender of a datagram, the number of a stream, an event as text; ``data`` the bytes, if any.
    """

    at: float
    what: str
    node: str
    about: str
    data: bytes


class Told(NamedTuple):
    """An event that the core of ``node`` told its user at ``at`` seconds."""

    at: float
    node: str
    event: object


Trace: TypeAlias = Callable[[Happening], object]
"""Called with everything that happens, as it happens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Counts since the start."""

    steps: int
    """Entries of the heap worked off."""
    datagrams_sent: int
    bytes_sent: int
    """In datagrams."""
    datagrams_delivered: int
    """Duplicates included."""
    datagrams_lost: int
    """On the network, at hosts without the process, at processes paused for too long."""
    streams_opened: int
    streams_refused: int
    streams_timed_out: int
    streams_broken: int
    events: dict[str, int]
    """What the cores told, by the type's name."""


class Stage:
    """Nodes, their network and their time. ``now`` is seconds since the start."""

    def __init__(self, seed: int | str, link: Link = LAN, trace: Trace | None = None) -> None:
        self.seed: Final = str(seed)
        self.now = 0.0
        self.network: Final = Network(self.seed, link)
        self.nodes: Final[dict[str, Node]] = {}
        self.told: Final[list[Told]] = []
        """All events in order, but for the acks of probes (one a second and node). May be cleared."""
        self._by_address: dict[Address, Node] = {}
        self._heap: list[tuple[float, int, Callable[..., object], tuple[object, ...]]] = []
        self._scheduled = 0
        self._hash = sha256(self.seed.encode())
        self._trace = trace
        self._streams: Final = Streams(self)
        self._sent = self._bytes_sent = self._delivered = self._lost = 0
        self._events: Counter[type] = Counter()

    def add_node(self, name: str, boot: Boot, *, after: float = 0.0) -> Node:
        """A node with any core, booted in ``after`` seconds. Raises :class:`ValueError` for a name there is already."""
        if name in self.nodes:
            raise ValueError(f"there is a node {name!r} already")
        number = len(self.nodes) + 1
        address = (f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", PORT)
        node = self.nodes[name] = self._by_address[address] = Node(name, address, boot)
        if after > 0:
            self.at(self.now + after, self._boot, node)
        else:
            self._boot(node)
        return node

    # ---- time

    def at(self, when: float, act: Callable[..., object], *arguments: object) -> None:
        """Call ``act(*arguments)`` when it is ``when``; next, if that is past."""
        self._scheduled += 1
        heappush(self._heap, (max(self.now, when), self._scheduled, act, arguments))

    def run(self, until: float) -> None:
        """Let everything happen that falls before or on ``until``."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, act, arguments = heappop(heap)
            act(*arguments)
        self.now = max(self.now, until)

    # ---- what happened

    @property
    def digest(self) -> str:
        """SHA-256 over everything that happened so far, in order."""
        return self._hash.hexdigest()

    def note(self, what: str, node: Node, about: str, data: bytes = b"") -> None:
        """Take something into the digest, and trace it."""
        text = f"{what}\0{node.name}\0{about}".encode()
        self._hash.update(_ENTRY.pack(self.now, len(text), len(data)) + text + data)
        if self._trace is not None:
            self._trace(Happening(self.now, what, node.name, about, data))

    def statistics(self) -> Statistics:
        """The counts as they are now."""
        streams = self._streams
        return Statistics(
            steps=self._scheduled - len(self._heap),
            datagrams_sent=self._sent,
            bytes_sent=self._bytes_sent,
            datagrams_delivered=self._delivered,
            datagrams_lost=self._lost,
            streams_opened=streams.opened,
            streams_refused=streams.refused,
            streams_timed_out=streams.timed_out,
            streams_broken=streams.broken,
            events={kind.__name__: count for kind, count in self._events.items()},
        )

    # ---- cores

    def node_at(self, address: Address) -> Node | None:
        """The node of that address."""
        return self._by_address.get(address)

    def give(self, node: Node, act: Callable[..., object], *arguments: object) -> None:
        """Make an input to the core of ``node``, or keep it until the process goes on."""
        if node.paused:
            node.inbox.append((act, arguments))
        elif node.core is not None:
            act(*arguments)
            self._drain(node, node.core)

    def _boot(self, node: Node) -> None:
        node.boots += 1
        self.note("boot", node, str(node.boots))
        node.core = node.boot(node, Random(f"{self.seed}/{node.name}/{node.boots}"), self.now)
        self._drain(node, node.core)

    def _end_process(self, node: Node, what: str) -> None:
        self.note(what, node, "")
        node.core, node.paused, node.wake_at = None, False, math.inf
        node.inbox.clear()
        node.streams.clear()

    def _drain(self, node: Node, core: Core) -> None:
        """Carry out what the core has to say, and see to its next deadline."""
        for data, address in core.datagrams_to_send():
            self._send(node, data, address)
        for command in core.stream_commands():
            self._streams.carry_out(node, command)
        while (event := core.next_event()) is not None:
            self._publish(node, event)
        left = core.datagrams_to_send(), core.stream_commands(), core.next_event()
        assert left == ([], [], None), f"{node.name} is not drained: {left}"
        due = core.next_timer()
        if due < node.wake_at:
            node.wake_at = due
            self.at(due, self._wake, node)

    def _wake(self, node: Node) -> None:
        if self.now < node.wake_at:
            return  # an earlier deadline was met since this was scheduled
        node.wake_at = math.inf
        if node.core is not None and not node.paused:
            if node.core.next_timer() <= self.now:
                node.core.handle_timer(self.now)
            self._drain(node, node.core)

    def _send(self, node: Node, data: bytes, address: Address) -> None:
        self._sent += 1
        self._bytes_sent += len(data)
        target = self._by_address.get(address)
        delays = self.network.carry(node.name, target.name) if target is not None else ()
        for delay in delays:
            self.at(self.now + delay, self._arrive, target, data, node)
        self._lost += not delays

    def _arrive(self, node: Node, data: bytes, source: Node) -> None:
        if node.core is None or len(node.inbox) >= MAX_WAITING_DATAGRAMS:
            self._lost += 1
        elif node.paused:
            node.inbox.append((self._arrive, (node, data, source)))
        else:
            self._delivered += 1
            self.note("datagram", node, source.name, data)
            node.core.receive_datagram(data, source.address, self.now)
            self._drain(node, node.core)

    def _publish(self, node: Node, event: object) -> None:
        self._events[type(event)] += 1
        self.note("event", node, repr(event))
        if not (isinstance(event, PingCompleted) and event.token is None):
            self.told.append(Told(self.now, node.name, event))
