"""Renders docs/reference/profiles.md: every field of a ring's configuration, its value in each profile, and what it
trades.

The words are the docstrings under the fields. A field without one, or a group that no page lists, fails the
rendering.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import fields
from enum import Enum

from gossip import PROFILES, GossipConfig

HEAD = """\
# Profiles

Generated from the dataclasses in `gossip/config.py` and `gossip/envelope.py` by `./run docs`.

The § numbers are those of [the protocol](../specs/memberlist-protocol.md). A profile is a complete configuration;
`--profile NAME` chooses one, and a program derives its own with `dataclasses.replace`. Durations are seconds, sizes
bytes. `memberlist` behaves to the letter as hashicorp/memberlist does on a LAN; `lan` is the default.

"""


def field_docs(cls: type) -> dict[str, str]:
    """The docstring under each field of a dataclass, on one line."""
    (tree,) = ast.parse(inspect.getsource(cls)).body
    assert isinstance(tree, ast.ClassDef)
    docs: dict[str, str] = {}
    for statement, following in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            docs[statement.target.id] = " ".join(str(following.value.value).split())
    return docs


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        return f"`{value.decode()}`" if value else "–"
    if value is None:
        return "–"
    if isinstance(value, Enum):
        return f"`{value.value}`"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def _group(name: str, profiles: dict[str, GossipConfig]) -> Iterator[str]:
    groups = {profile: getattr(config, name) for profile, config in profiles.items()}
    cls = type(next(iter(groups.values())))
    summary = " ".join((inspect.getdoc(cls) or "").split())
    yield f"## `{name}`\n\n{summary}\n\n| field | {' | '.join(profiles)} | what it trades |\n"
    yield "|---" * (len(profiles) + 2) + "|\n"
    docs = field_docs(cls)
    for field in fields(cls):
        values = " | ".join(_shown(getattr(group, field.name)) for group in groups.values())
        yield f"| `{field.name}` | {values} | {docs[field.name]} |\n"
    yield "\n"


def render() -> str:
    """The whole page."""
    profiles = {name: make() for name, make in PROFILES.items()}
    body = "".join("".join(_group(field.name, profiles)) for field in fields(GossipConfig))
    return (HEAD + body).rstrip() + "\n"
