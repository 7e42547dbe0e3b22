"""How much a log line matters."""

from __future__ import annotations

from enum import StrEnum


class Level(StrEnum):
    """As it is written in a line, from the quietest to the loudest."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"
