"""Speakers as their users start them, in the namespace of a test, and what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from tests.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

MANIFESTS = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: config, namespace: metallb-system}
data:
  config: |
    address-pools:
    - {name: pool, protocol: layer2, addresses: [10.64.0.0/24]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {type: LoadBalancer, clusterIP: 10.96.0.7, ports: [{port: 80}]}
status: {loadBalancer: {ingress: [{ip: 10.64.0.10}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.244.0.2], nodeName: n1}, {addresses: [10.244.1.2], nodeName: n2}]
ports: [{port: 8080}]
"""
ADDRESS = "10.64.0.10"


class Speaker:
    """One that runs; ``lines`` is its log so far."""

    def __init__(self, process: trio.Process, api: Path) -> None:
        self.process = process
        self.api = api
        self.lines: list[dict[str, Any]] = []
        self.errors = ""
        self._news = trio.Event()
        self._given: set[int] = set()

    async def listen(self) -> None:
        assert self.process.stdout is not None
        rest = b""
        async for chunk in self.process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            self.lines += [json.loads(line) for line in lines]
            self._news.set()
        self._news.set()

    async def listen_to_errors(self) -> None:
        assert self.process.stderr is not None
        async for chunk in self.process.stderr:
            self.errors += chunk.decode()

    async def says(self, event: str, **fields: object) -> dict[str, Any]:
        """The next line with this event and these fields, of those not given before."""
        while True:
            for number, line in enumerate(self.lines):
                if number in self._given or line["event"] != event:
                    continue
                if all(line.get(key) == value for key, value in fields.items()):
                    self._given.add(number)
                    return line
            self._news = trio.Event()
            await self._news.wait()

    async def ask(self, *words: str) -> Any:
        """What a command about this speaker prints, as JSON."""
        command = [sys.executable, "-m", "starling", *words, "--api", str(self.api), "--json"]
        asked = await trio.run_process(command, capture_stdout=True, check=False, cwd=ROOT)
        return json.loads(asked.stdout)

    def children(self) -> list[int]:
        """Its child processes."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as file:
            return [int(pid) for pid in file.read().split()]


@asynccontextmanager
async def speaker(
    folder: Path, *options: str, name: str = "n1", bind: str = "127.0.0.1:7946", prefix: tuple[str, ...] = ()
) -> AsyncIterator[Speaker]:
    """A speaker; its folder of manifests is ``folder/manifests`` unless the options say otherwise."""
    api = folder / f"{name}.sock"
    words = ["--node", name, "--bind", bind, "--api", str(api), "--state", str(folder / f"state-{name}")]
    source = [] if "--source" in options else ["--source", str(folder / "manifests")]
    command = [*here(), *prefix, sys.executable, "-m", "starling", "speaker", *words, *source, *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    async with trio.open_nursery() as nursery:
        process = await trio.lowlevel.open_process(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=environment
        )
        started = Speaker(process, api)
        nursery.start_soon(started.listen)
        nursery.start_soon(started.listen_to_errors)
        try:
            yield started
        finally:
            told = [f"{name}: exit code {process.returncode}", *map(str, started.lines), started.errors]
            sys.stdout.write("\n  ".join(told))  # shown when the test fails
            with trio.CancelScope(shield=True):
                process.kill()
                await process.wait()
            nursery.cancel_scope.cancel()


def here() -> list[str]:
    """What starts a command in the namespace of the calling thread: trio starts programs from threads of its own."""
    return ["nsenter", f"--net=/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net"]


def write_manifests(folder: Path, text: str = MANIFESTS) -> None:
    """The manifests of a test, in place of those before."""
    manifests = folder / "manifests"
    manifests.mkdir(exist_ok=True)
    (manifests / ".new").write_text(text)
    (manifests / ".new").replace(manifests / "all.yaml")
