"""Claims of others to addresses that this node announces: whose they are, and how two owners come to an end.

Rules kept here:

* A MAC is looked up among those that members publish; this machine's own are never strangers.
* Two owners first exchange views. Then one of them most often owns the address no longer, and withdraws by itself: who
  still owns it says so again and waits. Only a claim that is made after that, or an exchange that failed, is judged, by
  the facts that both told or after NOTICE_TIMEOUT by what is known. To yield to somebody who withdraws would be a black
  hole.
* With one member there is one exchange at a time, about all its claims, and EXCHANGE_INTERVAL between two: whoever
  sends frames in a member's name must not make the ring work.
* A stranger is reported once, and again only after REPORT_INTERVAL; the address goes on being served.

Source: design.md §5, "Two owners".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from cluster.model import Address
from speaker.conflicts import Claimant
from speaker.events import MemberClaims, StrangerClaims
from speaker.l2.claims import Claim
from speaker.notices import ClaimNotice
from speaker.ownership import MemberFacts

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

NOTICE_TIMEOUT: Final = 0.5
"""Seconds after the exchange for which the other's notice is awaited."""
EXCHANGE_TIMEOUT: Final = 5.0
"""Seconds after which a dispute is judged although its exchange has not come to an end."""
EXCHANGE_INTERVAL: Final = 1.0
"""Seconds between two exchanges with the same member."""
GRACE: Final = 0.5
"""Seconds after an exchange in which what was claimed before may still arrive."""
REPEAT_WITHIN: Final = 600.0
"""Seconds after an exchange in which another claim says that the exchange has not settled it."""
MAX_OPEN: Final = 1024
"""Disputes at a time; beyond that a claim is heard when it is made again."""
MAX_SETTLED: Final = 4096
"""Addresses of which the last exchange is remembered."""
REPORT_INTERVAL: Final = 60.0
"""Seconds between two reports of the same stranger and address."""
MAX_REPORTED: Final = 4096
"""Strangers, addresses and interfaces remembered; what is forgotten is reported again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """An address that a member announces too."""

    address: Address
    member: str
    interface: str
    own: Claimant
    other: Claimant | None = None
    """What the other told about itself."""
    due_at: float = math.inf
    """When it is judged."""
    is_repeated: bool
    """An exchange of views has not settled it before."""
    is_agreed: bool = False
    """The views were just exchanged: whoever owns the address now stays the owner."""

    @property
    def claimants(self) -> tuple[Claimant, Claimant] | None:
        """Both, as far as they are known; None where this node knows too little to yield.

        Of an other who said nothing nothing is known but the name. Whoever hears other members keeps the address then.
        Whoever hears nobody takes the other for no better off, and once the claims go on all the same, for better off.
        """
        if self.other is not None:
            return self.own, self.other
        if not self.own.is_isolated:
            return None
        return self.own, Claimant(node=self.member, is_isolated=not self.is_repeated, age=self.own.age)


@dataclass(slots=True)
class _Talk:
    """The exchanges with one member."""

    waiting: dict[Address, None]
    """Disputes for the next one."""
    running: tuple[Address, ...] = ()
    """Those that the present one is about."""
    next_at: float = -math.inf


class Disputes:
    """The open ones, and who is behind which MAC."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._members: dict[bytes, str] = {}
        self._left: frozenset[str] = frozenset()
        self._own: tuple[bytes, ...] = ()
        self._open: dict[Address, Dispute] = {}
        self._talks: dict[str, _Talk] = {}
        self._settled: dict[Address, tuple[str, float]] = {}
        self._reported: dict[tuple[Address, bytes, str], float] = {}
        self._next_at: float | None = math.inf
        """When something is next to be done; None: to be found out."""
        self.is_isolated = True
        """Nobody else is live."""

    # ---- who is who

    def set_members(self, members: Iterable[MemberFacts]) -> None:
        """Everybody known in the ring. Those that are gone are still no strangers: they may come back."""
        known = tuple(members)
        self.is_isolated = not any(member.is_live and member.name != self._node for member in known)
        self._left = frozenset(member.name for member in known if member.has_left)
        self._members = {
            mac: member.name
            for member in sorted(known, key=lambda member: (member.is_live, member.name))
            if member.marker is not None
            for mac in member.marker.macs
        }

    def set_own_macs(self, macs: Iterable[bytes]) -> None:
        """This machine's, of every interface."""
        self._own = tuple(dict.fromkeys(macs))

    @property
    def macs(self) -> frozenset[bytes]:
        """Hardware addresses that are no stranger's."""
        return frozenset(self._members).union(self._own)

    def claimant(self, mac: bytes) -> str | None:
        """Who is behind a MAC: a member, this node, or None for a stranger."""
        return self._node if mac in self._own else self._members.get(mac)

    # ---- strangers

    def report(self, claim: Claim, now: float) -> StrangerClaims | None:
        """What to tell of a stranger's claim, unless that was just told."""
        key = claim.address, claim.mac, claim.interface
        if now - self._reported.get(key, -math.inf) < REPORT_INTERVAL:
            return None
        _remember(self._reported, key, now, MAX_REPORTED)
        return StrangerClaims(*key)

    def strangers(self, now: float) -> Iterator[StrangerClaims]:
        """What was reported lately, but for those who turned out to be members."""
        return (
            StrangerClaims(*key)
            for key, at in self._reported.items()
            if now - at < REPORT_INTERVAL and self.claimant(key[1]) is None
        )

    # ---- members

    def open(self, address: Address, member: str, interface: str, age: float, now: float) -> None:
        """A member claims an address. One that has left answers until its goodbye has spread: that is no dispute."""
        settled_with, settled_at = self._settled.get(address, ("", -math.inf))
        since = now - settled_at if settled_with == member else math.inf
        if address in self._open or member in self._left or since <= GRACE or len(self._open) >= MAX_OPEN:
            return
        own = Claimant(node=self._node, is_isolated=self.is_isolated, age=age)
        self._open[address] = Dispute(
            address=address, member=member, interface=interface, own=own, is_repeated=since <= REPEAT_WITHIN
        )
        self._talks.setdefault(member, _Talk({})).waiting[address] = None
        self._next_at = None

    def begin_exchange(self, now: float) -> tuple[str, tuple[Dispute, ...]] | None:
        """A member to exchange views with now, and what about; None when there is none."""
        for member, talk in self._talks.items():
            if talk.waiting and not talk.running and talk.next_at <= now:
                talk.running, talk.waiting = tuple(talk.waiting), {}
                for address in talk.running:
                    self._open[address] = replace(self._open[address], due_at=now + EXCHANGE_TIMEOUT)
                self._next_at = None
                return member, tuple(self._open[address] for address in talk.running)
        return None

    def notice(self, notice: ClaimNotice) -> None:
        """The other side of disputes told its facts."""
        other = Claimant(node=notice.sender, is_isolated=notice.is_isolated, age=notice.age)
        for address in notice.addresses:
            dispute = self._open.get(address)
            if dispute is not None and dispute.member == notice.sender:
                self._open[address] = replace(dispute, other=other)

    def exchanged(self, member: str, succeeded: bool, now: float) -> None:
        """The views were exchanged with a member, or that has failed."""
        talk = self._talks.get(member)
        if talk is None:
            return
        for address in talk.running:
            if address in self._open:
                self._open[address] = self._after_exchange(self._open[address], succeeded, now)
        talk.running, talk.next_at = (), now + EXCHANGE_INTERVAL
        if not talk.waiting and len(self._talks) > MAX_OPEN:
            del self._talks[member]
        self._next_at = None

    def _after_exchange(self, dispute: Dispute, succeeded: bool, now: float) -> Dispute:
        is_agreed = succeeded and not dispute.is_repeated
        own, other = dispute.own, dispute.other
        if succeeded:  # so neither is isolated any more
            own = replace(own, is_isolated=False)
            other = None if other is None else replace(other, is_isolated=False)
        _remember(self._settled, dispute.address, (dispute.member, now), MAX_SETTLED)
        due_at = now if is_agreed or other is not None else now + NOTICE_TIMEOUT
        return replace(dispute, own=own, other=other, due_at=min(dispute.due_at, due_at), is_agreed=is_agreed)

    def take_due(self, limit: int, now: float) -> list[Dispute]:
        """At most ``limit`` of those to be judged now; they are closed."""
        due = [dispute for dispute in self._open.values() if dispute.due_at <= now][:limit]
        for dispute in due:
            del self._open[dispute.address]
            self._next_at = None
        return due

    def settled_with(self, address: Address) -> str | None:
        """The member with which an address was settled last; asked once."""
        member, _ = self._settled.pop(address, (None, 0.0))
        return member

    def next_at(self) -> float:
        """When an exchange is to begin, or something is to be judged."""
        if self._next_at is None:
            judged = (dispute.due_at for dispute in self._open.values())
            begun = (talk.next_at for talk in self._talks.values() if talk.waiting and not talk.running)
            self._next_at = min(min(judged, default=math.inf), min(begun, default=math.inf))
        return self._next_at


def _remember(known: dict[_Key, _Value], key: _Key, value: _Value, limit: int) -> None:
    """Note a value; the oldest makes room."""
    known.pop(key, None)
    if len(known) >= limit:
        del known[next(iter(known))]
    known[key] = value


def described(dispute: Dispute) -> MemberClaims:
    """The event that tells of a dispute which the exchange did not end."""
    return MemberClaims(dispute.address, dispute.member, dispute.interface)
