"""Folders of manifests for sources, and what to wait for in their readings."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path

import trio

from cluster.errors import Problem
from cluster.folder_source import FolderSource
from cluster.model import ObjectName, ServiceStatus
from cluster.source import SourceReading
from cluster.statuses import file_name, render_status
from tests.cluster.helpers import POOL, wrap

DEADLINE = 20
"""Seconds; a machine that is busy is slow, not wrong."""


def service(name: str, port: int = 80) -> str:
    return (
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n"
        f"spec: {{type: LoadBalancer, ports: [{{port: {port}}}]}}\n"
    )


def status(name: str, *addresses: str, pool: str | None = "p") -> ServiceStatus:
    ingress = tuple(map(IPv4Address, addresses))
    return ServiceStatus(service=ObjectName("default", name), ingress=ingress, pool=pool if ingress else None)


def lay_out(root: Path, *names: str) -> Path:
    """A folder with a pool and these services, each in a file of its own."""
    folder = root / "manifests"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(wrap(POOL))
    for name in names:
        (folder / f"{name}.yaml").write_text(service(name))
    return folder


def status_file(folder: Path, name: str) -> Path:
    return folder / "status" / f"default.{name}.yaml"


def note(folder: Path, *statuses: ServiceStatus) -> None:
    """Write statuses as a controller that is gone did."""
    (folder / "status").mkdir(exist_ok=True)
    for entry in statuses:
        (folder / "status" / file_name(entry.service)).write_text(render_status(entry))


def names(reading: SourceReading) -> list[str]:
    return [found.name.name for found in reading.snapshot.services] if reading.snapshot else []


def ingress(reading: SourceReading, name: str = "web") -> list[str]:
    assert reading.snapshot
    return [str(a) for found in reading.snapshot.services if found.name.name == name for a in found.ingress]


def messages(problems: tuple[Problem, ...], folder: Path) -> list[str]:
    return [str(problem).removeprefix(f"{folder}/") for problem in problems]


class Follower:
    """Takes the readings of a source one after the other."""

    def __init__(self, readings: AsyncGenerator[SourceReading, None]) -> None:
        self._readings = readings
        self.taken = 0

    async def next(self) -> SourceReading:
        self.taken += 1
        return await anext(self._readings)

    async def until(self, is_it: Callable[[SourceReading], bool]) -> SourceReading:
        while not is_it(reading := await self.next()):
            pass
        return reading


@asynccontextmanager
async def following(source: FolderSource) -> AsyncIterator[Follower]:
    with trio.fail_after(DEADLINE):
        async with aclosing(source.snapshots()) as readings:
            yield Follower(readings)
