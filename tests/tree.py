"""The files of the tree, as the tests about the tree see them: tracked ones and new ones that git does not ignore."""

import ast
import functools
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("cluster", "controller", "gossip", "sim", "speaker", "starling", "telemetry")


@functools.cache
def files() -> tuple[Path, ...]:
    """Every file of the tree that exists, sorted, as absolute paths."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    return tuple(sorted(path for name in set(listed.split("\0")) if name and (path := ROOT / name).is_file()))


@functools.cache
def modules() -> dict[str, Path]:
    """Dotted name -> file, for every Python file of the packages and the tests."""
    found = {}
    for path in files():
        relative = path.relative_to(ROOT)
        if path.suffix == ".py" and relative.parts[0] in (*PACKAGES, "tests"):
            parts = relative.with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def parse(path: Path) -> ast.Module:
    """The syntax tree of one file."""
    return ast.parse(path.read_text(), str(path))


def name(path: Path) -> str:
    """The path as one writes it from the root of the tree."""
    return str(path.relative_to(ROOT))
