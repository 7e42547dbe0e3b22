"""Log lines: JSON, one object a line, with the keys that MetalLB's users look for.

Rules kept here:

* A line is made from an event's name and fields; `ts`, `level` and `event` are in every line.
* Nobody waits for a log line: it goes to a queue of limited length. Lines that find no room are counted, and the count
  is said as soon as there is room again.

Source: docs/specs/metallb-interface.md §6.7.
"""

from __future__ import annotations

import json
import math
import os
import select
import threading
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from telemetry.levels import Level

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_WAITING: Final = 4 * 1024 * 1024
"""Characters of lines that wait to be written."""


_RANKS: Final = {level: rank for rank, level in enumerate(Level)}


def render_line(at: float, level: Level, event: str, fields: Mapping[str, object]) -> str:
    """A line without its end. `at` is seconds since the epoch; fractions are kept, as failovers are within one.

    Fields that are None are left out, and those named as what every line has; what is no JSON is written as its text.
    """
    instant = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line: dict[str, object] = {"ts": instant, "level": level, "event": event}
    for key, value in fields.items():
        if value is not None and key not in line:
            line[key] = str(value) if isinstance(value, float) and not math.isfinite(value) else value
    return json.dumps(line, default=str)


class Log:
    """Writes lines. ``send`` takes a whole line without waiting, and says whether it did.

    ``clock`` gives seconds since the epoch. Lines below ``level`` are not made.
    """

    def __init__(self, send: Callable[[str], bool], clock: Callable[[], float], level: Level = Level.INFO) -> None:
        self._send = send
        self._clock = clock
        self._rank = _RANKS[level]
        self._lost = 0

    def write(self, level: Level, event: str, at: float | None = None, /, **fields: object) -> None:
        """A line. `at` is the instant in seconds since the epoch; None is now."""
        if _RANKS[level] < self._rank:
            return
        now = self._clock()
        if self._lost and self._send(render_line(now, Level.WARN, "linesLost", {"count": self._lost})):
            self._lost = 0
        if not self._send(render_line(now if at is None else at, level, event, fields)):
            self._lost += 1

    def debug(self, event: str, /, **fields: object) -> None:
        """A line of level debug."""
        self.write(Level.DEBUG, event, **fields)

    def info(self, event: str, /, **fields: object) -> None:
        """A line of level info."""
        self.write(Level.INFO, event, **fields)

    def warning(self, event: str, /, **fields: object) -> None:
        """A line of level warn."""
        self.write(Level.WARN, event, **fields)

    def error(self, event: str, /, **fields: object) -> None:
        """A line of level error."""
        self.write(Level.ERROR, event, **fields)


class LineWriter:
    """A thread that writes lines to a file descriptor, which may block for as long as it likes. Close it in the end."""

    def __init__(self, descriptor: int, max_waiting: int = MAX_WAITING) -> None:
        self._descriptor = descriptor
        self._max_waiting = max_waiting
        self._lines: deque[str] = deque()
        self._waiting = 0
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="log lines", daemon=True)
        self._thread.start()

    def send(self, line: str) -> bool:
        """Take a line without its end, and say whether there was room for it. Never blocks."""
        with self._changed:
            if self._waiting + len(line) > self._max_waiting:
                return False
            self._lines.append(line)
            self._waiting += len(line)
            self._changed.notify()
        return True

    def close(self, timeout: float) -> None:
        """Write what waits, for at most this many seconds; what comes later is not written."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(timeout)

    def _run(self) -> None:
        """Until it is closed, or nobody reads any more; lines are refused then as they are when there is no room."""
        while lines := self._take():
            data = "".join(f"{line}\n" for line in lines).encode()
            try:
                self._write(data)
            except OSError:
                with self._changed:
                    self._max_waiting = -1
                return

    def _take(self) -> list[str]:
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self._is_closing)
            lines = list(self._lines)
            self._lines.clear()
            self._waiting = 0
        return lines

    def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # somebody else made the descriptor so
                select.select([], [self._descriptor], [])
