"""The built wheel: installed into an empty folder, it holds what it must and runs from anywhere. Needs no network."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from starling import __version__
from tests.tree import PACKAGES, ROOT

pytestmark = pytest.mark.slow


def run(*command: str, cwd: Path, **environment: str) -> str:
    """Run a command without what the test runner put into the environment, and return what it printed."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("COV", "PYTHON", "PYTEST"))}
    result = subprocess.run(
        command, cwd=cwd, env=kept | environment, capture_output=True, text=True, check=False, timeout=100
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel alone; what it depends on comes from the interpreter that runs the tests."""
    folder = tmp_path_factory.mktemp("installed")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(folder)]
    run(*install, str(wheel), cwd=folder)
    return folder


def test_it_holds_the_packages_their_types_and_the_licence_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {*PACKAGES, f"starling-{__version__}.dist-info"}
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    assert [name for name in names if name.endswith("/licenses/LICENSE")]


def test_every_module_of_the_tree_is_in_it(wheel: Path) -> None:
    expected = {str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert expected == {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py")}


def test_its_command_runs_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    script = str(installed / "bin" / "starling")
    assert run(script, "--version", cwd=tmp_path, PYTHONPATH=str(installed)) == f"starling {__version__}\n"
    assert "agent" in run(script, "ring", "--help", cwd=tmp_path, PYTHONPATH=str(installed))


def test_the_packages_come_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    program = f"import {', '.join(PACKAGES)}; print({', '.join(f'{package}.__file__' for package in PACKAGES)})"
    printed = run(sys.executable, "-c", program, cwd=tmp_path, PYTHONPATH=str(installed)).split()
    assert [Path(path).is_relative_to(installed) for path in printed] == [True] * len(PACKAGES)
