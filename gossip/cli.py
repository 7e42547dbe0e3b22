"""The commands `starling ring …`: run a member, ask and tell a running one, take packets apart.

Rules kept here:

* What the command line alone tells to be wrong is refused before anything is opened or asked (exit code 2). What the
  running agent refuses is a no (1); what needs an agent, a peer or a port that is not there could not be done (3).
* With `--json` the standard output holds JSON and nothing else.
* Only `agent` runs a ring, and only it imports what that takes.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import stat
import sys
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from gossip.addresses import DEFAULT_PORT
from gossip.arguments import (
    read_bind,
    read_hex,
    read_key,
    read_key_file,
    read_label,
    read_meta,
    read_name,
    read_network,
    read_socket_path,
    read_tag,
    read_target,
    tags_as_meta,
)
from gossip.config import PROFILES, profile
from gossip.dissect import dissect
from gossip.errors import LocalError
from gossip.keyring import Keyring, metallb_key
from gossip.notices import SCHEMA, Notice, format_address, harmless, plain_items, render_json, render_line
from gossip.requests import (
    EXIT_NO,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    ChangeKeys,
    FireEvent,
    FollowNotices,
    ForceLeave,
    Join,
    Leave,
    ListKeys,
    ListMembers,
    PingMember,
    Request,
    SendMessage,
    ShowInfo,
    SpreadMessage,
    encode_request,
)
from gossip.serf import DELEGATE_VERSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gossip.config import GossipConfig

REPLY_WITHIN: Final = 60.0
"""Seconds in which an agent answers; a join or a goodbye takes the longest."""
COMPAT: Final = {"serf": DELEGATE_VERSIONS, "metallb": (0, 0, 0)}
"""Programs whose rings an agent can be in as one of theirs, and the versions that it then announces."""
OTHERS_MAY_READ: Final = stat.S_IRWXG | stat.S_IRWXO


class Refused(click.ClickException):
    """The agent says no."""

    exit_code = EXIT_NO


class Unavailable(click.ClickException):
    """It could not be done here."""

    exit_code = EXIT_UNAVAILABLE


_FAILURES: Final[dict[int, type[click.ClickException]]] = {
    EXIT_NO: Refused,
    EXIT_USAGE: click.UsageError,
    EXIT_UNAVAILABLE: Unavailable,
}
"""By the code in an agent's answer."""


# ---- options


class Parsed(click.ParamType[Any]):
    """Text that a function reads; what it raises is a usage error at the option."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value; one that is no text any more is left as it is."""
        try:
            return self._read(value) if isinstance(value, str) else value
        except LocalError as reason:
            self.fail(str(reason), param, ctx)


def _key_or_input(text: str) -> bytes:
    """A key, or ``-`` for the first line of the standard input, where no list of processes shows it."""
    return read_key(sys.stdin.readline() if text == "-" else text)


def _default_api() -> str:
    return os.path.join(os.environ.get("XDG_RUNTIME_DIR") or "/run", "starling", "ring.sock")


BIND: Final = Parsed("addr:port", read_bind)
TARGET: Final = Parsed("addr:port", read_target)
KEY: Final = Parsed("base64", _key_or_input)

api_option: Final = click.option(
    "--api",
    type=Parsed("socket", read_socket_path),
    envvar="STARLING_API",
    default=_default_api,
    show_default="$XDG_RUNTIME_DIR/starling/ring.sock",
    help="The agent's control socket; also $STARLING_API.",
)
json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
lines_option: Final = click.option(
    "--json/--no-json", "as_json", default=None, help="Print JSON or text. Without it: JSON, but text on a terminal."
)


# ---- asking an agent


