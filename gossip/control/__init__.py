"""An agent: one member that runs until it is told to leave, tells what it sees, and obeys over a Unix socket.

:func:`gossip.control.run.run_agent` runs one. What is asked and told (:mod:`gossip.control.requests`,
:mod:`gossip.control.notices`) is for both ends of the socket; so this package imports nothing by itself.
"""
