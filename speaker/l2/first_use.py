"""Whether somebody has a new address already: it is asked for before it is announced for the first time.

Rules kept here:

* No I/O, no clock: ``now`` (float seconds, any origin) is an argument.
* Whoever sends ARP with the address as the sender has it, and whoever probes for it meanwhile will. A member or this
  node itself is never meant.
* Who has it and answers for a spare address too answers for everything (proxy ARP), and keeps nobody from using it.
* An address in use is asked for again, ever less often, until it is free or no longer wanted. Every question ends in an
  outcome, unless it was cancelled; without an interface to ask on it waits for one.
* Thousands of questions are asked side by side, no faster than PROBES_PER_SECOND: that bounds how many are open.

Source: design.md §5, first use; RFC 5227 §2.1.1.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, IntEnum
from ipaddress import IPv4Address
from typing import Final, TypeAlias

from speaker.l2.frames import ARPPacket, BadFrame, Encoder, decode_arp_untrusted
from speaker.l2.interfaces import Interface
from speaker.l2.pacing import Pacer
from speaker.l2.timers import Timer, Timers

PROBES: Final = 2
PROBE_INTERVAL: Final = 0.05
"""Seconds between the probes."""
ANSWER_TIMEOUT: Final = 0.1
"""Seconds after the last probe in which a host that has the address answers."""
PROXY_TIMEOUT: Final = 1.0
"""The same for the spare address: Linux answers for others after up to 0.8 s (proxy_delay)."""
RETRY_MIN: Final = 5.0
RETRY_MAX: Final = 300.0
"""Seconds after which an address in use is asked for again: the first time, and at most after doubling."""
PROBES_PER_SECOND: Final = 8000.0
"""On each interface. 10,000 new addresses take 2.7 s."""
MAX_DUE: Final = 256
"""Questions that come due in one turn: after a pause, a thousand are."""
MAX_TURN_FRAMES: Final = 128
"""Made in one go; more only where a single probe goes out on more interfaces than that."""
MAX_HOLDERS: Final = 16
"""Who answered for one address, as far as it is remembered; a fabric of routers has one or two."""
UNUSED: Final = IPv4Address("192.0.2.1")
"""Asked for where the pool has no spare address: nobody may have this one (RFC 5737)."""

_SOURCE: Final = slice(6, 12)
_TARGET_IP: Final = slice(38, 42)


@dataclass(frozen=True, slots=True)
class Free:
    """Nobody has the address."""

    address: IPv4Address


@dataclass(frozen=True, slots=True)
class InUse:
    """A stranger has it; it is asked for again after ``retry_after`` seconds."""

    address: IPv4Address
    mac: bytes
    interface: str
    retry_after: float


@dataclass(frozen=True, slots=True)
class Proxy:
    """Somebody answers for it who answers for every address."""

    address: IPv4Address
    mac: bytes
    interface: str


Outcome: TypeAlias = Free | InUse | Proxy


@dataclass(frozen=True, slots=True)
class _Holder:
    """Who answered, and where."""

    mac: bytes
    interface: str


class _Lane(IntEnum):
    """Which probe goes first: those of questions that were begun, the new ones before those of a retry."""

    SECOND = 0
    SPARE = 1
    FIRST = 2
    RETRY = 3


class _Stage(Enum):
    """What a question waits for."""

    PROBING = "its next probe may go out"
    LISTENING = "whoever has the address has had the time to say so"
    SUSPECTED = "it is known whether who answered answers for everything"
    RESTING = "it is time to ask again"


class _Question:
    """An address that is asked for."""

    __slots__ = ("address", "holders", "packed", "probes", "stage", "timeout", "timer")

    def __init__(self, address: IPv4Address, timeout: float) -> None:
        self.address: Final = address
        self.packed: Final = address.packed
        self.timeout: Final = timeout
        self.stage = _Stage.PROBING
        self.probes = 0
        """Sent so far."""
        self.holders: dict[_Holder, None] = {}
        """In the order in which they answered."""
        self.timer: Timer[_Candidate | _Spare] | None = None

    def hear(self, mac: bytes, interface: str) -> None:
        """Somebody has the address."""
        if len(self.holders) < MAX_HOLDERS:
            self.holders[_Holder(mac, interface)] = None


class _Candidate(_Question):
    """A new address."""

    __slots__ = ("retry_after", "spare")

    def __init__(self, address: IPv4Address, spare: IPv4Address) -> None:
        super().__init__(address, ANSWER_TIMEOUT)
        self.spare: Final = spare
        self.retry_after = RETRY_MIN


class _Spare(_Question):
    """An address that nobody has: whoever answers for it answers for everything."""

    __slots__ = ("suspects",)

    def __init__(self, address: IPv4Address) -> None:
        super().__init__(address, PROXY_TIMEOUT)
        self.suspects: Final[dict[bytes, _Candidate]] = {}
        """New addresses that somebody answered for, by their packed form."""


class FirstUse:
    """Asks before an address is announced for the first time. Three families of methods:

    * inputs: ``probe``, ``cancel``, ``set_interfaces``, ``set_known_macs``, ``receive``, ``handle_timer``;
    * drains: ``frames_to_send``, ``next_outcome``;
    * queries: ``next_timer``.
    """

    def __init__(self) -> None:
        self._interfaces: dict[int, Interface] = {}
        self._encoders: dict[int, Encoder] = {}
        self._own_macs: frozenset[bytes] = frozenset()
        self._known_macs: frozenset[bytes] = frozenset()
        self._candidates: Final[dict[bytes, _Candidate]] = {}
        self._spares: Final[dict[bytes, _Spare]] = {}
        self._pacer: Final[Pacer[_Candidate | _Spare]] = Pacer(len(_Lane), PROBES_PER_SECOND)
        self._timers: Final[Timers[_Candidate | _Spare]] = Timers()
        self._out: list[tuple[int, bytes]] = []
        self._outcomes: Final[deque[Outcome]] = deque()

    # ---- inputs

    def probe(self, address: IPv4Address, spare: IPv4Address | None, now: float) -> None:
        """Ask for the address, unless that is being done. ``spare`` is one of the same pool that nobody has."""
        if address.packed in self._candidates:
            return
        candidate = _Candidate(address, spare if spare is not None and spare != address else UNUSED)
        self._candidates[address.packed] = candidate
        self._pacer.put(_Lane.FIRST, candidate, now)

    def cancel(self, address: IPv4Address) -> None:
        """It is not wanted any more: there will be no outcome, nor a retry."""
        candidate = self._candidates.pop(address.packed, None)
        if candidate is None:
            return
        if candidate.timer is not None:
            candidate.timer.cancel()
        self._pacer.drop(candidate)
        spare = self._spares.get(candidate.spare.packed)
        if spare is not None:
            spare.suspects.pop(candidate.packed, None)
        self._out = [(index, frame) for index, frame in self._out if frame[_TARGET_IP] != candidate.packed]

    def set_interfaces(self, interfaces: Iterable[Interface]) -> None:
        """These are served on; those with a carrier are asked on."""
        self._interfaces = {interface.index: interface for interface in interfaces if interface.has_carrier}
        self._encoders = {index: Encoder(interface.mac) for index, interface in self._interfaces.items()}
        self._own_macs = frozenset(interface.mac for interface in self._interfaces.values())
        macs = {index: interface.mac for index, interface in self._interfaces.items()}
        self._out = [(index, frame) for index, frame in self._out if frame[_SOURCE] == macs.get(index)]

    def set_known_macs(self, macs: Iterable[bytes]) -> None:
        """Hardware addresses of members: they are no strangers, whatever they answer."""
        self._known_macs = frozenset(macs)

    def receive(self, index: int, frame: bytes, now: float) -> None:
        """A frame as it came on the interface with this index. Nothing is raised, whatever it holds."""
        interface = self._interfaces.get(index)
        if interface is None or not self._candidates:
            return
        try:
            packet = decode_arp_untrusted(frame)
        except BadFrame:
            return
        if packet.sender_mac in self._own_macs or packet.sender_mac in self._known_macs:
            return
        for question in self._meant(packet):
            question.hear(packet.sender_mac, interface.name)

    def handle_timer(self, now: float) -> None:
        """Do what is due by ``now``, one turn's worth of it."""
        for _ in range(MAX_DUE):
            question = self._timers.take_due(now)
            if question is None:
                break
            question.timer = None
            self._go_on(question, now)
        room = MAX_TURN_FRAMES
        while self._encoders and room > 0 and (question := self._pacer.take(now)) is not None:
            self._send_probe(question, now)
            room -= len(self._encoders)

    # ---- drains

    def frames_to_send(self) -> list[tuple[int, bytes]]:
        """Probes, each with the index of its interface."""
        out, self._out = self._out, []
        return out

    def next_outcome(self) -> Outcome | None:
        """What came of the next question; None when there is no more."""
        return self._outcomes.popleft() if self._outcomes else None

    # ---- queries

    def next_timer(self) -> float:
        """When ``handle_timer`` wants to be called; ``math.inf`` if never, at or before now if at once."""
        due_at = self._timers.next_at()
        return min(due_at, self._pacer.ready_at()) if self._encoders else due_at

    # ---- inside

    def _meant(self, packet: ARPPacket) -> Iterator[_Question]:
        """The questions that the packet answers."""
        spare = self._spares.get(packet.sender_ip)
        if spare is not None:
            yield spare
        candidate = self._candidates.get(packet.target_ip if packet.is_probe else packet.sender_ip)
        if candidate is not None:
            yield candidate

    def _send_probe(self, question: _Candidate | _Spare, now: float) -> None:
        self._out += [(index, encoder.probe(question.packed)) for index, encoder in self._encoders.items()]
        self._pacer.charge(1)
        question.probes += 1
        if question.probes == PROBES:
            question.stage = _Stage.LISTENING
        wait = PROBE_INTERVAL if question.stage is _Stage.PROBING else question.timeout
        question.timer = self._timers.schedule(now + wait, question)

    def _go_on(self, question: _Candidate | _Spare, now: float) -> None:
        """The question's timer came."""
        if question.stage is _Stage.PROBING:
            self._pacer.put(_Lane.SECOND, question, now)
        elif isinstance(question, _Spare):
            self._conclude(question, now)
        elif question.stage is _Stage.RESTING:
            question.stage, question.probes, question.holders = _Stage.PROBING, 0, {}
            self._pacer.put(_Lane.RETRY, question, now)
        else:
            self._judge(question, now)

    def _judge(self, candidate: _Candidate, now: float) -> None:
        """The time to answer is over."""
        if not candidate.holders:
            del self._candidates[candidate.packed]
            self._outcomes.append(Free(candidate.address))
            return
        candidate.stage = _Stage.SUSPECTED
        spare = self._spares.get(candidate.spare.packed)
        if spare is None:
            spare = self._spares[candidate.spare.packed] = _Spare(candidate.spare)
            self._pacer.put(_Lane.SPARE, spare, now)
        spare.suspects[candidate.packed] = candidate

    def _conclude(self, spare: _Spare, now: float) -> None:
        """It is known who answers for everything: tell one of those who wait for that."""
        if spare.suspects:
            _, candidate = spare.suspects.popitem()
            self._sentence(candidate, spare, now)
            spare.timer = self._timers.schedule(now, spare)
        else:
            del self._spares[spare.packed]

    def _sentence(self, candidate: _Candidate, spare: _Spare, now: float) -> None:
        """A single one who answers for the address and not for everything has it."""
        address, holders = candidate.address, tuple(candidate.holders)
        strangers = [holder for holder in holders if holder not in spare.holders]
        if not strangers:
            del self._candidates[candidate.packed]
            self._outcomes.append(Proxy(address, holders[0].mac, holders[0].interface))
            return
        candidate.stage = _Stage.RESTING
        candidate.timer = self._timers.schedule(now + candidate.retry_after, candidate)
        self._outcomes.append(InUse(address, strangers[0].mac, strangers[0].interface, candidate.retry_after))
        candidate.retry_after = min(2 * candidate.retry_after, RETRY_MAX)
