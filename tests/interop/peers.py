"""Real peers for the tests: memberlist programs in Go, Debian's serf agent, and members of ours.

Rules kept here:

* Every process that was started is ended when the test is over, however the test ended.
* Each peer has a loopback address of its own, so that all of them can use memberlist's port.
"""

from __future__ import annotations

import base64
import itertools
import os
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import trio

from tests.interop.programs import (
    PORT,
    PROJECT,
    RING,
    RPC_PORT,
    GoPeer,
    Json,
    OurAgent,
    OurMember,
    Program,
    SerfAgent,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from gossip import GossipConfig

GO_VERSIONS: Final = ("0.5.1", "0.7.0")

_numbers = itertools.count(1)


def fresh_address() -> str:
    """A loopback address that no other peer of this run has, and hardly one of another run on the same machine."""
    number, pid = next(_numbers), os.getpid()
    return f"127.{100 + pid % 100}.{(pid // 100 + number // 250) % 250}.{1 + number % 250}"


def _options(options: Json) -> list[str]:
    """Keyword arguments as flags in the way that Go reads them (``--probe-interval=200``)."""
    return [
        f"--{key.replace('_', '-')}={str(value).lower() if isinstance(value, bool) else value}"
        for key, value in options.items()
    ]


async def _read_lines(stream: trio.abc.ReceiveStream, heard: Callable[[str], None]) -> None:
    rest = b""
    async for data in stream:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            heard(line.decode(errors="replace"))


class Peers:
    """The peers of one test. All of them end with it."""

    def __init__(self, nursery: trio.Nursery, folder: Path) -> None:
        self._nursery = nursery
        self._folder = folder
        self._programs: list[Program] = []

    async def _start(self, command: Sequence[str], *, stdin: bool = False) -> trio.Process:
        return await trio.lowlevel.open_process(
            list(command),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=PROJECT,
        )

    def _adopt(self, program: Program, heard: Callable[[str], None]) -> None:
        """Keep the program for the end of the test; its output goes to ``heard``, its errors to its log."""
        self._programs.append(program)
        assert program.process.stdout is not None
        assert program.process.stderr is not None
        self._nursery.start_soon(_read_lines, program.process.stdout, heard)
        self._nursery.start_soon(_read_lines, program.process.stderr, program.note)

    async def go(
        self, name: str, version: str, *, address: str = "", prefix: Sequence[str] = (), **options: Any
    ) -> GoPeer:
        """Start a memberlist peer and wait until it listens; ``options`` are its flags.

        ``prefix`` goes before the command, to run it on another host.
        """
        address = address or fresh_address()
        binary = Path(os.environ["STARLING_PEERS"]) / f"memberlist-peer-{version}"
        flags = _options({"name": name, "bind": f"{address}:{PORT}", "profile": "local", **options})
        process = await self._start([*prefix, str(binary), *flags], stdin=True)
        peer = GoPeer(name, process, address=address)
        self._adopt(peer, peer.heard)
        ready = await peer.event("ready")
        assert ready["version"] == f"v{version}"
        return peer

    async def ring(self, name: str, config: GossipConfig, *, address: str = "", **options: Any) -> OurMember:
        """Start a member of ours in this process; ``options`` are those of :func:`gossip.driver.open_ring`."""
        member = OurMember(name, address or fresh_address())
        await self._nursery.start(member.run, config, options)
        return member

    async def serf(self, name: str, *options: str, key: bytes = b"", address: str = "") -> SerfAgent:
        """Start a serf agent and wait until it serves commands."""
        address = address or fresh_address()
        encrypt = [f"-encrypt={base64.b64encode(key).decode()}"] if key else []
        process = await self._start(
            [
                "serf", "agent", f"-node={name}", f"-bind={address}:{PORT}", f"-rpc-addr={address}:{RPC_PORT}",
                "-profile=local", "-log-level=debug", "-event-handler=user=cat", *encrypt, *options,
            ]
        )  # fmt: skip  # one flag a line says nothing
        agent = SerfAgent(name, process, address=address)
        self._adopt(agent, agent.note)
        await agent.logged("Serf agent running!")
        return agent

    async def ours(
        self, name: str, *options: str, profile: str = "local", address: str = "", prefix: Sequence[str] = ()
    ) -> OurAgent:
        """Start a member of ours as a process and wait until it listens; ``prefix`` goes before the command."""
        address = address or fresh_address()
        api = str(self._folder / f"{name}.sock")
        flags = ["--name", name, "--bind", f"{address}:{PORT}", "--profile", profile, "--api", api, "--json"]
        agent = OurAgent(name, await self._start([*prefix, *RING, "agent", *flags, *options]), address=address, api=api)
        self._adopt(agent, agent.heard)
        await agent.notice("listening", name)
        return agent

    async def end(self) -> None:
        """End every program, all at once."""
        async with trio.open_nursery() as nursery:
            for program in self._programs:
                nursery.start_soon(program.end)


@asynccontextmanager
async def open_peers() -> AsyncIterator[Peers]:
    """The peers of one test; every process has ended when the block is left."""
    with TemporaryDirectory(prefix="starling-") as folder:
        async with trio.open_nursery() as nursery:
            peers = Peers(nursery, Path(folder))
            try:
                yield peers
            finally:
                with trio.CancelScope(shield=True):
                    await peers.end()
                nursery.cancel_scope.cancel()
