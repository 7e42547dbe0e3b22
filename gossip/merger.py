"""Merging another member's whole view into ours (memberlist-protocol.md §5.3, 7, 8.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gossip.addresses import unpack_host
from gossip.members import NO_VERSIONS, Member
from gossip.messages import State
from gossip.versions import VERSIONS_BYTES, disagreement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gossip.claims import Claims
    from gossip.config import VersionCheck
    from gossip.jobs import Job
    from gossip.members import Roster
    from gossip.messages import NodeState, PushPull
    from gossip.policy import Policy

MERGE_TURN: Final = 100
"""Members merged in one turn."""


class Merger:
    """Checks a view as a whole, then claims it member by member."""

    def __init__(self, roster: Roster, claims: Claims, policy: Policy, check: VersionCheck) -> None:
        self._roster = roster
        self._claims = claims
        self._policy = policy
        self._check = check

    def objection(self, message: PushPull, join: bool) -> str | None:
        """Why this view must not be merged: versions that do not fit, or the policy's veto of a join."""
        remote = [(state.state, state.vsn) for state in message.nodes]
        local = [(record.state, record.vsn) for record in self._roster.listed()]
        reason = disagreement(remote, local, self._check)
        if reason is not None or not join or self._policy.merges_all:
            return reason
        refusal = self._policy.merge([_member(state) for state in message.nodes if len(state.addr) in (4, 16)])
        return None if refusal is None else refusal.reason

    def merge(self, nodes: Sequence[NodeState], now: float) -> Job:
        """Claim each member's state, :data:`MERGE_TURN` a turn."""
        for index, state in enumerate(nodes, start=1):
            self._claims.merge(state, now)
            if index % MERGE_TURN == 0:
                now = yield


def _member(state: NodeState) -> Member:
    vsn = state.vsn[:VERSIONS_BYTES] if state.vsn is not None and len(state.vsn) >= VERSIONS_BYTES else NO_VERSIONS
    known = State(state.state) if state.state in tuple(State) else State.DEAD
    address = (unpack_host(state.addr), state.port)
    return Member(state.name, address, state.meta or b"", vsn, state.incarnation, known, 0.0)
