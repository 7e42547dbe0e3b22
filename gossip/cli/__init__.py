"""The commands `starling ring …`: run a member, ask and tell a running one, take packets apart.

Rules kept here:

* What the command line alone tells to be wrong is refused before anything is opened or asked (exit code 2). What the
  running agent refuses is a no (1); what needs an agent, a peer or a port that is not there could not be done (3).
* With `--json` the standard output holds JSON and nothing else.
* Only `agent` runs a ring, and only it imports what that takes.

Commands of other packages that speak to an agent of theirs use what is exported here.
"""

import click

from gossip.cli import agent, queries, tools
from gossip.cli.arguments import read_name, read_socket_path
from gossip.cli.client import Refused, Respondent, Unavailable, ask, converse, print_answer
from gossip.cli.options import ADVERTISED, BIND, TARGET, Parsed, json_option, lines_option, wants_json

__all__ = [
    "ADVERTISED",
    "BIND",
    "TARGET",
    "Parsed",
    "Refused",
    "Respondent",
    "Unavailable",
    "ask",
    "converse",
    "json_option",
    "lines_option",
    "print_answer",
    "read_name",
    "read_socket_path",
    "ring",
    "wants_json",
]


@click.group(
    commands=[
        agent.run,
        queries.members,
        queries.info,
        queries.events,
        queries.join,
        queries.leave,
        queries.force_leave,
        queries.ping,
        queries.send,
        queries.event,
        queries.keys,
        tools.keygen,
        tools.decode,
    ],
    context_settings={"help_option_names": ["-h", "--help"]},
)
def ring() -> None:
    """The ring: who is a member, and who is alive.

    `agent` runs a member; `keygen` and `decode` need none; every other command asks a running agent over its control
    socket.
    """
