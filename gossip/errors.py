"""What can go wrong in the ring, in two trees: your call was wrong, or the other side was.

Rules kept here:

* A caller's mistake is a :class:`LocalError`; nothing has changed when it is raised.
* Whatever a peer sends can raise :class:`BadPacket` and nothing else. It is caught once, where bytes enter the
  core, counted, and never reaches a caller of :class:`gossip.Membership`.
"""

from __future__ import annotations


class GossipError(Exception):
    """Root of everything this package raises on purpose. Never raised itself."""


class LocalError(GossipError):
    """The call cannot be carried out as made. State is unchanged; the message says what would be right."""


class ConfigError(LocalError):
    """A configuration value is out of range, or two values contradict each other. Names the field."""


class RemoteError(GossipError):
    """A peer answered with an error, or did not answer. State is unchanged."""


class BadPacket(RemoteError):
    """Bytes from the network do not make sense. The message that held them is dropped; nothing else changes."""
