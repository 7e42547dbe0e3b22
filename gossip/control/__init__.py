"""An agent: one member that runs until it is told to leave, tells what it sees, and obeys over a Unix socket.

This is the third front door of the package, for a program that is an agent and more: it opens a ring, makes an
:class:`Agent` of it and lets that :meth:`~Agent.run`, and answers its own requests beside the ring's with
``serve(agent, control, RING_DESK | Desk(...))``.

A name is imported when it is first used. Both ends of the socket need :mod:`gossip.control.requests` and
:mod:`gossip.control.notices`, and who only asks must not pay for what runs a ring.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from gossip.control.agent import Agent, AgentSettings, Feed
    from gossip.control.handlers import RING_DESK, Desk, Handler, Replies
    from gossip.control.key_file import read_key_file
    from gossip.control.notices import Notice, printable, render_json, render_line
    from gossip.control.requests import EXIT_NO, EXIT_UNAVAILABLE, EXIT_USAGE, REQUESTS, Request, Requests
    from gossip.control.server import listen_at, serve

__all__ = [
    "EXIT_NO",
    "EXIT_UNAVAILABLE",
    "EXIT_USAGE",
    "REQUESTS",
    "RING_DESK",
    "Agent",
    "AgentSettings",
    "Desk",
    "Feed",
    "Handler",
    "Notice",
    "Replies",
    "Request",
    "Requests",
    "listen_at",
    "printable",
    "read_key_file",
    "render_json",
    "render_line",
    "serve",
]

_HOMES: Final = {
    "agent": ("Agent", "AgentSettings", "Feed"),
    "handlers": ("RING_DESK", "Desk", "Handler", "Replies"),
    "key_file": ("read_key_file",),
    "notices": ("Notice", "printable", "render_json", "render_line"),
    "requests": ("EXIT_NO", "EXIT_UNAVAILABLE", "EXIT_USAGE", "REQUESTS", "Request", "Requests"),
    "server": ("listen_at", "serve"),
}
"""The modules, and what each has that is named here."""


if not TYPE_CHECKING:  # or no name that is missing would be noticed

    def __getattr__(name: str) -> Any:
        for module, names in _HOMES.items():
            if name in names:
                return getattr(import_module(f"{__name__}.{module}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
