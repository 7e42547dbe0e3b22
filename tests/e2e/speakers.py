"""What a lab's speakers say: their logs, and what the commands of users print about them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import datetime
from typing import Any

import trio

from sim.lab.nodes import Lab, environment, python

LOOK_EVERY = 0.02


class Speakers:
    """The speakers of a lab, to be asked."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._since = dict.fromkeys(lab.nodes, 0)

    def log(self, node: str) -> list[dict[str, Any]]:
        """The lines of a speaker's log since :meth:`mark`."""
        data = self._lab.nodes[node].speaker.output.read_bytes()[self._since[node] :]
        return [json.loads(line) for line in data.split(b"\n")[:-1]]

    def mark(self) -> None:
        """Lines up to now are not looked at any more."""
        self._since = {name: node.speaker.output.stat().st_size for name, node in self._lab.nodes.items()}

    async def logged(self, node: str, event: str, within: float = 40.0, **fields: object) -> dict[str, Any]:
        """The first line of a node's log about this event with these fields; waits for it."""

        def look() -> dict[str, Any] | None:
            return next(
                (line for line in self.log(node) if line["event"] == event and fields.items() <= line.items()), None
            )

        found: dict[str, Any] = await eventually(look, within)
        return found

    async def command(self, *words: str) -> tuple[int, str]:
        """Run `starling` with these words: its exit code and what it printed."""
        done = await trio.run_process(
            python("starling", *words),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=os.environ | environment(),
        )
        return done.returncode, (done.stdout or done.stderr).decode()

    async def status(self, node: str) -> dict[str, Any]:
        """What `starling status --json` prints."""
        _, text = await self.command("status", "--json", "--api", str(self._lab.api(node)))
        told: dict[str, Any] = json.loads(text)
        return told

    async def why(self, node: str, address: str) -> dict[str, Any]:
        """What `starling why --json` prints."""
        _, text = await self.command("why", address, "--json", "--api", str(self._lab.api(node)))
        told: dict[str, Any] = json.loads(text)
        return told


def at_of(line: dict[str, Any]) -> float:
    """When a line of a log was written, in seconds since the epoch."""
    return datetime.fromisoformat(line["ts"]).timestamp()


async def eventually(look: Callable[[], Any], within: float = 40.0) -> Any:
    """Wait until something is true, and give it."""
    with trio.fail_after(within):
        while True:
            if found := look():
                return found
            await trio.sleep(LOOK_EVERY)
