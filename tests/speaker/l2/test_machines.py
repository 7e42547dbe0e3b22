"""What holds whatever happens, in whatever order."""

from __future__ import annotations

import math
import random
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from speaker.l2.announcer import Announcer
from speaker.l2.claims import MAX_CLAIMS
from speaker.l2.config import L2Config
from speaker.l2.first_use import FirstUse, Free, InUse, Proxy
from speaker.l2.frames import BadFrame, decode_arp_untrusted
from speaker.l2.interfaces import Interface
from speaker.l2.timers import MIN_SWEEP
from tests.speaker.l2.helpers import ETH0, ETH1, EVERYBODY, OWN, OWN_TOO, STRANGER, ask, read, tell

ADDRESSES = tuple(IPv4Address(f"192.0.2.{last}") for last in (100, 101, 102))
MACS = (OWN, OWN_TOO, STRANGER, "02:00:00:00:00:c1", EVERYBODY)
PORTS = (ETH0, ETH1, replace(ETH0, has_carrier=False), replace(ETH1, mac=bytes.fromhex("020000000003")))

addresses = st.sampled_from(ADDRESSES)
indexes = st.sampled_from((ETH0.index, ETH1.index, 9))
interfaces = st.lists(st.sampled_from(PORTS), max_size=2, unique_by=lambda interface: interface.index)
senders = st.tuples(st.sampled_from(MACS), st.sampled_from(["0.0.0.0", "192.0.2.9", *map(str, ADDRESSES)]))
frames = st.one_of(
    st.builds(ask, addresses, senders, st.sampled_from(MACS)),
    st.builds(tell, senders, senders),
    st.binary(max_size=64),
)


class Machine(RuleBasedStateMachine):
    """A clock, and interfaces that come and go."""

    core: Announcer | FirstUse

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.served: dict[int, Interface] = {}

    def turn(self) -> None:
        """Fire the timer once. It must get on: forward in time, or through the work that is left."""
        self.now = max(self.now, self.core.next_timer())
        self.core.handle_timer(self.now)

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.03, 0.5, 7.0, 120.0]))
    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        turns = 0
        while self.core.next_timer() <= until:
            self.turn()
            self.drain()
            turns += 1
            assert turns < 5000, "the timer does not get on"
        self.now = until

    @rule()
    def stall(self) -> None:
        self.now += 30.0
        self.core.handle_timer(self.now)

    @rule(index=indexes, frame=frames)
    def receive(self, index: int, frame: bytes) -> None:
        self.hear(index, frame)

    def hear(self, index: int, frame: bytes) -> None:
        self.core.receive(index, frame, self.now)

    @rule()
    def drain(self) -> None:
        for index, frame in self.core.frames_to_send():
            assert index in self.served, "sent where nothing is served"
            said = read(frame)
            own = self.served[index].mac.hex(":")
            assert (said.source, said.sender[0]) == (own, own)
            self.judge(frame)
        self.read_told()

    def judge(self, frame: bytes) -> None:
        raise NotImplementedError

    def read_told(self) -> None:
        raise NotImplementedError


