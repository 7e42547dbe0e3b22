"""What may be asked of a member without changing anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gossip.messages import State
from gossip.statistics import Statistics

if TYPE_CHECKING:
    from gossip.members import Member
    from gossip.parts import Parts


class View:
    """The queries of a :class:`gossip.Membership`. Everything given out is frozen and stays as it was."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def next_timer(self) -> float:
        """When ``handle_timer`` wants to be called; ``math.inf`` if never, at or before now if at once."""
        return self._parts.timers.next_at()

    @property
    def local(self) -> Member:
        """This member."""
        return self._parts.own.member()

    def members(self) -> tuple[Member, ...]:
        """Everybody known in any state, this member included, by name."""
        return tuple(sorted((record.member() for record in self._parts.roster), key=lambda member: member.name))

    def live_members(self) -> tuple[Member, ...]:
        """Those that are alive or merely suspected: memberlist's members."""
        return tuple(member for member in self.members() if member.is_live)

    def member(self, name: str) -> Member | None:
        """The member of that name, in any state; ``None`` if none is known."""
        record = self._parts.roster.get(name)
        return None if record is None else record.member()

    def statistics(self) -> Statistics:
        """Counts and gauges as they are now."""
        parts = self._parts
        states = [record.state for record in parts.roster]
        return Statistics(
            members_alive=states.count(State.ALIVE),
            members_suspect=states.count(State.SUSPECT),
            members_dead=states.count(State.DEAD),
            members_left=states.count(State.LEFT),
            health_score=parts.awareness.score,
            incarnation=parts.own.incarnation,
            queued_broadcasts=len(parts.broadcasts.membership),
            queued_user_messages=len(parts.broadcasts.user),
            streams_open=len(parts.streams),
            unfinished_jobs=len(parts.jobs),
            datagrams_sent=parts.outbox.datagrams_sent,
            datagrams_received=parts.receiver.datagrams,
            bytes_sent=parts.outbox.bytes_sent,
            bytes_received=parts.receiver.bytes,
            datagram_problems=parts.receiver.problems,
            stream_problems=parts.streams.problems,
            last_datagram_problem=parts.receiver.last_problem,
            last_stream_problem=parts.streams.last_problem,
            forgeries_ignored=parts.claims.forgeries_ignored,
            strangers_refused=parts.claims.strangers_refused,
            probes_answered=parts.prober.probes_answered,
            probes_failed=parts.prober.probes_failed,
            suspicions_raised=parts.claims.suspicions_raised,
            refutations=parts.claims.refutations,
        )
