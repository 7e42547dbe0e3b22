"""Tells a supervisor that speaks systemd's notification protocol how this process is doing.

Rules kept here:

* Without a supervisor (NOTIFY_SOCKET is unset) nothing happens, and a supervisor that cannot be told is no error: the
  addresses are answered all the same.
* Nothing waits: a message that the supervisor has no room for is lost.

Source: sd_notify(3).
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Final

MAX_STATUS: Final = 512
"""Characters of a status that are told."""
MICROSECONDS: Final = 1_000_000


def tell_ready() -> None:
    """This node is in the ring and answers for what it owns."""
    _send("READY=1")


def tell_status(text: str) -> None:
    """One line for people, shown by ``systemctl status``."""
    _send("STATUS=" + " ".join(text.split())[:MAX_STATUS])


def tell_stopping() -> None:
    """The shutdown has begun."""
    _send("STOPPING=1")


def tell_alive() -> None:
    """The main loop still turns. To be told at least every :func:`watchdog_interval`."""
    _send("WATCHDOG=1")


def watchdog_interval() -> float | None:
    """Seconds between two signs of life: half of what the supervisor allows. None when it does not ask this process."""
    asked = os.environ.get("WATCHDOG_USEC", "")
    process = os.environ.get("WATCHDOG_PID") or str(os.getpid())
    if not asked.isdecimal() or int(asked) == 0 or process != str(os.getpid()):
        return None
    return int(asked) / MICROSECONDS / 2


def _send(message: str) -> None:
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    address = f"\0{path[1:]}" if path.startswith("@") else path  # "@" stands for the abstract namespace
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
        sock.setblocking(False)
        sock.sendto(message.encode(), address)
