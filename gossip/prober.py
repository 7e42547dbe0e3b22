"""The failure detector: one probe at a time, direct, then through others and over a stream; and pings for others.

Rules kept here (memberlist-protocol.md §9.1–9.4):

* A probe tick that falls into a running probe is remembered, once.
* An ack that arrives while waiting for the direct one tells a round-trip time; any ack before the deadline saves
  the member.
* Whatever is remembered per ping sits in one table keyed by sequence number; it is bounded and empties itself by
  deadlines.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from gossip.addresses import unpack_host
from gossip.codec import encode
from gossip.events import PingCompleted, PingTimedOut
from gossip.messages import Ack, IndirectPing, Nack, Ping, State, Suspect
from gossip.timers import Timer, TimerKind, Timers, next_tick
from gossip.versions import NACKS_SINCE, STREAM_PINGS_SINCE

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from gossip.addresses import Address
    from gossip.awareness import Awareness
    from gossip.config import ProbeConfig
    from gossip.members import Member, Record, Roster
    from gossip.outbox import Outbox

MAX_OUTSTANDING_PINGS: Final = 4096
"""Pings remembered at once, those made for others included; more requests are ignored."""


class Phase(Enum):
    """How far a probe has got."""

    DIRECT = "waiting for the direct ack"
    INDIRECT = "waiting for anybody's ack"


@dataclass(slots=True)
class _Probe:
    target: Member
    seq_no: int
    sent_at: float
    deadline: float
    phase: Phase = Phase.DIRECT
    expected_nacks: int = 0
    nacks: int = 0
    answered_by_stream: bool = False
    was_sent: bool = True
    timers: tuple[Timer, ...] = ()


@dataclass(frozen=True, slots=True)
class _Relay:
    """A ping made on behalf of ``requester``, who numbered it ``seq_no``."""

    requester: Address
    seq_no: int
    wants_nack: bool


@dataclass(frozen=True, slots=True)
class _Asked:
    """A ping that the application or the reconnector asked for."""

    name: str
    address: Address
    sent_at: float
    token: int | None
    answered: Callable[[float], None] | None


class Prober:
    """Probes members in turn, relays pings, and keeps the table of pings in flight."""

    def __init__(
        self,
        config: ProbeConfig,
        own: Record,
        *,
        roster: Roster,
        outbox: Outbox,
        timers: Timers,
        awareness: Awareness,
        rng: Random,
        suspect: Callable[[Suspect, float], None],
        open_stream_ping: Callable[[Address, Ping, float, float], None],
        round_ended: Callable[[float], None],
    ) -> None:
        self._config = config
        self._own = own
        self._roster = roster
        self._outbox = outbox
        self._timers = timers
        self._awareness = awareness
        self._rng = rng
        self._suspect = suspect
        self._open_stream_ping = open_stream_ping
        self._round_ended = round_ended
        self._seq_no = 0
        self._probe: _Probe | None = None
        self._tick_pending = False
        self._relays: dict[int, tuple[_Relay, Timer]] = {}
        self._asked: dict[int, tuple[_Asked, Timer]] = {}
        self.probes_answered = 0
        self.probes_failed = 0

    # ---- inputs

    def start(self, now: float) -> None:
        """Begin probing after a random part of the interval."""
        if self._config.interval > 0:
            first = now + self._rng.random() * self._config.interval
            self._timers.schedule(first, TimerKind.PROBE_TICK)

    def ping(
        self,
        name: str,
        address: Address,
        now: float,
        token: int | None = None,
        answered: Callable[[float], None] | None = None,
    ) -> None:
        """Ping outside the probe schedule. ``token`` asks for an event, ``answered`` (called with now) for a call."""
        if self._in_flight >= MAX_OUTSTANDING_PINGS:
            if token is not None:
                self._outbox.emit(PingTimedOut(name, address, token))
            return
        seq_no = self._next_seq_no()
        timer = self._timers.schedule(now + self._config.timeout, TimerKind.PING_DEADLINE, seq_no)
        self._asked[seq_no] = (_Asked(name, address, now, token, answered), timer)
        self._outbox.send(self._ping_message(seq_no, name), address)

    def hear_indirect_ping(self, request: IndirectPing, source: Address, now: float) -> None:
        """Ping a member for somebody else (§9.3)."""
        if self._in_flight >= MAX_OUTSTANDING_PINGS or len(request.target) not in (4, 16):
            return
        requester = reply_address(request, source)
        seq_no = self._next_seq_no()
        timer = self._timers.schedule(now + self._config.timeout, TimerKind.RELAY_DEADLINE, seq_no)
        self._relays[seq_no] = (_Relay(requester, request.seq_no, request.nack), timer)
        target = (unpack_host(request.target), request.port or self._own.port)
        self._outbox.send(self._ping_message(seq_no, request.node), target)

    def hear_ack(self, ack: Ack, now: float) -> None:
        """Somebody answered a ping of ours. One that nobody waits for is ignored."""
        probe = self._probe
        if probe is not None and ack.seq_no == probe.seq_no:
            if probe.phase is Phase.DIRECT:
                rtt = now - probe.sent_at
                self._outbox.emit(PingCompleted(probe.target.name, probe.target.address, rtt, ack.payload or b"", None))
            self._succeed(probe, now)
        elif ack.seq_no in self._relays:
            relay, timer = self._relays.pop(ack.seq_no)
            timer.cancel()
            self._outbox.send(Ack(relay.seq_no), relay.requester)
        elif ack.seq_no in self._asked:
            asked, timer = self._asked.pop(ack.seq_no)
            timer.cancel()
            if asked.token is not None:
                rtt = now - asked.sent_at
                self._outbox.emit(PingCompleted(asked.name, asked.address, rtt, ack.payload or b"", asked.token))
            if asked.answered is not None:
                asked.answered(now)

    def hear_nack(self, nack: Nack) -> None:
        """A relay lives, but the probed member did not answer it."""
        probe = self._probe
        if probe is not None and nack.seq_no == probe.seq_no and probe.phase is Phase.INDIRECT:
            probe.nacks += 1

    def hear_stream_ack(self, seq_no: int) -> None:
        """The stream ping of that number was answered. Counts when the deadline comes (§9.2)."""
        if self._probe is not None and self._probe.seq_no == seq_no:
            self._probe.answered_by_stream = True

    def sending_failed(self, address: Address, now: float) -> None:
        """The network here refused a datagram to ``address``: do not wait for its ack, ask others at once (§9.2)."""
        probe = self._probe
        if probe is not None and probe.phase is Phase.DIRECT and probe.target.address == address:
            probe.was_sent = False
            self._ask_others(probe, now)

    # ---- timers

    def handle_tick(self, at: float, now: float) -> None:
        """Start the next probe, unless one is running. ``at`` is when the tick was due."""
        self._timers.schedule(next_tick(at, self._config.interval, now), TimerKind.PROBE_TICK)
        if self._probe is not None:
            self._tick_pending = True
        else:
            self._start_probe(now)

    def handle_direct_timeout(self, seq_no: int, now: float) -> None:
        """The direct ack is late."""
        if self._probe is not None and self._probe.seq_no == seq_no and self._probe.phase is Phase.DIRECT:
            self._ask_others(self._probe, now)

    def handle_deadline(self, seq_no: int, now: float) -> None:
        """The probe is over without an ack by datagram."""
        probe = self._probe
        if probe is None or probe.seq_no != seq_no:
            return
        if probe.answered_by_stream:
            self._succeed(probe, now)
            return
        self.probes_failed += 1
        self._awareness.apply(max(0, probe.expected_nacks - probe.nacks) if probe.expected_nacks else 1)
        self._suspect(Suspect(probe.target.incarnation, probe.target.name, self._own.name), now)
        self._finish(probe, now)

    def handle_relay_timeout(self, seq_no: int) -> None:
        """The member pinged for somebody did not answer: say so if that was asked for, and forget it."""
        relay, _ = self._relays.pop(seq_no)
        if relay.wants_nack:
            self._outbox.send(Nack(relay.seq_no), relay.requester)

    def handle_ping_timeout(self, seq_no: int) -> None:
        """A ping that was asked for went unanswered."""
        asked, _ = self._asked.pop(seq_no)
        if asked.token is not None:
            self._outbox.emit(PingTimedOut(asked.name, asked.address, asked.token))

    # ---- one probe

    def _start_probe(self, now: float) -> None:
        record = self._roster.next_to_probe(self._own, lambda: self._round_ended(now))
        if record is None:
            return
        deadline = now + self._awareness.scale(self._config.interval)
        probe = _Probe(record.member(), self._next_seq_no(), now, deadline)
        direct_at = min(now + self._config.timeout, deadline)
        probe.timers = (
            self._timers.schedule(direct_at, TimerKind.PROBE_DIRECT, probe.seq_no),
            self._timers.schedule(deadline, TimerKind.PROBE_DEADLINE, probe.seq_no),
        )
        self._probe = probe
        ping = self._ping_message(probe.seq_no, record.name)
        if record.state is State.ALIVE:
            self._outbox.send(ping, record.address)
        else:
            accusation = Suspect(record.incarnation, record.name, self._own.name)
            self._outbox.send_alone([encode(ping), encode(accusation)], record.address, record)

    def _ask_others(self, probe: _Probe, now: float) -> None:
        probe.phase = Phase.INDIRECT
        target = self._roster.get(probe.target.name)
        if target is None:
            return

        def may_relay(record: Record) -> bool:
            return record.state is State.ALIVE and record is not target and record is not self._own

        for relay in self._roster.pick(self._config.indirect_checks, may_relay):
            wants_nack = relay.protocol_max >= NACKS_SINCE
            probe.expected_nacks += wants_nack
            request = IndirectPing(
                probe.seq_no,
                target.addr,
                target.port,
                target.name,
                wants_nack,
                self._own.addr,
                self._own.port,
                self._own.name,
            )
            self._outbox.send(request, relay.address)
        if self._config.stream_pings and target.protocol_max >= STREAM_PINGS_SINCE:
            self._open_stream_ping(target.address, self._ping_message(probe.seq_no, target.name), probe.deadline, now)

    def _succeed(self, probe: _Probe, now: float) -> None:
        self.probes_answered += 1
        if probe.was_sent:
            self._awareness.apply(-1)
        self._finish(probe, now)

    def _finish(self, probe: _Probe, now: float) -> None:
        for timer in probe.timers:
            timer.cancel()
        self._probe = None
        if self._tick_pending:
            self._tick_pending = False
            self._start_probe(now)

    # ---- sequence numbers

    @property
    def _in_flight(self) -> int:
        return len(self._relays) + len(self._asked)

    def _next_seq_no(self) -> int:
        self._seq_no = (self._seq_no + 1) & 0xFFFFFFFF
        return self._seq_no

    def _ping_message(self, seq_no: int, name: str) -> Ping:
        return Ping(seq_no, name, self._own.addr, self._own.port, self._own.name)


def reply_address(message: Ping | IndirectPing, source: Address) -> Address:
    """Where the ack goes: to the source fields when they are filled, else whence the packet came (§3.2)."""
    if message.source_port and len(message.source_addr) in (4, 16):
        return unpack_host(message.source_addr), message.source_port
    return source
