"""A datagram's way in: layers off, messages out, each to its handler (memberlist-protocol.md §4.4).

Rules kept here:

* One table says which message goes where. What cannot be read is counted, by reason, and changes nothing.
* Messages of one packet are handled in order. A packet that inflates to much is read in turns, and one with many
  messages is handled in turns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gossip.errors import BadPacket
from gossip.events import UserMessageReceived
from gossip.messages import Ack, Alive, Dead, IndirectPing, Nack, Ping, State, Suspect, UserMessage
from gossip.packets import read_packet_untrusted
from gossip.prober import reply_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from gossip.addresses import Address, AllowList
    from gossip.answers import Answers
    from gossip.claims import Claims
    from gossip.envelope import Envelope
    from gossip.jobs import Job, Jobs
    from gossip.members import Record, Roster
    from gossip.outbox import Outbox
    from gossip.packets import PacketContents
    from gossip.prober import Prober
    from gossip.reconnector import Reconnector

MAX_UNFINISHED_PACKETS: Final = 128
"""Packets too long for one turn that wait for their next; more are dropped. Each may hold 128 KiB."""
MESSAGES_TURN: Final = 100
"""Messages handled in one turn."""


class Receiver:
    """Takes datagrams apart and hands out their messages."""

    def __init__(
        self,
        own: Record,
        *,
        envelope: Envelope,
        jobs: Jobs,
        allowed: AllowList,
        roster: Roster,
        claims: Claims,
        answers: Answers,
        prober: Prober,
        reconnector: Reconnector,
        outbox: Outbox,
    ) -> None:
        self._own = own
        self._envelope = envelope
        self._jobs = jobs
        self._allowed = allowed
        self._roster = roster
        self._claims = claims
        self._answers = answers
        self._prober = prober
        self._reconnector = reconnector
        self._outbox = outbox
        self.ack_payload: bytes | None = None
        self.datagrams = 0
        self.bytes = 0
        self.problems = 0
        self.last_problem = ""
        self._unfinished = 0
        self._handlers: dict[type, Callable[[Any, Address, float], None]] = {
            Ping: self._hear_ping,
            IndirectPing: self._prober.hear_indirect_ping,
            Ack: lambda message, source, now: self._prober.hear_ack(message, now),
            Nack: lambda message, source, now: self._prober.hear_nack(message),
            Alive: lambda message, source, now: self._claims.hear_alive(message, now, source),
            Suspect: lambda message, source, now: self._claims.hear_suspect(message, now, source),
            Dead: lambda message, source, now: self._claims.hear_dead(message, now, source),
            UserMessage: self._hear_user_message,
        }

    def receive(self, data: bytes, source: Address, now: float) -> None:
        """One datagram, as it came."""
        self.datagrams += 1
        self.bytes += len(data)
        if not data:
            return
        if not self._allowed.permits_host(source[0]):
            self._note_problem("not in an allowed network", source)
            return
        try:
            body = self._envelope.unwrap_packet_untrusted(data)
        except BadPacket as reason:
            self._note_problem(reason, source)
            return
        self._jobs.run(self._bound(self._take(body, source, now), source), now)

    def _bound(self, work: Job, source: Address) -> Job:
        """The work on a packet, dropped if it has to wait when too much waits already."""
        try:
            next(work)
        except StopIteration:
            return
        if self._unfinished >= MAX_UNFINISHED_PACKETS:
            self._note_problem("too many long packets at once", source)
            return
        self._unfinished += 1
        try:
            while True:
                work.send((yield))
        except StopIteration:
            return
        finally:
            self._unfinished -= 1

    def _take(self, body: bytes, source: Address, now: float) -> Job:
        """Read a packet, then hand out its messages."""
        reading = read_packet_untrusted(body)
        contents: PacketContents | None = None
        while contents is None:
            try:
                next(reading)
                now = yield
            except StopIteration as end:
                contents = end.value
            except BadPacket as reason:
                self._note_problem(reason, source)
                return
        for problem in contents.problems:
            self._note_problem(problem, source)
        self._reconnector.packet_came(source, now)
        for index, message in enumerate(contents.messages):
            if index and index % MESSAGES_TURN == 0:
                now = yield
            self._handlers[type(message)](message, source, now)

    def _note_problem(self, reason: object, source: Address) -> None:
        self.problems += 1
        self.last_problem = f"{source[0]} port {source[1]}: {reason}"

    def _hear_ping(self, ping: Ping, source: Address, now: float) -> None:
        """Ack it, and tell a member that is held dead what it is accused of (watch.md §4)."""
        if ping.node and ping.node != self._own.name:
            return
        answer_to = reply_address(ping, source)
        self._outbox.send(Ack(ping.seq_no, self.ack_payload), answer_to)
        pinger = self._roster.get(ping.source_node) if ping.source_node else None
        if pinger is not None and pinger.state is State.DEAD and pinger.address == answer_to:
            self._answers.tell(pinger, answer_to, now)

    def _hear_user_message(self, message: UserMessage, source: Address, now: float) -> None:
        self._outbox.emit(UserMessageReceived(message.payload, source, reliable=False))
