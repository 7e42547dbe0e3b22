"""A LAN of network namespaces that loses packets: one bridge, one namespace a host, made and removed by a test."""

from __future__ import annotations

import itertools
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Host:
    """One network namespace with an interface ``eth0`` on the LAN."""

    namespace: str
    address: str

    @property
    def prefix(self) -> list[str]:
        """What to put before a command so that it runs on this host."""
        return ["ip", "netns", "exec", self.namespace]

    async def drop(self, per_mille: int) -> None:
        """Lose that many of a thousand arriving frames, whatever they carry, independently of one another."""
        rule = f"numgen random mod 1000 0-{per_mille - 1} drop;" if per_mille else ""
        rules = (
            "add table netdev loss; flush table netdev loss; "
            'table netdev loss { chain arriving { type filter hook ingress device "eth0" priority 0; '
            f"{rule} }}; }}"
        )
        await trio.run_process([*self.prefix, "nft", rules])


async def namespaces() -> list[str]:
    """The named network namespaces of this machine."""
    listed = await trio.run_process(["ip", "netns", "list"], capture_stdout=True)
    return [line.split()[0] for line in listed.stdout.decode().splitlines()]


async def _ip(lines: Iterable[str], *options: str) -> None:
    await trio.run_process(["ip", *options, "-batch", "-"], stdin="\n".join(lines).encode())


@asynccontextmanager
async def open_lan(size: int) -> AsyncIterator[list[Host]]:
    """``size`` hosts on one bridge, the bridge in a namespace of its own: removing them leaves nothing behind."""
    stem = f"starling-{os.getpid()}-{next(_numbers)}"
    bridge = f"{stem}-lan"
    hosts = [Host(f"{stem}-{i}", f"10.77.0.{i}") for i in range(1, size + 1)]
    names = [bridge, *(host.namespace for host in hosts)]
    made: list[str] = []
    try:
        for name in names:
            await _ip([f"netns add {name}"])
            made.append(name)
        ports = [f"port{i}" for i in range(1, size + 1)]
        await _ip(
            ["link add lan type bridge", "link set lan up"]
            + [
                f"link add {port} type veth peer name eth0 netns {host.namespace}"
                for port, host in zip(ports, hosts, strict=True)
            ]
            + [f"link set {port} master lan up" for port in ports],
            "-n",
            bridge,
        )
        for host in hosts:
            lines = [f"address add {host.address}/24 dev eth0", "link set lo up", "link set eth0 up"]
            await _ip(lines, "-n", host.namespace)
        yield hosts
    finally:
        with trio.CancelScope(shield=True):
            await _ip([f"netns delete {name}" for name in made])
