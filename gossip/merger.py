"""Merging another member's whole view into ours (memberlist-protocol.md §5.3, 7, 8.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gossip.addresses import unpack_host
from gossip.members import NO_VERSIONS, Member
from gossip.messages import State
from gossip.turns import map_in_turns
from gossip.versions import VERSIONS_BYTES, VersionSurvey

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from gossip.claims import Claims
    from gossip.config import VersionCheck
    from gossip.jobs import Job
    from gossip.members import Roster
    from gossip.messages import NodeState, PushPull
    from gossip.policy import Policy, Refusal

MERGE_TURN: Final = 100
"""Members merged in one turn."""
CHECK_TURN: Final = 400
"""Members whose versions are looked at in one turn."""


class Merger:
    """Checks a view as a whole, then claims it member by member."""

    def __init__(self, roster: Roster, claims: Claims, policy: Policy, check: VersionCheck) -> None:
        self._roster = roster
        self._claims = claims
        self._policy = policy
        self._check = check

    def objection(self, message: PushPull, join: bool) -> Generator[None, object, Refusal | None]:
        """Why this view must not be merged: versions that do not fit, or the policy's veto of a join. Pauses."""
        survey = VersionSurvey(self._check)
        yield from map_in_turns(survey.add, message.nodes, CHECK_TURN)
        yield from map_in_turns(survey.add, self._roster.listed(), CHECK_TURN)
        refusal = survey.objection()
        if refusal is not None or not join or self._policy.merges_all:
            return refusal
        states = [state for state in message.nodes if len(state.addr) in (4, 16)]
        members = yield from map_in_turns(_member, states, MERGE_TURN)
        return self._policy.merge(members)

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
