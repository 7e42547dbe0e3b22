"""Claims of others to addresses that this node announces: whose they are, and how the two owners settle it.

Rules kept here:

* A MAC is looked up among those that members publish; this machine's own are never strangers.
* Two owners first exchange views. Then one of them most often owns the address no longer, and withdraws by itself: who
  still owns it says so again and waits. Only a claim that is made after that, or an exchange that failed, is judged, by
  the facts that both told or after PATIENCE by what is known. To yield to somebody who withdraws would be a black hole.
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

PATIENCE: Final = 0.5
"""Seconds after the exchange for which the other's notice is awaited."""
EXCHANGE_TIMEOUT: Final = 5.0
"""Seconds after which a dispute is judged although no exchange was completed."""
GRACE: Final = 0.5
"""Seconds after an exchange in which what was claimed before may still arrive."""
REPEAT_WITHIN: Final = 600.0
"""Seconds after an exchange in which another claim says that the exchange has not settled it."""
MAX_SETTLED: Final = 4096
"""Exchanges remembered."""
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
    due_at: float
    """When it is judged."""
    is_repeated: bool
    """An exchange of views has not settled it before."""
    is_agreed: bool = False
    """The views were just exchanged: whoever owns the address now stays the owner."""

    @property
    def claimants(self) -> tuple[Claimant, Claimant]:
        """Both; of an other who said nothing only the name is known."""
        return self.own, self.other or Claimant(node=self.member, is_isolated=False, age=self.own.age)


class Disputes:
    """The open ones, and who is behind which MAC."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._members: dict[bytes, str] = {}
        self._own: tuple[bytes, ...] = ()
        self._open: dict[Address, Dispute] = {}
        self._settled: dict[tuple[Address, str], float] = {}
        self._reported: dict[tuple[Address, bytes, str], float] = {}
        self.is_isolated = True
        """Nobody else is live."""

    def set_members(self, members: Iterable[MemberFacts]) -> None:
        """Everybody known in the ring. Those that are gone are still no strangers: they may come back."""
        known = tuple(members)
        self.is_isolated = not any(member.is_live and member.name != self._node for member in known)
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

    def report(self, claim: Claim, now: float) -> StrangerClaims | None:
        """What to tell of a stranger's claim, unless that was just told."""
        key = claim.address, claim.mac, claim.interface
        if now - self._reported.get(key, -math.inf) < REPORT_INTERVAL:
            return None
        _remember(self._reported, key, now, MAX_REPORTED)
        return StrangerClaims(*key)

    def strangers(self, now: float) -> Iterator[StrangerClaims]:
        """What was reported lately."""
        return (StrangerClaims(*key) for key, at in self._reported.items() if now - at < REPORT_INTERVAL)

    def open(self, address: Address, member: str, interface: str, age: float, now: float) -> Dispute | None:
        """A member claims an address. Gives the dispute if it is new."""
        since = now - self._settled.get((address, member), -math.inf)
        if address in self._open or since <= GRACE:
            return None
        dispute = Dispute(
            address=address,
            member=member,
            interface=interface,
            own=Claimant(node=self._node, is_isolated=self.is_isolated, age=age),
            due_at=now + EXCHANGE_TIMEOUT,
            is_repeated=since <= REPEAT_WITHIN,
        )
        self._open[address] = dispute
        return dispute

    def notice(self, notice: ClaimNotice) -> None:
        """The other side of a dispute told its facts."""
        dispute = self._open.get(notice.address)
        if dispute is not None and dispute.member == notice.sender:
            other = Claimant(node=notice.sender, is_isolated=notice.is_isolated, age=notice.age)
            self._open[notice.address] = replace(dispute, other=other)

    def exchanged(self, member: str, succeeded: bool, now: float) -> None:
        """The views were exchanged with a member, or that has failed."""
        for address, dispute in self._open.items():
            if dispute.member != member:
                continue
            is_agreed = succeeded and not dispute.is_repeated
            if succeeded:  # so neither is isolated any more
                other = dispute.other and replace(dispute.other, is_isolated=False)
                dispute = replace(dispute, own=replace(dispute.own, is_isolated=False), other=other)
                _remember(self._settled, (address, member), now, MAX_SETTLED)
            due_at = now if is_agreed or dispute.other is not None else now + PATIENCE
            self._open[address] = replace(dispute, due_at=min(dispute.due_at, due_at), is_agreed=is_agreed)

    def due(self, now: float) -> list[Dispute]:
        """Those to be judged now; they are closed."""
        due = [dispute for dispute in self._open.values() if dispute.due_at <= now]
        for dispute in due:
            del self._open[dispute.address]
        return due

    def next_due(self) -> float:
        """When the next is to be judged."""
        return min((dispute.due_at for dispute in self._open.values()), default=math.inf)


def _remember(times: dict[_Key, float], key: _Key, now: float, limit: int) -> None:
    """Note a time; the oldest makes room."""
    times.pop(key, None)
    if len(times) >= limit:
        del times[next(iter(times))]
    times[key] = now


def described(dispute: Dispute) -> MemberClaims:
    """The event that tells of a dispute which the exchange did not end."""
    return MemberClaims(dispute.address, dispute.member, dispute.interface)
