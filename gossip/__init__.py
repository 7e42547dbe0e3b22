"""A SWIM + Lifeguard ring that speaks hashicorp/memberlist's protocol, without I/O.

This is the front door: what is named here is the package's, and nothing else is. :class:`Membership` is one member,
driven by its user, the network and one timer. :mod:`gossip.driver` runs one on trio, with real sockets.
"""

from gossip.addresses import DEFAULT_PORT, Address, JoinTarget, parse_join_target
from gossip.config import (
    PROFILES,
    GossipConfig,
    GossipTickConfig,
    IdentityRules,
    ProbeConfig,
    PushPullConfig,
    ReconnectConfig,
    SuspicionConfig,
    VersionCheck,
    profile,
)
from gossip.config_text import parse_config
from gossip.core import Membership
from gossip.envelope import WireConfig
from gossip.errors import BadPacket, ConfigError, GossipError, LocalError, RemoteError
from gossip.events import (
    AccusationRefuted,
    BroadcastSpread,
    Event,
    JoinCompleted,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberSuspected,
    MemberUpdated,
    NameConflict,
    PingCompleted,
    PingTimedOut,
    StreamMessageSent,
    UserMessageReceived,
    UserStateReceived,
)
from gossip.keyring import Keyring, metallb_key
from gossip.members import Member
from gossip.messages import State
from gossip.outbox import CloseStream, OpenStream, StreamCommand, StreamId, WriteStream
from gossip.policy import ACCEPT_ALL, Policy, Refusal
from gossip.statistics import Statistics
from gossip.view import View

__all__ = [
    "ACCEPT_ALL",
    "DEFAULT_PORT",
    "PROFILES",
    "AccusationRefuted",
    "Address",
    "BadPacket",
    "BroadcastSpread",
    "CloseStream",
    "ConfigError",
    "Event",
    "GossipConfig",
    "GossipError",
    "GossipTickConfig",
    "IdentityRules",
    "JoinCompleted",
    "JoinTarget",
    "Keyring",
    "LocalError",
    "Member",
    "MemberFailed",
    "MemberJoined",
    "MemberLeft",
    "MemberSuspected",
    "MemberUpdated",
    "Membership",
    "NameConflict",
    "OpenStream",
    "PingCompleted",
    "PingTimedOut",
    "Policy",
    "ProbeConfig",
    "PushPullConfig",
    "ReconnectConfig",
    "Refusal",
    "RemoteError",
    "State",
    "Statistics",
    "StreamCommand",
    "StreamId",
    "StreamMessageSent",
    "SuspicionConfig",
    "UserMessageReceived",
    "UserStateReceived",
    "VersionCheck",
    "View",
    "WireConfig",
    "WriteStream",
    "metallb_key",
    "parse_config",
    "parse_join_target",
    "profile",
]
