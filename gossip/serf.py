"""What serf agents say to one another over the ring: tags, intents, user events (memberlist-protocol.md §12.2).

Rules kept here:

* Payloads in, payloads out. Who sends them, and when, is for the agent to decide.
* What a peer sent raises :class:`BadPacket` and nothing else, and no peer can run a clock up to its end.
* A message is given out once, however often the ring repeats it. Types that only serf itself understands are not.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, fields
from hashlib import sha256
from typing import TYPE_CHECKING, Final, TypeAlias

from gossip.errors import BadPacket, LocalError
from gossip.packing import Unpacked, pack, unpack_untrusted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DELEGATE_VERSIONS: Final = (2, 5, 5)
"""Serf's protocol, lowest, highest and current, as members announce it."""
MAX_LTIME: Final = 2**63
"""Largest Lamport time believed: nobody gets there by counting."""
MAX_REMEMBERED: Final = 512
"""Messages remembered so as not to be given out twice; anything older than that many ticks, or than one that had to be
forgotten, is not given out at all."""
MAX_STATE_ITEMS: Final = 16_384
"""Values in an agent's state: 512 slots of recent events, and two for each member."""
MAX_EVENT_BYTES: Final = 512
"""Name and payload of a user event together, as serf limits them."""
_TAGS_MAGIC: Final = b"\xff"
_STATE: Final = 2


# ---- tags


def encode_tags(tags: Mapping[str, str]) -> bytes:
    """Tags as a member's metadata, in the order given. Whether they fit into 512 bytes is for the caller to see."""
    head = bytes((0x80 | len(tags),)) if len(tags) < 16 else b"\xde" + len(tags).to_bytes(2, "big")
    return _TAGS_MAGIC + head + b"".join(pack(part) for pair in tags.items() for part in pair)


def decode_tags_untrusted(meta: bytes) -> dict[str, str]:
    """The tags in a member's metadata; text without serf's mark is the tag ``role`` of the oldest protocol.

    Raises :class:`BadPacket` for anything else.
    """
    if not has_tags(meta):
        return {"role": _read_text(meta)} if meta else {}
    pairs, _ = unpack_untrusted(meta[1:])
    if pairs is None:
        return {}
    if type(pairs) is not tuple:
        raise BadPacket("tags that are no map")
    return {_read_text(key): _read_text(value) for key, value in pairs}


def has_tags(meta: bytes) -> bool:
    """Whether metadata carries the mark that serf puts before tags."""
    return meta[:1] == _TAGS_MAGIC


# ---- messages


@dataclass(frozen=True, slots=True)
class LeaveIntent:
    """``node`` is about to leave. Who leaves without it is shown as failed."""

    ltime: int
    node: str
    prune: bool = False


@dataclass(frozen=True, slots=True)
class JoinIntent:
    """``node`` has joined, whatever older intents say."""

    ltime: int
    node: str


@dataclass(frozen=True, slots=True)
class UserEvent:
    """Somebody fired an event. ``coalesce`` lets receivers keep only the latest of a name."""

    ltime: int
    name: str
    payload: bytes | None = None
    coalesce: bool = False


SerfMessage: TypeAlias = LeaveIntent | JoinIntent | UserEvent


def _read_ltime(value: Unpacked) -> int:
    if value is None:
        return 0
    if type(value) is int and 0 <= value <= MAX_LTIME:
        return value
    raise BadPacket("not a Lamport time that anybody can have reached")


def _read_text(value: Unpacked) -> str:
    return (_read_payload(value) or b"").decode("utf-8", "surrogateescape")


def _read_payload(value: Unpacked) -> bytes | None:
    if value is None or type(value) is bytes:
        return value
    raise BadPacket(f"{type(value).__name__} where a string should be")


def _read_flag(value: Unpacked) -> bool:
    if value is None or type(value) is bool:
        return value is True
    raise BadPacket(f"{type(value).__name__} where a boolean should be")


_READERS: Final[dict[str, Callable[[Unpacked], object]]] = {
    "LTime": _read_ltime,
    "Node": _read_text,
    "Name": _read_text,
    "Payload": _read_payload,
    "Prune": _read_flag,
    "CC": _read_flag,
}
_WIRE: Final[dict[type[SerfMessage], tuple[int, tuple[str, ...]]]] = {
    LeaveIntent: (0, ("LTime", "Node", "Prune")),
    JoinIntent: (1, ("LTime", "Node")),
    UserEvent: (3, ("LTime", "Name", "Payload", "CC")),
}
"""Each message's type byte, and its keys in the order of its fields."""
_BY_NUMBER: Final = {number: (cls, keys) for cls, (number, keys) in _WIRE.items()}


