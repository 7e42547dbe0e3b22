"""What everybody is told unasked, and when, on a jump clock (design.md §6; metallb-interface.md §4.6)."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from speaker.l2.announcer import Announcer
from speaker.l2.config import L2Config
from speaker.l2.interfaces import Interface
from speaker.l2.requesters import Requesters
from speaker.l2.trains import MAX_DUE
from tests.speaker.l2.helpers import (
    CLIENT,
    CLIENT_IP,
    ETH0,
    ETH1,
    OWN_TOO,
    VIP,
    VIP_TOO,
    answer,
    ask,
    gratuitous,
    heard,
    make_announcer,
    run,
)

TRAIN = [0.0, 0.02, 0.1, 0.3, 0.9]
MANY = tuple(IPv4Address("10.0.0.0") + number for number in range(3300))


def requests(sent: list[tuple[float, int, bytes]], index: int = ETH0.index) -> list[float]:
    """When a gratuitous request went out on an interface."""
    return [at for at, on, said in heard(sent) if on == index and said.operation == "request"]


@pytest.mark.parametrize("now", [0.0, -50.0, 1e9])
def test_an_address_is_told_of_five_times_in_the_first_second(now: float) -> None:
    announcer = make_announcer(now=now)
    announcer.announce(VIP, now)
    said = heard(run(announcer, now + 30, now))
    assert [at - now for at, _, _ in said] == pytest.approx([at for at in TRAIN for _ in range(2)], abs=1e-6)
    assert [(on, what) for _, on, what in said] == [
        (ETH0.index, gratuitous(operation)) for _ in TRAIN for operation in ("request", "reply")
    ]


@pytest.mark.slow
def test_then_it_is_refreshed_every_minute_or_so_for_ever() -> None:
    announcer = make_announcer()
    announcer.announce(VIP, 0.0)
    at = requests(run(announcer, 86_400.0))[len(TRAIN) - 1 :]
    gaps = [late - early for early, late in itertools.pairwise(at)]
    assert len(gaps) == pytest.approx(1440, rel=0.02)
    assert 54 <= min(gaps) < 55
    assert 65 < max(gaps) <= 66


def test_announcing_again_says_nothing_new() -> None:
    announcer, sent, before = make_announcer(), [], 0.0
    for now in (0.0, 0.0, 0.01, 0.5, 2.0):
        announcer.announce(VIP, before)
        sent += run(announcer, now, before)
        before = now
    assert requests(sent) == pytest.approx(TRAIN)
    assert list(announcer.announced) == [VIP]


def test_all_interfaces_are_told_on() -> None:
    announcer = make_announcer(ETH0, ETH1)
    announcer.announce(VIP, 0.0)
    sent = run(announcer, 0.0)
    assert heard(sent) == [
        (0.0, ETH0.index, gratuitous("request")),
        (0.0, ETH1.index, gratuitous("request", OWN_TOO)),
        (0.0, ETH0.index, gratuitous("reply")),
        (0.0, ETH1.index, gratuitous("reply", OWN_TOO)),
    ]


def test_a_withdrawn_address_is_told_of_no_more() -> None:
    announcer = make_announcer()
    announcer.announce(VIP, 0.0)
    announcer.announce(VIP_TOO, 0.0)
    announcer.handle_timer(0.0)
    announcer.withdraw(VIP, 0.0)
    sent = run(announcer, 100.0)
    assert {said.sender[1] for _, _, said in heard(sent)} == {str(VIP_TOO)}, "not even what was made already"
    announcer.withdraw(VIP_TOO, 100.0)
    announcer.withdraw(VIP_TOO, 100.0)
    assert announcer.next_timer() == math.inf


def test_an_address_that_comes_back_is_told_of_as_a_new_one() -> None:
    announcer = make_announcer()
    announcer.announce(VIP, 0.0)
    run(announcer, 0.15)
    announcer.withdraw(VIP, 0.2)
    announcer.announce(VIP, 0.2)
    assert requests(run(announcer, 2.0, 0.2)) == pytest.approx([0.2 + at for at in TRAIN])


def test_a_late_timer_does_not_make_up_for_what_it_missed() -> None:
    announcer = make_announcer()
    announcer.announce(VIP, 0.0)
    run(announcer, 0.01)
    assert requests(run(announcer, 6.0, 5.0)) == pytest.approx([5.0, 5.08, 5.28, 5.88])


def test_nobody_is_told_without_an_interface() -> None:
    announcer = Announcer(random.Random(1))
    announcer.announce(VIP, 0.0)
    assert announcer.next_timer() == math.inf


def test_a_new_interface_is_told_on_at_once() -> None:
    announcer = make_announcer(ETH0)
    announcer.announce(VIP, 0.0)
    run(announcer, 10.0)
    announcer.set_interfaces([ETH0, ETH1], 10.0)
    sent = run(announcer, 20.0, 10.0)
    assert requests(sent, ETH1.index) == pytest.approx([10 + at for at in TRAIN])
    assert requests(sent, ETH0.index) == []


def test_a_carrier_that_is_back_is_told_on_at_once() -> None:
    announcer = make_announcer(ETH0)
    announcer.announce(VIP, 0.0)
    run(announcer, 0.05)
    announcer.set_interfaces([replace(ETH0, has_carrier=False)], 0.05)
    assert run(announcer, 100.0, 0.05) == []
    announcer.announce(VIP_TOO, 100.0)
    announcer.set_interfaces([ETH0], 100.0)
    assert Counter(requests(run(announcer, 110.0, 100.0))) == Counter([round(100 + at, 6) for at in TRAIN] * 2)


def test_news_of_an_interface_that_change_nothing_tell_nobody() -> None:
    announcer = make_announcer(ETH0)
    announcer.announce(VIP, 0.0)
    run(announcer, 10.0)
    announcer.set_interfaces([replace(ETH0, name="lan", has_broadcast=True)], 10.0)
    assert run(announcer, 20.0, 10.0) == []
    assert announcer.interface_names == ("lan",)


def test_re_announcements_are_spaced_further_and_further() -> None:
    announcer = make_announcer(config=L2Config(train=(0.0,), refresh_interval=1e6))
    announcer.announce(VIP, 0.0)
    run(announcer, 10.0)
    at: list[float] = []
    for tick in range(3000):
        now = 10.0 + tick / 10
        announcer.reannounce(VIP, now)
        at += requests(run(announcer, now, now))
    gaps = [late - early for early, late in itertools.pairwise(at)]
    assert at[0] == 10.0
    assert gaps == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60, 60])


def test_a_re_announcement_is_a_whole_train_and_after_a_quiet_while_immediate() -> None:
    announcer = make_announcer()
    announcer.announce(VIP, 0.0)
    run(announcer, 10.0)
    for now, start in ((10.0, 10.0), (10.95, 11.0), (200.0, 200.0), (200.95, 201.0)):
        announcer.reannounce(VIP, now)
        assert requests(run(announcer, start + 0.95, now)) == pytest.approx([start + at for at in TRAIN])


def test_however_often_it_is_asked_for_one_re_announcement_waits() -> None:
    announcer = make_announcer(config=L2Config(train=(0.0,), refresh_interval=1e6))
    announcer.announce(VIP, 0.0)
    for _ in range(1000):
        announcer.reannounce(VIP, 0.0)
    assert requests(run(announcer, 7200.0)) == [0.0, 1.0]


def test_what_is_not_announced_is_not_re_announced() -> None:
    announcer = make_announcer()
    announcer.watch(VIP)
    announcer.reannounce(VIP, 0.0)
    announcer.reannounce(VIP_TOO, 0.0)
    assert announcer.next_timer() == math.inf


def test_a_re_announcement_that_waits_leaves_the_train_alone_and_dies_with_the_address() -> None:
    announcer = make_announcer()
    announcer.announce(VIP, 0.0)
    announcer.reannounce(VIP, 0.0)
    announcer.reannounce(VIP, 0.0)
    assert requests(run(announcer, 0.95)) == pytest.approx(TRAIN)
    assert requests(run(announcer, 1.0, 0.95)) == [1.0]
    announcer.reannounce(VIP, 1.0)
    announcer.withdraw(VIP, 1.0)
    assert announcer.next_timer() == math.inf


def test_recent_requesters_are_told_one_by_one() -> None:
    """At a takeover, also by a node that did not answer them; and with each refresh."""
    announcer = make_announcer(ETH0, ETH1)
    announcer.watch(VIP)
    announcer.receive(ETH0.index, ask(), 0.0)
    announcer.receive(ETH1.index, ask(sender=("02:00:00:00:00:c2", "192.0.2.10")), 0.0)
    announcer.receive(ETH0.index, ask(sender=("02:00:00:00:00:c3", "0.0.0.0")), 0.0)
    announcer.announce(VIP, 1.0)
    told = [
        (at, on, said) for at, on, said in heard(run(announcer, 130.0, 1.0)) if said.destination != "ff:ff:ff:ff:ff:ff"
    ]
    assert [(on, said) for _, on, said in told[:2]] == [
        (ETH0.index, answer()),
        (ETH1.index, answer(mac=OWN_TOO, to=("02:00:00:00:00:c2", "192.0.2.10"))),
    ]
    assert [at for at, on, _ in told if on == ETH0.index] == pytest.approx([1.0, 61.9, 121.9], abs=13)
    assert len(told) == 6


def test_who_asked_long_ago_is_not_told() -> None:
    announcer = make_announcer()
    announcer.announce(VIP, 0.0)
    announcer.receive(ETH0.index, ask(), 0.0)
    told = [at for at, _, said in heard(run(announcer, 3600.0)) if said.destination == CLIENT]
    assert 540 < max(told) <= 600
    assert announcer.statistics().requesters == 0


def test_a_forgotten_address_leaves_nothing() -> None:
    announcer = make_announcer()
    announcer.watch(VIP)
    announcer.announce(VIP, 0.0)
    announcer.receive(ETH0.index, ask(sender=(CLIENT, CLIENT_IP)), 0.0)
    announcer.unwatch(VIP)
    assert announcer.statistics().requesters == 1
    announcer.withdraw(VIP, 0.0)
    assert announcer.statistics().requesters == 0
    announcer.unwatch(VIP)


def test_thousands_of_addresses_are_told_of_in_half_a_second() -> None:
    """The first frame of each before the second of any, no more than the rate allows, a little at a time."""
    announcer = make_announcer()
    for address in MANY:
        announcer.announce(address, 0.0)
    sent, now, largest = [], 0.0, 0
    while (due := announcer.next_timer()) <= 5.0:
        now = max(now, due)
        announcer.handle_timer(now)
        frames = announcer.frames_to_send()
        largest = max(largest, len(frames))
        sent += [(now, index, frame) for index, frame in frames]
    assert largest <= announcer.config.frames_per_turn
    firsts = [said.sender[1] for _, _, said in heard(sent[: len(MANY)])]
    assert firsts == [str(address) for address in MANY]
    assert sent[len(MANY) - 1][0] < 0.5
    for at in range(5):
        assert sum(at <= when < at + 1 for when, _, _ in sent) <= announcer.config.frames_per_second + 128
    assert len(sent) == 10 * len(MANY)


@pytest.mark.slow
def test_addresses_gained_little_by_little_are_each_told_of_once_before_any_is_twice() -> None:
    announcer = make_announcer()
    sent: list[tuple[float, int, bytes]] = []
    for turn in range(20):
        for address in MANY[turn * 64 : turn * 64 + 64]:
            announcer.announce(address, turn / 500)
        sent += run(announcer, turn / 500, turn / 500)
    sent += run(announcer, 1.0, 0.04)
    kinds = [said.operation for _, _, said in heard(sent)]
    assert kinds[:64] + kinds[128:1344] == ["request"] * 1280, "the first 64 had all of the line to themselves"


def test_what_waits_its_turn_is_not_said_once_it_is_withdrawn() -> None:
    announcer = make_announcer()
    for address in MANY[:500]:
        announcer.announce(address, 0.0)
    run(announcer, 0.2)
    announcer.handle_timer(0.45)
    for address in MANY[:500]:
        announcer.withdraw(address, 0.45)
    assert announcer.frames_to_send() == []
    assert announcer.next_timer() == math.inf


def test_no_turn_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the one that looks for hosts that asked, where there are none; nor the first after a pause."""
    looked = Counter[int]()
    turn = 0
    recent = Requesters.recent

    def count(*args: Any) -> list[tuple[bytes, bytes]]:
        looked[turn] += 1
        return recent(*args)

    monkeypatch.setattr(Requesters, "recent", count)
    announcer = make_announcer()
    for address in MANY:
        announcer.announce(address, 0.0)
    for now in (0.0, 1000.0):
        while announcer.next_timer() <= now + 1.0:
            now = max(now, announcer.next_timer())
            waiting, turn = len(announcer._trains._timers), turn + 1
            announcer.handle_timer(now)
            announcer.frames_to_send()
            assert waiting - len(announcer._trains._timers) <= MAX_DUE
    assert max(looked.values()) <= announcer.config.frames_per_turn
    assert looked.total() == 2 * len(MANY), "at the takeover and at the refresh"


