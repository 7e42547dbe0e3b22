"""The guide shows what the command prints."""

from __future__ import annotations

import re
import shlex

import pytest
from click.testing import CliRunner

from gossip.cli import ring
from gossip.control.notices import _TOLD
from tests.tree import ROOT

GUIDE = (ROOT / "docs" / "guide" / "ring.md").read_text()
COMMANDS = re.findall(r"^\$ starling ring (.*)$", GUIDE, re.MULTILINE)
DECODED = re.findall(r"^\$ starling ring (decode .*)\n(.*)$", GUIDE, re.MULTILINE)


@pytest.mark.parametrize(("command", "output"), DECODED, ids=range(len(DECODED)))
def test_packets_are_taken_apart_as_shown(command: str, output: str) -> None:
    assert CliRunner().invoke(ring, shlex.split(command)).stdout == f"{output}\n"


def test_every_command_that_is_shown_exists_and_most_are_shown() -> None:
    shown = {shlex.split(command)[0] for command in COMMANDS}
    assert len(DECODED) == 3
    assert shown <= set(ring.commands)
    assert {f"ring {name}" for name in ring.commands if name not in shown and f"ring {name}" not in GUIDE} == set()


def test_every_event_that_is_told_is_explained() -> None:
    told = {name for name, _ in _TOLD.values()} | {"listening", "refuted", "user-event", "warning", "lost"}
    assert [name for name in sorted(told) if f"`{name}`" not in GUIDE] == []