class Announcing(Machine):
    core: Announcer

    def __init__(self) -> None:
        super().__init__()
        self.core = Announcer(random.Random(1), L2Config(frames_per_second=500.0))
        self.announced: dict[IPv4Address, None] = {}
        self.claimed_at: dict[IPv4Address, float] = {}

    def hear(self, index: int, frame: bytes) -> None:
        before = self.core.statistics().responses_sent
        super().hear(index, frame)
        assert self.core.statistics().responses_sent - before == self.is_to_be_answered(index, frame)

    def is_to_be_answered(self, index: int, frame: bytes) -> bool:
        """metallb-interface.md §4.5, but for what would go to a group of hosts or to this node."""
        try:
            packet = decode_arp_untrusted(frame)
        except BadFrame:
            return False
        return (
            index in self.served
            and packet.operation == 1
            and packet.ethernet_destination in (b"\xff" * 6, self.served[index].mac)
            and IPv4Address(packet.target_ip) in self.announced
            and packet.sender_mac not in (b"\xff" * 6, *(interface.mac for interface in self.served.values()))
        )

    @rule(some=interfaces)
    def set_interfaces(self, some: list[Interface]) -> None:
        self.served = {interface.index: interface for interface in some}
        self.core.set_interfaces(some, self.now)

    @rule(address=addresses)
    def announce(self, address: IPv4Address) -> None:
        self.announced[address] = None
        self.core.announce(address, self.now)

    @rule(address=addresses)
    def withdraw(self, address: IPv4Address) -> None:
        self.announced.pop(address, None)
        self.core.withdraw(address, self.now)
        self.start_over(address)

    @rule(address=addresses)
    def reannounce(self, address: IPv4Address) -> None:
        self.core.reannounce(address, self.now)

    @rule(address=addresses)
    def watch(self, address: IPv4Address) -> None:
        self.core.watch(address)

    @rule(address=addresses)
    def unwatch(self, address: IPv4Address) -> None:
        self.core.unwatch(address)
        self.start_over(address)

    def start_over(self, address: IPv4Address) -> None:
        """What is known of it may be forgotten, when a claim was told last included."""
        self.read_told()
        self.claimed_at.pop(address, None)

    def read_told(self) -> None:
        while (claim := self.core.next_claim()) is not None:
            assert claim.at >= self.claimed_at.get(claim.address, -math.inf) + 1
            self.claimed_at[claim.address] = claim.at

    def judge(self, frame: bytes) -> None:
        assert IPv4Address(decode_arp_untrusted(frame).sender_ip) in self.announced

    @invariant()
    def it_is_told_on_what_has_a_carrier_until_it_is_withdrawn(self) -> None:
        assert list(self.core.announced) == list(self.announced)
        carrier = any(interface.has_carrier for interface in self.served.values())
        if self.announced and carrier:
            assert self.core.next_timer() <= self.now + 67
        else:
            assert self.core.next_timer() == math.inf or self.announced

    @invariant()
    def it_remembers_no_more_than_it_may(self) -> None:
        statistics = self.core.statistics()
        assert statistics.requesters <= 3 * 32
        assert len(self.core._claims._waiting) <= MAX_CLAIMS
        assert len(self.core._trains._timers) <= MIN_SWEEP + 1
        if not self.announced:
            assert statistics.frames_waiting == 0


class Asking(Machine):
    core: FirstUse

    def __init__(self) -> None:
        super().__init__()
        self.core = FirstUse()
        self.wanted: dict[IPv4Address, float] = {}
        """Since when."""
        self.heard_at: dict[IPv4Address, float] = {}
        """When a stranger was last heard that has the address, or would like to."""
        self.members: list[bytes] = []

    @rule(some=interfaces)
    def set_interfaces(self, some: list[Interface]) -> None:
        self.served = {interface.index: interface for interface in some}
        self.core.set_interfaces(some)

    @rule(macs=st.lists(st.sampled_from(MACS).map(lambda mac: bytes.fromhex(mac.replace(":", "")))))
    def set_known_macs(self, macs: list[bytes]) -> None:
        self.members = macs
        self.core.set_known_macs(macs)

    def hear(self, index: int, frame: bytes) -> None:
        super().hear(index, frame)
        interface = self.served.get(index)
        with suppress(BadFrame):
            packet = decode_arp_untrusted(frame)
            own = [served.mac for served in self.served.values() if served.has_carrier]
            if interface is not None and interface.has_carrier and packet.sender_mac not in (*own, *self.members):
                meant = packet.target_ip if packet.is_probe else packet.sender_ip
                self.heard_at[IPv4Address(meant)] = self.now

    @rule(address=addresses, spare=st.one_of(st.none(), addresses))
    def probe(self, address: IPv4Address, spare: IPv4Address | None) -> None:
        self.wanted.setdefault(address, self.now)
        self.core.probe(address, spare, self.now)

    @rule(address=addresses)
    def cancel(self, address: IPv4Address) -> None:
        self.wanted.pop(address, None)
        self.read_told()
        self.core.cancel(address)

    def read_told(self) -> None:
        while (outcome := self.core.next_outcome()) is not None:
            heard_at = self.heard_at.get(outcome.address, -math.inf)
            match outcome:
                case InUse():
                    assert 5.0 <= outcome.retry_after <= 300.0
                    assert heard_at >= self.wanted[outcome.address]
                case Proxy():
                    assert heard_at >= self.wanted.pop(outcome.address)
                case Free():
                    assert heard_at < self.wanted.pop(outcome.address) or heard_at < self.now - 0.149

    def judge(self, frame: bytes) -> None:
        assert decode_arp_untrusted(frame).is_probe

    @invariant()
    def every_question_comes_to_an_end(self) -> None:
        self.read_told()
        carrier = any(interface.has_carrier for interface in self.served.values())
        if self.wanted and carrier:
            assert self.core.next_timer() <= self.now + 301
        if not self.wanted:
            assert not self.core._candidates


TestAnnouncing = Announcing.TestCase
TestAnnouncing.settings = settings(stateful_step_count=40)
TestAsking = Asking.TestCase
TestAsking.settings = settings(stateful_step_count=40)
