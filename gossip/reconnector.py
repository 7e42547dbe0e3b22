"""The dead and the lost: who is pinged on so that a partition heals by itself, and who is forgotten at last.

Rules kept here (design.md §4, memberlist-protocol.md §11.6, §16 row 1):

* A dead member is pinged at the short interval by the few live members that hash to it, by everybody else with
  back-off. Members that left are not.
* A seed that is no live member is pinged with back-off. Whoever answers is told what it is accused of, and views
  are exchanged.
* A packet from a dead member, or a change of the network here, starts every back-off anew.
* With reconnecting off (interval 0) the dead are forgotten when memberlist forgets them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Final

from gossip.messages import State
from gossip.timers import Timer, TimerKind, Timers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from random import Random

    from gossip.addresses import Address
    from gossip.answers import Answers
    from gossip.config import GossipConfig
    from gossip.conversations import Conversations
    from gossip.members import Record, Roster
    from gossip.prober import Prober

JITTER: Final = 0.1
"""Pings of the dead are spread by this part of their interval, so that a healed network is not hit in step."""


@dataclass(slots=True)
class _Lost:
    address: Address
    delay: float
    timer: Timer


def is_watcher(own_name: str, subject: str, live: Iterable[str], watchers: int) -> bool:
    """Whether ``own_name`` is among the first ``watchers`` of ``live`` by sha256(watcher + 0x00 + subject).

    Every member with the same view agrees. Ties cannot be: names are unique.
    """
    own_rank = _rank(own_name, subject)
    ahead = (name for name in live if name != own_name and _rank(name, subject) < own_rank)
    return next(islice(ahead, watchers - 1, None), None) is None  # most members see enough of them at once


@lru_cache(maxsize=16_384)
def _rank(watcher: str, subject: str) -> bytes:
    return sha256(f"{watcher}\0{subject}".encode(errors="surrogateescape")).digest()


class Reconnector:
    """Pings the dead and the seeds; reaps."""

    def __init__(
        self,
        config: GossipConfig,
        own: Record,
        *,
        roster: Roster,
        answers: Answers,
        prober: Prober,
        conversations: Conversations,
        timers: Timers,
        rng: Random,
    ) -> None:
        self._config = config.reconnect
        self._to_the_dead_time = config.gossip.to_the_dead_time
        self._own = own
        self._roster = roster
        self._answers = answers
        self._prober = prober
        self._conversations = conversations
        self._timers = timers
        self._rng = rng
        self._lost: dict[str, _Lost] = {}
        self._lost_at: dict[Address, str] = {}
        self._seeds: list[Address] = []
        self._seeds_delay = self._config.interval
        self._seeds_timer: Timer | None = None
        self._is_exchanging = False

    # ---- inputs

    def remember_seeds(self, addresses: Sequence[Address], now: float) -> None:
        """Addresses to go on trying whenever no live member has them."""
        for address in addresses:
            if address not in self._seeds and address != self._own.address:
                self._seeds.append(address)
        if self._seeds and self._seeds_timer is None and self._config.interval > 0:
            self._arm_seeds(now)

    def member_died(self, record: Record, now: float) -> None:
        """Start pinging a member that was just buried."""
        if self._config.interval > 0 and record is not self._own:
            self._drop(record.name)
            self._arm(record, self._config.interval, now)

    def packet_came(self, address: Address, now: float) -> None:
        """A datagram came from ``address``; if that is a lost member's, do not wait for the back-off."""
        name = self._lost_at.get(address)
        if name is not None:
            self._restart(name, now)

    def network_changed(self, now: float) -> None:
        """The carrier came back, or a conflict was heard: everybody lost may be there again."""
        for name in list(self._lost):
            self._restart(name, now)
        self._seeds_delay = self._config.interval
        if self._seeds_timer is not None:
            self._seeds_timer.cancel()
            self._arm_seeds(now)

    def forget(self, name: str) -> None:
        """Drop a member that will not come back. Nothing happens to one that is alive or suspect, or to ourselves."""
        record = self._roster.get(name)
        if record is not None and not record.is_live and record is not self._own:
            self._drop(name)
            self._roster.forget(name)

    def reap(self, now: float) -> None:
        """Unlist or forget those who have been gone for long (§11.6)."""
        retired = [
            record
            for record in self._roster.listed()
            if not record.is_live and record is not self._own and now - record.changed_at > self._to_the_dead_time
        ]
        self._roster.unlist(retired)
        remembered = [record for record in self._roster if not record.listed and record is not self._own]
        remembered.sort(key=lambda record: record.changed_at, reverse=True)
        for place, record in enumerate(remembered):
            is_too_old = now - record.changed_at > self._config.remember_for or place >= self._config.max_remembered
            if record.state is State.LEFT or self._config.interval <= 0 or is_too_old:
                self.forget(record.name)

    # ---- timers

    def handle_timer(self, name: str, now: float) -> None:
        """Ping a dead member again, and set the next time."""
        lost, record = self._lost.get(name), self._roster.get(name)
        if lost is None or record is None or record.state is not State.DEAD:
            self._drop(name)
            return
        self._prober.ping(name, record.address, now, answered=lambda now: self._found(record, now))
        live = (other.name for other in self._roster.listed() if other.is_live)
        short = self._config.interval
        delay = short if is_watcher(self._own.name, name, live, self._config.watchers) else lost.delay * 2
        self._arm(record, min(delay, max(short, self._config.max_interval)), now)

    def handle_seeds(self, now: float) -> None:
        """Ping the seeds that are no live members."""
        live = [record.address for record in self._roster.listed() if record.is_live]
        missing = [seed for seed in self._seeds if seed not in live]
        for seed in missing:
            self._prober.ping("", seed, now, answered=self._seed_found(seed))
        self._seeds_delay = (
            min(self._seeds_delay * 2, self._config.max_interval) if missing else self._config.max_interval
        )
        self._arm_seeds(now)

    # ---- inside

    def _found(self, record: Record, now: float) -> None:
        if record.state is State.DEAD:
            self._answers.tell(record, record.address, now)
            self._exchange(record.address, now)

    def _seed_found(self, seed: Address) -> Callable[[float], None]:
        return lambda now: self._exchange(seed, now)

    def _exchange(self, address: Address, now: float) -> None:
        """One exchange at a time: the first brings back everybody on the other side."""
        if not self._is_exchanging:
            self._is_exchanging = True
            self._conversations.push_pull(address, join=True, now=now, finished=self._exchanged)

    def _exchanged(self, reason: str | None, now: float) -> None:
        self._is_exchanging = False

    def _restart(self, name: str, now: float) -> None:
        record, lost = self._roster.get(name), self._lost[name]
        if record is not None and lost.timer.at - now > self._config.interval * (1 + JITTER):
            self._arm(record, self._config.interval, now)

    def _arm(self, record: Record, delay: float, now: float) -> None:
        self._drop(record.name)
        at = now + delay * (1 + JITTER * (2 * self._rng.random() - 1))
        timer = self._timers.schedule(at, TimerKind.RECONNECT, record.name)
        self._lost[record.name] = _Lost(record.address, delay, timer)
        self._lost_at[record.address] = record.name

    def _drop(self, name: str) -> None:
        lost = self._lost.pop(name, None)
        if lost is not None:
            lost.timer.cancel()
            if self._lost_at.get(lost.address) == name:  # another member may have died at the same address since
                del self._lost_at[lost.address]

    def _arm_seeds(self, now: float) -> None:
        at = now + self._seeds_delay * (1 + JITTER * (2 * self._rng.random() - 1))
        self._seeds_timer = self._timers.schedule(at, TimerKind.SEEDS)
