"""The command `agent`: from options, checked, to a running member."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from gossip.addresses import DEFAULT_PORT
from gossip.cli.arguments import read_label, read_meta, read_name, read_network, read_tag, tags_as_meta
from gossip.cli.client import Unavailable
from gossip.cli.options import ADVERTISED, BIND, TARGET, Parsed, api_option, lines_option, wants_json
from gossip.config import PROFILES, profile
from gossip.control import read_key_file
from gossip.errors import LocalError
from gossip.serf import DELEGATE_VERSIONS

if TYPE_CHECKING:
    from gossip.config import GossipConfig

COMPAT: Final = {"serf": DELEGATE_VERSIONS, "metallb": (0, 0, 0)}
"""Programs whose rings an agent can be in as one of theirs, and the versions that it then announces."""


@click.command("agent")
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
@click.option("--advertise", type=ADVERTISED, help="What the others are told, where that is not the same.")
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
def run(**options: Any) -> None:
    """Run a member until it is told to leave, and print what happens, an event a line.

    SIGINT, SIGTERM and `ring leave` say goodbye first; a second signal does not wait for it. Seeds that do not answer
    are tried again, so the order in which agents start does not matter.
    """
    import trio

    from gossip.control.agent import AgentSettings
    from gossip.control.run import run_agent

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
        as_json=wants_json(options["as_json"]),
        complain=_complain,
    )
    if not settings.api_required:
        _make_folder(settings.api)
    try:
        code = trio.run(run_agent, settings, _output())
    except LocalError as reason:
        raise Unavailable(str(reason)) from None
    sys.exit(code)


def _output() -> int:
    """The descriptor to print to; where the shell closed standard output, one that takes everything."""
    return os.open(os.devnull, os.O_WRONLY) if sys.stdout is None else sys.stdout.fileno()


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
        return read_key_file(path, _complain, is_secret=compat == "metallb")
    except LocalError as reason:
        raise click.BadParameter(str(reason), param_hint="--key-file") from None


def _meta(options: dict[str, Any]) -> bytes | None:
    """The metadata that the options ask for, where the ring is one that has any."""
    meta: bytes | None = options["meta"]
    compat, tags = options["compat"], options["tags"]
    if compat == "metallb" and (meta is not None or options["label"]):
        raise click.UsageError("MetalLB speakers know neither metadata nor labels: leave out --meta and --label.")
    if tags and compat != "serf":
        raise click.UsageError("--tag writes serf's tags: add --compat serf, or leave out --tag.")
    if tags and meta is not None:
        raise click.UsageError("Tags are the metadata: leave out --tag or --meta.")
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
