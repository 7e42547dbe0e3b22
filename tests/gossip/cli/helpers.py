"""The command as a process, and the control socket without the command."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from tests.interop.programs import PORT, PROJECT, RING, WITHIN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from tests.interop.programs import OurAgent

FIRST_KEY = bytes(range(32))
SECOND_KEY = bytes(range(32, 64))


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output as one JSON value."""
        return json.loads(self.out)


async def ring(*arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Done:
    """Run ``ring …`` to its end."""
    with trio.fail_after(WITHIN):
        done = await trio.run_process(
            [*RING, *arguments],
            stdin=stdin,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=PROJECT,
            env={**os.environ, **(env or {})},
        )
    assert "Traceback" not in done.stderr.decode()
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


@asynccontextmanager
async def start(*arguments: str, env: Mapping[str, str] | None = None) -> AsyncIterator[trio.Process]:
    """Run ``ring …`` with its output in the test's hand; killed at the end."""
    process = await trio.lowlevel.open_process(
        [*RING, *arguments], stdout=subprocess.PIPE, cwd=PROJECT, env={**os.environ, **(env or {})}
    )
    try:
        yield process
    finally:
        with trio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.wait()


async def read_until(process: trio.Process, wanted: Callable[[bytes], bool]) -> bytes:
    """What it prints until that is wanted."""
    assert process.stdout is not None
    received = b""
    with trio.fail_after(WITHIN):
        while not wanted(received):
            data = await process.stdout.receive_some()
            assert data, f"it ended after {received!r}"
            received += data
    return received


async def wait_for(process: trio.Process) -> int:
    """Its exit code."""
    with trio.fail_after(WITHIN):
        return await process.wait()


async def ask(agent: OurAgent, command: str, *arguments: str) -> Done:
    """Run ``ring COMMAND --json`` against an agent."""
    return await ring(*command.split(), *arguments, "--api", agent.api, "--json")


def target(agent: OurAgent) -> str:
    """What others join."""
    return f"{agent.address}:{PORT}"


def key_text(key: bytes) -> str:
    return base64.b64encode(key).decode()


def key_file(folder: Path, *keys: bytes, mode: int = 0o600) -> str:
    """A file that holds these keys."""
    path = folder / f"{len(list(folder.iterdir()))}.keys"
    path.write_text("".join(f"{key_text(key)}\n" for key in keys))
    path.chmod(mode)
    return str(path)


class Client:
    """A connection to a control socket, under a test's hand."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._unread = b""

    async def say(self, line: bytes) -> None:
        await self.stream.send_all(line)

    async def reply(self) -> Any:
        """The next line; ``None`` when the agent has hung up."""
        with trio.fail_after(WITHIN):
            while b"\n" not in self._unread:
                data = await self.stream.receive_some()
                if not data:
                    return None
                self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return json.loads(line)

    async def ask(self, do: str, **fields: object) -> Any:
        """One request and its last reply line."""
        await self.say(json.dumps({"do": do, **fields}).encode() + b"\n")
        reply = await self.reply()
        while reply is not None and "item" in reply:
            reply = await self.reply()
        return reply


@asynccontextmanager
async def connect(api: str) -> AsyncIterator[Client]:
    async with await trio.open_unix_socket(api) as stream:
        yield Client(stream)
