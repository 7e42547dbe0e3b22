"""What an agent makes of its ring's events: what to tell, and what to spread in answer.

Rules kept here:

* Pure: instants are arguments, and what is to be done comes back as a value.
* What repeats is told once in a while: a conflict is heard with every push/pull, unreadable packets by the thousand.
* With serf's habits, its messages and state are its own affair: told are only the user events in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gossip.control.notices import Notice, Restraint, notice_of, notice_of_user_event, printable
from gossip.errors import BadPacket
from gossip.events import NameConflict, UserMessageReceived, UserStateReceived
from gossip.serf import LeaveIntent, UserEvent

if TYPE_CHECKING:
    from gossip.events import Event
    from gossip.serf import SerfSide
    from gossip.statistics import Statistics

TOLD_INTERVAL: Final = 10.0
"""Seconds between two notices of the same conflict, or two warnings of a kind."""


@dataclass(frozen=True, slots=True)
class Report:
    """What follows from an event."""

    notices: tuple[Notice, ...] = ()
    spread: tuple[bytes, ...] = ()
    """User messages for everybody."""


NOTHING: Final = Report()


class Reporter:
    """Reads the events of one member. ``serf`` is its part in a serf ring, if it has one.

    Everywhere ``now`` is in the ring's clock and ``at`` the same instant in seconds since the epoch.
    """

    def __init__(self, name: str, serf: SerfSide | None) -> None:
        self._name = name
        self._serf = serf
        self._restraint = Restraint(TOLD_INTERVAL)
        self._datagram_problems = 0
        self._stream_problems = 0
        self._refutations = 0
        self.leaving = False

    def hear(self, event: Event, at: float, now: float) -> Report:
        """An event of the ring."""
        if self._serf is not None and isinstance(event, UserMessageReceived | UserStateReceived):
            try:
                return self._hear_serf(self._serf, event, at)
            except BadPacket as reason:
                return self._warn("serf", {"reason": f"not understood as serf's: {printable(str(reason))}"}, at, now)
        if isinstance(event, NameConflict) and not self._restraint.permits((event.member.name, event.address), now):
            return NOTHING
        notice = notice_of(event, at, now)
        return NOTHING if notice is None else Report((notice,))

    def check(self, statistics: Statistics, at: float, now: float) -> Report:
        """What the counts alone tell: that we had to refute an accusation (told as often as this is called), and that
        packets or streams came that could not be read."""
        refuted, warned = self._tell_refutations(statistics, at), self._warn_unreadable(statistics, at, now)
        return Report(refuted.notices + warned.notices)

    def _tell_refutations(self, statistics: Statistics, at: float) -> Report:
        accusations = statistics.refutations - self._refutations
        if not accusations:
            return NOTHING
        self._refutations = statistics.refutations
        evidence = {"accusations": accusations, "incarnation": statistics.incarnation}
        return Report((Notice(at, "refuted", self._name, evidence=evidence),))

    def _warn_unreadable(self, statistics: Statistics, at: float, now: float) -> Report:
        datagrams = statistics.datagram_problems - self._datagram_problems
        streams = statistics.stream_problems - self._stream_problems
        if not datagrams and not streams:
            return NOTHING
        reason = statistics.last_datagram_problem if datagrams else statistics.last_stream_problem
        evidence = {
            "reason": f"cannot be read: {printable(reason)}",
            "datagrams": datagrams,
            "streams": streams,
            "hint": "compare --key-file and --label here and there",
        }
        report = self._warn("unreadable", evidence, at, now)
        if report.notices:
            self._datagram_problems = statistics.datagram_problems
            self._stream_problems = statistics.stream_problems
        return report

    def _hear_serf(self, serf: SerfSide, event: UserMessageReceived | UserStateReceived, at: float) -> Report:
        """Its messages are passed on once each, as serf does; an intent that we leave, when we do not, is voided."""
        if isinstance(event, UserStateReceived):
            serf.hear_state_untrusted(event.state)
            return Report(spread=(serf.join_intent(),)) if event.join and not self.leaving else NOTHING
        message = serf.hear_untrusted(event.payload)
        if message is None:
            return NOTHING
        if isinstance(message, UserEvent):
            return Report((notice_of_user_event(message, at),), (event.payload,))
        if isinstance(message, LeaveIntent) and message.node == self._name and not self.leaving:
            return Report(spread=(serf.join_intent(),))
        return Report(spread=(event.payload,))

    def _warn(self, kind: str, evidence: dict[str, object], at: float, now: float) -> Report:
        if not self._restraint.permits(kind, now):
            return NOTHING
        return Report((Notice(at, "warning", evidence=evidence),))
