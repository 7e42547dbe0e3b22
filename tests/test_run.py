"""The scripts `run` and `.ci/run`: what they say and how they exit. Setting a machine up is not tried here."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.tree import ROOT


def call(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=60)


def test_help_names_every_task() -> None:
    tasks = re.findall(r"^task_(\w+)\(\)", (ROOT / "run").read_text(), re.MULTILINE)
    result = call("./run", "--help")
    assert result.returncode == 0
    assert {"demo", "test", "check", "bench", "hunt", "docs", "starling"} == set(tasks)
    assert all(f"./run {task} " in result.stdout for task in tasks)


@pytest.mark.parametrize("arguments", [[], ["nonsense"]])
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    result = call("./run", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert "./run test" in result.stderr


@pytest.mark.parametrize(("failing", "expected"), [("none", 0), ("check", 1), ("test", 1)])
def test_ci_does_both_and_fails_if_either_does(tmp_path: Path, failing: str, expected: int) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    stand_in = tmp_path / "run"
    stand_in.write_text(f'#!/bin/sh\necho "$@" >>called\n[ "$1" != {failing} ]\n')
    stand_in.chmod(0o755)
    assert call(str(tmp_path / ".ci" / "run"), cwd=Path("/")).returncode == expected
    assert (tmp_path / "called").read_text() == "check\ntest --require\n"
