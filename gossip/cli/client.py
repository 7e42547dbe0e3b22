"""The other end of the control socket: a request out, its answer in, errors with their exit codes."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from gossip.control.notices import SCHEMA, harmless
from gossip.control.requests import (
    EXIT_NO,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    REQUESTS,
    Request,
    Requests,
    encode_request,
)
from gossip.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

REPLY_WITHIN: Final = 60.0
"""Seconds in which an agent answers; a join or a goodbye takes the longest."""


class Refused(click.ClickException):
    """The agent says no."""

    exit_code = EXIT_NO


class Unavailable(click.ClickException):
    """It could not be done here."""

    exit_code = EXIT_UNAVAILABLE


FAILURES: Final[dict[int, type[click.ClickException]]] = {
    EXIT_NO: Refused,
    EXIT_USAGE: click.UsageError,
    EXIT_UNAVAILABLE: Unavailable,
}
"""By the code in an agent's answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Respondent:
    """Who is asked."""

    requests: Requests
    """What it answers."""
    called: str
    """In a sentence: the agent, the speaker."""
    started_by: str
    """The command that starts one."""


AGENT: Final = Respondent(requests=REQUESTS, called="agent", started_by="ring agent")


def converse(api: str, request: Request, within: float | None, whom: Respondent = AGENT) -> Iterator[dict[str, Any]]:
    """The reply lines of who listens at the socket ``api``, until it hangs up. ``within`` is in seconds, for each."""
    try:
        line = encode_request(request, whom.requests)
    except LocalError as reason:
        raise click.UsageError(str(reason)) from None
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(within)
            connection.connect(api)
            with suppress(BrokenPipeError):  # who is full says so and hangs up, without hearing us out
                connection.sendall(line)
            with connection.makefile("rb") as replies:
                for reply in replies:
                    yield json.loads(reply)
    except TimeoutError:
        raise Unavailable(f"the {whom.called} at {api} did not answer within {within:g} s") from None
    except OSError as exc:
        hint = f"start one with `{whom.started_by}`, or say which with --api"
        raise Unavailable(f"no {whom.called} answers at {api} ({exc.strerror}): {hint}") from None


def ask(
    api: str, request: Request, whom: Respondent = AGENT, within: float = REPLY_WITHIN
) -> tuple[list[Any], dict[str, Any]]:
    """The items and the result of a request. ``within`` is in seconds, for each line."""
    items = []
    for reply in converse(api, request, within, whom):
        if "item" in reply:
            items.append(reply["item"])
        elif "result" in reply:
            return items, reply["result"]
        else:
            raise FAILURES[reply["code"]](reply["error"])
    raise Unavailable(f"the {whom.called} at {api} hung up without an answer")


def print_answer(value: dict[str, Any], as_json: bool, lines: Iterable[str]) -> None:
    """Print a value as JSON, or else these lines."""
    if as_json:
        click.echo(json.dumps({"schema": SCHEMA, **value}))
        return
    for line in lines:
        click.echo(harmless(line))
