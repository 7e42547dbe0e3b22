"""The messages of the ring as plain values (memberlist-protocol.md §3).

Rules kept here:

* Fields stand in *declaration order*, which is the order of the array form (§3.4); the wire's map form sorts them
  by name, and :mod:`gossip.codec` knows both.
* Names are ``str`` with ``surrogateescape``, so any bytes survive a round trip; addresses are packed bytes, 4 or 16
  long.
* ``None`` and ``b""`` differ on the wire for ``payload`` and ``meta`` (nil and empty); receivers treat them alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias


class MessageType(IntEnum):
    """First byte of every message. The numbers are the wire's: append only (§3.1)."""

    PING = 0
    INDIRECT_PING = 1
    ACK = 2
    SUSPECT = 3
    ALIVE = 4
    DEAD = 5
    PUSH_PULL = 6
    COMPOUND = 7
    USER = 8
    COMPRESS = 9
    ENCRYPT = 10
    NACK = 11
    HAS_CRC = 12
    ERROR = 13
    HAS_LABEL = 244


class State(IntEnum):
    """What a member is held to be. The numbers are the wire's push/pull states (§3.2): append only."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3


MAX_META_BYTES: Final = 512
"""Metadata a member may carry (§3.2)."""
MAX_NAME_BYTES: Final = 255
"""Longest name of a member. memberlist sets no limit; no host name is longer."""
MAX_LABEL_BYTES: Final = 255
"""The label's length is one byte on the wire (§6.4)."""
MAX_INCARNATION: Final = 2**32 - 1
"""Incarnations are unsigned 32-bit (§3.2)."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks ``node`` for an ack. An empty ``node`` matches anyone; the source fields say where the ack goes."""

    seq_no: int
    node: str
    source_addr: bytes = b""
    source_port: int = 0
    source_node: str = ""


@dataclass(frozen=True, slots=True)
class IndirectPing:
    """Asks the receiver to ping ``node`` at ``target`` and to relay the ack; with ``nack`` also the lack of one."""

    seq_no: int
    target: bytes
    port: int
    node: str
    nack: bool
    source_addr: bytes = b""
    source_port: int = 0
    source_node: str = ""


@dataclass(frozen=True, slots=True)
class Ack:
    """Answers the ping of the same ``seq_no``."""

    seq_no: int
    payload: bytes | None = None


@dataclass(frozen=True, slots=True)
class Nack:
    """A relay's word that its own ping was not answered in time."""

    seq_no: int


@dataclass(frozen=True, slots=True)
class Suspect:
    """``accuser`` has not heard from ``node`` at this incarnation."""

    incarnation: int
    node: str
    accuser: str


@dataclass(frozen=True, slots=True)
class Alive:
    """``node`` says (or somebody relays) that it lives, where, and with what metadata. ``vsn`` holds six bytes
    (§7)."""

    incarnation: int
    node: str
    addr: bytes
    port: int
    meta: bytes | None
    vsn: bytes | None


@dataclass(frozen=True, slots=True)
class Dead:
    """``node`` is gone. From itself it means: left on purpose."""

    incarnation: int
    node: str
    accuser: str


@dataclass(frozen=True, slots=True)
class PushPullHeader:
    """Opens a push/pull: how many node states and how many bytes of user state follow (§5.3)."""

    nodes: int
    user_state_len: int
    join: bool


@dataclass(frozen=True, slots=True)
class NodeState:
    """One member as a push/pull carries it. ``state`` is kept as sent: an unknown number is ignored at the merge
    (§8.4)."""

    name: str
    addr: bytes
    port: int
    meta: bytes | None
    incarnation: int
    state: int
    vsn: bytes | None


@dataclass(frozen=True, slots=True)
class UserMessageHeader:
    """Precedes a user message on a stream."""

    length: int


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """The accepting side's reason for refusing a stream. Free text: log it, match nothing."""

    error: str


@dataclass(frozen=True, slots=True)
class Compressed:
    """An LZW stream round another message; ``algo`` 0 is the only one."""

    algo: int
    buf: bytes


@dataclass(frozen=True, slots=True)
class UserMessage:
    """Bytes of the application's own. In a packet they follow the type byte bare, on a stream after their header."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class PushPull:
    """A whole push/pull body as read from or written to a stream."""

    join: bool
    nodes: tuple[NodeState, ...]
    user_state: bytes = b""


PacketMessage: TypeAlias = Ping | IndirectPing | Ack | Nack | Suspect | Alive | Dead | UserMessage
"""What a datagram may carry once its layers are off and compounds are flattened."""

StreamMessage: TypeAlias = Ping | Ack | PushPull | UserMessage | ErrorReply
"""What a stream may carry once its layers are off."""
