"""A slow process under a test's hand: the shipped one with a folder of manifests, or one that misbehaves."""

from __future__ import annotations

import os
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import trio

from speaker.fast.child import Child
from speaker.link import Wanted
from speaker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from speaker.link import ToFast

WITHIN = 20.0

CONFIG = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: config, namespace: metallb-system}
data:
  config: |
    address-pools:
    - {name: pool, protocol: layer2, addresses: [10.64.0.0/16]}
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata: {{name: service-{number}, namespace: default}}
spec: {{type: LoadBalancer, ports: [{{port: 80}}]}}
status: {{loadBalancer: {{ingress: [{{ip: {address}}}]}}}}
"""


def address_of(number: int) -> IPv4Address:
    return IPv4Address("10.64.0.0") + number


def services(*numbers: int) -> str:
    """Manifests of services that have the addresses with these numbers."""
    return "---\n".join(SERVICE.format(number=number, address=address_of(number)) for number in numbers)


def settings_in(folder: Path, **changes: object) -> Settings:
    """A speaker's settings with everything below the folder, which gets a configuration and no services."""
    manifests = folder / "manifests"
    manifests.mkdir(exist_ok=True)
    (manifests / "config.yaml").write_text(CONFIG)
    return Settings(
        **{
            "node": "ann",
            "source": str(manifests),
            "bind": ("127.0.0.1", 7946),
            "api": str(folder / "api.sock"),
            "state": str(folder / "state"),
            **changes,
        }  # type: ignore[arg-type]  # the names tell the types
    )


def rename_into(folder: Path, name: str, text: str) -> None:
    """Put a manifest there at once."""
    beside = folder / f".{name}.tmp"
    beside.write_text(text)
    os.replace(beside, folder / name)


@dataclass
class Told:
    """What a slow process has told, and the demand that it makes."""

    messages: list[ToFast] = field(default_factory=list)
    groups: dict[object, Wanted] = field(default_factory=dict)
    _arrived: trio.Event = field(default_factory=trio.Event)

    async def take(self, message: ToFast) -> None:
        self.messages.append(message)
        if isinstance(message, Wanted):
            if message.is_reset:
                self.groups.clear()
            self.groups.update((group.key, message) for group in message.change.groups)
            for key in message.change.gone:
                del self.groups[key]
        self._arrived.set()
        await trio.lowlevel.checkpoint()

    async def until(self, wanted: Callable[[Told], bool]) -> None:
        """Wait until it has told that."""
        with trio.fail_after(WITHIN):
            while not wanted(self):
                self._arrived = trio.Event()
                await self._arrived.wait()

    async def next(self, kind: type, count: int = 1) -> ToFast:
        """The message of this kind with this number, 1 the first."""
        await self.until(lambda told: len(told.of(kind)) >= count)
        return self.of(kind)[count - 1]

    def of(self, kind: type) -> list[ToFast]:
        return [message for message in self.messages if isinstance(message, kind)]


@asynccontextmanager
async def running(child: Child) -> AsyncIterator[Told]:
    """What the child tells while it is kept running."""
    told = Told()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child.run, told.take)
        yield told
        nursery.cancel_scope.cancel()


def scripted(program: str) -> Child:
    """A child that runs this program instead; `link` is its end of the link, `tell(message)` says one."""
    head = (
        "import os, socket, sys, time\nfrom speaker.link import *\n"
        "link = socket.socket(fileno=int(sys.argv[2]))\ntell = lambda message: link.sendall(encode(message))\n"
    )
    return Child("{}", command=(sys.executable, "-P", "-c", head + program))


def is_running(pid: int) -> bool:
    """Whether there is a process of this number, a zombie or not."""
    return os.path.exists(f"/proc/{pid}")
