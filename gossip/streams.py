"""Stream bodies: reading one at whatever pace its bytes come, and writing them (memberlist-protocol.md §5, 18).

Rules kept here:

* A stream carries one body. Nothing after its end is read, kept or judged.
* Memory grows with bytes received, never with numbers declared in them; every number is checked against its limit
  first.
* Long work is cut into turns of about two milliseconds.
* A peer that made a mistake it should hear of gets an answer, with the words of :attr:`StreamFault.answer` (§5.2).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, ClassVar, Final, TypeAlias, TypeVar

from gossip.codec import decode_compressed_untrusted, decode_map_untrusted, encode_fragment
from gossip.envelope import MAX_ENCRYPTED, STREAM_HEADER_BYTES
from gossip.errors import BadPacket, LocalError
from gossip.lzw import Inflater
from gossip.messages import (
    MAX_LABEL_BYTES,
    Ack,
    ErrorReply,
    MessageType,
    NodeState,
    Ping,
    PushPull,
    PushPullHeader,
    StreamMessage,
    UserMessage,
    UserMessageHeader,
)
from gossip.packets import INFLATE_TURN
from gossip.packing import Walker
from gossip.turns import map_in_turns, run_to_end

if TYPE_CHECKING:
    from gossip.envelope import Envelope

MAX_STREAM_NODES: Final = 1_048_576
"""Node states in a push/pull (§5.3)."""
MAX_USER_STATE: Final = 20 * 1024 * 1024
"""Bytes of user state in a push/pull, and of a user message (§5.3, 5.4)."""
MAX_INFLATED: Final = 40 * 1024 * 1024
"""Bytes that a compressed body may expand to (§5.3)."""
MAX_PLAIN_STREAM: Final = 40 * 1024 * 1024
"""Bytes of a whole stream. memberlist sets no such limit (§16, row 23)."""
MAX_MAP_BYTES: Final = 64 * 1024
"""Bytes of one map on a stream: a node state with 512 bytes of metadata has about 600."""
NODE_STATE_CHARGE: Final = 128
"""The least a node state counts against the limit of the whole stream: empty maps of one byte become objects too."""
NODES_TURN: Final = 200
"""Node states parsed or written between two pauses."""

MapT = TypeVar("MapT")
StepT = TypeVar("StepT")


class Want(Enum):
    """Why there is no message yet."""

    DATA = "data"
    """More bytes must be fed."""
    TURN = "turn"
    """There is more to do with those that are here; ask again when other duties are done."""


class StreamFault(BadPacket):
    """The stream cannot be read on: close it, after an ``err`` with the text ``answer`` if there is one.

    ``quiet`` is true when the peer merely closed before it said anything: nothing is wrong with that.
    """

    def __init__(self, reason: str, *, answer: str | None = None, quiet: bool = False) -> None:
        super().__init__(reason)
        self.answer = answer
        self.quiet = quiet


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """What a peer may make us read and keep, for one stream."""

    max_nodes: int = MAX_STREAM_NODES
    """Node states."""
    max_user_state: int = MAX_USER_STATE
    """Bytes of user state, or of a user message."""
    max_encrypted: int = MAX_ENCRYPTED
    """Bytes of the encrypted payload."""
    max_inflated: int = MAX_INFLATED
    """Bytes after decompression."""
    max_plain: int = MAX_PLAIN_STREAM
    """Bytes on the wire; node states count as :data:`NODE_STATE_CHARGE` at least."""


DEFAULT_LIMITS: Final = StreamLimits()

_Step: TypeAlias = Generator[Want | None, None, StepT]
_Parsing: TypeAlias = _Step[StreamMessage]


class _Intake:
    """The bytes that wait to be parsed: what came from the peer, later what was inside that.

    What takes is a generator that yields what it lacks.
    """

    def __init__(self, max_bytes: int) -> None:
        self.position = 0
        self._buffer: bytes | bytearray = bytearray()
        self._left = max_bytes
        self._ended = False
        self._on_wire = True

    def __len__(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        if not data:
            self._ended = True
        elif isinstance(self._buffer, bytearray) and self._on_wire:
            self._left -= len(data)
            if self._left >= 0:
                self._buffer += data

    def switch(self, body: bytes | bytearray) -> None:
        """Read on in what was inside; the wire has nothing more to say."""
        self._buffer, self.position, self._on_wire = body, 0, False

    def peek_type(self) -> _Step[int]:
        """The next byte. A peer that closes instead of sending it is within its rights."""
        yield from self._need(1, quiet=True)
        return self._buffer[self.position]

    def take_type(self) -> _Step[int]:
        kind = yield from self.peek_type()
        self.position += 1
        return kind

    def take(self, count: int) -> _Step[bytes]:
        yield from self._need(count)
        start, self.position = self.position, self.position + count
        with memoryview(self._buffer) as view:
            return bytes(view[start : self.position])

    def find_map(self, max_bytes: int) -> _Step[memoryview]:
        """The bytes of the next map, to be released before more are fed."""
        walker = Walker(self.position, max_bytes)
        while not walker.advance(self._buffer):
            yield from self._more()
        start, self.position = self.position, walker.position
        return memoryview(self._buffer)[start : self.position]

    def take_map(self, cls: type[MapT]) -> _Step[MapT]:
        with (yield from self.find_map(MAX_MAP_BYTES)) as view:
            return decode_map_untrusted(cls, view)

    def _need(self, count: int, *, quiet: bool = False) -> _Step[None]:
        while len(self._buffer) - self.position < count:
            yield from self._more(quiet=quiet)

    def _more(self, *, quiet: bool = False) -> _Step[None]:
        """Ask for more bytes, when there can be any."""
        if not self._on_wire:
            raise BadPacket("the body ends too soon")
        if self._left < 0:
            raise StreamFault("more bytes than a stream may have")
        if self._ended:
            raise StreamFault("the stream ended too soon", quiet=quiet)
        yield Want.DATA


class StreamReader:
    """Reads the one body of a stream: feed bytes as they come, ask for the message after each.

    ``labelled`` tells which way the stream goes: what the connecting side writes begins with the label header if the
    ring has a label, the reply never does.
    """

    def __init__(self, envelope: Envelope, *, labelled: bool, limits: StreamLimits = DEFAULT_LIMITS) -> None:
        self.layers: list[str] = []
        """What was taken off so far, outermost first: ``label``, ``encrypt v1``, ``compress``."""
        self._envelope = envelope
        self._labelled = labelled
        self._limits = limits
        self._intake = _Intake(limits.max_plain + 2 + MAX_LABEL_BYTES)
        self._inflater: Inflater | None = None
        self._kept = 0  # bytes being worked on, and what parsed node states count as
        self._parsing = self._parse()
        self._fault: StreamFault | None = None

    @property
    def buffered(self) -> int:
        """Bytes held: received, decrypted or inflated and not handed out yet, node states at their charge."""
        inflating = self._inflater.produced if self._inflater is not None else 0
        return len(self._intake) + inflating + self._kept

    def feed(self, data: bytes) -> None:
        """Take bytes as they came, split anywhere; ``b""`` says that the peer will send no more."""
        self._intake.feed(data)

    def next_message(self) -> StreamMessage | Want:
        """The message once its body is whole, before that what is lacking; after it, always :attr:`Want.DATA`.

        Raises :class:`StreamFault`, again if asked again.
        """
        try:
            return next(self._parsing) or Want.TURN
        except StopIteration as done:
            if self._fault is not None:
                raise self._fault from None
            message: StreamMessage | None = done.value  # None when asked again
            self._drop()
            return message or Want.DATA
        except StreamFault as fault:
            self._fault = fault
        except BadPacket as reason:
            self._fault = StreamFault(str(reason))
        self._drop()
        raise self._fault

    # The parser: every step is a generator that yields what it lacks, and nothing where work on bytes pauses.

    def _parse(self) -> _Parsing:
        if self._labelled:
            yield from self._check_label()
        kind = yield from self._intake.take_type()
        if kind == MessageType.ENCRYPT:
            yield from self._decrypt()
            kind = yield from self._intake.take_type()
        elif self._envelope.keyring.encrypts and self._envelope.config.verify_incoming:
            raise _answered("the stream is not encrypted, and encryption is demanded here")
        if kind == MessageType.COMPRESS:
            yield from self._inflate()
            kind = yield from self._intake.take_type()
        body = self._bodies.get(kind)
        if body is None:
            raise BadPacket(f"a message of type {kind} has no place on a stream")
        return (yield from body(self))

    def _check_label(self) -> _Step[None]:
        label = b""
        if (yield from self._intake.peek_type()) == MessageType.HAS_LABEL:
            _, length = yield from self._intake.take(2)
            if not length:
                raise BadPacket("malformed label header")
            label = yield from self._intake.take(length)
            self.layers.append("label")
        self._envelope.check_label_untrusted(label)

    def _decrypt(self) -> _Step[None]:
        if not self._envelope.keyring.encrypts:
            raise _answered("the stream is encrypted, and there is no key here")
        declared = yield from self._intake.take(STREAM_HEADER_BYTES - 1)
        length = int.from_bytes(declared, "big")
        if length > self._limits.max_encrypted:
            raise _answered(f"{length} encrypted bytes are more than the {self._limits.max_encrypted} allowed")
        payload = yield from self._intake.take(length)
        self._intake.switch(b"")
        self._kept = length
        header = bytes((MessageType.ENCRYPT,)) + declared
        try:
            body = yield from self._envelope.open_stream_untrusted(header, payload)
        except BadPacket as reason:
            raise _answered(str(reason)) from None
        self.layers.append(f"encrypt v{payload[0]}")
        self._kept = 0
        self._intake.switch(body)

    def _inflate(self) -> _Step[None]:
        try:
            with (yield from self._intake.find_map(self._limits.max_plain)) as view:
                buf = decode_compressed_untrusted(view)
            self._intake.switch(b"")
            self._kept = len(buf)
            self._inflater = inflater = Inflater(buf, self._limits.max_inflated)
            while not inflater.step(INFLATE_TURN):
                yield Want.TURN
            if not inflater.produced:
                raise BadPacket("a compressed body with nothing in it")
        except StreamFault:
            raise
        except BadPacket as reason:
            raise _answered(str(reason)) from None
        self.layers.append("compress")
        self._kept, self._inflater = 0, None
        self._intake.switch(inflater.take())

    def _ping(self) -> _Parsing:
        return (yield from self._intake.take_map(Ping))

    def _ack(self) -> _Parsing:
        return (yield from self._intake.take_map(Ack))

    def _error(self) -> _Parsing:
        return (yield from self._intake.take_map(ErrorReply))

    def _user(self) -> _Parsing:
        header = yield from self._intake.take_map(UserMessageHeader)
        _check_range_untrusted("bytes of user message", header.length, self._limits.max_user_state)
        return UserMessage((yield from self._intake.take(header.length)))

    def _push_pull(self) -> _Parsing:
        header = yield from self._intake.take_map(PushPullHeader)
        _check_range_untrusted("node states", header.nodes, self._limits.max_nodes)
        _check_range_untrusted("bytes of user state", header.user_state_len, self._limits.max_user_state)
        nodes: list[NodeState] = []
        for index in range(header.nodes):
            if index and index % NODES_TURN == 0:
                yield Want.TURN
            start = self._intake.position
            nodes.append((yield from self._intake.take_map(NodeState)))
            self._kept += max(self._intake.position - start, NODE_STATE_CHARGE)
            if self._kept > self._limits.max_plain:
                raise BadPacket(f"{header.nodes} node states are more than a stream may carry")
        user_state = yield from self._intake.take(header.user_state_len)
        return PushPull(header.join, tuple(nodes), user_state)

    _bodies: ClassVar[dict[int, Callable[[StreamReader], _Parsing]]] = {
        MessageType.PING: _ping,
        MessageType.ACK: _ack,
        MessageType.PUSH_PULL: _push_pull,
        MessageType.USER: _user,
        MessageType.ERROR: _error,
    }

    def _drop(self) -> None:
        """Keep nothing: the body was read, or cannot be."""
        self._intake.switch(b"")
        self._inflater = None
        self._kept = 0


def _answered(reason: str) -> StreamFault:
    return StreamFault(reason, answer=reason)


def _check_range_untrusted(what: str, declared: int, limit: int) -> None:
    if not 0 <= declared <= limit:
        raise BadPacket(f"{declared} {what} are declared; 0..{limit} are allowed")


def encode_push_pull(join: bool, nodes: Sequence[NodeState], user_state: bytes) -> bytes:
    """A push/pull body before its layers (§5.3). Raises :class:`LocalError` for more than peers accept."""
    return run_to_end(encode_push_pull_in_turns(join, nodes, user_state))


def encode_push_pull_in_turns(
    join: bool, nodes: Sequence[NodeState], user_state: bytes
) -> Generator[None, object, bytes]:
    """As :func:`encode_push_pull`, pausing after every :data:`NODES_TURN` nodes."""
    if len(nodes) > MAX_STREAM_NODES or len(user_state) > MAX_USER_STATE:
        raise LocalError(f"peers refuse a push/pull of {len(nodes)} nodes and {len(user_state)} bytes of user state")
    header = encode_fragment(PushPullHeader(len(nodes), len(user_state), join))
    states = yield from map_in_turns(encode_fragment, nodes, NODES_TURN)
    return b"".join((_PUSH_PULL, header, *states, user_state))


def encode_user_stream(payload: bytes) -> bytes:
    """A user message body before its layers (§5.4). Raises :class:`LocalError` for more than peers accept."""
    if len(payload) > MAX_USER_STATE:
        raise LocalError(f"peers refuse a user message of {len(payload)} bytes; at most {MAX_USER_STATE} are allowed")
    return _USER + encode_fragment(UserMessageHeader(len(payload))) + payload


_PUSH_PULL: Final = bytes((MessageType.PUSH_PULL,))
_USER: Final = bytes((MessageType.USER,))
