"""A source on a file system of its own, which is full and then is not. Run by a test in a mount namespace of its own.

Prints one JSON object: what was said while the disk was full, and what stood on it then and afterwards.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import aclosing, suppress
from ipaddress import IPv4Address
from pathlib import Path

import trio

from cluster.folder_source import FolderSource
from cluster.folder_statuses import StatusFolder
from cluster.model import ObjectName, ServiceStatus

NAMES = ("a", "b")


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def fill(folder: Path) -> None:
    with (folder / ".filling").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"x" * 4096):
            pass


FAULTS: dict[str, tuple[Callable[[Path], None], Callable[[Path], None]]] = {
    "full": (fill, lambda folder: (folder / ".filling").unlink()),
    "read-only": (
        lambda folder: mount("-o", "remount,ro", str(folder)),
        lambda folder: mount("-o", "remount,rw", str(folder)),
    ),
}
"""How the file system comes to refuse, and how that ends."""


def statuses(host: int) -> list[ServiceStatus]:
    return [
        ServiceStatus(service=ObjectName("default", name), ingress=(IPv4Address(f"192.0.2.{host + number}"),))
        for number, name in enumerate(NAMES)
    ]


def standing(folder: Path) -> list[str]:
    read = StatusFolder(str(folder))
    read.look()
    assert read.problems == ()
    return [str(address) for status in read.statuses.values() for address in status.ingress]


async def main(folder: Path, fault: str) -> None:
    status_folder = folder / "status"
    begin, end = FAULTS[fault]
    source = FolderSource(str(folder), exclusive=True)
    async with aclosing(source.snapshots()) as readings:
        await anext(readings)
        assert await source.report(*statuses(1)) == ()
        await anext(readings)
        begin(status_folder)
        unwritten = [problem.message for problem in await source.report(*statuses(11))]
        hints = [problem.hint for problem in (await anext(readings)).warnings]
        during = standing(status_folder)
        end(status_folder)
        while (await anext(readings)).warnings:
            pass
    said = {"unwritten": unwritten, "hints": hints, "during": during, "after": standing(status_folder)}
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    root = Path(sys.argv[1])
    (root / "status").mkdir()
    mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", str(root / "status"))
    trio.run(main, root, sys.argv[2])
