"""A member of a ring among strangers: whatever they send, it stays itself, goes on and owes nobody much."""

import random

from gossip import Membership, OpenStream, State, profile
from tests.vectors import NONCE

INPUTS_PER_LIFE = 500
"""After so many inputs a new member begins, so that one input is never long in finding what an earlier one prepared."""
STRANGER = ("127.0.0.9", 7946)


class Ring:
    """One member, the last in a line of them."""

    def __init__(self) -> None:
        self._heard = 0
        self._now = 0.0
        self._member = self._begin()

    def _begin(self) -> Membership:
        member = Membership(
            "node-a",
            ("127.0.0.1", 7946),
            profile("memberlist"),
            rng=random.Random(self._heard),
            nonce=lambda length: NONCE[:length],
        )
        member.start(self._now)
        return member

    def hear_datagram(self, data: bytes) -> None:
        self._member.receive_datagram(data, STRANGER, self._now)
        self._live()

    def hear_stream(self, data: bytes) -> None:
        """A stranger connects, sends it all and ends."""
        stream = self._member.accept_stream(STRANGER, self._now)
        self._member.receive_stream(stream, data, self._now)
        self._live()
        self._member.receive_stream(stream, b"", self._now)
        self._live()

    def hear_reply(self, data: bytes) -> None:
        """A stranger answers a push/pull."""
        self._member.join([STRANGER], self._now)
        opened = [command for command in self._member.stream_commands() if isinstance(command, OpenStream)]
        for command in opened:
            self._member.receive_stream(command.stream, data, self._now)
            self._member.receive_stream(command.stream, b"", self._now)
        assert opened
        self._live()

    def _live(self) -> None:
        """Let a moment pass, drain, and look whether all is well."""
        member = self._member
        self._now += 0.01
        for _ in range(200):
            if member.next_timer() > self._now:
                break
            member.handle_timer(self._now)
        assert member.next_timer() > self._now, "timers that are due again and again"
        assert sum(len(data) for data, _ in member.datagrams_to_send()) < 200_000
        member.stream_commands()
        while member.next_event() is not None:
            pass
        assert member.local.name == "node-a"
        assert member.local.state is State.ALIVE
        assert member.local.address == ("127.0.0.1", 7946)
        self._heard += 1
        if self._heard % INPUTS_PER_LIFE == 0:
            self._member = self._begin()
