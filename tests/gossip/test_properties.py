"""What holds whatever is said, and in whatever order: precedence, events, the queue, timers (memberlist-protocol.md §8,
9.5, 10.1)."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from gossip import (
    IdentityRules,
    Member,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberSuspected,
    MemberUpdated,
    ProbeConfig,
    State,
)
from gossip.broadcasts import BroadcastQueue
from gossip.codec import decode_message_untrusted
from gossip.keyring import Keyring
from gossip.members import Record
from gossip.messages import MAX_INCARNATION, Alive, Dead, NodeState, Suspect
from gossip.parts import Parts
from gossip.policy import ACCEPT_ALL
from gossip.precedence import (
    MAX_INCARNATION_JUMP,
    Ruling,
    judge_accusation,
    judge_alive,
    refuting_incarnation,
)
from gossip.timers import TimerKind, Timers, next_tick
from tests.gossip.bench import STILL
from tests.gossip.helpers import VSN

NAMES = ("a", "b", "c")
OWN = "a"
GONE = (State.DEAD, State.LEFT)
RECLAIM = 5.0
INCARNATIONS = st.one_of(
    st.integers(0, 8),
    st.sampled_from([2**31 - 1, 2**31, 2**31 + 7, MAX_INCARNATION - 1, MAX_INCARNATION]),
)
ADDRESSES = {name: [bytes((127, 0, 0, i)), bytes((127, 0, 1, i))] for i, name in enumerate(NAMES, start=1)}

names = st.sampled_from(NAMES)
others = st.sampled_from(NAMES[1:])
accusers = st.sampled_from((*NAMES, "x", "y"))
metas = st.sampled_from([None, b"", b"m"])
places = st.sampled_from([0, 0, 0, 1])


class Claims(RuleBasedStateMachine):
    """One member, ``a``, hears any claims about itself and two others, and time passes.

    After every step the table is compared with the one before it, and the events replayed on a table of their own.
    """

    def __init__(self) -> None:
        super().__init__()
        config = replace(
            STILL,
            probe=ProbeConfig(),
            identity=IdentityRules(dead_reclaim_time=RECLAIM),
        )
        own = Record(OWN, ADDRESSES[OWN][0], 7946, 0.0)
        own.vsn = VSN
        self.parts = Parts(config, own, Keyring(), ACCEPT_ALL, random.Random(1), bytes)
        self.now = 0.0
        self.leaving = False
        self.told: dict[str, Member] = {}
        self.highest_own = 0
        self.parts.claims.announce(b"m", self.now, lambda: None)
        self.take_events()

    def member(self, name: str) -> Member | None:
        record = self.parts.roster.get(name)
        return None if record is None else record.member()

    def table(self) -> dict[str, Member | None]:
        return {name: self.member(name) for name in NAMES}

    def accused_at(self, name: str) -> int:
        """What an alive of that member must exceed."""
        record = self.parts.roster.get(name)
        return -1 if record is None else max(record.incarnation, record.accused)

    def take_events(self) -> list[Any]:
        """Drain the events and follow them, as a user would."""
        events = list(iter(self.parts.outbox.take_event, None))
        for event in events:
            match event:
                case MemberJoined(member):
                    assert member.name not in self.told, "joined twice"
                    self.told[member.name] = member
                case MemberUpdated(member, previous):
                    assert (member.meta, member.versions) != (previous.meta, previous.versions)
                    assert member.name in self.told
                    self.told[member.name] = member
                case MemberSuspected(member):
                    assert member.name in self.told
                case MemberFailed(member) | MemberLeft(member):
                    assert member.state is (State.DEAD if isinstance(event, MemberFailed) else State.LEFT)
                    del self.told[member.name]
                case _:
                    pass
        return events

    def news_about_us(self) -> list[Alive]:
        """The alive messages about ourselves that wait; all waiting news is dropped."""
        waiting = [decode_message_untrusted(news) for news in self.parts.broadcasts.membership.take(100_000)]
        self.parts.broadcasts.membership.prune(0)
        return [news for news in waiting if isinstance(news, Alive) and news.node == OWN]

    # ---- what may be heard

    @rule(name=others, incarnation=INCARNATIONS, place=places, meta=metas)
    def hear_alive(self, name: str, incarnation: int, place: int, meta: bytes | None) -> None:
        before, floor = self.member(name), self.accused_at(name)
        alive = Alive(incarnation, name, ADDRESSES[name][place], 7946, meta, VSN)
        self.parts.claims.hear_alive(alive, self.now)
        after = self.member(name)
        assert after is not None
        assert after.state is not State.SUSPECT or before == after
        if before is None:
            assert (after.state, after.incarnation) == (State.ALIVE, incarnation)
        elif after.address != before.address:
            free = before.state is State.LEFT or self.now - before.changed_at > RECLAIM
            assert before.state in GONE, "only a name that is free is taken over"
            assert free
        elif not floor < incarnation <= floor + MAX_INCARNATION_JUMP:
            assert after == before, "a stale or absurd alive changes nothing"
        elif after != before:
            assert (after.state, after.incarnation) == (State.ALIVE, incarnation)

    @rule(name=others, incarnation=INCARNATIONS, accuser=accusers)
    def hear_suspect(self, name: str, incarnation: int, accuser: str) -> None:
        before = self.member(name)
        self.parts.claims.hear_suspect(Suspect(incarnation, name, accuser), self.now)
        after = self.member(name)
        if before is None or before.state is not State.ALIVE or incarnation < before.incarnation:
            assert after == before
        elif after != before:
            assert after is not None
            assert (after.state, after.incarnation) == (State.SUSPECT, incarnation)

    @rule(name=others, incarnation=INCARNATIONS, accuser=accusers, by_itself=st.booleans())
    def hear_dead(self, name: str, incarnation: int, accuser: str, by_itself: bool) -> None:
        before = self.member(name)
        self.parts.claims.hear_dead(Dead(incarnation, name, name if by_itself else accuser), self.now)
        after = self.member(name)
        if before is None or before.state in GONE or incarnation < before.incarnation:
            assert after == before
        elif after != before:
            assert after is not None
            assert after.state is (State.LEFT if by_itself or accuser == name else State.DEAD)
            assert after.incarnation == incarnation

    @rule(name=names, incarnation=INCARNATIONS, state=st.integers(-1, 5), meta=metas, place=places)
    def merge(self, name: str, incarnation: int, state: int, meta: bytes | None, place: int) -> None:
        before = self.member(name)
        row = NodeState(name, ADDRESSES[name][place], 7946, meta, incarnation, state, VSN)
        self.parts.claims.merge(row, self.now)
        after = self.member(name)
        if state == State.DEAD and after != before and before is not None and name != OWN:
            assert after is not None
            assert after.state is State.SUSPECT, "a view never declares anybody dead"
        if state not in tuple(State):
            assert after == before

    # ---- about ourselves

    @rule(incarnation=INCARNATIONS, accuser=accusers, kind=st.sampled_from([Suspect, Dead]))
    def accuse_us(self, incarnation: int, accuser: str, kind: type[Suspect | Dead]) -> None:
        before = self.parts.own.member()
        self.news_about_us()
        if kind is Suspect:
            self.parts.claims.hear_suspect(Suspect(incarnation, OWN, accuser), self.now)
        else:
            self.parts.claims.hear_dead(Dead(incarnation, OWN, accuser), self.now)
        after = self.parts.own.member()
        refuted = after.incarnation > before.incarnation
        if refuted:
            assert after.incarnation > incarnation
            assert [news.incarnation for news in self.news_about_us()] == [after.incarnation]
        else:
            assert after == before
        current = before.incarnation <= incarnation <= before.incarnation + MAX_INCARNATION_JUMP
        assert refuted is (current and not self.leaving and incarnation < MAX_INCARNATION)

    @rule(incarnation=INCARNATIONS, meta=metas, place=places)
    def claim_to_be_us(self, incarnation: int, meta: bytes | None, place: int) -> None:
        before = self.parts.own.member()
        self.parts.claims.hear_alive(Alive(incarnation, OWN, ADDRESSES[OWN][place], 7946, meta, VSN), self.now)
        after = self.parts.own.member()
        assert replace(after, incarnation=before.incarnation) == before, "nobody else says who we are"
        if place == 1 or self.leaving or incarnation < before.incarnation:
            assert after == before

    @precondition(lambda self: not self.leaving)
    @rule(meta=metas)
    def announce(self, meta: bytes | None) -> None:
        self.parts.claims.announce(meta, self.now, lambda: None)
        assert self.parts.own.member().meta == (meta or b"")

    @precondition(lambda self: not self.leaving)
    @rule()
    def leave(self) -> None:
        self.parts.claims.depart(self.now, lambda: None)
        self.leaving = True

    @precondition(lambda self: self.leaving)
    @rule()
    def come_back(self) -> None:
        self.parts.claims.leaving = self.leaving = False
        self.parts.claims.announce(b"back", self.now, lambda: None)

    # ---- time

    @rule(seconds=st.sampled_from([0.0, 0.5, 3.0, 10.0, 100.0]))
    def let_time_pass(self, seconds: float) -> None:
        before = self.table()
        self.now += seconds
        for timer in self.parts.timers.due(self.now):
            if timer.live:
                self.parts.on_timer[timer.kind](timer, self.now)
        for name in NAMES:
            after, earlier = self.member(name), before[name]
            if after != earlier:
                assert earlier is not None
                assert after is not None
                assert (earlier.state, after.state) == (State.SUSPECT, State.DEAD), "time only buries suspects"
                assert after.incarnation == earlier.incarnation

    # ---- what always holds

    @invariant()
    def events_tell_who_is_there(self) -> None:
        self.take_events()
        live = {name for name, found in self.table().items() if found is not None and found.is_live}
        assert self.told.keys() == live
        for name, told in self.told.items():
            found = self.member(name)
            assert found is not None
            assert (told.meta, told.versions) == (found.meta, found.versions)

    @invariant()
    def our_incarnation_only_rises_and_never_wraps(self) -> None:
        own = self.parts.own.member()
        assert self.highest_own <= own.incarnation <= MAX_INCARNATION
        self.highest_own = own.incarnation
        assert own.state is (State.LEFT if self.leaving else State.ALIVE)

    @invariant()
    def exactly_the_suspects_have_a_timer_that_is_due(self) -> None:
        for record in self.parts.roster:
            assert (record.suspicion is not None) == (record.state is State.SUSPECT)
            if record.suspicion is not None:
                timer = record.suspicion.timer
                assert timer is not None
                assert timer.live
                assert timer.at <= self.now + 24.0
                assert record.suspicion.confirmations <= record.suspicion.k

    @invariant()
    def at_most_one_piece_of_news_about_each_member_waits(self) -> None:
        assert len(self.parts.broadcasts.membership) <= len(NAMES)


@pytest.mark.rule("8.2h", "8.2n", "8.4b", "8.5d", "9.5g")
def test_precedence_holds_whatever_is_heard_in_whatever_order() -> None:
    run_state_machine_as_test(Claims)


# ---- rulings


@given(INCARNATIONS, INCARNATIONS, INCARNATIONS)
def test_an_alive_wins_exactly_when_it_is_newer_and_possible(incarnation: int, stored: int, accused: int) -> None:
    newest = max(stored, accused)
    ruling = judge_alive(incarnation, stored, accused)
    assert (ruling is Ruling.WINS) == (newest < incarnation <= newest + MAX_INCARNATION_JUMP)
    assert (ruling is Ruling.IS_STALE) == (incarnation <= newest)


@given(st.sampled_from([State.SUSPECT, State.DEAD]), INCARNATIONS, st.sampled_from(State), INCARNATIONS, INCARNATIONS)
def test_what_is_ruled_for_an_accusation_is_refuted_by_one_more(
    claimed: State, incarnation: int, held: State, stored: int, accused: int
) -> None:
    ruling = judge_accusation(claimed, incarnation, held, stored, accused)
    assert (ruling is Ruling.IS_STALE) == (incarnation < stored)
    if ruling in (Ruling.WINS, Ruling.CONFIRMS, Ruling.IS_NOTED):
        refuting = refuting_incarnation(stored, incarnation)
        assert (refuting is None) == (max(stored, incarnation) == MAX_INCARNATION)
        if refuting is not None and refuting > accused:
            assert judge_alive(refuting, stored, max(accused, incarnation)) is Ruling.WINS


# ---- the queue

KEYED = st.tuples(st.sampled_from(["a", "b", "c", None]), st.integers(1, 40))


@pytest.mark.rule("10.1a", "10.1d", "10.1f")
@given(st.lists(st.one_of(KEYED, st.integers(0, 120)), max_size=40), st.integers(0, 4), st.integers(2, 3))
def test_every_message_is_sent_up_to_its_limit_and_done_with_once(
    steps: list[tuple[str | None, int] | int], limit: int, overhead: int
) -> None:
    queue = BroadcastQueue(lambda: limit)
    done: Counter[bytes] = Counter()
    sent: Counter[bytes] = Counter()
    keyed: dict[str, bytes] = {}
    replaced: list[bytes] = []
    for number, step in enumerate(steps):
        if isinstance(step, int):
            taken = queue.take(step, overhead)
            assert sum(overhead + len(message) for message in taken) <= step
            assert len(taken) == len(set(taken))
            sent.update(taken)
            continue
        key, length = step
        message = number.to_bytes(2, "big") + bytes(length)
        if key is not None:
            replaced += [keyed[key]] if key in keyed else []
            keyed[key] = message
        queue.queue(message, key, lambda message=message: done.update([message]))  # type: ignore[misc]  # bound per round
    everything = [n.to_bytes(2, "big") + bytes(step[1]) for n, step in enumerate(steps) if not isinstance(step, int)]
    assert len(queue) == len(everything) - len(done)
    while queue:
        sent.update(queue.take(10_000, overhead))
    assert all(done[message] == 1 for message in everything)
    for message in everything:
        assert sent[message] <= max(1, limit)
        if message not in replaced:
            assert sent[message] == max(1, limit)


# ---- timers


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans()), max_size=30), st.floats(0, 100))
def test_timers_fire_in_order_once_and_not_when_cancelled(plan: list[tuple[float, bool]], now: float) -> None:
    timers = Timers()
    made = [(timers.schedule(at, TimerKind.WORK, number), keep) for number, (at, keep) in enumerate(plan)]
    for timer, keep in made:
        if not keep:
            timer.cancel()
    live = sorted((timer.at, int(timer.subject)) for timer, keep in made if keep)
    assert timers.next_at() == (live[0][0] if live else float("inf"))
    fired = [(timer.at, int(timer.subject)) for timer in timers.due(now)]
    assert fired == [entry for entry in live if entry[0] <= now]
    assert [timer.at for timer in timers.due(1000.0)] == [at for at, _ in live if at > now]


@given(st.floats(-1e6, 1e6), st.floats(0.01, 100), st.floats(0, 1e4))
def test_the_next_tick_is_later_than_now_and_within_an_interval(at: float, interval: float, late: float) -> None:
    now = at + late
    following = next_tick(at, interval, now)
    assert now < following
    assert following - now <= interval * 2
    whole = (following - at) / interval
    assert abs(whole - round(whole)) < 1e-3
