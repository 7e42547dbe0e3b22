"""An agent: one member that runs until it is told to leave, tells what it sees, and obeys over a Unix socket.

:func:`run_agent` is all that the command line needs; what is asked and told is described in :mod:`gossip.requests` and
:mod:`gossip.notices`.
"""

from gossip.control.agent import AgentSettings
from gossip.control.run import run_agent

__all__ = ["AgentSettings", "run_agent"]
