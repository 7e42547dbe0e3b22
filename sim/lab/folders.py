"""The folders of labs: which lab is running, and whose folder was left behind by one that was killed.

Rules kept here:

* Who runs a lab holds a lock on a file in its folder; the kernel gives the lock up with the process. The file has its
  name only when it is locked, so that a folder without a held lock is nobody's.
* A folder that is nobody's is removed by the next lab.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

PREFIX: Final = "starling-lab-"
LOCK: Final = "running"
"""Holds the process id of who runs the lab."""


@contextmanager
def open_folder(kind: str) -> Iterator[Path]:
    """A new folder for a lab, removed at the end. `kind` tells labs apart: `up`, `run`, `demo`."""
    sweep()
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{kind}-"))
    try:
        with (folder / f"{LOCK}.new").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.write(str(os.getpid()))
            lock.flush()
            (folder / f"{LOCK}.new").rename(folder / LOCK)
            yield folder
            shutil.rmtree(folder)  # while the lock is held, so that nobody else removes it too
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep() -> None:
    """Remove the folders of labs that have gone."""
    for folder in _folders("*"):
        with suppress(OSError), (folder / LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


def running(kind: str) -> dict[Path, int]:
    """The folders of labs of this kind that run, and the process ids of who runs them."""
    found = {}
    for folder in _folders(kind):
        with suppress(OSError, ValueError), (folder / LOCK).open("r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found[folder] = int(lock.read())
    return found


def _folders(kind: str) -> list[Path]:
    """Those that belong to us: nobody else's folder is looked into."""
    mine = []
    for folder in sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}{kind}-*")):
        with suppress(OSError):
            if folder.is_dir() and not folder.is_symlink() and folder.stat().st_uid == os.geteuid():
                mine.append(folder)
    return mine
