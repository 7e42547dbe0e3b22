"""What the core tells its user, one frozen value each. Events are queued, in order, and already true when read:
:meth:`gossip.Membership.members` reflects them (memberlist-protocol.md §14)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from gossip.addresses import Address
    from gossip.members import Member


@dataclass(frozen=True, slots=True)
class MemberJoined:
    """A member is new, or back from dead or left. The first event is the node's own."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberUpdated:
    """A live member changed its metadata or versions."""

    member: Member
    previous: Member


@dataclass(frozen=True, slots=True)
class MemberSuspected:
    """A member is accused and has until ``expires_at`` to refute, sooner as others confirm. Not the end of it:
    still a member."""

    member: Member
    accuser: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class MemberFailed:
    """A member is held dead; ``accuser`` reached the verdict. Only after its :class:`MemberJoined`."""

    member: Member
    accuser: str


@dataclass(frozen=True, slots=True)
class MemberLeft:
    """A member said goodbye. Only after its :class:`MemberJoined`."""

    member: Member


@dataclass(frozen=True, slots=True)
class AccusationRefuted:
    """Others suspected this node or held it dead, and it has said otherwise, as ``incarnation``. What they did
    meanwhile they did without it. (In a push/pull a death is told as a suspicion.)"""

    incarnation: int


@dataclass(frozen=True, slots=True)
class NameConflict:
    """Somebody else claims a member's name from another address. The member is unchanged."""

    member: Member
    address: Address


@dataclass(frozen=True, slots=True)
class UserMessageReceived:
    """A user message arrived: best effort by packet, ``reliable`` by stream."""

    payload: bytes
    source: Address
    reliable: bool


@dataclass(frozen=True, slots=True)
class UserStateReceived:
    """A push/pull brought the other side's user state. After the events of its members."""

    state: bytes
    join: bool


@dataclass(frozen=True, slots=True)
class PingCompleted:
    """A member acked a direct ping: a probe (``token`` None) or one that was asked for. ``rtt`` is seconds."""

    name: str
    address: Address
    rtt: float
    payload: bytes
    token: int | None


@dataclass(frozen=True, slots=True)
class PingTimedOut:
    """A ping that was asked for went unanswered for ``probe.timeout``."""

    name: str
    address: Address
    token: int


@dataclass(frozen=True, slots=True)
class JoinCompleted:
    """Every address of one join was tried. ``refused`` holds (address, reason)."""

    token: int
    joined: tuple[Address, ...]
    refused: tuple[tuple[Address, str], ...]


@dataclass(frozen=True, slots=True)
class BroadcastSpread:
    """What ``token`` stands for (metadata, leave, a user message) was sent as often as the ring's size asks, or
    replaced."""

    token: int


@dataclass(frozen=True, slots=True)
class StreamMessageSent:
    """A reliable user message was handed to the stream (``reason`` None), or could not be."""

    token: int
    reason: str | None


Event: TypeAlias = (
    MemberJoined
    | MemberUpdated
    | MemberSuspected
    | MemberFailed
    | MemberLeft
    | AccusationRefuted
    | NameConflict
    | UserMessageReceived
    | UserStateReceived
    | PingCompleted
    | PingTimedOut
    | JoinCompleted
    | BroadcastSpread
    | StreamMessageSent
)
