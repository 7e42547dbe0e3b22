"""A folder of manifests: ten thousand services read, one added, ten thousand statuses written and read."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from ipaddress import IPv4Address
from pathlib import Path

from cluster.folder_source import FolderSource
from cluster.model import ObjectName, ServiceStatus
from cluster.source import SourceReading
from tests.bench.measuring import RUNS, Row
from tests.interop.programs import GoPeer

SERVICES = 10_000
FIRST_ADDRESS = IPv4Address("10.0.0.0")


async def measure(peer: GoPeer | None) -> AsyncIterator[Row]:
    """Nothing here has a counterpart: memberlist reads no manifests."""
    many = f"{SERVICES:,}"
    read, added, written, read_again = [], [], [], []
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder)
            (path / "all.yaml").write_text("---\n".join(manifest(number) for number in range(SERVICES)))
            source = FolderSource(folder, exclusive=True)
            async with aclosing(source.snapshots()) as readings:
                read.append(await seconds_until(readings, SERVICES))
                statuses = [status(number) for number in range(SERVICES)]
                began = time.perf_counter()
                assert await source.report(*statuses) == ()
                written.append(time.perf_counter() - began)
                await anext(readings)
                (path / "more.yaml").write_text(manifest(SERVICES))
                added.append(await seconds_until(readings, SERVICES + 1))
            async with aclosing(FolderSource(folder).snapshots()) as readings:
                read_again.append(await seconds_until(readings, SERVICES + 1))
    yield Row(f"read {many} services in one file", read)
    yield Row(f"see one more beside {many} services", added)
    yield Row(f"write {many} statuses, each to the disk", written)
    yield Row(f"read {many} services and their statuses", read_again)


async def seconds_until(readings: AsyncGenerator[SourceReading, None], services: int) -> float:
    """How long it takes until this many services are read."""
    began = time.perf_counter()
    async for reading in readings:
        if reading.snapshot is not None and len(reading.snapshot.services) == services:
            return time.perf_counter() - began
    raise AssertionError("a source has no end")


def manifest(number: int) -> str:
    """A service as one writes it."""
    return (
        f"apiVersion: v1\nkind: Service\nmetadata:\n  name: s{number:05}\n  labels: {{app: web}}\n"
        "spec:\n  type: LoadBalancer\n  selector: {app: web}\n  ports:\n  - {name: http, port: 80, targetPort: 8080}\n"
    )


def status(number: int) -> ServiceStatus:
    """What such a service has."""
    name = ObjectName("default", f"s{number:05}")
    return ServiceStatus(service=name, ingress=(FIRST_ADDRESS + number,), pool="p")
