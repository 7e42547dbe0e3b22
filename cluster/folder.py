"""Files and folders of manifests, from the disk.

Rules kept here:

* A folder is read with what is below it, in the order of names: files that end in .yaml, .yml or .json. What begins
  with a dot is left out. A file that is named is read whatever its name.
* Every file and folder is read once, however many names and links lead to it; a loop of links ends there.
* Nothing is read without a limit, and nothing in a folder that is not a regular file.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cluster.yaml_text import MAX_TEXT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_FILES: Final = 50_000
"""Files of one reading."""
MAX_TOTAL_BYTES: Final = 256 * 1024 * 1024
"""Bytes of one reading."""
SUFFIXES: Final = (".yaml", ".yml", ".json")
UNREADABLE_HINT: Final = "check the path and who may read it"
RACY_TIME: Final = 100_000_000
"""Nanoseconds within which a file may change again and keep its time stamp."""

_CURES: Final = {
    errno.EACCES: "let the user of this process in",
    errno.EDQUOT: "make room, or raise the quota",
    errno.EFBIG: "raise the limit on the size of files",
    errno.EISDIR: "take the folder of that name away",
    errno.ENOSPC: "make room on the file system",
    errno.ENOTDIR: "take the file of that name away",
    errno.EPERM: "let the user of this process in",
    errno.EROFS: "make the file system writable",
}


@dataclass(frozen=True, slots=True)
class Signature:
    """What tells that a file is the same as before."""

    device: int
    inode: int
    size: int
    modified: int
    """Nanoseconds since the epoch, as `changed`."""
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> Signature:
        """From what the system says of a file."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    @property
    def is_settled(self) -> bool:
        """Whether a later change is sure to show. The same instant of a coarse clock may hold two."""
        return time.time_ns() - self.modified > RACY_TIME


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


@dataclass(slots=True)
class Paths:
    """Files that are to be read, in order, each as it was when it was found; and what could not be looked at."""

    found: list[tuple[str, Signature]] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)


def read_files(paths: Iterable[str]) -> Files:
    """Read files, and folders with all that is below them. Raises nothing: what the system refuses is in the result."""
    found = find_files(paths)
    files = Files(unreadable=found.unreadable)
    total = 0
    for path, _ in found.found:
        try:
            data = read_file(path)
        except OSError as exc:
            files.unreadable.append(Unreadable(path, reason(exc)))
            continue
        total += len(data)
        if total > MAX_TOTAL_BYTES:
            files.unreadable.append(Unreadable(path, f"more than {MAX_TOTAL_BYTES} bytes in all files"))
            continue
        files.read.append((path, data))
    return files


def read_file(path: str) -> bytes:
    """What is in a file, to one byte more than the readers take, so that they can tell. Raises OSError."""
    with open(path, "rb") as file:
        return file.read(MAX_TEXT_BYTES + 1)


def find_files(paths: Iterable[str], without: str | None = None) -> Paths:
    """Find files, and those in folders with all that is below them, but for the folder `without`. Raises nothing."""
    return _Walk(without).files(paths)


def reason(exc: OSError) -> str:
    """What the system says, in a few words."""
    return exc.strerror or str(exc)


def cure(exc: OSError) -> str:
    """What to do about it."""
    return _CURES.get(exc.errno or 0, UNREADABLE_HINT)


class _Walk:
    def __init__(self, without: str | None) -> None:
        self._without = without
        self._paths = Paths()
        self._seen: set[tuple[int, int]] = set()

    def files(self, paths: Iterable[str]) -> Paths:
        for path in paths:
            before = len(self._paths.found), len(self._paths.unreadable), len(self._seen)
            self._visit(path, is_named=True)
            if before == (len(self._paths.found), len(self._paths.unreadable), len(self._seen) - 1):
                self._refuse(path, f"no file in it ends in {', '.join(SUFFIXES)}")
        return self._paths

    def _refuse(self, path: str, why: str) -> None:
        self._paths.unreadable.append(Unreadable(path, why))

    def _visit(self, start: str, is_named: bool) -> None:
        waiting = [start]  # a list, not recursion: folders may be deeper than the stack
        while waiting:
            path = waiting.pop()
            try:
                waiting += reversed(self._look(path, is_named))
            except OSError as exc:
                self._refuse(path, reason(exc))
            except ValueError as exc:  # a name with a zero byte
                self._refuse(path, str(exc))
            is_named = False

    def _look(self, path: str, is_named: bool) -> list[str]:
        """Take a file, or return the paths in a folder that are to be visited."""
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
            if len(self._paths.found) >= MAX_FILES:
                self._refuse(path, f"more than {MAX_FILES} files")
            else:
                self._paths.found.append((path, Signature.of(status)))
        return []

    def _is_wanted(self, path: str) -> bool:
        return path != self._without and (path.endswith(SUFFIXES) or os.path.isdir(path))
