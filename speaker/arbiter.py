"""What is done about claims of others to addresses that this node announces.

Rules kept here:

* A stranger's claim is reported and answered by saying again whose the address is; it goes on being served.
* A member's claim begins an exchange of views. What is left to judge afterwards is for :mod:`speaker.disputes` to say,
  and who yields then for :mod:`speaker.conflicts`.

Source: design.md §5, "Two owners".
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Final

from cluster.model import Address
from speaker.commands import Exchange
from speaker.conflicts import settle
from speaker.decisions import Decisions
from speaker.disputes import Dispute, Disputes, described
from speaker.events import Event
from speaker.holdings import Holdings, Standing
from speaker.l2.announcer import Announcer
from speaker.l2.claims import Claim
from speaker.notices import ClaimNotice, decode_notice_untrusted, encode_notice


class Arbiter:
    """Hears claims and settles them. ``emit`` takes its events, ``order`` the exchanges that it wants."""

    def __init__(
        self,
        node: str,
        decisions: Decisions,
        holdings: Holdings,
        announcer: Announcer,
        *,
        emit: Callable[[Event], None],
        order: Callable[[Exchange], None],
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
        self._current_at = current_at

    def hear(self, claim: Claim, now: float) -> None:
        """Somebody claims an address on the LAN."""
        if not self._announces(claim.address):
            return
        claimant = self.disputes.claimant(claim.mac)
        if claimant is None:
            report = self.disputes.report(claim, now)
            if report is not None:
                self._emit(report)
            self._announcer.reannounce(claim.address, now)
        elif claimant != self._node:
            self._open(claim.address, claimant, claim.interface, now)

    def receive_message(self, payload: bytes, now: float) -> None:
        """A user message of the ring. Nothing is raised, whatever it holds."""
        notice = decode_notice_untrusted(payload)
        if notice is not None and self._announces(notice.address):
            self._open(notice.address, notice.sender, "the ring", now)
            self.disputes.notice(notice)

    def settle(self, now: float) -> bool:
        """Judge what is due. Whether this node yielded an address."""
        ends = [self._judge(dispute, now) for dispute in self.disputes.due(now)]
        return any(ends)

    def _announces(self, address: Address) -> bool:
        holding = self._holdings.get(address)
        return holding is not None and holding.standing is Standing.ANNOUNCED

    def _open(self, address: Address, member: str, interface: str, now: float) -> None:
        age = max(0.0, now - self._current_at)
        dispute = self.disputes.open(address, member, interface, age, now)
        if dispute is not None:
            own = dispute.own
            notice = ClaimNotice(sender=own.node, address=address, is_isolated=own.is_isolated, age=own.age)
            self._order(Exchange(member, encode_notice(notice)))

    def _judge(self, dispute: Dispute, now: float) -> bool:
        address, decision = dispute.address, self._decisions.decision(dispute.address)
        if decision is None or not self._announces(address) or not isinstance(address, IPv4Address):
            return False
        if not dispute.is_agreed:
            self._emit(described(dispute))
            end = settle(decision, *dispute.claimants)
            if end.yields == self._node:
                self._holdings.yield_to(address, end.to, end.cause, now)
                return True
        self._announcer.reannounce(address, now)
        return False
