"""One member on trio: the sockets, the clock and the randomness that the core does without.

This is the second front door of the package: :func:`open_ring` runs a member, :class:`Ring` is what one does with
it. The rules are kept by :mod:`gossip.driver.pump`.
"""

from gossip.driver.ring import JoinReport, Ring, open_ring
from gossip.driver.sockets import resolve
from gossip.driver.subscription import Subscription

__all__ = ["JoinReport", "Ring", "Subscription", "open_ring", "resolve"]
