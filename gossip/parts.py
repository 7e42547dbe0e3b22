"""The parts of a member, built leaves first and joined once. No part builds another; whom each needs it is given
here. Where two need each other, the earlier one is given a call that finds the later one when it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gossip.addresses import AllowList
from gossip.answers import Answers
from gossip.awareness import Awareness
from gossip.broadcasts import Broadcasts, retransmit_limit
from gossip.claims import Claims
from gossip.conversations import Conversations
from gossip.envelope import Envelope
from gossip.gossiper import Gossiper
from gossip.jobs import Jobs
from gossip.members import Roster
from gossip.merger import Merger
from gossip.outbox import Outbox
from gossip.prober import Prober
from gossip.pushpull import PushPullSchedule
from gossip.receiver import Receiver
from gossip.reconnector import Reconnector
from gossip.stream_table import StreamTable
from gossip.streams import StreamLimits
from gossip.timers import Timer, TimerKind, Timers

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from gossip.config import GossipConfig
    from gossip.keyring import Keyring
    from gossip.members import Record
    from gossip.policy import Policy


class Parts:
    """One of each, joined."""

    def __init__(
        self,
        config: GossipConfig,
        own: Record,
        keyring: Keyring,
        policy: Policy,
        rng: Random,
        nonce: Callable[[int], bytes],
    ) -> None:
        allowed = AllowList(config.identity.allowed_networks)
        envelope = Envelope(config.wire, keyring, nonce)
        self.own: Final = own
        self.timers: Final = Timers()
        self.jobs: Final = Jobs(self.timers)
        self.roster: Final = Roster(rng)
        self.awareness: Final = Awareness(config.probe.awareness_max)
        self.broadcasts: Final = Broadcasts(
            lambda: max(retransmit_limit(config.gossip.retransmit_mult, len(self.roster)), config.gossip.min_transmits),
            config.gossip.user_share,
        )
        self.outbox: Final = Outbox(envelope, self.roster, self.broadcasts, config.gossip.packet_budget)
        self.gossiper: Final = Gossiper(config.gossip, own, self.roster, self.broadcasts, self.outbox, self.timers, rng)
        answers = Answers(own, self.outbox)
        self.claims: Final = Claims(
            config, own, roster=self.roster, gossiper=self.gossiper, outbox=self.outbox, answers=answers,
            timers=self.timers, awareness=self.awareness, allowed=allowed, policy=policy,
            on_death=lambda record, now: self.reconnector.member_died(record, now),  # noqa: PLW0108  # it is made later
        )  # fmt: skip
        self.streams: Final = StreamTable(
            envelope, self.outbox, self.timers, StreamLimits(max_nodes=config.identity.max_members)
        )
        self.conversations: Final = Conversations(
            config.push_pull, own, table=self.streams, roster=self.roster, envelope=envelope, outbox=self.outbox,
            jobs=self.jobs, allowed=allowed,
            merger=Merger(self.roster, self.claims, policy, config.identity.version_check),
            stream_acked=lambda seq_no: self.prober.hear_stream_ack(seq_no),  # noqa: PLW0108  # it is made later
        )  # fmt: skip
        self.prober: Final = Prober(
            config.probe, own, roster=self.roster, outbox=self.outbox, timers=self.timers, awareness=self.awareness,
            rng=rng, suspect=self.claims.hear_suspect, open_stream_ping=self.conversations.ping,
            round_ended=lambda now: self.reconnector.reap(now),  # noqa: PLW0108  # it is made later
        )  # fmt: skip
        self.push_pulls: Final = PushPullSchedule(
            config.push_pull, own, self.roster, self.conversations, self.timers, rng
        )
        self.reconnector: Final = Reconnector(
            config, own, roster=self.roster, answers=answers, prober=self.prober,
            conversations=self.conversations, timers=self.timers, rng=rng,
        )  # fmt: skip
        self.receiver: Final = Receiver(
            own, envelope=envelope, jobs=self.jobs, allowed=allowed, roster=self.roster, claims=self.claims,
            answers=answers, prober=self.prober, reconnector=self.reconnector, outbox=self.outbox,
        )  # fmt: skip
        self.on_timer: Final = self._timer_table()

    def _timer_table(self) -> dict[TimerKind, Callable[[Timer, float], None]]:
        """Which part answers for which timer."""
        return {
            TimerKind.PROBE_TICK: lambda timer, now: self.prober.handle_tick(timer.at, now),
            TimerKind.PROBE_DIRECT: lambda timer, now: self.prober.handle_direct_timeout(int(timer.subject), now),
            TimerKind.PROBE_DEADLINE: lambda timer, now: self.prober.handle_deadline(int(timer.subject), now),
            TimerKind.RELAY_DEADLINE: lambda timer, now: self.prober.handle_relay_timeout(int(timer.subject)),
            TimerKind.PING_DEADLINE: lambda timer, now: self.prober.handle_ping_timeout(int(timer.subject)),
            TimerKind.SUSPICION: lambda timer, now: self.claims.expire(str(timer.subject), now),
            TimerKind.GOSSIP_TICK: lambda timer, now: self.gossiper.handle_tick(timer.at, now),
            TimerKind.PUSH_PULL_TICK: lambda timer, now: self.push_pulls.handle_tick(now),
            TimerKind.STREAM_DEADLINE: lambda timer, now: self.streams.handle_deadline(int(timer.subject), now),
            TimerKind.RECONNECT: lambda timer, now: self.reconnector.handle_timer(str(timer.subject), now),
            TimerKind.SEEDS: lambda timer, now: self.reconnector.handle_seeds(now),
            TimerKind.WORK: lambda timer, now: self.jobs.take_turn(now),
        }