def test_a_new_address_overtakes_the_repeats_of_thousands() -> None:
    announcer = make_announcer()
    for address in MANY:
        announcer.announce(address, 0.0)
    run(announcer, 1.0)
    announcer.announce(VIP, 1.0)
    sent = run(announcer, 1.1, 1.0)
    assert min(at for at, _, said in heard(sent) if said.sender[1] == str(VIP)) <= 1.005


def test_a_busy_interface_does_not_hold_up_another() -> None:
    announcer = make_announcer(ETH0, ETH1)
    for address in MANY[:1000]:
        announcer.announce(address, 0.0)
    last = {on: at for at, on, said in heard(run(announcer, 0.2)) if said.operation == "request"}
    assert abs(last[ETH0.index] - last[ETH1.index]) < 0.01


def test_many_interfaces_share_the_turn() -> None:
    many = [Interface(index=n, name=f"eth{n}", mac=bytes((2, 0, 0, 0, 1, n))) for n in range(1, 201)]
    announcer = make_announcer(*many)
    announcer.announce(VIP, 0.0)
    sent = run(announcer, 0.0)
    assert Counter(index for _, index, _ in sent) == dict.fromkeys(range(1, 201), 2)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"train": ()}, "train"),
        ({"train": (0.1,)}, "begin with 0"),
        ({"train": (0.0, 0.5, 0.5)}, "ascend"),
        ({"refresh_jitter": 1.0}, "refresh_jitter"),
        ({"refresh_interval": 0.0}, "refresh_interval"),
        ({"backoff_min": 61.0}, "backoff_max"),
        ({"frames_per_second": 0.0}, "frames_per_second"),
        ({"frames_per_turn": 10}, "frames_per_turn"),
    ],
)
def test_a_configuration_that_contradicts_itself_is_refused(changes: dict[str, float], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        L2Config(**changes)  # type: ignore[arg-type]  # the table above gives what the fields take
