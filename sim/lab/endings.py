"""How commands that run a lab end: in good order when they are told to, with a reason when something is wrong.

Rules kept here:

* Exit codes: 2 for a wrong file, 3 for what could not be done, 128 and the number of the signal that asked for the end.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import click
import trio

from sim.lab.errors import LabError
from sim.lab.scenario import ScenarioError

EXIT_USAGE: Final = 2
EXIT_UNAVAILABLE: Final = 3
END_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def until_signalled(work: Callable[[], Awaitable[None]]) -> None:
    """Do something until it is done or we are asked to end, which is an orderly end too."""
    async with trio.open_nursery() as nursery:

        async def wait_signal() -> None:
            with trio.open_signal_receiver(*END_SIGNALS) as signals:
                async for number in signals:
                    raise Interrupted(number)

        nursery.start_soon(wait_signal)
        await work()
        nursery.cancel_scope.cancel()


class Interrupted(Exception):
    """A signal asked us to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def refusing(command: str) -> Iterator[None]:
    """Turn what can go wrong into lines and an exit code."""
    code, errors = 0, list[Any]()
    try:
        yield
    except* ScenarioError as group:
        code, errors = EXIT_USAGE, list(_each(group))
    except* LabError as group:
        code, errors = EXIT_UNAVAILABLE, list(_each(group))
    except* Interrupted as group:
        code = 128 + next(_each(group)).number
    for error in errors:
        for line in str(error).splitlines():
            click.echo(f"starling {command}: {line}", err=True)
    if code:
        sys.exit(code)  # not in a handler, where an exit would become part of a group


def _each(group: BaseExceptionGroup[Any]) -> Iterator[Any]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _each(error)
        else:
            yield error
