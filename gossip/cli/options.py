"""Options and arguments that several commands share, and what they hold."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from gossip.cli.arguments import read_advertised, read_bind, read_socket_path, read_target
from gossip.errors import LocalError
from gossip.keyring import parse_key

if TYPE_CHECKING:
    from collections.abc import Callable


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


def key_or_input(text: str) -> bytes:
    """A key, or ``-`` for the first line of the standard input, where no list of processes shows it."""
    return parse_key(sys.stdin.readline() if text == "-" else text)


def _default_api() -> str:
    return os.path.join(os.environ.get("XDG_RUNTIME_DIR") or "/run", "starling", "ring.sock")


BIND: Final = Parsed("addr:port", read_bind)
ADVERTISED: Final = Parsed("addr:port", read_advertised)
TARGET: Final = Parsed("addr:port", read_target)
KEY: Final = Parsed("base64", key_or_input)

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


def wants_json(as_json: bool | None) -> bool:
    """Whether a command that prints line after line prints JSON: as told, or else unless a person is reading."""
    on_terminal = sys.stdout is not None and sys.stdout.isatty()  # it is None where the shell closed it
    return not on_terminal if as_json is None else as_json