def _converse(api: str, request: Request, within: float | None) -> Iterator[dict[str, Any]]:
    """An agent's reply lines, until it hangs up."""
    try:
        line = encode_request(request)
    except LocalError as reason:
        raise click.UsageError(str(reason)) from None
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(within)
            connection.connect(api)
            with suppress(BrokenPipeError):  # an agent that is full says so and hangs up, without hearing us out
                connection.sendall(line)
            with connection.makefile("rb") as replies:
                for reply in replies:
                    yield json.loads(reply)
    except TimeoutError:
        raise Unavailable(f"the agent at {api} did not answer within {within:g} s") from None
    except OSError as exc:
        hint = "start one with `ring agent`, or say which with --api"
        raise Unavailable(f"no agent answers at {api} ({exc.strerror}): {hint}") from None


def _ask(api: str, request: Request) -> tuple[list[Any], dict[str, Any]]:
    """The items and the result of a request."""
    items = []
    for reply in _converse(api, request, REPLY_WITHIN):
        if "item" in reply:
            items.append(reply["item"])
        elif "result" in reply:
            return items, reply["result"]
        else:
            raise _FAILURES[reply["code"]](reply["error"])
    raise Unavailable(f"the agent at {api} hung up without an answer")


def _print(value: dict[str, Any], as_json: bool, lines: Iterable[str]) -> None:
    if as_json:
        click.echo(json.dumps({"schema": SCHEMA, **value}))
        return
    for line in lines:
        click.echo(harmless(line))


# ---- the commands


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def ring() -> None:
    """The ring: who is a member, and who is alive.

    `agent` runs a member; `keygen` and `decode` need none; every other command asks a running agent over its control
    socket.
    """


@ring.command()
@click.option(
    "--name",
    type=Parsed("name", read_name),
    default=socket.gethostname,
    show_default="host name",
    help="Our name, unique in the ring.",
)
@click.option(
    "--bind",
    type=BIND,
    default=f"0.0.0.0:{DEFAULT_PORT}",
    show_default=True,
    help="Where to listen, UDP and TCP; port 0 is any free one.",
)
@click.option("--advertise", type=BIND, help="What the others are told, where that is not the same.")
@click.option(
    "--join", "seeds", type=TARGET, multiple=True, help="A member to join; tried until one answers. Repeatable."
)
@click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False),
    help="Keys in base64, one a line, the primary first. With --compat metallb: the raw secret.",
)
@click.option("--label", type=Parsed("label", read_label), default="", help="Keeps apart rings that share a network.")
@click.option("--profile", type=click.Choice(list(PROFILES)), default="lan", show_default=True, help="The timings.")
@click.option("--meta", type=Parsed("hex", read_meta), help="Our metadata, at most 512 bytes.")
@click.option("--tag", "tags", type=Parsed("key=value", read_tag), multiple=True, help="A serf tag. Repeatable.")
@click.option("--compat", type=click.Choice(list(COMPAT)), help="Be as one of theirs in a ring of these programs.")
@click.option("--verify-incoming/--no-verify-incoming", default=True, help="With a key: refuse what is not encrypted.")
@click.option("--verify-outgoing/--no-verify-outgoing", default=True, help="With a key: encrypt what is sent.")
@click.option(
    "--allow",
    "networks",
    type=Parsed("cidr", read_network),
    multiple=True,
    help="Only members in this network. Repeatable.",
)
@api_option
@lines_option
def agent(**options: Any) -> None:
    """Run a member until it is told to leave, and print what happens, an event a line.

    SIGINT, SIGTERM and `ring leave` say goodbye first; a second signal does not wait for it. Seeds that do not answer
    are tried again, so the order in which agents start does not matter.
    """
    import trio

    from gossip.control import AgentSettings, run_agent

    as_json = options.pop("as_json")
    settings = AgentSettings(
        name=options["name"],
        bind=options["bind"],
        advertise=options["advertise"],
        seeds=options["seeds"],
        profile=options["profile"],
        config=_config(options),
        keys=_keys(options["key_file"], options["compat"]),
        meta=_meta(options),
        compat=options["compat"],
        api=options["api"],
        api_required=click.get_current_context().get_parameter_source("api") is not ParameterSource.DEFAULT,
        as_json=not sys.stdout.isatty() if as_json is None else as_json,
        complain=_complain,
    )
    if not settings.api_required:
        _make_folder(settings.api)
    try:
        code = trio.run(run_agent, settings, sys.stdout.fileno())
    except LocalError as reason:
        raise Unavailable(str(reason)) from None
    sys.exit(code)


