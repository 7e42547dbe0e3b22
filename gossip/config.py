"""How a ring behaves, as frozen values grouped by subject; profiles derive from one base.

Rules kept here:

* Every field says what it trades. Relations between fields are checked on construction, so a config that exists is
  a usable one.
* All durations are float seconds. ``memberlist-protocol.md`` §12.1 is the source of the names and of the LAN, WAN
  and local values.
* A profile is derived from ``memberlist`` by overriding fields, never written out twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import Enum
from typing import TYPE_CHECKING, Final

from gossip.envelope import WireConfig
from gossip.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ConfigError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeConfig:
    """The failure detector's own pings (§9.1–9.4)."""

    interval: float = 1.0
    """Seconds between probes; 0 turns probing off. Smaller finds failures sooner and costs bandwidth in
    proportion."""
    timeout: float = 0.5
    """Seconds to wait for a direct ack before asking others; the 99th percentile of the round-trip time is a good
    choice."""
    indirect_checks: int = 3
    """Members asked to ping on our behalf. More survive more loss on our own links, at a few datagrams per failed
    probe."""
    stream_pings: bool = True
    """Also try a ping over TCP. Tells a network that drops UDP from a dead node; costs a connection per failed
    probe."""
    awareness_max: int = 8
    """Upper bound (exclusive) of the health score. Higher lets an overloaded node stretch its own deadlines
    further."""

    def __post_init__(self) -> None:
        _require(self.interval >= 0, f"probe.interval {self.interval} must not be negative")
        _require(
            self.interval == 0 or 0 < self.timeout <= self.interval,
            f"probe.timeout {self.timeout} must be in (0, probe.interval {self.interval}]",
        )
        _require(0 <= self.indirect_checks <= 64, f"probe.indirect_checks {self.indirect_checks} must be in 0..64")
        _require(1 <= self.awareness_max <= 64, f"probe.awareness_max {self.awareness_max} must be in 1..64")


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspicionConfig:
    """How long an accused member has to answer (§9.5)."""

    mult: int = 4
    """Multiplies log10(n) × probe.interval to the shortest time a suspicion lasts. Smaller is quicker and less
    forgiving."""
    max_timeout_mult: int = 6
    """The longest time is this many times the shortest; each independent accuser shortens the rest."""

    def __post_init__(self) -> None:
        _require(1 <= self.mult <= 1000, f"suspicion.mult {self.mult} must be in 1..1000")
        _require(
            1 <= self.max_timeout_mult <= 1000, f"suspicion.max_timeout_mult {self.max_timeout_mult} must be in 1..1000"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GossipTickConfig:
    """Dissemination by gossip (§10)."""

    interval: float = 0.2
    """Seconds between gossip rounds; 0 turns them off (piggyback stays). Smaller spreads news faster."""
    nodes: int = 3
    """Members told in each round; 0 turns gossip off. More spreads faster and costs datagrams in proportion."""
    to_the_dead_time: float = 30.0
    """Seconds for which a dead member is still told the news, so that it can refute."""
    retransmit_mult: int = 4
    """A message is sent this many times ceil(log10(n + 1)). Higher survives more loss, at the same factor in
    traffic."""
    min_transmits: int = 4
    """A message is sent at least this often, in however small a ring. Fewer save datagrams and let news miss somebody
    more often, whom only the next push/pull then tells."""
    user_share: float = 0.25
    """Part of a packet's room kept for user messages while there are any, so that membership news cannot starve
    them."""
    packet_budget: int = 1400
    """Bytes a datagram may have. Above the path's MTU less 28 (v4) or 48 (v6) it is fragmented and lost more
    easily."""

    def __post_init__(self) -> None:
        _require(self.interval >= 0, f"gossip.interval {self.interval} must not be negative")
        _require(0 <= self.nodes <= 64, f"gossip.nodes {self.nodes} must be in 0..64")
        _require(self.to_the_dead_time >= 0, f"gossip.to_the_dead_time {self.to_the_dead_time} must not be negative")
        _require(1 <= self.retransmit_mult <= 100, f"gossip.retransmit_mult {self.retransmit_mult} must be in 1..100")
        _require(0 <= self.min_transmits <= 1000, f"gossip.min_transmits {self.min_transmits} must be in 0..1000")
        _require(0 <= self.user_share <= 0.9, f"gossip.user_share {self.user_share} must be in 0..0.9")
        _require(512 <= self.packet_budget <= 65000, f"gossip.packet_budget {self.packet_budget} must be in 512..65000")


@dataclass(frozen=True, slots=True, kw_only=True)
class PushPullConfig:
    """Exchange of the whole view with one member at a time (§5.3, 10.4)."""

    interval: float = 30.0
    """Seconds between exchanges (stretched above 32 members); 0 turns them off. Repairs whatever gossip lost."""
    timeout: float = 10.0
    """Seconds a stream may take, from opening it to the last byte. Shorter frees a slot sooner; longer lets a large
    view cross a slow link."""
    max_concurrent: int = 127
    """Push/pulls served at once; more are closed unanswered."""

    def __post_init__(self) -> None:
        _require(self.interval >= 0, f"push_pull.interval {self.interval} must not be negative")
        _require(self.timeout > 0, f"push_pull.timeout {self.timeout} must be positive")
        _require(
            1 <= self.max_concurrent <= 10_000, f"push_pull.max_concurrent {self.max_concurrent} must be in 1..10000"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconnectConfig:
    """How a partition heals by itself: dead members and seeds are pinged on."""

    interval: float = 0.5
    """Seconds between the pings of a dead member's watchers; 0 turns reconnecting off, and dead members are then
    forgotten after ``gossip.to_the_dead_time`` as memberlist does."""
    max_interval: float = 30.0
    """Everybody else backs off to this many seconds."""
    watchers: int = 3
    """Live members that ping a given dead one at the short interval, chosen by hash."""
    remember_for: float = 86_400.0
    """Seconds after which a dead member is forgotten."""
    max_remembered: int = 256
    """Dead members remembered at once; the longest dead go first."""

    def __post_init__(self) -> None:
        _require(self.interval >= 0, f"reconnect.interval {self.interval} must not be negative")
        _require(
            self.max_interval >= self.interval,
            f"reconnect.max_interval {self.max_interval} must not be below reconnect.interval {self.interval}",
        )
        _require(1 <= self.watchers <= 64, f"reconnect.watchers {self.watchers} must be in 1..64")
        _require(self.remember_for >= 0, f"reconnect.remember_for {self.remember_for} must not be negative")
        _require(
            0 <= self.max_remembered <= 10_000, f"reconnect.max_remembered {self.max_remembered} must be in 0..10000"
        )


class VersionCheck(Enum):
    """Whose protocol versions a push/pull must agree with before it is merged (§7)."""

    ALL = "all"
    """Every member in any state, as memberlist does: one odd dead member blocks every exchange."""
    ALIVE = "alive"
    """Live members that announced versions at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityRules:
    """Who may be a member under which name and address (§7, 8.2, 11.7)."""

    delegate_versions: tuple[int, int, int] = (0, 0, 0)
    """The application's protocol: lowest, highest, current. Serf needs 2, 5, 5; MetalLB 0, 0, 0."""
    version_check: VersionCheck = VersionCheck.ALIVE
    """Whose versions must agree before a push/pull is merged."""
    dead_reclaim_time: float = 10.0
    """Seconds after which a dead member's name may be taken by another address; 0 is never."""
    allowed_networks: tuple[str, ...] | None = None
    """Networks (CIDR) members and senders must be in. ``None`` allows all, an empty tuple nobody."""
    max_members: int = 10_000
    """Members of any state held at once; further strangers are ignored and counted, and a push/pull that brings more is
    refused."""

    def __post_init__(self) -> None:
        low, high, current = self.delegate_versions
        _require(
            0 <= low <= current <= high <= 255,
            f"identity.delegate_versions {self.delegate_versions} must be lowest <= current <= highest, each 0..255",
        )
        _require(
            self.dead_reclaim_time >= 0, f"identity.dead_reclaim_time {self.dead_reclaim_time} must not be negative"
        )
        _require(1 <= self.max_members <= 100_000, f"identity.max_members {self.max_members} must be in 1..100000")


@dataclass(frozen=True, slots=True, kw_only=True)
class GossipConfig:
    """Everything that shapes one member's behaviour. Immutable; derive another with :func:`dataclasses.replace`."""

    probe: ProbeConfig = field(default_factory=ProbeConfig)
    suspicion: SuspicionConfig = field(default_factory=SuspicionConfig)
    gossip: GossipTickConfig = field(default_factory=GossipTickConfig)
    push_pull: PushPullConfig = field(default_factory=PushPullConfig)
    reconnect: ReconnectConfig = field(default_factory=ReconnectConfig)
    identity: IdentityRules = field(default_factory=IdentityRules)
    wire: WireConfig = field(default_factory=WireConfig)

    def with_wire(self, **changes: object) -> GossipConfig:
        """The same with other wire settings (label, verification …). Raises :class:`ConfigError` for a bad value."""
        names = {f.name for f in fields(WireConfig)}
        _require(set(changes) <= names, f"wire has no field {', '.join(sorted(set(changes) - names))}")
        return replace(self, wire=replace(self.wire, **changes))  # type: ignore[arg-type]  # names are checked above, values by WireConfig


def memberlist() -> GossipConfig:
    """hashicorp/memberlist's LAN settings to the letter: compression on, no reconnecting, versions of all members
    checked."""
    return GossipConfig(
        reconnect=ReconnectConfig(interval=0.0),
        identity=IdentityRules(version_check=VersionCheck.ALL, dead_reclaim_time=0.0),
        gossip=GossipTickConfig(min_transmits=0, user_share=0.0),
        wire=WireConfig(compression=True),
    )


def lan() -> GossipConfig:
    """The default: memberlist's LAN timings, sent uncompressed, with partitions healing by themselves."""
    base = memberlist()
    return replace(
        base,
        reconnect=ReconnectConfig(),
        identity=IdentityRules(),
        gossip=GossipTickConfig(),
        wire=WireConfig(compression=False),
    )


def wan() -> GossipConfig:
    """memberlist's WAN timings, for members in different places."""
    base = lan()
    return replace(
        base,
        probe=replace(base.probe, interval=5.0, timeout=3.0),
        suspicion=replace(base.suspicion, mult=6),
        gossip=replace(base.gossip, interval=0.5, nodes=4, to_the_dead_time=60.0),
        push_pull=replace(base.push_pull, interval=60.0, timeout=30.0),
    )


def local() -> GossipConfig:
    """memberlist's timings for members on one machine; what tests and the demo use."""
    base = lan()
    return replace(
        base,
        probe=replace(base.probe, interval=1.0, timeout=0.2, indirect_checks=1),
        suspicion=replace(base.suspicion, mult=3),
        gossip=replace(base.gossip, interval=0.1, retransmit_mult=2, to_the_dead_time=15.0),
        push_pull=replace(base.push_pull, interval=15.0, timeout=1.0),
    )


PROFILES: Final[dict[str, Callable[[], GossipConfig]]] = {
    "memberlist": memberlist,
    "lan": lan,
    "wan": wan,
    "local": local,
}
"""Profiles by the name that ``--profile`` takes."""


def profile(name: str) -> GossipConfig:
    """The profile of that name. Raises :class:`ConfigError` that lists the names there are."""
    if name not in PROFILES:
        raise ConfigError(f"no profile {name!r}; there are {', '.join(PROFILES)}")
    return PROFILES[name]()
