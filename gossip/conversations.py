"""Streams: one exchange each, both as the side that connects and as the one that accepts (memberlist-protocol.md §5).

Rules kept here:

* The connecting side writes the label and one body, and reads at most one reply; the accepting side reads one body,
  writes at most one reply and closes. The driver writes as soon as the connection stands.
* The accepting side's state goes out as it was before the merge (§5.3).
* Reading, merging and writing long views happen in turns (:mod:`gossip.jobs`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gossip.codec import encode
from gossip.errors import LocalError
from gossip.events import UserMessageReceived, UserStateReceived
from gossip.messages import Ack, ErrorReply, Ping, PushPull, UserMessage
from gossip.streams import StreamFault, Want, encode_push_pull_in_turns, encode_user_stream
from gossip.turns import map_in_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from gossip.addresses import Address, AllowList
    from gossip.config import PushPullConfig
    from gossip.envelope import Envelope
    from gossip.jobs import Job, Jobs
    from gossip.members import Record, Roster
    from gossip.merger import Merger
    from gossip.messages import StreamMessage
    from gossip.outbox import Outbox, StreamId
    from gossip.stream_table import Stream, StreamTable

COMPRESS_TURN: Final = 8 * 1024
"""Bytes compressed in one turn."""
SNAPSHOT_TURN: Final = 400
"""Members whose state is written down in one turn."""

NO_ROOM: Final = "too many streams at once"
"""What a peer is told whose stream is one too many."""


class Conversations:
    """What is said on the streams of a member. Which are open, and what bounds them, is the table's."""

    def __init__(
        self,
        config: PushPullConfig,
        own: Record,
        *,
        table: StreamTable,
        roster: Roster,
        envelope: Envelope,
        outbox: Outbox,
        jobs: Jobs,
        allowed: AllowList,
        merger: Merger,
        stream_acked: Callable[[int], None],
    ) -> None:
        self._config = config
        self._own = own
        self._table = table
        self._roster = roster
        self._envelope = envelope
        self._outbox = outbox
        self._jobs = jobs
        self._allowed = allowed
        self._merger = merger
        self._stream_acked = stream_acked
        self.user_state = b""
        """What the application sends along with our view."""

    # ---- the side that connects

    def push_pull(
        self, address: Address, join: bool, now: float, finished: Callable[[str | None, float], None]
    ) -> None:
        """Exchange views with ``address``. ``finished(reason, now)`` is called once; ``None`` says it worked."""
        stream = self._table.open(
            address, now + self._config.timeout, lambda reply: isinstance(reply, PushPull), finished
        )
        stream.join = join
        self._jobs.run(self._write(stream, self._encode_state(join), now), now)

    def ping(self, address: Address, ping: Ping, deadline: float, now: float) -> None:
        """Ping over a stream; an ack of its number is handed to the prober, a failure to nobody (§5.5)."""

        def finished(reason: str | None, now: float) -> None:
            if reason is None:
                self._stream_acked(ping.seq_no)

        stream = self._table.open(
            address, deadline, lambda reply: isinstance(reply, Ack) and reply.seq_no == ping.seq_no, finished
        )
        self._table.write(stream, self._envelope.wrap_stream(encode(ping)))

    def send_user_message(
        self, address: Address, payload: bytes, now: float, finished: Callable[[str | None, float], None]
    ) -> None:
        """Send a user message reliably. It arrived, as far as one can tell, when the peer closes without an error.

        Raises :class:`LocalError` when it is longer than peers take. Whether it is once it is compressed is known
        later, and told by ``finished``.
        """
        body = encode_user_stream(payload)
        if not self._envelope.config.compression:
            self._envelope.check_stream_length(len(body))
        stream = self._table.open(address, now + self._config.timeout, None, finished)
        self._jobs.run(self._write(stream, self._envelope.wrap_stream_in_turns(body, COMPRESS_TURN), now), now)

    # ---- the side that accepts

    def accept(self, address: Address, now: float) -> StreamId:
        """A peer has connected. The number given back names the stream from here on; it may be closed at once."""
        has_room = self._table.has_room_for(address[0])
        stream = self._table.accept(address, now + self._config.timeout)
        if not self._allowed.permits_host(address[0]):
            self._turn_away(stream, "not in an allowed network", now)
        elif not has_room:
            # Said aloud: to the sender of a user message, a stream that is merely closed went well.
            self._table.write(stream, self._envelope.wrap_stream(encode(ErrorReply(NO_ROOM))))
            self._turn_away(stream, NO_ROOM, now)
        return stream.number

    # ---- both

    def receive(self, number: StreamId, data: bytes, now: float) -> None:
        """Bytes of a stream, ``b""`` at its end. A stream that is closed already is ignored."""
        stream = self._table.get(number)
        if stream is None:
            return
        stream.reader.feed(data)
        self._table.weigh(stream, now)
        if stream in self._table and not stream.busy:
            stream.busy = True
            self._jobs.run(self._read(stream, now), now)

    # ---- turns

    def _encode_state(self, join: bool) -> Generator[None, object, bytes]:
        """Our view, each member as it is when its turn comes."""
        nodes = yield from map_in_turns(lambda record: record.node_state(), self._roster.listed(), SNAPSHOT_TURN)
        body = yield from encode_push_pull_in_turns(join, nodes, self.user_state)
        return (yield from self._envelope.wrap_stream_in_turns(body, COMPRESS_TURN))

    def _write(self, stream: Stream, encoding: Generator[None, object, bytes], now: float) -> Job:
        """Send what the encoding makes, or close the stream when no peer would take as much."""
        try:
            data = yield from encoding
        except LocalError as reason:
            self._table.note_problem(stream, reason)
            self._table.close(stream, str(reason), now)
        else:
            self._table.write(stream, data)

    def _read(self, stream: Stream, now: float) -> Job:
        """Read on until a message is whole, data is lacking, or the stream makes no sense."""
        try:
            while (got := stream.reader.next_message()) is Want.TURN:
                self._table.weigh(stream, now)  # bytes also grow without new ones: they are inflated
                now = yield
                if stream not in self._table:
                    return
        except StreamFault as fault:
            self._refuse(stream, fault, now)
            return
        if got is Want.DATA:
            stream.busy = False
        elif stream.inbound:
            yield from self._serve(stream, got, now)
        else:
            yield from self._take_reply(stream, got, now)

    def _turn_away(self, stream: Stream, reason: str, now: float) -> None:
        self._table.note_problem(stream, reason)
        self._table.close(stream, reason, now)

    def _refuse(self, stream: Stream, fault: StreamFault, now: float) -> None:
        if not fault.quiet:
            self._table.note_problem(stream, fault)
        if stream.inbound and fault.answer is not None:
            self._table.write(stream, self._envelope.wrap_stream(encode(ErrorReply(fault.answer))))
        self._table.close(stream, self._why_ended(stream, fault), now)

    def _why_ended(self, stream: Stream, fault: StreamFault) -> str | None:
        """The end of the stream is all the answer that a user message gets; otherwise one was due."""
        if not fault.quiet:
            return str(fault)
        return None if stream.expects is None else "closed the connection without an answer: wrong label or key?"

    def _serve(self, stream: Stream, message: StreamMessage, now: float) -> Job:
        if isinstance(message, PushPull):
            yield from self._serve_push_pull(stream, message, now)
        elif isinstance(message, Ping) and message.node in ("", self._own.name):
            self._table.write(stream, self._envelope.wrap_stream(encode(Ack(message.seq_no))))
        elif isinstance(message, UserMessage):
            if message.payload:
                self._outbox.emit(UserMessageReceived(message.payload, stream.address, reliable=True))
        else:
            self._table.note_problem(stream, f"a {type(message).__name__} that is not for us")
        self._table.close(stream, None, now)

    def _serve_push_pull(self, stream: Stream, message: PushPull, now: float) -> Job:
        if self._table.merging >= self._config.max_concurrent:
            self._table.note_problem(stream, "too many push/pulls at once")
            return
        stream.merging = True
        stream.join = message.join
        yield from self._write(stream, self._encode_state(message.join), now)
        yield from self._merge(stream, message, now)

    def _take_reply(self, stream: Stream, message: StreamMessage, now: float) -> Job:
        if isinstance(message, ErrorReply):
            self._table.close(stream, f"the peer refused: {message.error}", now)
        elif stream.expects is None or not stream.expects(message):
            answered = f"the peer answered with {type(message).__name__}"
            self._table.note_problem(stream, answered)
            self._table.close(stream, answered, now)
        elif isinstance(message, PushPull):
            yield from self._merge(stream, message, now)
        else:
            self._table.close(stream, None, now)

    def _merge(self, stream: Stream, message: PushPull, now: float) -> Job:
        """Merge a view, unless something speaks against it, and close the stream."""
        refusal = yield from self._merger.objection(message, stream.join)
        if refusal is not None:
            self._table.note_problem(stream, refusal.reason)
            self._table.close(stream, refusal.reason, now)
            return
        yield from self._merger.merge(message.nodes, now)
        if message.user_state:
            self._outbox.emit(UserStateReceived(message.user_state, stream.join))
        self._table.close(stream, None, now)