def _config(options: dict[str, Any]) -> GossipConfig:
    config = profile(options["profile"]).with_wire(
        label=options["label"],
        verify_incoming=options["verify_incoming"],
        verify_outgoing=options["verify_outgoing"],
    )
    identity = replace(
        config.identity,
        delegate_versions=COMPAT.get(options["compat"], config.identity.delegate_versions),
        allowed_networks=options["networks"] or None,
    )
    return replace(config, identity=identity)


def _keys(path: str | None, compat: str | None) -> tuple[bytes, ...]:
    """The keys in a file. What is in the file is the operator's mistake as much as what is on the command line."""
    if path is None:
        return ()
    try:
        with open(path, "rb") as file:
            mode, content = os.fstat(file.fileno()).st_mode, file.read()
        if mode & OTHERS_MAY_READ:
            _complain(f"{path} may be read by others than its owner: chmod 600 {path}")
        return (metallb_key(content),) if compat == "metallb" else read_key_file(content)
    except LocalError as reason:
        raise click.BadParameter(f"{path}: {reason}", param_hint="--key-file") from None


def _meta(options: dict[str, Any]) -> bytes | None:
    """The metadata that the options ask for, where the ring is one that has any."""
    meta: bytes | None = options["meta"]
    compat, tags = options["compat"], options["tags"]
    if compat == "metallb" and (meta is not None or options["label"]):
        raise click.UsageError("MetalLB speakers know neither metadata nor labels: leave out --meta and --label.")
    if tags and (compat != "serf" or meta is not None):
        raise click.UsageError("--tag is for --compat serf, and tags are the metadata: leave out --tag or --meta.")
    if compat != "serf" or meta is not None:
        return meta
    try:
        return tags_as_meta(dict(tags))
    except LocalError as reason:
        raise click.BadParameter(str(reason), param_hint="--tag") from None


def _make_folder(api: str) -> None:
    """Make the default socket's folder; where that fails, the agent says that it has no socket, and why."""
    with suppress(OSError):
        os.makedirs(os.path.dirname(api), mode=0o700, exist_ok=True)


def _complain(text: str) -> None:
    click.echo(f"starling: {text}", err=True)


@ring.command()
@api_option
@json_option
def members(api: str, as_json: bool) -> None:
    """List everybody known: name, address, state, incarnation, tags."""
    items, _ = _ask(api, ListMembers())
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


@ring.command()
@api_option
@json_option
def info(api: str, as_json: bool) -> None:
    """Show the agent, its settings and its statistics."""
    _, result = _ask(api, ShowInfo())
    shown = {**result, **result["statistics"]}
    del shown["statistics"]
    _print(result, as_json, (f"{label}: {value}" for label, value in plain_items(shown)))


@ring.command()
@click.argument("targets", type=TARGET, nargs=-1, required=True, metavar="ADDR[:PORT]...")
@api_option
@json_option
def join(targets: tuple[str, ...], api: str, as_json: bool) -> None:
    """Join the ring of whoever answers at these addresses."""
    _, result = _ask(api, Join(targets))
    lines = [f"joined {address}" for address in result["joined"]]
    lines += [f"refused: {refused['target']}: {refused['reason']}" for refused in result["refused"]]
    _print(result, as_json, lines)


@ring.command()
@api_option
@json_option
def leave(api: str, as_json: bool) -> None:
    """Tell the agent to say goodbye, and to end."""
    _, result = _ask(api, Leave())
    _print(result, as_json, [f"{result['left']} has left"])


@ring.command()
@click.argument("name")
@api_option
@json_option
def force_leave(name: str, api: str, as_json: bool) -> None:
    """Have this agent forget a member that is dead or left and will not come back."""
    _, result = _ask(api, ForceLeave(name))
    _print(result, as_json, [f"forgot {result['forgotten']}"])


