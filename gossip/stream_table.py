"""The streams that are open, and what bounds them: their number, their time, the bytes they hold.

Rules kept here:

* A stream's end is told to its owner once, whoever brings it about: the peer, the network, a deadline, ourselves.
* What went wrong with a stream is counted here, and the latest reason kept.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gossip.outbox import CloseStream, OpenStream, StreamId, WriteStream
from gossip.streams import DEFAULT_LIMITS, StreamLimits, StreamReader
from gossip.timers import Timer, TimerKind, Timers

if TYPE_CHECKING:
    from collections.abc import Callable

    from gossip.addresses import Address
    from gossip.envelope import Envelope
    from gossip.messages import StreamMessage
    from gossip.outbox import Outbox

MAX_INBOUND_STREAMS: Final = 512
"""Accepted streams open at once; more are closed at once."""
MAX_STREAMS_PER_PEER: Final = 64
"""Of these, those of one host. A member has a push/pull and some pings under way, and several may share a host."""
MAX_BUFFERED_BYTES: Final = 64 * 1024 * 1024
"""Bytes that all streams together may hold unread. Beyond, the largest stream of the host that holds most is closed."""


@dataclass(slots=True, eq=False)
class Stream:
    """One exchange. ``busy`` while a job reads it, ``merging`` while it is a push/pull being served."""

    number: StreamId
    address: Address
    reader: StreamReader
    inbound: bool
    timer: Timer
    finished: Callable[[str | None, float], None] | None = None
    """Called at the end with a reason (``None``: it went well) and now."""
    expects: Callable[[StreamMessage], bool] | None = None
    """Which reply is the right one; ``None`` when no reply is due."""
    join: bool = False
    busy: bool = False
    merging: bool = False
    held: int = 0
    """The most bytes its reader has held so far. What it read of them is held on to until the stream ends."""


class StreamTable:
    """All open streams by number."""

    def __init__(
        self, envelope: Envelope, outbox: Outbox, timers: Timers, limits: StreamLimits = DEFAULT_LIMITS
    ) -> None:
        self._envelope = envelope
        self._outbox = outbox
        self._timers = timers
        self._limits = limits
        self._streams: dict[StreamId, Stream] = {}
        self._numbers = 0
        self._inbound: Counter[str] = Counter()  # accepted streams by host
        self._held = 0
        self.problems = 0
        self.last_problem = ""

    def __len__(self) -> int:
        return len(self._streams)

    def __contains__(self, stream: Stream) -> bool:
        return stream.number in self._streams

    def get(self, number: StreamId) -> Stream | None:
        """The open stream of that number."""
        return self._streams.get(number)

    def has_room_for(self, host: str) -> bool:
        """Whether one more stream may be accepted from there."""
        return self._inbound[host] < MAX_STREAMS_PER_PEER and self._inbound.total() < MAX_INBOUND_STREAMS

    @property
    def merging(self) -> int:
        """Push/pulls being served."""
        return sum(stream.merging for stream in self._streams.values())

    def open(
        self,
        address: Address,
        deadline: float,
        expects: Callable[[StreamMessage], bool] | None,
        finished: Callable[[str | None, float], None],
    ) -> Stream:
        """Connect to ``address``; the label header, if there is one, is written first."""
        stream = self._add(address, deadline, inbound=False)
        stream.expects = expects
        stream.finished = finished
        self._outbox.command(OpenStream(stream.number, address, deadline))
        header = self._envelope.label_header()
        if header:
            self.write(stream, header)
        return stream

    def accept(self, address: Address, deadline: float) -> Stream:
        """A peer has connected."""
        return self._add(address, deadline, inbound=True)

    def write(self, stream: Stream, data: bytes) -> None:
        """Send bytes, unless the stream has ended meanwhile."""
        if stream in self:
            self._outbox.command(WriteStream(stream.number, data))

    def close(self, stream: Stream, reason: str | None, now: float, *, tell_driver: bool = True) -> None:
        """End a stream, for ``reason`` or (``None``) because all went well."""
        if self._streams.pop(stream.number, None) is None:
            return
        self._held -= stream.held
        if stream.inbound:
            self._inbound[stream.address[0]] -= 1
            if not self._inbound[stream.address[0]]:
                del self._inbound[stream.address[0]]
        stream.timer.cancel()
        if tell_driver:
            self._outbox.command(CloseStream(stream.number))
        if stream.finished is not None:
            stream.finished(reason, now)

    def weigh(self, stream: Stream, now: float) -> None:
        """Count what a stream has grown by. While all together hold too much, whoever hoards loses a stream."""
        growth = max(stream.reader.buffered - stream.held, 0)
        stream.held += growth
        self._held += growth
        while self._held > MAX_BUFFERED_BYTES:
            largest = self._largest_hoard()
            reason = "the streams together hold more unread bytes than allowed"
            self.note_problem(largest, reason)
            self.close(largest, reason, now)

    def _largest_hoard(self) -> Stream:
        by_host: Counter[str] = Counter()
        for stream in self._streams.values():
            by_host[stream.address[0]] += stream.held
        return max(self._streams.values(), key=lambda stream: (by_host[stream.address[0]], stream.held))

    def fail(self, number: StreamId, reason: str, now: float) -> None:
        """The connection could not be made, or broke."""
        stream = self._streams.get(number)
        if stream is not None:
            self.close(stream, reason, now, tell_driver=False)

    def handle_deadline(self, number: StreamId, now: float) -> None:
        """A stream took too long."""
        stream = self._streams.get(number)
        if stream is not None:
            self.close(stream, "no answer in time", now)

    def note_problem(self, stream: Stream, reason: object) -> None:
        """Count what went wrong."""
        self.problems += 1
        self.last_problem = f"{stream.address[0]} port {stream.address[1]}: {reason}"

    def _add(self, address: Address, deadline: float, *, inbound: bool) -> Stream:
        self._numbers += 1
        timer = self._timers.schedule(deadline, TimerKind.STREAM_DEADLINE, self._numbers)
        reader = StreamReader(self._envelope, labelled=inbound, limits=self._limits)
        stream = Stream(self._numbers, address, reader, inbound, timer)
        self._streams[stream.number] = stream
        if inbound:
            self._inbound[address[0]] += 1
        return stream
