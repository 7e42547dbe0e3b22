"""Files and folders of manifests, from the disk.

Rules kept here:

* A folder is read with what is below it, in the order of names: files that end in .yaml, .yml or .json. What begins
  with a dot is left out. A file that is named is read whatever its name.
* Every file and folder is read once, however many names and links lead to it; a loop of links ends there.
* Nothing is read without a limit, and nothing in a folder that is not a regular file.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cluster.yaml_text import MAX_TEXT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_FILES: Final = 10_000
"""Files of one reading."""
MAX_TOTAL_BYTES: Final = 256 * 1024 * 1024
"""Bytes of one reading."""
SUFFIXES: Final = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A path that could not be read, and why."""

    path: str
    reason: str


@dataclass(slots=True)
class Files:
    """What was read: names and contents, and what could not be."""

    read: list[tuple[str, bytes]] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)


def read_files(paths: Iterable[str]) -> Files:
    """Read files, and folders with all that is below them. Raises nothing: what the system refuses is in the result."""
    return _Walk().files(paths)


class _Walk:
    def __init__(self) -> None:
        self._files = Files()
        self._seen: set[tuple[int, int]] = set()
        self._bytes = 0

    def files(self, paths: Iterable[str]) -> Files:
        for path in paths:
            before = len(self._files.read), len(self._files.unreadable), len(self._seen)
            self._visit(path, is_named=True)
            if before == (len(self._files.read), len(self._files.unreadable), len(self._seen) - 1):
                self._refuse(path, f"no file in it ends in {', '.join(SUFFIXES)}")
        return self._files

    def _refuse(self, path: str, reason: str) -> None:
        self._files.unreadable.append(Unreadable(path, reason))

    def _visit(self, start: str, is_named: bool) -> None:
        waiting = [start]  # a list, not recursion: folders may be deeper than the stack
        while waiting:
            path = waiting.pop()
            try:
                waiting += reversed(self._read(path, is_named))
            except OSError as exc:
                self._refuse(path, exc.strerror or str(exc))
            except ValueError as exc:  # a name with a zero byte
                self._refuse(path, str(exc))
            is_named = False

    def _read(self, path: str, is_named: bool) -> list[str]:
        """Read a file, or return the paths in a folder that are to be visited."""
        status = os.stat(path)
        identity = status.st_dev, status.st_ino
        if identity in self._seen:
            return []
        if stat.S_ISDIR(status.st_mode):
            self._seen.add(identity)
            names = sorted(name for name in os.listdir(path) if not name.startswith("."))
            return [inner for name in names if self._is_wanted(inner := os.path.join(path, name))]
        if is_named or stat.S_ISREG(status.st_mode):
            self._seen.add(identity)
            self._read_file(path)
        return []

    def _is_wanted(self, path: str) -> bool:
        return path.endswith(SUFFIXES) or os.path.isdir(path)

    def _read_file(self, path: str) -> None:
        if len(self._files.read) >= MAX_FILES:
            self._refuse(path, f"more than {MAX_FILES} files")
            return
        with open(path, "rb") as file:
            data = file.read(MAX_TEXT_BYTES + 1)  # one more than the reader takes, so that it can tell
        self._bytes += len(data)
        if self._bytes > MAX_TOTAL_BYTES:
            self._refuse(path, f"more than {MAX_TOTAL_BYTES} bytes in all files")
            return
        self._files.read.append((path, data))
