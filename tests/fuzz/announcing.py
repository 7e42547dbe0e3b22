"""A node that announces addresses, asks for others and hears what strangers send, for as long as the fuzzer goes on."""

import random
from ipaddress import IPv4Address

from speaker.l2.announcer import Announcer
from speaker.l2.claims import MAX_CLAIMS
from speaker.l2.first_use import MAX_HOLDERS, FirstUse
from speaker.l2.frames import BROADCAST, NO_IP, Encoder
from speaker.l2.interfaces import Interface
from speaker.l2.requesters import MAX_REQUESTERS

ETH0 = Interface(index=2, name="eth0", mac=bytes.fromhex("020000000001"))
ANNOUNCED = [IPv4Address("192.0.2.0") + number for number in range(64)]
ASKED_FOR = [IPv4Address("198.51.100.0") + number for number in range(64)]
HOST, HOST_IP = Encoder(bytes.fromhex("0200000000c1")), IPv4Address("192.0.2.200").packed


def _frames() -> list[bytes]:
    ours, new = ANNOUNCED[0].packed, ASKED_FOR[0].packed
    probe = HOST.probe(ours)
    return [
        probe[:28] + HOST_IP + probe[32:],  # a request
        probe,
        ETH0.mac + probe[6:],  # to one host
        HOST.reply(ours, ETH0.mac, NO_IP),
        HOST.reply(new, ETH0.mac, NO_IP),
        HOST.gratuitous_request(ours),
        HOST.gratuitous_reply(new),
        probe[:12] + bytes.fromhex("81000007") + probe[12:],  # tagged
        probe + bytes(18),  # padded
    ]


FRAMES = _frames()


INPUTS_PER_LIFE = 5_000
"""After so many frames a new node begins, so that one frame is never long in finding what an earlier one prepared."""
STEP = 0.02
"""Seconds between two frames: a life is long enough for refreshes and for asking again."""


class Announcing:
    """One node, the last in a line of them. Nobody reads its claims."""

    def __init__(self) -> None:
        self._heard = 0
        self._begin()

    def _begin(self) -> None:
        self._now = 0.0
        self._announcer = Announcer(random.Random(self._heard))
        self._first_use = FirstUse()
        self._announcer.set_interfaces([ETH0], self._now)
        self._first_use.set_interfaces([ETH0])
        for address in ANNOUNCED:
            self._announcer.announce(address, self._now)
        for address in ASKED_FOR:
            self._first_use.probe(address, None, self._now)

    def hear(self, frame: bytes) -> None:
        """Nothing is raised, only what is announced is answered for, and what is kept has its bounds."""
        self._heard += 1
        if self._heard % INPUTS_PER_LIFE == 0:
            self._begin()
        self._now += STEP
        for core in (self._announcer, self._first_use):
            core.receive(ETH0.index, frame, self._now)
            core.handle_timer(self._now)
        for _, sent in self._announcer.frames_to_send():
            assert IPv4Address(sent[28:32]) in ANNOUNCED
        for _, sent in self._first_use.frames_to_send():
            assert (sent[:6], sent[28:32]) == (BROADCAST, NO_IP)
        while (outcome := self._first_use.next_outcome()) is not None:
            self._first_use.probe(outcome.address, None, self._now)
        assert max(self._announcer.next_timer(), self._first_use.next_timer()) < self._now + 400
        assert self._announcer.statistics().requesters <= MAX_REQUESTERS
        assert len(self._announcer._claims._waiting) <= MAX_CLAIMS
        assert all(len(question.holders) <= MAX_HOLDERS for question in self._first_use._candidates.values())
