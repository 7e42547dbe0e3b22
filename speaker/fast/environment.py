"""The environment in which a process of ours starts another."""

from __future__ import annotations

import os
from pathlib import Path

import speaker


def own_environment() -> dict[str, str]:
    """Ours, and where our own packages are: they need not be installed, and `-P` keeps the working folder out."""
    home = str(Path(speaker.__file__).parents[1])
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != home]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([home, *paths])}
