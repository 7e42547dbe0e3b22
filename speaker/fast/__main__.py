"""`python -m speaker.fast SETTINGS`: what `starling speaker` becomes once the options are read and checked."""

from __future__ import annotations

import sys

import trio

from gossip import LocalError
from gossip.control import EXIT_UNAVAILABLE
from speaker.fast.process import run
from speaker.settings import Settings


def main() -> int:
    """Run the speaker; give back the exit code."""
    settings = Settings.from_text(sys.argv[1])
    code = EXIT_UNAVAILABLE
    try:
        code = trio.run(run, settings)
    except* (LocalError, OSError) as group:
        for reason in _leaves(group):
            sys.stderr.write(f"starling speaker: {reason}\n")
    return code


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


if __name__ == "__main__":
    sys.exit(main())