def encode(message: SerfMessage) -> bytes:
    """A message as the payload of a user message: type byte, then a map with its keys sorted."""
    number, keys = _WIRE[type(message)]
    values = dict(zip(keys, (getattr(message, field.name) for field in fields(message)), strict=True))
    pairs = (pack(key) + pack(values[key]) for key in sorted(keys))
    return bytes((number, 0x80 | len(keys))) + b"".join(pairs)


def decode_untrusted(payload: bytes) -> SerfMessage | None:
    """The message in a user message's payload; ``None`` for a type that is not read here. Raises :class:`BadPacket`."""
    row = _BY_NUMBER.get(payload[0]) if payload else None
    if row is None:
        return None
    cls, keys = row
    found = _decode_map_untrusted(payload[1:])
    return cls(*(_READERS[key](found.get(key.encode())) for key in keys))  # type: ignore[arg-type]  # readers and fields agree by the table; the vectors show it


def _decode_map_untrusted(data: bytes, max_items: int = MAX_REMEMBERED) -> dict[bytes, Unpacked]:
    pairs, _ = unpack_untrusted(data, max_items)
    if type(pairs) is not tuple or any(type(key) is not bytes for key, _ in pairs):
        raise BadPacket("no map with names as keys")
    return dict(pairs)


# ---- clocks, and what has been said already


class LamportClock:
    """Orders what members say without a common clock: every stamp is above all that were seen."""

    def __init__(self) -> None:
        self.latest = 0
        self.forgotten = -1
        """Up to this time it is no longer known what was said, and nothing is news."""

    def stamp(self) -> int:
        """The time of a message about to be sent."""
        self.latest += 1
        return self.latest

    def witness(self, ltime: int) -> None:
        """Take note of a time that somebody else stamped."""
        self.latest = max(self.latest, ltime)


class SerfSide:
    """One member's part in a serf ring: what to say, and which of what it hears is news."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._intents = LamportClock()
        self._events = LamportClock()
        self._heard: OrderedDict[bytes, tuple[LamportClock, int]] = OrderedDict()

    def join_intent(self) -> bytes:
        """To be spread once we have joined: older intents to leave are void."""
        return self._say(JoinIntent(self._intents.stamp(), self._name))

    def leave_intent(self) -> bytes:
        """To be spread before the goodbye, so that serf shows us as left and not as failed."""
        return self._say(LeaveIntent(self._intents.stamp(), self._name))

    def user_event(self, name: str, payload: bytes, *, coalesce: bool = False) -> bytes:
        """To be spread. Raises :class:`LocalError` for more than serf allows."""
        size = len(name.encode(errors="surrogateescape")) + len(payload)
        if size > MAX_EVENT_BYTES:
            raise LocalError(f"name and payload of a user event have {size} bytes; serf allows {MAX_EVENT_BYTES}")
        return self._say(UserEvent(self._events.stamp(), name, payload, coalesce))

    def hear_untrusted(self, payload: bytes) -> SerfMessage | None:
        """What a user message says, to be acted upon and spread on; ``None`` if that is no news or not for us.

        Raises :class:`BadPacket`.
        """
        message = decode_untrusted(payload)
        if message is None:
            return None
        clock = self._clock_of(message)
        clock.witness(message.ltime)
        if message.ltime + MAX_REMEMBERED < clock.latest or message.ltime <= clock.forgotten:
            return None
        if not self._remember(payload, clock, message.ltime):
            return None
        return message

    def hear_state_untrusted(self, state: bytes) -> None:
        """Take the clocks of an agent's state, which comes with a push/pull. Raises :class:`BadPacket`."""
        if state[:1] != bytes((_STATE,)):
            raise BadPacket("not the state of a serf agent")
        found = _decode_map_untrusted(state[1:], MAX_STATE_ITEMS)
        self._intents.witness(_read_ltime(found.get(b"LTime")))
        self._events.witness(_read_ltime(found.get(b"EventLTime")))

    def _say(self, message: SerfMessage) -> bytes:
        payload = encode(message)
        self._remember(payload, self._clock_of(message), message.ltime)
        return payload

    def _clock_of(self, message: SerfMessage) -> LamportClock:
        return self._events if isinstance(message, UserEvent) else self._intents

    def _remember(self, payload: bytes, clock: LamportClock, ltime: int) -> bool:
        """Whether it was new."""
        digest = sha256(payload).digest()
        if digest in self._heard:
            return False
        self._heard[digest] = clock, ltime
        if len(self._heard) > MAX_REMEMBERED:
            _, (older, ltime) = self._heard.popitem(last=False)
            older.forgotten = max(older.forgotten, ltime)
        return True
