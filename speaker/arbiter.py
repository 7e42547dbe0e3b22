"""What is done about claims of others to addresses that this node announces.

Rules kept here:

* A stranger's claim is reported and answered by saying again whose the address is; it goes on being served.
* A member's claim begins an exchange of views. What is left to judge afterwards is for :mod:`speaker.disputes` to say,
  and who yields then for :mod:`speaker.conflicts`.
* Who withdraws an address tells the member with which it was settled: if that one has yielded, it may have it.

Source: design.md §5, "Two owners".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Final

from cluster.model import Address
from speaker.commands import Command, Exchange, Tell
from speaker.conflicts import settle
from speaker.decisions import Decisions
from speaker.disputes import Dispute, Disputes, described
from speaker.events import Event
from speaker.holdings import Holdings, Standing
from speaker.l2.announcer import Announcer
from speaker.l2.claims import Claim
from speaker.notices import (
    ClaimNotice,
    ReleaseNotice,
    decode_notice_untrusted,
    encode_claims,
    encode_release,
)

JUDGED_PER_TURN: Final = 64
"""Disputes judged in one turn."""


class Arbiter:
    """Hears claims and settles them. ``emit`` takes its events, ``order`` the commands that it gives."""

    def __init__(
        self,
        node: str,
        decisions: Decisions,
        holdings: Holdings,
        announcer: Announcer,
        *,
        emit: Callable[[Event], None],
        order: Callable[[Command], None],
    ) -> None:
        self.disputes: Final = Disputes(node)
        self._node = node
        self._decisions = decisions
        self._holdings = holdings
        self._announcer = announcer
        self._emit = emit
        self._order = order
        self._current_at = 0.0

    def source_changed(self, current_at: float) -> None:
        """What is wanted was last known to be current then; ``math.inf`` while it is."""
        was_current, self._current_at = self._current_at == math.inf, current_at
        if was_current != (current_at == math.inf):
            self._holdings.reconsider()

    def hear(self, claim: Claim, now: float) -> bool:
        """Somebody claims an address on the LAN. Whether it is another member."""
        claimant = self.disputes.claimant(claim.mac)
        is_member = claimant is not None and claimant != self._node
        if self._announces(claim.address):
            if claimant is None:
                report = self.disputes.report(claim, now)
                if report is not None:
                    self._emit(report)
                self._announcer.reannounce(claim.address, now)
            elif claimant != self._node:
                self._open(claim.address, claimant, claim.interface, now)
        elif is_member:
            self._holdings.hear_owner(claim.address, now)
        return is_member

    def receive_message(self, payload: bytes, now: float) -> None:
        """A user message of the ring. Nothing is raised, whatever it holds."""
        match decode_notice_untrusted(payload):
            case ClaimNotice() as notice:
                for address in notice.addresses:
                    if self._announces(address):
                        self._open(address, notice.sender, "the ring", now)
                self.disputes.notice(notice)
            case ReleaseNotice(address=address):
                self._holdings.reconsider(address)
            case None:
                pass

    def released(self, address: Address) -> None:
        """This node announces an address no longer."""
        member = self.disputes.settled_with(address)
        if member is not None:
            self._order(Tell(member, encode_release(ReleaseNotice(sender=self._node, address=address))))

    def handle_timer(self, now: float) -> None:
        """Begin the exchanges and judge the disputes that are due."""
        while (begun := self.disputes.begin_exchange(now)) is not None:
            member, disputes = begun
            own = disputes[0].own
            addresses = [dispute.address for dispute in disputes]
            self._order(Exchange(member, tuple(encode_claims(own.node, addresses, own.is_isolated, own.age))))
        for dispute in self.disputes.take_due(JUDGED_PER_TURN, now):
            self._judge(dispute, now)

    def next_timer(self) -> float:
        """When :meth:`handle_timer` wants to be called."""
        return self.disputes.next_at()

    def _announces(self, address: Address) -> bool:
        holding = self._holdings.get(address)
        return holding is not None and holding.standing is Standing.ANNOUNCED

    def _open(self, address: Address, member: str, interface: str, now: float) -> None:
        self.disputes.open(address, member, interface, max(0.0, now - self._current_at), now)

    def _judge(self, dispute: Dispute, now: float) -> None:
        address = dispute.address
        if not self._announces(address) or not isinstance(address, IPv4Address):
            return
        if not dispute.is_agreed:
            self._emit(described(dispute))
            claimants = dispute.claimants
            end = None if claimants is None else settle(address, *claimants)
            if end is not None and end.yields == self._node:
                self._holdings.yield_to(address, end.to, end.cause, now)
                return
        self._announcer.reannounce(address, now)
