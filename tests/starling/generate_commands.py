"""Renders docs/reference/commands.md: every command with its help, as the command itself prints it."""

from collections.abc import Iterator

import click

from starling.cli import starling

WIDTH = 110

HEAD = """\
# The command

Generated from the command itself by `./run docs`.

Exit codes: 0 fine · 1 the answer is no · 2 wrong usage · 3 could not be done here, with the reason.
"""


def _walk(command: click.Command, path: str, parent: click.Context | None) -> Iterator[str]:
    settings = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    context = click.Context(command, parent=parent, info_name=path.rpartition(" ")[2], **settings)
    yield f"\n## `{path}`\n\n```text\n{command.get_help(context).rstrip()}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                yield from _walk(child, f"{path} {name}", context)


def render() -> str:
    """The whole page."""
    return HEAD + "".join(_walk(starling, "starling", None))
