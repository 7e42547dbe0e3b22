"""A new address is asked for before it is announced (design.md §5, first use; RFC 5227 §2.1.1), on a jump clock."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from speaker.l2.first_use import (
    MAX_HOLDERS,
    MAX_TURN_FRAMES,
    PROBES_PER_SECOND,
    UNUSED,
    FirstUse,
    Free,
    InUse,
    Outcome,
    Proxy,
)
from speaker.l2.interfaces import Interface
from tests.speaker.l2.helpers import (
    CLIENT_IP,
    ETH0,
    ETH1,
    EVERYBODY,
    NOBODY,
    OWN,
    OWN_TOO,
    STRANGER,
    VIP,
    VIP_TOO,
    Said,
    ask,
    heard,
    run,
    tell,
)

SPARE = IPv4Address("192.0.2.200")
MEMBER = "02:00:00:00:00:ab"
ROUTER = "02:00:00:00:00:fe"
MANY = tuple(IPv4Address("10.0.0.0") + number for number in range(10_000))


def packed(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def make(*interfaces: Interface) -> FirstUse:
    first_use = FirstUse()
    first_use.set_interfaces(interfaces or (ETH0,))
    return first_use


def outcomes(first_use: FirstUse) -> list[Outcome]:
    return list(iter(first_use.next_outcome, None))


def probe_of(address: IPv4Address, mac: str = OWN) -> Said:
    return Said(EVERYBODY, mac, "request", (mac, "0.0.0.0"), (NOBODY, str(address)))


def has(mac: str, address: IPv4Address = VIP) -> bytes:
    """What a host that has the address answers to the probe."""
    return tell((mac, str(address)), (OWN, "0.0.0.0"))


class Lan:
    """Hosts that answer at once for what they have: for all addresses where none is given."""

    def __init__(self, first_use: FirstUse, holders: dict[str, tuple[IPv4Address, ...] | None]) -> None:
        self.first_use = first_use
        self.holders = holders

    def run(self, until: float, since: float = 0.0) -> list[tuple[float, Outcome]]:
        found: list[tuple[float, Outcome]] = []
        now = since
        while (due := self.first_use.next_timer()) <= until:
            now = max(now, due)
            self.first_use.handle_timer(now)
            for _, index, said in heard((now, *sent) for sent in self.first_use.frames_to_send()):
                for mac, addresses in self.holders.items():
                    wanted = IPv4Address(said.target[1])
                    if addresses is None or wanted in addresses:
                        self.first_use.receive(index, has(mac, wanted), now)
            found += [(now, outcome) for outcome in outcomes(self.first_use)]
        return found


def test_an_address_that_nobody_has_is_free_after_two_probes() -> None:
    first_use = make(ETH0, ETH1)
    first_use.probe(VIP, SPARE, 0.0)
    assert heard(run(first_use, 0.149)) == [
        (0.0, ETH0.index, probe_of(VIP)),
        (0.0, ETH1.index, probe_of(VIP, OWN_TOO)),
        (0.05, ETH0.index, probe_of(VIP)),
        (0.05, ETH1.index, probe_of(VIP, OWN_TOO)),
    ]
    assert outcomes(first_use) == []
    assert run(first_use, 10.0, 0.15) == []
    assert outcomes(first_use) == [Free(VIP)]
    assert first_use.next_timer() == math.inf


@pytest.mark.parametrize("now", [-3.0, 0.0, 1e9])
def test_the_origin_of_the_clock_does_not_matter(now: float) -> None:
    first_use = make()
    first_use.probe(VIP, SPARE, now)
    ((at, outcome),) = Lan(first_use, {}).run(now + 5, now)
    assert outcome == Free(VIP)
    assert at - now == pytest.approx(0.15)


CONFLICTS = {
    "an answer": has(STRANGER),
    "an answer to another host": tell((STRANGER, str(VIP))),
    "an announcement": ask(sender=(STRANGER, str(VIP))),
    "a request for another address": ask(VIP_TOO, sender=(STRANGER, str(VIP))),
    "a probe at the same time": ask(sender=(STRANGER, "0.0.0.0")),
}


@pytest.mark.parametrize("kind", CONFLICTS)
@pytest.mark.parametrize("at", [0.0, 0.02, 0.149])
def test_a_stranger_who_has_the_address_or_will_keeps_it(kind: str, at: float) -> None:
    first_use = make(ETH0, ETH1)
    first_use.probe(VIP, SPARE, 0.0)
    run(first_use, at)
    first_use.receive(ETH1.index, CONFLICTS[kind], at)
    run(first_use, 2.0, at)
    assert outcomes(first_use) == [InUse(VIP, packed(STRANGER), "eth1", 5.0)]


def test_even_before_the_first_probe_could_go_out() -> None:
    first_use = make()
    first_use.probe(VIP, SPARE, 0.0)
    first_use.receive(ETH0.index, has(STRANGER), 0.0)
    run(first_use, 2.0)
    assert outcomes(first_use) == [InUse(VIP, packed(STRANGER), "eth0", 5.0)]


INNOCENT = {
    "a question for it": ask(),
    "a question for another": ask(VIP_TOO),
    "an answer with another address": tell((STRANGER, CLIENT_IP)),
    "a member": has(MEMBER),
    "a member that probes too": ask(sender=(MEMBER, "0.0.0.0")),
    "our own probe, heard on the other interface": ask(sender=(OWN_TOO, "0.0.0.0")),
    "our own answer": has(OWN),
    "nonsense": has(STRANGER)[:40],
}


@pytest.mark.parametrize("kind", INNOCENT)
def test_what_is_no_conflict(kind: str) -> None:
    first_use = make(ETH0, ETH1)
    first_use.set_known_macs([packed(MEMBER)])
    first_use.probe(VIP, SPARE, 0.0)
    for at in (0.0, 0.06):
        run(first_use, at)
        first_use.receive(ETH0.index, INNOCENT[kind], at)
    run(first_use, 2.0, 0.06)
    assert outcomes(first_use) == [Free(VIP)]


def test_an_address_in_use_is_tried_again_ever_less_often_until_it_is_free() -> None:
    first_use = make()
    first_use.probe(VIP, SPARE, 0.0)
    lan = Lan(first_use, {STRANGER: (VIP,)})
    found = lan.run(1200.0)
    waits = [outcome.retry_after for _, outcome in found if isinstance(outcome, InUse)]
    assert waits == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0, 300.0]
    for (early, _), (late, _), wait in zip(found, found[1:], waits, strict=False):
        assert late - early == pytest.approx(wait + 1.2)
    lan.holders.clear()
    ((at, outcome),) = lan.run(3000.0, 1200.0)
    assert outcome == Free(VIP)
    assert at - found[-1][0] == pytest.approx(300.15)


def test_who_answers_for_everything_keeps_nobody_from_an_address() -> None:
    first_use = make()
    first_use.probe(VIP, SPARE, 0.0)
    ((at, outcome),) = Lan(first_use, {ROUTER: None}).run(60.0)
    assert outcome == Proxy(VIP, packed(ROUTER), "eth0")
    assert at < 1.5
    assert first_use.next_timer() == math.inf


def test_a_proxy_that_takes_its_time_for_the_spare_address_is_seen() -> None:
    """Linux answers for others after up to 0.8 s."""
    first_use = make()
    first_use.probe(VIP, SPARE, 0.0)
    first_use.receive(ETH0.index, has(ROUTER), 0.1)
    asked = [at for at, _, said in heard(run(first_use, 0.9)) if said == probe_of(SPARE)]
    assert asked == pytest.approx([0.15, 0.2])
    first_use.receive(ETH0.index, has(ROUTER, SPARE), 0.95)
    run(first_use, 2.0, 0.95)
    assert outcomes(first_use) == [Proxy(VIP, packed(ROUTER), "eth0")]


@pytest.mark.parametrize("holders", [{STRANGER: (VIP,), ROUTER: None}, {ROUTER: None, STRANGER: (VIP,)}])
def test_a_stranger_behind_a_proxy_keeps_the_address(holders: dict[str, tuple[IPv4Address, ...] | None]) -> None:
    first_use = make()
    first_use.probe(VIP, SPARE, 0.0)
    assert [outcome for _, outcome in Lan(first_use, holders).run(3.0)] == [InUse(VIP, packed(STRANGER), "eth0", 5.0)]


def test_the_same_address_on_another_interface_proves_no_proxy() -> None:
    first_use = make(ETH0, ETH1)
    first_use.probe(VIP, SPARE, 0.0)
    first_use.receive(ETH0.index, has(ROUTER), 0.0)
    run(first_use, 0.3)
    first_use.receive(ETH1.index, has(ROUTER, SPARE), 0.3)
    run(first_use, 2.0, 0.3)
    assert outcomes(first_use) == [InUse(VIP, packed(ROUTER), "eth0", 5.0)]


@pytest.mark.parametrize("spare", [None, VIP])
def test_without_a_spare_address_one_is_asked_for_that_nobody_may_have(spare: IPv4Address | None) -> None:
    first_use = make()
    first_use.probe(VIP, spare, 0.0)
    first_use.receive(ETH0.index, has(ROUTER), 0.0)
    assert probe_of(UNUSED) in [said for _, _, said in heard(run(first_use, 0.5))]
    first_use.receive(ETH0.index, has(ROUTER, UNUSED), 0.5)
    run(first_use, 2.0, 0.5)
    assert outcomes(first_use) == [Proxy(VIP, packed(ROUTER), "eth0")]


def test_a_probe_for_the_spare_address_by_another_host_proves_nothing() -> None:
    first_use = make()
    first_use.probe(VIP, SPARE, 0.0)
    first_use.receive(ETH0.index, has(STRANGER), 0.0)
    run(first_use, 0.3)
    first_use.receive(ETH0.index, ask(SPARE, sender=(STRANGER, "0.0.0.0")), 0.3)
    run(first_use, 2.0, 0.3)
    assert outcomes(first_use) == [InUse(VIP, packed(STRANGER), "eth0", 5.0)]


@pytest.mark.parametrize("until", [-1.0, 0.0, 0.07, 0.5, 3.0])
def test_an_address_that_is_not_wanted_any_more_has_no_outcome_at_any_stage(until: float) -> None:
    first_use = make()
    first_use.probe(VIP, SPARE, 0.0)
    first_use.handle_timer(0.0)
    first_use.receive(ETH0.index, has(STRANGER), 0.0)
    Lan(first_use, {}).run(until)
    first_use.cancel(VIP)
    assert first_use.frames_to_send() == []
    assert str(VIP) not in {said.target[1] for _, _, said in heard(run(first_use, 100.0, max(until, 0.0)))}
    assert outcomes(first_use) == []
    assert first_use.next_timer() == math.inf
    first_use.cancel(VIP)


def test_asking_again_while_it_is_asked_for_changes_nothing() -> None:
    first_use = make()
    for at in (0.0, 0.06, 0.1):
        first_use.probe(VIP, SPARE, at)
        run(first_use, at, at)
    run(first_use, 1.0, 0.1)
    assert outcomes(first_use) == [Free(VIP)]
    first_use.probe(VIP, SPARE, 1.0)
    assert Lan(first_use, {}).run(2.0, 1.0)[0][1] == Free(VIP)


def test_without_an_interface_to_ask_on_the_question_waits() -> None:
    first_use = make(replace(ETH0, has_carrier=False))
    first_use.probe(VIP, SPARE, 0.0)
    assert first_use.next_timer() == math.inf
    first_use.set_interfaces([ETH0])
    ((at, outcome),) = Lan(first_use, {}).run(200.0, 100.0)
    assert at == pytest.approx(100.15)
    assert outcome == Free(VIP)


def test_an_interface_that_goes_away_in_between_is_asked_on_no_more() -> None:
    first_use = make(ETH0, ETH1)
    first_use.probe(VIP, SPARE, 0.0)
    first_use.handle_timer(0.0)
    first_use.set_interfaces([ETH1])
    assert {index for _, index, _ in run(first_use, 1.0)} == {ETH1.index}
    first_use.receive(ETH0.index, has(STRANGER), 1.0)
    assert outcomes(first_use) == [Free(VIP)]


def test_thousands_of_new_addresses_are_asked_for_side_by_side() -> None:
    first_use = make()
    for address in MANY:
        first_use.probe(address, SPARE, 0.0)
    sent, now, found = [], 0.0, []
    while (due := first_use.next_timer()) < math.inf:
        now = max(now, due)
        first_use.handle_timer(now)
        frames = first_use.frames_to_send()
        assert len(frames) <= MAX_TURN_FRAMES
        sent += [now] * len(frames)
        found += outcomes(first_use)
    assert now < 3.0
    assert Counter(outcome.address for outcome in found) == dict.fromkeys(MANY, 1)
    assert len(sent) == 2 * len(MANY)
    assert max(Counter(int(at) for at in sent).values()) <= PROBES_PER_SECOND + 128


def test_many_interfaces_do_not_make_a_turn_long() -> None:
    ports = [
        Interface(index=number, name=f"eth{number}", mac=bytes((2, 0, 0, 0, 1, number))) for number in range(1, 41)
    ]
    first_use = make(*ports)
    for address in MANY[:100]:
        first_use.probe(address, SPARE, 0.0)
    first_use.handle_timer(0.0)
    assert len(first_use.frames_to_send()) <= MAX_TURN_FRAMES + len(ports)
    assert Counter(index for _, index, _ in run(first_use, 5.0)) <= Counter({port.index: 200 for port in ports})
    assert Counter(map(type, outcomes(first_use))) == {Free: 100}


@pytest.mark.slow
def test_thousands_behind_a_proxy_are_all_found_out_a_little_at_a_time() -> None:
    first_use = make()
    for address in MANY[:2000]:
        first_use.probe(address, SPARE, 0.0)
    now, found, most = 0.0, 0, 0
    while (due := first_use.next_timer()) < math.inf:
        now = max(now, due)
        first_use.handle_timer(now)
        for _, index, said in heard((now, *sent) for sent in first_use.frames_to_send()):
            first_use.receive(index, has(ROUTER, IPv4Address(said.target[1])), now)
        told = outcomes(first_use)
        assert {type(outcome) for outcome in told} <= {Proxy}
        found, most = found + len(told), max(most, len(told))
    assert (found, now < 5.0) == (2000, True)
    assert most <= 256


def test_a_liar_with_many_addresses_is_remembered_only_so_far() -> None:
    first_use = make()
    first_use.probe(VIP, SPARE, 0.0)
    for number in range(10 * MAX_HOLDERS):
        first_use.receive(ETH0.index, has(f"06:00:00:00:00:{number:02x}"), 0.0)
    (question,) = first_use._candidates.values()
    assert len(question.holders) == MAX_HOLDERS
