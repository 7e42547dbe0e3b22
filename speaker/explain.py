"""What `why` and `status` show: a speaker's decisions and standing as JSON objects.

Rules kept here:

* Keys are those of design.md §13; scripts rely on them. Times are seconds since the epoch.
* Whether a node is well is one verdict with every reason; the worst reason decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from itertools import islice
from typing import Any, Final, TypeAlias

from cluster.model import Address
from speaker.core import Speaker
from speaker.holdings import Holding, Standing
from speaker.ownership import Candidate, Decision

Json: TypeAlias = dict[str, Any]
MAX_TROUBLED: Final = 20
"""Addresses that are not announced and that are named in a verdict."""
MAX_NODES: Final = 5
"""Nodes that are named."""
MAX_STRANGERS: Final = 20
"""Claims of strangers that are told one by one."""


class Verdict(IntEnum):
    """How well a node does."""

    OK = 0
    WARNING = 1
    ERROR = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason for a verdict."""

    verdict: Verdict
    text: str


class Explainer:
    """Speaks about one speaker at ``now``, in the core's time; ``epoch`` is what to add to that for seconds since the
    epoch."""

    def __init__(self, core: Speaker, now: float, epoch: float) -> None:
        self._core = core
        self._now = now
        self._epoch = epoch

    def decision(self, address: Address) -> Json | None:
        """Everything about the owner of an address; None for an address that is not wanted."""
        decision = self._core.decisions.decision(address)
        if decision is None:
            return None
        moves = self._core.history.moves(decision.key)
        return {
            **self.address(address, decision),
            "node": self._core.config.node,
            "key": str(decision.key),
            "reasons": list(decision.reasons),
            "candidates": [_candidate(candidate) for candidate in decision.candidates],
            "moves": [{"at": self._epoch + move.at, "from": move.previous, "to": move.owner} for move in moves],
        }

    def address(self, address: Address, decision: Decision) -> Json:
        """One address in short."""
        moves = self._core.history.moves(decision.key)
        holding = self._core.holdings.get(address)
        standing = None if holding is None else holding.standing
        if standing is Standing.ANNOUNCED and not self._core.gate.is_open(self._now):
            standing = Standing.WAITING
        return {
            "address": str(address),
            "services": [str(service) for service in decision.services],
            "owner": decision.owner,
            "since": self._epoch + moves[-1].at if moves else None,
            "standing": None if standing is None else str(standing),
            "detail": None if holding is None else holding.detail or None,
        }

    def addresses(self) -> Iterator[Json]:
        """Every address in short."""
        for decision in self._core.decisions.decisions():
            for address in decision.addresses:
                yield self.address(address, decision)

    def findings(self) -> Iterator[Finding]:
        """What is wrong here."""
        for obstacle in self._core.obstacles(self._now):
            yield Finding(Verdict.ERROR, obstacle)
        intake, name = self._core.intake, self._core.config.node
        others = intake.others()
        if others and not intake.lists_us():
            listed = ", ".join(others[:MAX_NODES])
            yield Finding(Verdict.WARNING, f"the cluster lists no node {name}; is --node right? There are {listed}")
        if others and self._core.disputes.is_isolated:
            yield Finding(
                Verdict.WARNING,
                f"no other member of the ring is heard, and the cluster lists {len(others)} more nodes: "
                "see that they run, and --join, --key-file and the way to port 7946",
            )
        troubled = [holding for holding in self._core.holdings if holding.standing in WARNINGS]
        for holding in troubled[:MAX_TROUBLED]:
            yield Finding(Verdict.WARNING, f"{holding.address} {_standing(holding)}")
        if len(troubled) > MAX_TROUBLED:
            yield Finding(Verdict.WARNING, f"{len(troubled) - MAX_TROUBLED} more addresses are not announced here")
        for claim in islice(self._core.disputes.strangers(self._now), MAX_STRANGERS):
            yield Finding(
                Verdict.WARNING,
                f"{claim.address} is claimed by a stranger too, {claim.mac.hex(':')} on {claim.interface}; "
                "take the address from that machine, or out of the pool",
            )
        ownerless = self._core.decisions.counts().ownerless
        if ownerless:
            yield Finding(Verdict.WARNING, f"{ownerless} wanted address groups are announced by nobody; `why` says why")


WARNINGS: Mapping[Standing, str] = {
    Standing.IN_USE: "is not announced: it is in use",
    Standing.YIELDED: "is not announced here: yielded",
    Standing.UNREACHABLE: "cannot be announced: only IPv4 is",
}
"""Standings that somebody should know of."""


def _standing(holding: Holding) -> str:
    return f"{WARNINGS[holding.standing]} {holding.detail}".rstrip()


def _candidate(candidate: Candidate) -> Json:
    return {
        "node": candidate.node,
        "rank": candidate.rank,
        "tier": None if candidate.tier is None else candidate.tier.name.lower(),
        "preference": candidate.preference,
        "eligible": candidate.is_eligible,
        "reasons": list(candidate.reasons),
    }


def verdict(findings: Iterable[Finding]) -> Json:
    """The verdict and its reasons, the worst first."""
    ordered = sorted(findings, key=lambda finding: -finding.verdict)
    worst = ordered[0].verdict if ordered else Verdict.OK
    return {"verdict": worst.name.lower(), "reasons": [finding.text for finding in ordered]}
