"""A speaker without I/O: from what is wanted, the ring, the interfaces and the frames to frames, commands and events.

Rules kept here:

* No I/O, no clock, no randomness of its own: ``now`` (float seconds, any origin) is an argument, the generator comes by
  the constructor. The agent and the simulator run this.
* Nothing is decided before what is wanted is known as a whole.
* Nothing is gained but through the gate (:mod:`speaker.gate`): two nodes that start together must not both claim, and a
  node that was cut off must not claim what others have taken over. Without a carrier nothing is announced.
* What an event touched is decided again in turns of TURN groups; an address whose owner is gone goes first.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final

from cluster.model import Address
from speaker.arbiter import Arbiter
from speaker.commands import Command, SetLocalAddresses, SetMarker
from speaker.decisions import Change, Decisions
from speaker.demand import DemandChange
from speaker.events import AddressKnown, Announced, Event, NobodyAnnounces, OwnerChanged, Withdrawn
from speaker.gate import Gate
from speaker.history import History, Move
from speaker.holdings import Holdings
from speaker.intake import Intake
from speaker.l2.announcer import Announcer
from speaker.l2.first_use import FirstUse
from speaker.l2.interfaces import Interface, served_of, why_unfit
from speaker.marker import Tier, encode, marker_of
from speaker.ownership import Election, MemberFacts

if TYPE_CHECKING:
    from random import Random

MAX_UNFIT_SHOWN: Final = 8
"""Interfaces of which it is said why they are not fit."""
TURN: Final = 64
"""Groups decided, addresses begun or announced again in one turn: about 2 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerConfig:
    """What a speaker is told by its operator."""

    node: str
    election: Election = Election.STARLING
    interfaces: tuple[str, ...] | None = None
    """The interfaces to announce on; None: all that are fit for it."""
    ignore_exclude_label: bool = False
    """Whether nodes labelled as excluded from external load balancers announce all the same."""


