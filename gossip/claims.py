"""What is believed about members: every claim, from a packet, a push/pull, a timer or ourselves, passes here.

Rules kept here:

* :mod:`gossip.precedence` says which claim wins; this module carries it out: state, suspicion, news to spread, event
  (memberlist-protocol.md §8.2–8.5).
* A claim that makes no sense (no name, an address of 3 bytes, a version range no member has) is ignored (§16 rows
  7, 32).
* Whoever is held dead, left or suspect and shows itself at too low an incarnation is told, so that it can refute
  (§16 row 2). Whoever accuses at too low an incarnation is told of the refutation it has missed (watch.md §4).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gossip.addresses import normalise, unpack_host
from gossip.codec import encode
from gossip.events import (
    AccusationRefuted,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberSuspected,
    MemberUpdated,
    NameConflict,
)
from gossip.members import Member, Record
from gossip.messages import MAX_INCARNATION, MAX_META_BYTES, MAX_NAME_BYTES, Alive, Dead, NodeState, State, Suspect
from gossip.precedence import Ruling, judge_accusation, judge_alive, refuting_incarnation
from gossip.suspicion import Suspicion, expected_confirmations, suspicion_timeout
from gossip.timers import TimerKind, Timers
from gossip.versions import PORTS_SINCE, VERSIONS_BYTES, are_sane

if TYPE_CHECKING:
    from collections.abc import Callable

    from gossip.addresses import Address, AllowList
    from gossip.answers import Answers
    from gossip.awareness import Awareness
    from gossip.config import GossipConfig
    from gossip.gossiper import Gossiper
    from gossip.members import Roster
    from gossip.outbox import Outbox
    from gossip.policy import Policy


class Claims:
    """The state machine of the member table, our own record included."""

    def __init__(
        self,
        config: GossipConfig,
        own: Record,
        *,
        roster: Roster,
        gossiper: Gossiper,
        outbox: Outbox,
        answers: Answers,
        timers: Timers,
        awareness: Awareness,
        allowed: AllowList,
        policy: Policy,
        on_death: Callable[[Record, float], None],
    ) -> None:
        self._config = config
        self._own = own
        self._roster = roster
        self._gossiper = gossiper
        self._outbox = outbox
        self._answers = answers
        self._timers = timers
        self._awareness = awareness
        self._allowed = allowed
        self._policy = policy
        self.incarnation = 0
        """The highest incarnation we have announced."""
        self.leaving = False
        self._on_death = on_death
        self.suspicions_raised = 0
        self.refutations = 0
        self.forgeries_ignored = 0
        self.strangers_refused = 0
        """Alive claims of new members for whom there was no room."""

    # ---- ourselves

    def announce(self, meta: bytes | None, now: float, done: Callable[[], None]) -> None:
        """Say that we are alive, with this metadata, and spread it. ``done`` is called once it has spread, at once
        if to nobody.

        When a rule of ours keeps us off our own list, we stay unlisted.
        """
        own = self._own
        self.incarnation = min(max(self.incarnation, own.incarnation, own.accused) + 1, MAX_INCARNATION)
        alive = Alive(self.incarnation, own.name, own.addr, own.port, meta, own.vsn)
        somebody = self._roster.anybody_live_but(own)
        accepted = self._accept_alive(alive, now, None, bootstrap=True, done=done if somebody else None)
        if not (somebody and accepted):
            done()

    def depart(self, now: float, done: Callable[[], None]) -> None:
        """Say goodbye: held left here, and spread. ``done`` as for :meth:`announce`."""
        self.leaving = True
        own, somebody = self._own, self._roster.anybody_live_but(self._own)
        self._accept_dead(Dead(own.incarnation, own.name, own.name), now, done if somebody else None)
        if not (somebody and own.listed):
            done()

    # ---- claims from elsewhere

    def hear_alive(self, alive: Alive, now: float, source: Address | None = None) -> None:
        """``source`` is where the packet came from, ``None`` for a push/pull."""
        if alive.port == 0 or self._config.wire.protocol_version < PORTS_SINCE:
            alive = replace(alive, port=self._own.port)
        self._accept_alive(alive, now, source, bootstrap=False, done=None)

    def hear_suspect(self, suspect: Suspect, now: float, source: Address | None = None) -> None:
        """Somebody, perhaps our own prober, accuses a member (§8.3). ``source`` as for :meth:`hear_alive`."""
        record = self._roster.get(suspect.node)
        if record is None:
            return
        ruling = self._judge(State.SUSPECT, suspect.incarnation, record)
        if ruling is Ruling.IS_STALE or ruling is Ruling.IS_FORGED:
            self._reject_accusation(record, ruling, now, source)
            return
        if ruling is Ruling.WINS:
            if record is self._own:
                if self._refute(record, suspect.incarnation, now):
                    self._outbox.emit(AccusationRefuted(self.incarnation))
                return
            self._gossiper.spread(encode(suspect), record.name, now)
            record.incarnation = suspect.incarnation
            record.become(State.SUSPECT, now)
            self._start_suspicion(record, suspect.accuser, now)
        elif ruling is Ruling.CONFIRMS and record.suspicion is not None:
            has_refuted = suspect.incarnation > record.accused  # in between, and we missed it
            if has_refuted:
                record.suspicion.started_at = now
            is_news = record.suspicion.confirm(suspect.accuser)
            if is_news:
                self._gossiper.spread(encode(suspect), record.name, now)
            if has_refuted or is_news:
                self._arm_suspicion(record, now)
        record.accused = max(record.accused, suspect.incarnation)

    def hear_dead(self, dead: Dead, now: float, source: Address | None = None) -> None:
        """Somebody holds a member for dead, or it says itself that it left (§8.4). ``source`` as for
        :meth:`hear_alive`."""
        self._accept_dead(dead, now, None, source)

    def merge(self, state: NodeState, now: float) -> None:
        """One member's state from a push/pull: a dead one is only suspected here, never declared dead directly
        (§8.4)."""
        if state.state == State.ALIVE:
            alive = Alive(state.incarnation, state.name, state.addr, state.port, state.meta, state.vsn)
            self.hear_alive(alive, now)
        elif state.state == State.LEFT:
            self.hear_dead(Dead(state.incarnation, state.name, state.name), now)
        elif state.state in (State.SUSPECT, State.DEAD):
            self.hear_suspect(Suspect(state.incarnation, state.name, self._own.name), now)

    def expire(self, name: str, now: float) -> None:
        """The suspicion of ``name`` has run out: it is dead (§9.5)."""
        record = self._roster.get(name)
        if record is not None and record.state is State.SUSPECT:
            self.hear_dead(Dead(max(record.incarnation, record.accused), name, self._own.name), now)

    # ---- alive

    def _accept_alive(
        self, alive: Alive, now: float, source: Address | None, *, bootstrap: bool, done: Callable[[], None] | None
    ) -> bool:
        is_self = alive.node == self._own.name
        record = self._roster.get(alive.node)
        if is_self and not bootstrap and (self.leaving or record is None):
            return False
        if not _makes_sense(alive, self._policy):
            return False
        is_new, takeover = record is None, False
        if record is None:
            record = self._new_record(alive, now)
            if record is None:
                return False
        elif record.port != alive.port or normalise(record.addr) != normalise(alive.addr):
            if not self._allowed.permits(alive.addr):
                return False
            takeover = _is_vacant(record, now, self._config.identity.dead_reclaim_time)
            if not takeover:
                self._outbox.emit(NameConflict(record.member(), (unpack_host(alive.addr), alive.port)))
                return False
        if is_self and not bootstrap:
            self._hear_of_ourselves(record, alive, now)
            return False
        if not (is_new or takeover or bootstrap):
            ruling = judge_alive(alive.incarnation, record.incarnation, record.accused)
            if ruling is not Ruling.WINS:
                self._reject_alive(record, ruling, now, source)
                return False
        self._believe_alive(record, alive, now, done)
        return True

    def _new_record(self, alive: Alive, now: float) -> Record | None:
        if not self._allowed.permits(alive.addr):
            return None
        if self._roster.known >= self._config.identity.max_members:
            self.strangers_refused += 1
            return None
        return self._own if alive.node == self._own.name else Record(alive.node, alive.addr, alive.port, now)

    def _hear_of_ourselves(self, record: Record, alive: Alive, now: float) -> None:
        if alive.incarnation < record.incarnation:
            return
        same = (alive.meta or b"") == (record.meta or b"") and alive.vsn == record.vsn
        if alive.incarnation > record.incarnation or not same:
            self._refute(record, alive.incarnation, now)

    def _reject_alive(self, record: Record, ruling: Ruling, now: float, source: Address | None) -> None:
        if ruling is Ruling.IS_FORGED:
            self.forgeries_ignored += 1
        elif record.state is not State.ALIVE and (source is None or source == record.address):
            self._answers.tell(record, record.address, now)

    def _believe_alive(self, record: Record, alive: Alive, now: float, done: Callable[[], None] | None) -> None:
        if record.suspicion is not None:
            record.suspicion.cancel()
            record.suspicion = None
        self._gossiper.spread(encode(alive), record.name, now, done)
        previous, was_live = record.member(), record.is_live and record.listed
        if alive.vsn is not None and len(alive.vsn) >= VERSIONS_BYTES:
            record.vsn = alive.vsn[:VERSIONS_BYTES]
        record.incarnation = alive.incarnation
        record.accused = 0
        record.meta = alive.meta
        record.answered_at = None
        record.move(alive.addr, alive.port)
        if record.state is not State.ALIVE:
            record.become(State.ALIVE, now)
        self._roster.add(record)
        member = record.member()
        if not was_live:
            self._outbox.emit(MemberJoined(member))
        elif previous.meta != member.meta or previous.versions != member.versions:
            self._outbox.emit(MemberUpdated(member, previous))

    # ---- accusations

    def _judge(self, claimed: State, incarnation: int, record: Record) -> Ruling:
        ruling = judge_accusation(claimed, incarnation, record.state, record.incarnation, record.accused)
        if ruling is Ruling.IS_FORGED:
            self.forgeries_ignored += 1
        return ruling

    def _reject_accusation(self, record: Record, ruling: Ruling, now: float, source: Address | None) -> None:
        if ruling is Ruling.IS_STALE and record.state is State.ALIVE and source is not None:
            self._answers.tell(record, source, now)

    def _accept_dead(
        self, dead: Dead, now: float, done: Callable[[], None] | None, source: Address | None = None
    ) -> None:
        record = self._roster.get(dead.node)
        if record is None:
            return
        ruling = self._judge(State.DEAD, dead.incarnation, record)
        if ruling is Ruling.IS_STALE or ruling is Ruling.IS_FORGED:
            self._reject_accusation(record, ruling, now, source)
            return
        if ruling is Ruling.WINS:
            if record is self._own and not self.leaving:
                if self._refute(record, dead.incarnation, now):
                    self._outbox.emit(AccusationRefuted(self.incarnation))
                return
            self._bury(record, dead, now, done)
        record.accused = max(record.accused, dead.incarnation)

    def _bury(self, record: Record, dead: Dead, now: float, done: Callable[[], None] | None) -> None:
        if record.suspicion is not None:
            record.suspicion.cancel()
            record.suspicion = None
        self._gossiper.spread(encode(dead), record.name, now, done)
        record.incarnation = dead.incarnation
        record.become(State.LEFT if dead.node == dead.accuser else State.DEAD, now)
        if record.state is State.LEFT:
            self._outbox.emit(MemberLeft(record.member()))
        else:
            self._outbox.emit(MemberFailed(record.member(), dead.accuser))
            self._on_death(record, now)

    def _start_suspicion(self, record: Record, accuser: str, now: float) -> None:
        config, n = self._config.suspicion, len(self._roster)
        shortest = suspicion_timeout(config.mult, n, self._config.probe.interval)
        k = expected_confirmations(config.mult, n)
        record.suspicion = Suspicion(accuser, k, shortest, shortest * config.max_timeout_mult, now)
        self._arm_suspicion(record, now)
        self.suspicions_raised += 1
        self._outbox.emit(MemberSuspected(record.member(), accuser, record.suspicion.expires_at))

    def _arm_suspicion(self, record: Record, now: float) -> None:
        if record.suspicion is not None:
            record.suspicion.cancel()
            at = max(now, record.suspicion.expires_at)
            record.suspicion.timer = self._timers.schedule(at, TimerKind.SUSPICION, record.name)

    def _refute(self, record: Record, accused: int, now: float) -> bool:
        """Overrule an accusation of ourselves with a newer alive (§8.5); False when it is not worth an answer."""
        if (
            judge_accusation(State.DEAD, accused, State.ALIVE, record.incarnation, record.incarnation)
            is Ruling.IS_FORGED
        ):
            self.forgeries_ignored += 1
            return False
        incarnation = refuting_incarnation(self.incarnation, accused)
        if incarnation is None:
            return False
        self.incarnation = record.incarnation = incarnation
        record.touch()
        self._awareness.apply(1)
        self.refutations += 1
        alive = Alive(incarnation, record.name, record.addr, record.port, record.meta, record.vsn)
        self._gossiper.spread(encode(alive), record.name, now)
        return True


def _is_vacant(record: Record, now: float, reclaim_time: float) -> bool:
    """Whether another address may have this name: its owner left, is long dead, or is only remembered."""
    if record.state is State.DEAD and record.listed:
        return 0 < reclaim_time < now - record.changed_at
    return not record.is_live


def _makes_sense(alive: Alive, policy: Policy) -> bool:
    """Whether a member can be like this, and the application takes it (§7, 8.2, 16 row 32)."""
    if not 0 < len(alive.node) <= MAX_NAME_BYTES or len(alive.meta or b"") > MAX_META_BYTES:
        return False
    if len(alive.addr) not in (4, 16) or not are_sane(alive.vsn):
        return False
    if policy.accepts_all:
        return True
    if alive.vsn is None or len(alive.vsn) < VERSIONS_BYTES:
        return False
    address = (unpack_host(alive.addr), alive.port)
    vsn = alive.vsn[:VERSIONS_BYTES]
    return (
        policy.alive(Member(alive.node, address, alive.meta or b"", vsn, alive.incarnation, State.ALIVE, 0.0)) is None
    )
