"""The commands that need no agent."""

from __future__ import annotations

import base64
import json
import os
import sys

import click

from gossip.cli.arguments import read_hex, read_label
from gossip.cli.client import print_answer
from gossip.cli.options import KEY, Parsed, json_option
from gossip.control.notices import SCHEMA
from gossip.control.requests import EXIT_NO
from gossip.dissect import dissect
from gossip.keyring import Keyring


@click.command()
@json_option
def keygen(as_json: bool) -> None:
    """Print a new key: 32 random bytes in base64."""
    key = base64.b64encode(os.urandom(32)).decode()
    print_answer({"key": key}, as_json, [key])


@click.command()
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