@ring.command()
@click.argument("to", metavar="NAME|ADDR:PORT")
@api_option
@json_option
def ping(to: str, api: str, as_json: bool) -> None:
    """Ping a member once. Without an answer the exit code is 1."""
    _, result = _ask(api, PingMember(to))
    answered = result["rtt"] is not None
    line = (
        f"{result['member']}: {result['rtt'] * 1000:.2f} ms" if answered else f"{result['member']}: {result['reason']}"
    )
    _print(result, as_json, [line])
    if not answered:
        sys.exit(EXIT_NO)


@ring.command()
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
    _, result = _ask(api, SpreadMessage(payload) if broadcast else SendMessage(words[0], payload, reliable))
    _print(result, as_json, [f"sent {result['sent']} bytes"])


@ring.command()
@click.argument("name")
@click.argument("payload", default="")
@click.option(
    "--coalesce/--no-coalesce", default=True, show_default=True, help="Receivers may keep only the latest of a name."
)
@api_option
@json_option
def event(name: str, payload: str, coalesce: bool, api: str, as_json: bool) -> None:
    """Fire a user event that serf agents understand. Needs an agent with --compat serf."""
    _, result = _ask(api, FireEvent(name, os.fsencode(payload), coalesce))
    _print(result, as_json, [f"fired {result['fired']}"])


@ring.command()
@api_option
@lines_option
def events(api: str, as_json: bool | None) -> None:
    """Print what happens from now on, an event a line, until the agent ends."""
    render = render_json if (not sys.stdout.isatty() if as_json is None else as_json) else render_line
    with suppress(KeyboardInterrupt):
        for reply in _converse(api, FollowNotices(), None):
            if "error" in reply:
                raise _FAILURES[reply["code"]](reply["error"])
            if "item" in reply:
                click.echo(render(Notice.from_json(reply["item"])), nl=False)


@ring.command()
@json_option
def keygen(as_json: bool) -> None:
    """Print a new key: 32 random bytes in base64."""
    key = base64.b64encode(os.urandom(32)).decode()
    _print({"key": key}, as_json, [key])


@ring.group()
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
    _, result = _ask(api, ListKeys())
    _print(result, as_json, result["keys"])


def _change_keys(action: str, summary: str) -> None:
    @keys.command(action, help=f"{summary} KEY may be -: read from the standard input.")
    @click.argument("key", type=KEY)
    @api_option
    @json_option
    def change(key: bytes, api: str, as_json: bool) -> None:
        _, result = _ask(api, ChangeKeys(action, key))
        _print(result, as_json, [f"keys: {result['keys']}"])


_change_keys("install", "Decrypt with this key too.")
_change_keys("use", "Encrypt with this key, which must be installed.")
_change_keys("remove", "Forget a key that is not in use.")


@ring.command()
@click.argument("packets", type=Parsed("hex", read_hex), nargs=-1, required=True, metavar="HEX...")
@click.option(
    "--key",
    "ring_keys",
    type=KEY,
    multiple=True,
    help="A key in base64, - to read it from the standard input. Repeatable.",
)
@click.option("--label", type=Parsed("label", read_label), help="The label that is expected; without it any is taken.")
@click.option("--stream", is_flag=True, help="Each HEX is what one side wrote on a TCP connection.")
def decode(packets: tuple[bytes, ...], ring_keys: tuple[bytes, ...], label: bytes | None, stream: bool) -> None:
    """Take captured packets apart: one line of JSON each, with its layers and messages, or why it cannot be read.

    The exit code is 1 if one of them could not be.
    """
    keyring = Keyring(ring_keys)
    results = [dissect(packet, keyring, label, stream) for packet in packets]
    for result in results:
        click.echo(json.dumps({"schema": SCHEMA, **result}))
    if any("error" in result for result in results):
        sys.exit(EXIT_NO)