class Speaker:
    """One node's speaker. Three families of methods:

    * inputs take ``now``: ``start`` and ``stop``, what is wanted (``demand_changed``), the ring
      (``ring_heard``, ``members_changed``, ``reunited``, ``receive_message``, ``exchanged``), the network
      (``interfaces_changed``, ``receive_frame``), the clock (``handle_timer``). After each, drain until empty;
    * drains return what to do: ``frames_to_send``, ``next_command``, ``next_event``;
    * queries change nothing: ``next_timer``, ``obstacles``, and those of ``decisions``, ``holdings``, ``disputes``,
      ``intake``, ``gate``, ``history``, ``announcer``. ``arbiter`` is told how old what is wanted is.
    """

    def __init__(self, config: SpeakerConfig, *, rng: Random, known: Iterable[Address] = ()) -> None:
        """``known`` are addresses that were announced before this process started: they need no probe."""
        self.config: Final = config
        self._commands: Final[deque[Command]] = deque()
        self._events: Final[deque[Event]] = deque()
        self.announcer: Final = Announcer(rng)
        self._first_use: Final = FirstUse()
        self.decisions: Final = Decisions(config.node, config.election)
        self.holdings: Final = Holdings(self.announcer, self._first_use, self._note)
        self.history: Final = History()
        self.arbiter: Final = Arbiter(
            config.node,
            self.decisions,
            self.holdings,
            self.announcer,
            emit=self._events.append,
            order=self._commands.append,
        )
        self.disputes: Final = self.arbiter.disputes
        self.intake: Final = Intake(config.node, known, ignore_exclude_label=config.ignore_exclude_label)
        self.gate: Final = Gate()
        self._is_running = False
        self._touched_at = math.inf
        self._members: tuple[MemberFacts, ...] = ()
        self._served: tuple[Interface, ...] = ()
        self._ports: tuple[Interface, ...] = ()
        """Those of the served interfaces that are answered on: all, or none while the gate is closed."""
        self._unfit: tuple[str, ...] = ()
        self._meta = b""
        self._again: deque[IPv4Address] = deque()
        """Addresses to be announced again."""

    # ---- inputs

    def start(self, now: float, *, has_seeds: bool) -> None:
        """Begin. With seeds nothing is announced before one of them was heard, or the gate's patience is at its end."""
        self._is_running = True
        self.gate.start(now, has_seeds=has_seeds)
        self._touched_at = min(self._touched_at, now)

    def stop(self, now: float) -> None:
        """Announce nothing any more."""
        self._is_running = False
        self.gate.stop()
        self._open_ports(now)
        for holding in self.holdings:
            self.holdings.release(holding.address, "the speaker stops", now)

    def ring_heard(self, now: float) -> None:
        """Another member was heard: a push/pull with it was completed, it has answered a ping."""
        self.gate.hear(now)
        self._open_ports(now)

    def demand_changed(self, change: DemandChange, now: float, *, is_reset: bool = False) -> None:
        """A part of what is wanted; nothing is decided before its last part. With ``is_reset`` the parts from this one
        to the complete one are everything."""
        self.decisions.change_demand(self.intake.take(change, is_reset=is_reset), is_reset=is_reset)
        for group in change.groups:
            for address in group.addresses:
                if isinstance(address, IPv4Address):
                    self.announcer.watch(address)
        if change.is_complete:
            self._commands.append(SetLocalAddresses(self.intake.local_addresses()))
            self.holdings.reconsider()
            self._touched_at = min(self._touched_at, now)

    def members_changed(self, members: Iterable[MemberFacts], now: float) -> None:
        """Everybody known in the ring, this node included."""
        known = tuple(members)
        if known == self._members:
            return
        self._members = known
        self.disputes.set_members(known)
        self._first_use.set_known_macs(self.disputes.macs)
        self.decisions.change_members(known)
        self.holdings.reconsider()
        self._touched_at = min(self._touched_at, now)

    def reunited(self, now: float) -> None:
        """A member is back that was held dead, or others held this node dead and hear it again. Either may have
        announced addresses of the other: the owner says again what is its own, though for it nothing has changed."""
        self._again = deque(self.announcer.announced)

    def receive_message(self, payload: bytes, now: float) -> None:
        """A user message of the ring. Nothing is raised, whatever it holds."""
        self.arbiter.receive_message(payload, now)

    def exchanged(self, member: str, succeeded: bool, now: float) -> None:
        """The views were exchanged with a member, or that has failed. Call after ``members_changed``."""
        self.disputes.exchanged(member, succeeded, now)

    def interfaces_changed(self, interfaces: Iterable[Interface], now: float) -> None:
        """Every interface of this machine."""
        present = tuple(interfaces)
        self._served = served_of(present, self.config.interfaces)
        self._unfit = why_unfit(present, self.config.interfaces)
        macs = tuple(interface.mac for interface in present)
        self.disputes.set_own_macs(macs)
        self.announcer.set_own_macs(macs)
        self._first_use.set_known_macs(self.disputes.macs)
        self.gate.set_carrier(any(interface.has_carrier for interface in self._served), now)
        self._open_ports(now)
        meta = encode(marker_of(self._served, Tier.READY))
        if meta != self._meta:
            self._meta = meta
            self._commands.append(SetMarker(meta))

    def receive_frame(self, index: int, frame: bytes, now: float) -> None:
        """A frame as it came on an interface. Nothing is raised, whatever it holds."""
        self.announcer.receive(index, frame, now)
        self._first_use.receive(index, frame, now)
        while (claim := self.announcer.next_claim()) is not None:
            if self.arbiter.hear(claim, now) and self.intake.know(claim.address):
                self._events.append(AddressKnown(claim.address))

    def handle_timer(self, now: float) -> None:
        """Do what is due by ``now``, and one turn of what takes longer."""
        self._open_ports(now)
        if self._is_running and self.intake.is_complete:
            for change in self.decisions.remake(TURN):
                self._apply(change, now)
            self._touched_at = math.inf if self.decisions.is_settled else now
            if self.decisions.is_settled:
                if self.gate.is_open(now):
                    self.holdings.resume(TURN, now)
                self.arbiter.handle_timer(now)
        for _ in range(min(TURN, len(self._again))):
            self.announcer.reannounce(self._again.popleft(), now)
        self.announcer.handle_timer(now)
        self._first_use.handle_timer(now)
        self.holdings.settle(now, may_begin=self.gate.is_open(now))

    # ---- drains

    def frames_to_send(self) -> list[tuple[int, bytes]]:
        """Frames in the order in which they became due, each with the index of its interface."""
        return self.announcer.frames_to_send() + self._first_use.frames_to_send()

    def next_command(self) -> Command | None:
        """The next thing to do outside; None when there is no more."""
        return self._commands.popleft() if self._commands else None

    def next_event(self) -> Event | None:
        """The next thing that happened; None when there is no more."""
        return self._events.popleft() if self._events else None

    # ---- queries

    def next_timer(self) -> float:
        """When ``handle_timer`` wants to be called; at or before now if at once."""
        inner = min(self.announcer.next_timer(), self._first_use.next_timer())
        if self._again:
            return -math.inf
        if not (self._is_running and self.intake.is_complete):
            return inner
        if not self.decisions.is_settled:
            return min(inner, self._touched_at)
        opens_at = self.gate.opens_at()
        resumed_at = max(opens_at, self.holdings.next_resume() if self._ports else -math.inf)
        return min(inner, self._touched_at, self.arbiter.next_timer(), resumed_at)

    def obstacles(self, now: float) -> tuple[str, ...]:
        """Why this node could not announce an address now, in words; none: it could."""
        unfit = f" ({'; '.join(self._unfit[:MAX_UNFIT_SHOWN])})" if self._unfit else ""
        has_carrier = self.gate.has_carrier
        table = (
            (not self.intake.is_complete, "what is wanted is not known yet"),
            (not self._served, f"no interface is fit to announce on{unfit}"),
            (bool(self._served) and not has_carrier, "no interface has a carrier"),
            (has_carrier and not self.gate.is_open(now), "the ring was not heard yet"),
        )
        return tuple(text for is_so, text in table if is_so)

    # ---- inside

    def _open_ports(self, now: float) -> None:
        """Answer on the served interfaces, or on none while the gate is closed."""
        ports = self._served if self.gate.is_open(now) else ()
        if ports != self._ports:
            self._ports = ports
            self.announcer.set_interfaces(ports, now)
            self._first_use.set_interfaces(ports)

    def _note(self, event: Event) -> None:
        """Something happened to an address that this node owns."""
        self._events.append(event)
        match event:
            case Announced(address, _):
                self.intake.know(address)
            case Withdrawn(address, _):
                self.arbiter.released(address)
            case _:
                pass

    def _apply(self, change: Change, now: float) -> None:
        """Carry out that a group is owned otherwise than before."""
        decision, previous = change.decision, change.previous
        owner = decision.owner if decision is not None else None
        wanted = decision.addresses if decision is not None else ()
        for address in change.gone:
            self.holdings.release(address, "it is not wanted any more", now)
            self.intake.forget(address)
            if isinstance(address, IPv4Address):
                self.announcer.unwatch(address)
        if owner != self.config.node:
            for address in wanted:
                self.holdings.release(address, f"{owner or 'nobody'} owns it", now)
        if decision is None:
            if previous is not None:
                self.history.forget(previous.key)
            return
        if owner == self.config.node:
            group = self.decisions.group(decision.key)
            spare, may_begin = group.spare if group is not None else None, self.gate.is_open(now)
            for address in wanted:
                is_fresh = self.intake.is_fresh(address)
                self.holdings.own(address, is_fresh=is_fresh, spare=spare, may_begin=may_begin, now=now)
        before = previous.owner if previous is not None else None
        if owner != before:
            self.history.note(decision.key, Move(now, before, owner))
        if owner != before or previous is None:
            self._events.append(OwnerChanged(decision, before) if owner is not None else NobodyAnnounces(decision))
