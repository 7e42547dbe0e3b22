"""The guide shows what the controller writes, and tells every event of its log."""

import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from controller.notices import _EVENTS
from starling.cli import starling
from tests.tree import ROOT

GUIDE = (ROOT / "docs" / "guide" / "folder.md").read_text()


def test_the_example_is_as_it_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "examples" / "hostnames", tmp_path / "examples" / "hostnames")
    monkeypatch.chdir(tmp_path)
    (command,) = re.findall(r"^\$ starling (controller .*)$", GUIDE, re.MULTILINE)
    result = CliRunner().invoke(starling, command.split())
    assert (result.exit_code, result.output) == (0, "")
    (shown,) = re.findall(r"^```yaml\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    folder = tmp_path / "examples" / "hostnames" / "status"
    assert (folder / "default.hostnames.yaml").read_text() == shown
    assert "  ".join(sorted(path.name for path in folder.iterdir())) in GUIDE.splitlines()


def test_every_event_of_the_log_is_told() -> None:
    source = (ROOT / "controller" / "notices.py").read_text()
    written = re.findall(r'_log\.\w+\(\s*"(\w+)"', source) + re.findall(r'_tell_new\(self\._log\.\w+, "(\w+)"', source)
    events = {*_EVENTS.values(), *written, "linesLost"}
    assert len(events) >= 10
    assert [event for event in sorted(events) if f"`{event}`" not in GUIDE] == []
