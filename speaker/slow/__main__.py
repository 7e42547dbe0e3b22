"""`python -P -m speaker.slow SETTINGS DESCRIPTOR`: started by the fast process, with one end of the link.

Rules kept here:

* The kernel is asked at once to kill this process with the one that started it; the end of the link is for the rest.
* SIGINT and SIGTERM are for the fast process, which tells this one when to end.
"""

import ctypes
import os
import signal
import sys
from contextlib import suppress
from typing import Final, NoReturn

PR_SET_PDEATHSIG: Final = 1
STDOUT: Final = 1


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _end() -> NoReturn:
    os._exit(0)


def main() -> None:
    """Run until the link ends. What should never happen is one line of the log, and the fast process starts another."""
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        _serve(sys.argv[1], int(sys.argv[2]))
    except Exception as exc:
        import time
        import traceback

        from telemetry.levels import Level
        from telemetry.logs import render_line

        fields = {"error": repr(exc), "trace": "".join(traceback.format_exception(exc))}
        with suppress(OSError):
            os.write(STDOUT, render_line(time.time(), Level.ERROR, "slowProcessFailed", fields).encode() + b"\n")
        sys.exit(1)


def _serve(settings: str, descriptor: int) -> None:
    """Everything that takes long to load is loaded here, when signals and the parent's death are seen to."""
    import socket

    import trio

    from speaker.settings import Settings
    from speaker.slow.process import run

    trio.run(run, Settings.from_text(settings), socket.socket(fileno=descriptor), STDOUT, _end)


if __name__ == "__main__":
    main()
