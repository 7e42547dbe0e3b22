"""The import contracts of pyproject.toml: they hold, each can fail, and what should stay cheap to import stays so."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tree import PACKAGES, ROOT

LINTER = Path(sys.executable).with_name("lint-imports")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the tree in `folder`, without its cache."""
    return subprocess.run(
        [str(LINTER), "--no-logo", "--no-cache"], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The packages and the configuration, to be spoilt."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_contracts_hold() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("gossip/fresh.py", "import time", "touch nothing outside"),
        ("gossip/fresh.py", "from os import urandom", "touch nothing outside"),
        ("gossip/control/fresh.py", "import trio", "touch nothing outside"),
        ("gossip/cli/arguments.py", "import os", "touch nothing outside"),
        ("gossip/fresh.py", "import gossip.driver", "do not know the edge"),
        ("gossip/fresh.py", "import gossip.control.notices", "do not know the edge"),
        ("gossip/control/fresh.py", "import gossip.cli", "above the agent"),
        ("gossip/fresh.py", "import sim", "point one way"),
        ("sim/fresh.py", "from gossip import errors", "front doors"),
        ("sim/fresh.py", "import gossip.cli", "front doors"),
        ("sim/fresh.py", "import starling", "point one way"),
        ("sim/engine.py", "import time", "only virtual time"),
        ("sim/lab/record.py", "import time", "reads and judges touches nothing"),
        ("cluster/objects.py", "import gossip", "point one way"),
        ("cluster/objects.py", "import cluster.manifests", "build on each other"),
        ("cluster/fresh.py", "import json", "build on each other"),
        ("cluster/model.py", "import cluster.errors", "nothing but the standard library"),
        ("cluster/model.py", "import pydantic", "nothing but the standard library"),
        ("cluster/manifests.py", "import os", "readers of cluster touch nothing"),
    ],
)
def test_a_module_that_breaks_a_contract_is_named(copy: Path, module: str, line: str, contract: str) -> None:
    with (copy / module).open("a") as file:
        file.write(f"\n{line}\n")
    result = lint(copy)
    said = " ".join(result.stdout.split())
    assert result.returncode == 1
    assert [name for name in said.split(" KEPT") if contract in name and " BROKEN" in name], result.stdout
    assert module.removesuffix(".py").replace("/", ".") in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("gossip/fresh.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from random import Random"),
        ("gossip/fresh.py", "import zlib"),
        ("gossip/driver/pump.py", "import time"),
        ("gossip/control/agent.py", "import time"),
        ("gossip/cli/fresh.py", "import gossip.control.requests"),
        ("sim/fresh.py", "import gossip\nimport gossip.driver"),
        ("sim/engine.py", "import random"),
        ("sim/lab/meter.py", "import time"),
    ],
)
def test_a_module_that_keeps_them_is_let_through(copy: Path, module: str, line: str) -> None:
    with (copy / module).open("a") as file:
        file.write(f"\n{line}\n")
    result = lint(copy)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import gossip", {"trio", "asyncio", "ssl"}),
        ("import sim.engine", {"trio", "asyncio"}),
        ("import starling.cli", {"trio", "cryptography", "msgpack", "cluster", "gossip", "pydantic", "sim", "yaml"}),
        ("import cluster.model", {"pydantic", "yaml", "cluster.errors"}),
    ],
)
def test_what_an_import_does_not_bring(statement: str, absent: set[str]) -> None:
    program = f"{statement}\nimport sys\nprint(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    assert absent.intersection(loaded) == set()
