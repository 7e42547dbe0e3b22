"""The commands `starling speaker`, `why` and `status`.

Rules kept here:

* `speaker` reads and checks the options and then becomes the fast process, which loads none of what that took.
* Exit codes: 0 fine, 1 the answer is no (an unknown address, a node that could not announce), 2 wrong usage, 3 it
  could not be done here.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import click

from gossip import DEFAULT_PORT, PROFILES, LocalError
from gossip.cli import (
    ADVERTISED,
    BIND,
    TARGET,
    Parsed,
    Respondent,
    ask,
    json_option,
    print_answer,
    read_name,
    read_socket_path,
)
from gossip.control import EXIT_NO, EXIT_UNAVAILABLE
from speaker.fast.environment import own_environment
from speaker.fast.ring_config import read_ring_config
from speaker.ownership import REASONS, Election, Reason
from speaker.requests import ALL_REQUESTS, ShowDecision, ShowStatus
from speaker.settings import KUBERNETES, Settings

SPEAKER: Final = Respondent(requests=ALL_REQUESTS, called="speaker", started_by="speaker")
AUTO: Final = "auto"
ANSWER_WITHIN: Final = 5.0
"""Seconds in which a speaker says something; one that is stopped says nothing."""


def _default_api() -> str:
    return os.path.join(os.environ.get("XDG_RUNTIME_DIR") or "/run", "starling", "speaker.sock")


def _default_state() -> str:
    return os.environ.get("STATE_DIRECTORY") or "/var/lib/starling"


api_option: Final = click.option(
    "--api",
    type=Parsed("socket", read_socket_path),
    envvar="STARLING_API",
    default=_default_api,
    show_default="$XDG_RUNTIME_DIR/starling/speaker.sock",
    help="The speaker's control socket; also $STARLING_API.",
)


@click.command()
@click.option(
    "--node",
    type=Parsed("name", read_name),
    envvar="STARLING_NODE",
    default=socket.gethostname,
    show_default="host name",
    help="This node's name, in the cluster and in the ring; also $STARLING_NODE.",
)
@click.option(
    "--source", required=True, metavar=f"DIR|{KUBERNETES}", help="Where the manifests are: a folder, or Kubernetes."
)
@click.option(
    "--bind",
    type=BIND,
    default=f"0.0.0.0:{DEFAULT_PORT}",
    show_default=True,
    help="Where the ring listens, UDP and TCP.",
)
@click.option("--advertise", type=ADVERTISED, help="What the other nodes are told, where that is not the same.")
@click.option(
    "--join", "joins", type=TARGET, multiple=True, help="A node to join; tried until one answers. Repeatable."
)
@click.option(
    "--interface",
    "interfaces",
    multiple=True,
    default=(AUTO,),
    show_default=True,
    help="An interface to announce on, by name; auto: all that are fit for it. Repeatable.",
)
@click.option(
    "--local-address",
    is_flag=True,
    help="Put the addresses that this node can serve on the loopback interface: for machines without kube-proxy.",
)
@click.option(
    "--election",
    type=click.Choice(list(Election)),
    default=Election.STARLING,
    show_default=True,
    help="metallb: use only what MetalLB's speakers use.",
)
@click.option("--key-file", type=click.Path(exists=True, dir_okay=False), help="The ring's keys in base64, one a line.")
@click.option(
    "--profile", type=click.Choice(list(PROFILES)), default="lan", show_default=True, help="The ring's timings."
)
@click.option(
    "--config", type=click.Path(exists=True, dir_okay=False), help="A file of timings that differ from the profile's."
)
@click.option(
    "--lb-class", help="Announce only services of this loadBalancerClass. Without it: only those without any."
)
@click.option("--ignore-exclude-lb", is_flag=True, help="Announce on nodes that are excluded by label, too.")
@click.option(
    "--state",
    type=click.Path(file_okay=False),
    default=_default_state,
    show_default="/var/lib/starling",
    help="The folder for what is kept from run to run.",
)
@api_option
def speaker(source: str, interfaces: tuple[str, ...], **options: Any) -> None:
    """Announce this node's share of the addresses, until told to end (SIGTERM, SIGINT, `ring leave`).

    Prints its log, a JSON object a line. Needs CAP_NET_RAW, and with --local-address CAP_NET_ADMIN.
    """
    settings = Settings(
        node=options["node"],
        source=_source(source),
        bind=options["bind"],
        advertise=options["advertise"],
        joins=options["joins"],
        interfaces=_interfaces(interfaces),
        local_address=options["local_address"],
        election=Election(options["election"]),
        key_file=None if options["key_file"] is None else os.path.abspath(options["key_file"]),
        profile=options["profile"],
        config=_config(options["config"], options["profile"]),
        load_balancer_class=options["lb_class"],
        ignore_exclude_label=options["ignore_exclude_lb"],
        state=os.path.abspath(options["state"]),
        api=options["api"],
    )
    _make_folder(os.path.dirname(settings.api))
    sys.stdout.flush()
    words = [sys.executable, "-P", "-m", "speaker.fast", settings.to_text()]
    os.execve(sys.executable, words, own_environment())  # noqa: S606  # no shell


def _source(text: str) -> str:
    if text == KUBERNETES:
        click.echo("starling speaker: Kubernetes as a source is not there yet; name a folder of manifests", err=True)
        sys.exit(EXIT_UNAVAILABLE)
    return os.path.abspath(text)


def _config(path: str | None, profile: str) -> str | None:
    """The path, once what the file says is known to be right."""
    if path is None:
        return None
    try:
        read_ring_config(path, profile)
    except LocalError as reason:
        raise click.BadParameter(str(reason), param_hint="--config") from None
    return os.path.abspath(path)


def _interfaces(names: tuple[str, ...]) -> tuple[str, ...] | None:
    if AUTO not in names:
        return names
    if len(names) > 1:
        raise click.BadParameter("auto stands for all of them: leave it out, or the names", param_hint="--interface")
    return None


def _make_folder(path: str) -> None:
    try:
        os.makedirs(path or ".", mode=0o700, exist_ok=True)
    except OSError as exc:
        click.echo(f"starling speaker: no folder {path} for the control socket: {exc.strerror}", err=True)
        sys.exit(EXIT_UNAVAILABLE)


# ---- asking


@click.command()
@click.argument("address")
@api_option
@json_option
def why(address: str, api: str, as_json: bool) -> None:
    """Say who owns ADDRESS, and for every node why it is or is not the one."""
    _, told = ask(api, ShowDecision(address), SPEAKER, ANSWER_WITHIN)
    print_answer(told, as_json, _decision_lines(told))


def _decision_lines(told: dict[str, Any]) -> Iterator[str]:
    since = f" since {_clock(told['since'])}" if told["since"] else ""
    yield f"{told['address']} ({', '.join(told['services'])}) {_whose(told)}{since}"
    for reason in told["reasons"]:
        yield f"  {REASONS[Reason(reason)]}"
    for candidate in told["candidates"]:
        place = "-" if candidate["rank"] is None else str(candidate["rank"] + 1)
        words = "; ".join(REASONS[Reason(reason)] for reason in candidate["reasons"])
        yield f"  {place:>3}  {candidate['node']}  {candidate['tier'] or 'no marker'}  {words}"
    for move in told["moves"]:
        yield f"  {_clock(move['at'])}  {move['from'] or 'nobody'} -> {move['to'] or 'nobody'}"


def _whose(told: dict[str, Any]) -> str:
    """Whose it is. Only the owner knows whether it announces it."""
    if told["owner"] is None:
        return "is announced by nobody"
    if told["owner"] != told["node"]:
        return f"belongs to {told['owner']}"
    if told["standing"] == "announced":
        return f"is announced here, by {told['owner']}"
    return f"belongs here, to {told['owner']}, and is not announced: {told['standing']} {told['detail'] or ''}".rstrip()


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


@click.command()
@api_option
@json_option
def status(api: str, as_json: bool) -> None:
    """Say how this node does: members, addresses, what is wrong. Exit code 1 when it could not announce."""
    items, told = ask(api, ShowStatus(), SPEAKER, ANSWER_WITHIN)
    told["addresses"] = [address for part in items for address in part]
    print_answer(told, as_json, _status_lines(told))
    if told["verdict"] == "error":
        sys.exit(EXIT_NO)


def _status_lines(told: dict[str, Any]) -> Iterator[str]:
    yield f"{told['node']}: {told['verdict']}"
    yield from (f"  {reason}" for reason in told["reasons"])
    yield "members"
    yield from _table(told["members"], ("name", "state", "tier", "address"))
    yield "addresses"
    yield from _table(told["addresses"], ("address", "owner", "standing", "services"))


def _table(rows: list[dict[str, Any]], keys: tuple[str, ...]) -> Iterator[str]:
    cells = [[_cell(row[key]) for key in keys] for row in rows]
    widths = [max((len(row[column]) for row in cells), default=0) for column in range(len(keys))]
    for row in cells:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _cell(value: object) -> str:
    return ",".join(value) if isinstance(value, list) else str(value or "-")
