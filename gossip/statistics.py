"""What a member has done and how it stands, as one frozen value. Metrics, ``starling ring info`` and tests read
this and nothing else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Counts since the start, except those said to be of now."""

    members_alive: int
    """Of now, this member included; so are the next three."""
    members_suspect: int
    members_dead: int
    members_left: int
    health_score: int
    """Of now: 0 is healthy; deadlines of probes are stretched by it (memberlist-protocol.md §9.4)."""
    incarnation: int
    """Of now: our own."""
    queued_broadcasts: int
    """Of now: membership news not yet sent often enough."""
    queued_user_messages: int
    """Of now."""
    streams_open: int
    """Of now."""
    unfinished_jobs: int
    """Of now: packets and views too long for one turn."""
    datagrams_sent: int
    datagrams_received: int
    bytes_sent: int
    """In datagrams."""
    bytes_received: int
    """In datagrams."""
    datagram_problems: int
    """Datagrams, or messages in them, that made no sense or were not for us: wrong key, wrong label, unknown type."""
    stream_problems: int
    """Streams refused, unreadable or vetoed."""
    last_datagram_problem: str
    """Source and reason of the latest of these; empty without one."""
    last_stream_problem: str
    """The same for streams."""
    forgeries_ignored: int
    """Claims at an incarnation that no member can have reached."""
    strangers_refused: int
    """Claims of new members for whom there was no room under ``identity.max_members``."""
    probes_answered: int
    probes_failed: int
    suspicions_raised: int
    """Members that became suspect here, by our own probes or others' word."""
    refutations: int
    """Times we had to overrule an accusation of ourselves."""
