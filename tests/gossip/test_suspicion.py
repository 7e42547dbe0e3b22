"""How long a suspicion lasts, and who shortens it (memberlist-protocol.md §8.3, 9.5)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gossip import MemberFailed, MemberSuspected, ProbeConfig, State, SuspicionConfig, profile
from gossip.messages import Dead, Suspect
from gossip.suspicion import Suspicion, expected_confirmations, suspicion_timeout
from tests.gossip.bench import PROBING, Bench, dead, make_bench, suspect

DOGPILE = replace(
    PROBING,
    probe=ProbeConfig(interval=0.1, timeout=0.05),
    suspicion=SuspicionConfig(mult=5, max_timeout_mult=2),
)


def ring_of(n: int, config: object = PROBING) -> Bench:
    """A member that knows n members, itself and b included."""
    assert config is PROBING or config is DOGPILE
    return make_bench("b", *(f"p{i}" for i in range(n - 2)), config=PROBING if config is PROBING else DOGPILE)


def lasts(bench: Bench) -> float:
    """Seconds that the suspicion of b is announced to last."""
    suspected = bench.take_events(MemberSuspected)
    return suspected[-1].expires_at - bench.now


@pytest.mark.rule("9.5a", "9.5d")
@pytest.mark.parametrize(("n", "seconds"), [(2, 4.0), (3, 4.0), (4, 24.0), (10, 24.0), (100, 48.0)])
def test_the_time_follows_from_the_size_of_the_ring(n: int, seconds: float) -> None:
    bench = ring_of(n)
    bench.tell(suspect("b"))
    assert lasts(bench) == pytest.approx(seconds)
    bench.run(seconds - 0.001)
    assert bench.state("b") is State.SUSPECT
    bench.run(seconds + 0.001)
    assert bench.state("b") is State.DEAD


@pytest.mark.rule("9.5a")
@pytest.mark.parametrize(
    ("mult", "n", "k"),
    [(4, 3, 0), (4, 4, 2), (4, 1000, 2), (5, 4, 0), (5, 5, 3), (3, 2, 0), (3, 3, 1), (2, 9, 0), (1, 9, 0)],
)
def test_expected_confirmations(mult: int, n: int, k: int) -> None:
    assert expected_confirmations(mult, n) == k


@pytest.mark.rule("9.5a")
@pytest.mark.upstream("TestSuspicionTimeout")
def test_the_shortest_time_by_size() -> None:
    milliseconds = {5: 1000, 10: 1000, 50: 1698, 100: 2000, 500: 2698, 1000: 3000}
    assert {n: round(suspicion_timeout(1, n, 1.0) * 1000) for n in milliseconds} == milliseconds


@pytest.mark.rule("9.5c", "9.5e")
@pytest.mark.upstream("TestMemberList_ProbeNode_Suspect_Dogpile")
@pytest.mark.parametrize(
    ("n", "confirmations", "milliseconds"),
    [
        (2, 0, 500),
        (3, 0, 500),
        (4, 0, 500),
        (5, 0, 1000),
        (6, 0, 1000),
        (6, 1, 750),
        (6, 2, 604),
        (6, 3, 500),
        (6, 4, 500),
    ],
)
def test_confirmations_shorten_it(n: int, confirmations: int, milliseconds: int) -> None:
    bench = ring_of(n, DOGPILE)
    bench.tell(suspect("b"), *(suspect("b", accuser=f"y{i}") for i in range(confirmations)))
    bench.run(milliseconds / 1000 - 0.0015)
    assert bench.state("b") is State.SUSPECT
    bench.run(milliseconds / 1000 + 0.0015)
    assert bench.state("b") is State.DEAD


@pytest.mark.rule("9.5b", "9.5c", "9.5e")
@pytest.mark.upstream("TestSuspicion_Timer")
@pytest.mark.parametrize(
    ("accusers", "counted", "seconds"),
    [
        ([], [], 2.0),
        (["me", "other"], [False, True], 1.25),
        (["one", "one", "two"], [True, False, True], 0.81),
        (["one", "two", "three", "four"], [True, True, True, False], 0.5),
    ],
)
def test_the_accuser_and_repeats_do_not_confirm(accusers: list[str], counted: list[bool], seconds: float) -> None:
    suspicion = Suspicion("me", 3, 0.5, 2.0, 100.0)
    assert [suspicion.confirm(accuser) for accuser in accusers] == counted
    assert suspicion.expires_at == pytest.approx(100.0 + seconds, abs=0.002)


@pytest.mark.rule("9.5d")
@pytest.mark.upstream("TestSuspicion_Timer_ZeroK")
def test_without_expected_confirmations_none_is_taken() -> None:
    suspicion = Suspicion("me", 0, 0.025, 30.0, 100.0)
    assert not suspicion.confirm("other")
    assert suspicion.expires_at == pytest.approx(100.025)


@pytest.mark.rule("9.5c")
@pytest.mark.upstream("TestSuspicion_Timer_Immediate")
def test_a_confirmation_that_uses_up_the_time_ends_it_at_once() -> None:
    bench = ring_of(10)
    bench.tell(suspect("b"))
    bench.run(20.0)
    bench.tell(suspect("b", accuser="y"))
    assert bench.state("b") is State.SUSPECT
    bench.run(20.0)
    assert bench.state("b") is State.DEAD


@pytest.mark.rule("8.3e", "9.5f")
@pytest.mark.upstream("TestMemberList_SuspectNode")
def test_an_unrefuted_suspect_is_dead_by_our_word_and_the_news_replaces_the_suspicion() -> None:
    bench = make_bench(config=PROBING)
    bench.add("b", incarnation=4)
    bench.queued()
    bench.now = 1.0
    bench.tell(suspect("b", 6))
    found = bench.member.member("b")
    assert found is not None
    assert (found.state, found.incarnation, found.changed_at) == (State.SUSPECT, 6, 1.0)
    assert Suspect(6, "b", "x") in bench.queued()
    bench.events.clear()
    bench.run(5.1)
    (failed,) = bench.take_events(MemberFailed)
    assert (failed.member.incarnation, failed.member.changed_at, failed.accuser) == (6, 5.0, "a")
    accusations = [m for m in bench.queued() if isinstance(m, Suspect | Dead)]
    assert accusations == [Dead(6, "b", "a")]


@pytest.mark.rule("8.3b", "9.5b")
@pytest.mark.upstream("TestMemberList_SuspectNode_DoubleSuspect")
def test_each_new_accuser_is_passed_on_and_a_known_one_is_not() -> None:
    bench = ring_of(4)
    bench.tell(suspect("b", accuser="x"))
    before = bench.member.member("b")
    assert Suspect(1, "b", "x") in bench.queued()
    while bench.member.statistics().queued_broadcasts:
        bench.queued()
    bench.now = 1.0
    bench.tell(suspect("b", accuser="x"))
    assert bench.queued() == []
    for accuser in ("y", "z"):
        bench.tell(suspect("b", accuser=accuser))
        assert bench.queued() == [Suspect(1, "b", accuser)]
    while bench.member.statistics().queued_broadcasts:
        bench.queued()
    bench.tell(suspect("b", accuser="one too many"))
    assert bench.queued() == []
    assert bench.member.member("b") == before


@pytest.mark.rule("9.5g")
@pytest.mark.parametrize("end", ["alive", "dead"])
def test_a_suspicion_that_is_over_never_fires(end: str) -> None:
    bench = make_bench("b", config=PROBING)
    bench.tell(suspect("b"))
    bench.run(3.0)
    if end == "dead":
        bench.tell(dead("b"))
    bench.add("b", incarnation=2)
    bench.run(3.5)
    bench.tell(suspect("b", 2))
    bench.events.clear()
    bench.run(7.4)
    assert bench.take_events(MemberFailed) == []
    bench.run(7.6)
    assert [event.accuser for event in bench.take_events(MemberFailed)] == ["a"]


@pytest.mark.rule("9.5h")
def test_an_observer_that_nobody_confirms_waits_for_the_longest_time() -> None:
    config = replace(profile("local"), reconnect=PROBING.reconnect, gossip=PROBING.gossip, push_pull=PROBING.push_pull)
    bench = make_bench("b", "c", config=config)
    bench.run(5.0)
    bench.silent = ["b", "c"]
    bench.run(20.0)
    assert [bench.state(name) for name in "bc"] == [State.SUSPECT, State.SUSPECT]
    bench.run(30.0)
    assert [bench.state(name) for name in "bc"] == [State.DEAD, State.DEAD]
