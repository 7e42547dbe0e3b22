"""The command line: one table of commands, each imported only when it is called.

Rules: a package owns its commands, this module only names them; `starling --help` imports none of them. Exit codes
are the same everywhere: 0 fine, 1 the answer is no, 2 wrong usage, 3 could not be done here (with the reason).
"""

import importlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

import click

from starling import __version__

EXIT_UNAVAILABLE = 3


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """Where a command lives (`module:attribute`) and its line in `starling --help`."""

    target: str
    summary: str

    def load(self) -> click.Command:
        """Import the command. An entry that does not lead to a click command raises TypeError."""
        module, _, attribute = self.target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{self.target} is a {type(command).__name__}, not a click command")
        return command


COMMANDS: dict[str, CommandEntry] = {
    "check": CommandEntry("cluster.cli:check", "Check manifests: every error with its place and cure."),
    "controller": CommandEntry("controller.cli:controller", "Give addresses to services, from a folder of manifests."),
    "demo": CommandEntry("starling.demo:demo", "A cluster on this machine: a cable is cut, an address moves."),
    "speaker": CommandEntry("speaker.cli:speaker", "Announce this node's share of the addresses."),
    "status": CommandEntry("speaker.cli:status", "How a speaker does: members, addresses, what is wrong."),
    "why": CommandEntry("speaker.cli:why", "Who owns an address, and why not another node."),
    "lab": CommandEntry("sim.lab.cli:lab", "Clusters on this machine, with real processes and faults on request."),
    "ring": CommandEntry("gossip.cli:ring", "Run a member of the ring, ask it, tell it; take packets apart."),
}


class LazyGroup(click.Group):
    """A group whose commands come from `COMMANDS`; listing them imports nothing."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command, or None for a name that is not in the table."""
        entry = COMMANDS.get(cmd_name)
        return entry.load() if entry else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table's own summaries, where click would load every command to ask it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="starling", message="%(prog)s %(version)s")
def starling() -> None:
    """Starling: a load balancer for Kubernetes clusters on bare metal.

    Exit codes: 0 fine, 1 the answer is no, 2 wrong usage, 3 could not be done here.
    """


def main() -> NoReturn:
    """Run the command line and exit: with 3 where the system refuses something (a port in use, a missing right)."""
    _open_what_is_closed()
    try:
        starling.main(prog_name="starling")
    except* OSError as group:
        reasons = list(_leaves(group))
    if not any(isinstance(reason, BrokenPipeError) for reason in reasons):  # nobody is left who would read it
        for reason in reasons:
            click.echo(f"starling: {reason}", err=True)
    _open_what_is_closed(anew=True)
    sys.exit(EXIT_UNAVAILABLE)


def _open_what_is_closed(*, anew: bool = False) -> None:
    """Give a standard stream that the shell closed, or (``anew``) that nobody reads any more, one that takes all."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None or (anew and number == 1):
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, number)
            setattr(sys, name, os.fdopen(number, "w", closefd=False))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
