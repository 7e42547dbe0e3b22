"""The commands that ask a running agent something, or tell it to do something."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress

import click

from gossip.cli.arguments import read_hex
from gossip.cli.client import FAILURES, ask, converse, print_answer
from gossip.cli.options import KEY, TARGET, api_option, json_option, lines_option, wants_json
from gossip.control.notices import Notice, format_address, harmless, plain_items, render_json, render_line
from gossip.control.requests import (
    EXIT_NO,
    ChangeKeys,
    FireEvent,
    FollowNotices,
    ForceLeave,
    Join,
    Leave,
    ListKeys,
    ListMembers,
    PingMember,
    SendMessage,
    ShowInfo,
    SpreadMessage,
)
from gossip.errors import LocalError


@click.command()
@api_option
@json_option
def members(api: str, as_json: bool) -> None:
    """List everybody known: name, address, state, incarnation, tags."""
    items, _ = ask(api, ListMembers())
    rows = [row for part in items for row in part]
    if as_json:
        click.echo(json.dumps(rows))
        return
    cells = [
        (
            row["name"],
            format_address((row["address"], row["port"])),
            row["state"],
            str(row["incarnation"]),
            ",".join(f"{key}={value}" for key, value in row["tags"].items()),
        )
        for row in rows
    ]
    widths = [max((len(harmless(row[column])) for row in cells), default=0) for column in range(5)]
    for row in cells:
        click.echo("  ".join(harmless(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@click.command()
@api_option
@json_option
def info(api: str, as_json: bool) -> None:
    """Show the agent, its settings and its statistics."""
    _, result = ask(api, ShowInfo())
    shown = {**result, **result["statistics"]}
    del shown["statistics"]
    print_answer(result, as_json, (f"{label}: {value}" for label, value in plain_items(shown)))


@click.command()
@click.argument("targets", type=TARGET, nargs=-1, required=True, metavar="ADDR[:PORT]...")
@api_option
@json_option
def join(targets: tuple[str, ...], api: str, as_json: bool) -> None:
    """Join the ring of whoever answers at these addresses."""
    _, result = ask(api, Join(targets))
    lines = [f"joined {address}" for address in result["joined"]]
    lines += [f"refused: {refused['target']}: {refused['reason']}" for refused in result["refused"]]
    print_answer(result, as_json, lines)


@click.command()
@api_option
@json_option
def leave(api: str, as_json: bool) -> None:
    """Tell the agent to say goodbye, and to end."""
    _, result = ask(api, Leave())
    print_answer(result, as_json, [f"{result['left']} has left"])


@click.command()
@click.argument("name")
@api_option
@json_option
def force_leave(name: str, api: str, as_json: bool) -> None:
    """Have this agent forget a member that is dead or left and will not come back."""
    _, result = ask(api, ForceLeave(name))
    print_answer(result, as_json, [f"forgot {result['forgotten']}"])


@click.command()
@click.argument("to", metavar="NAME|ADDR:PORT")
@api_option
@json_option
def ping(to: str, api: str, as_json: bool) -> None:
    """Ping a member once. Without an answer the exit code is 1."""
    _, result = ask(api, PingMember(to))
    answered = result["rtt"] is not None
    line = (
        f"{result['member']}: {result['rtt'] * 1000:.2f} ms" if answered else f"{result['member']}: {result['reason']}"
    )
    print_answer(result, as_json, [line])
    if not answered:
        sys.exit(EXIT_NO)


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[NAME|ADDR:PORT] PAYLOAD")
@click.option("--reliable", is_flag=True, help="By a stream instead of one datagram.")
@click.option("--broadcast", is_flag=True, help="To everybody, best effort; only PAYLOAD is given.")
@click.option("--hex", "as_hex", is_flag=True, help="PAYLOAD is hexadecimal.")
@api_option
@json_option
def send(words: tuple[str, ...], reliable: bool, broadcast: bool, as_hex: bool, api: str, as_json: bool) -> None:
    """Send a user message to one member, or to everybody."""
    if len(words) != (1 if broadcast else 2):
        raise click.UsageError("give a member and a payload, or --broadcast and a payload.")
    if broadcast and reliable:
        raise click.UsageError("a broadcast is best effort: leave out --reliable.")
    try:
        payload = read_hex(words[-1]) if as_hex else os.fsencode(words[-1])
    except LocalError as reason:
        raise click.BadParameter(str(reason), param_hint="PAYLOAD") from None
    _, result = ask(api, SpreadMessage(payload) if broadcast else SendMessage(words[0], payload, reliable))
    print_answer(result, as_json, [f"sent {result['sent']} bytes"])


@click.command()
@click.argument("name")
@click.argument("payload", default="")
@click.option(
    "--coalesce/--no-coalesce", default=True, show_default=True, help="Receivers may keep only the latest of a name."
)
@api_option
@json_option
def event(name: str, payload: str, coalesce: bool, api: str, as_json: bool) -> None:
    """Fire a user event that serf agents understand. Needs an agent with --compat serf."""
    _, result = ask(api, FireEvent(name, os.fsencode(payload), coalesce))
    print_answer(result, as_json, [f"fired {result['fired']}"])


@click.command()
@api_option
@lines_option
def events(api: str, as_json: bool | None) -> None:
    """Print what happens from now on, an event a line, until the agent ends."""
    render = render_json if wants_json(as_json) else render_line
    with suppress(KeyboardInterrupt):
        for reply in converse(api, FollowNotices(), None):
            if "error" in reply:
                raise FAILURES[reply["code"]](reply["error"])
            if "item" in reply:
                click.echo(render(Notice.from_json(reply["item"])), nl=False)


@click.group()
def keys() -> None:
    """The keys of this agent, while it runs.

    To change a ring's key: install the new one on every agent, then use it on every agent, then remove the old one
    from every agent. Each agent has to be told, and its key file changed too: the agent does not write it.
    """


@keys.command("list")
@api_option
@json_option
def list_keys(api: str, as_json: bool) -> None:
    """List the keys, the primary first."""
    _, result = ask(api, ListKeys())
    print_answer(result, as_json, result["keys"])


def _change_keys(action: str, summary: str) -> None:
    @keys.command(action, help=f"{summary} KEY may be -: read from the standard input.")
    @click.argument("key", type=KEY)
    @api_option
    @json_option
    def change(key: bytes, api: str, as_json: bool) -> None:
        _, result = ask(api, ChangeKeys(action, key))
        print_answer(result, as_json, [f"keys: {result['keys']}"])


_change_keys("install", "Decrypt with this key too.")
_change_keys("use", "Encrypt with this key, which must be installed.")
_change_keys("remove", "Forget a key that is not in use.")
