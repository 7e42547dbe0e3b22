"""Log lines: JSON, one object a line, with the keys that MetalLB's users look for.

Rules kept here:

* A line is made from an event's name and fields; `ts`, `level` and `event` are in every line.
* Nobody waits for a log line: it goes to a queue of limited length, and lines that found no room are counted and
  the count is said.

Source: docs/specs/metallb-interface.md §6.7.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Level(StrEnum):
    """How loud a line is, as it is written."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


class Log:
    """Writes lines. `send` takes a whole line and does not block; `clock` gives seconds since the epoch."""

    def __init__(self, send: Callable[[str], None], clock: Callable[[], float], level: Level = Level.INFO) -> None:
        self._send = send
        self._clock = clock
        self._level = level

    def write(self, level: Level, event: str, at: float | None = None, /, **fields: object) -> None:
        """A line, unless its level is below the log's. `at` is the instant in seconds since the epoch, None is now.

        Fields that are None are left out; what is no JSON value is written as its text.
        """
        raise NotImplementedError

    def debug(self, event: str, /, **fields: object) -> None:
        """A line of level debug."""
        self.write(Level.DEBUG, event, **fields)

    def info(self, event: str, /, **fields: object) -> None:
        """A line of level info."""
        self.write(Level.INFO, event, **fields)

    def warn(self, event: str, /, **fields: object) -> None:
        """A line of level warn."""
        self.write(Level.WARN, event, **fields)

    def error(self, event: str, /, **fields: object) -> None:
        """A line of level error."""
        self.write(Level.ERROR, event, **fields)


class LineWriter:
    """A thread that writes lines to a file descriptor, which may block for as long as it likes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def send(self, line: str) -> None:
        """Queue a line (without its end). Never blocks; a line that finds no room is lost, and counted."""
        raise NotImplementedError

    def close(self, timeout: float) -> None:
        """Write what waits, for at most this many seconds, and end the thread."""
        raise NotImplementedError
