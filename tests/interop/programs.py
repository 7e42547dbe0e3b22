"""What a test does with a running peer: tell it something, wait for what it says, end it.

Rules kept here:

* Nothing waits by the clock. A test waits for something that a peer said (an event, a line of its log) with a deadline,
  and the failure shows what was said instead.
* A process is ended by its own id.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import trio

from gossip import Member
from gossip.driver import open_ring

if TYPE_CHECKING:
    from collections.abc import Callable

    from gossip import Event, GossipConfig, State
    from gossip.driver import Ring

T = TypeVar("T")
EventT = TypeVar("EventT")
Json = dict[str, Any]

PORT: Final = 7946
RPC_PORT: Final = 7373
WITHIN: Final = 10.0
"""Seconds within which a peer does what it was told; several times what a loaded machine needs."""
STOP_WITHIN: Final = 5.0
PROJECT: Final = Path(__file__).resolve().parents[2]
RING: Final = (sys.executable, "-m", "gossip")
"""The command ``starling ring``, before the package is installed."""


class PeerError(Exception):
    """A peer refused a command."""


class Mailbox(Generic[T]):
    """What a peer has said and nobody has taken yet, in order."""

    def __init__(self) -> None:
        self.items: list[T] = []
        self._arrived = trio.Event()

    def put(self, item: T) -> None:
        """Add one item and wake those who wait."""
        self.items.append(item)
        self._arrived.set()
        self._arrived = trio.Event()

    async def take(self, wanted: Callable[[T], bool], what: str, within: float = WITHIN) -> T:
        """Remove and return the first item that is wanted, waiting for it up to ``within`` seconds."""
        with trio.move_on_after(within):
            while True:
                for index, item in enumerate(self.items):
                    if wanted(item):
                        return self.items.pop(index)
                await self._arrived.wait()
        said = "\n  ".join(str(item) for item in self.items[-40:])
        raise AssertionError(f"no {what} within {within} s; said instead:\n  {said}")


@dataclass(eq=False)
class Program:
    """A process and the lines it logs."""

    name: str
    process: trio.Process
    log: Mailbox[str] = field(default_factory=Mailbox)

    def note(self, line: str) -> None:
        """File one line of the log, and show it with the test if that fails."""
        self.log.put(line)
        sys.stderr.write(f"{self.name}: {line}\n")

    async def logged(self, text: str, within: float = WITHIN) -> str:
        """Wait for the next line of the log that contains ``text``."""
        return await self.log.take(lambda line: text in line, f"log line of {self.name} with {text!r}", within)

    def count_logged(self, text: str) -> int:
        """How many lines not yet taken contain ``text``."""
        return sum(text in line for line in self.log.items)

    def complaints(self) -> list[str]:
        """What its library warned of or called an error."""
        return [line for line in self.log.items if "[WARN]" in line or "[ERR]" in line]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this process alone."""
        self.process.send_signal(number)

    async def wait(self, within: float = WITHIN) -> int:
        """Wait for its end and return the exit status."""
        with trio.fail_after(within):
            return await self.process.wait()

    async def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        await self.wait()

    async def end(self) -> None:
        """End the process at once: nobody is left to tell goodbye."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.returncode is not None:
                return
            self.process.send_signal(signal.SIGCONT)  # a stopped process would keep the next signal waiting
            self.process.send_signal(number)
            with trio.move_on_after(STOP_WITHIN):
                await self.process.wait()


@dataclass(eq=False)
class GoPeer(Program):
    """hashicorp/memberlist itself, driven by ``tests/interop/peer``."""

    address: str = ""
    events: Mailbox[Json] = field(default_factory=Mailbox)
    replies: Mailbox[Json] = field(default_factory=Mailbox)
    _turn: trio.Lock = field(default_factory=trio.Lock)

    def heard(self, line: str) -> None:
        """File one line of its standard output."""
        message: Json = json.loads(line)
        (self.events if "event" in message else self.replies).put(message)

    async def command(self, do: str, *, within: float = WITHIN, **fields: Any) -> Json:
        """Run one command and return its reply. Raises :class:`PeerError` when the peer answers with an error."""
        assert self.process.stdin is not None
        async with self._turn:
            await self.process.stdin.send_all(json.dumps({"do": do, **fields}).encode() + b"\n")
            reply = await self.replies.take(lambda _: True, f"reply of {self.name} to {do}", within)
        if "error" in reply:
            raise PeerError(f"{do}: {reply['error']}")
        return reply

    async def event(self, kind: str, *, within: float = WITHIN, **fields: Any) -> Json:
        """Wait for the next event of that kind whose fields have the given values."""
        wanted = {"event": kind, **fields}
        return await self.events.take(
            lambda event: wanted.items() <= event.items(), f"{wanted} from {self.name}", within
        )

    async def sees_joining(self, member: str, within: float = WITHIN) -> None:
        """Wait until the member is in its ring."""
        await self.event("join", node=member, within=within)

    async def sees_dying(self, within: float = WITHIN) -> str:
        """Wait until it holds anybody gone, and return whom."""
        return str((await self.event("leave", within=within))["node"])

    async def holds(self, member: str, state: str, *, least: int = 0, within: float = WITHIN) -> Json:
        """Wait until it holds the member to be in that state at an incarnation of at least ``least``."""
        reply = await self.command("wait", node=member, state=state, least=least, within=within)
        found: Json = reply["member"]
        return found

    async def members(self) -> dict[str, Json]:
        """Everyone it remembers by name: ``addr``, ``port``, ``meta`` (hex), ``state`` and ``incarnation``."""
        reply = await self.command("members")
        return {member["name"]: member for member in reply["members"]}


@dataclass(eq=False)
class SerfAgent(Program):
    """Debian's serf agent. Its log tells what it sees; ``event-handler`` output is part of the log."""

    address: str = ""

    async def run(self, command: str, *arguments: str, within: float = WITHIN) -> str:
        """Run ``serf COMMAND`` against it and return what it printed. Raises :class:`PeerError` when it fails."""
        rpc = f"-rpc-addr={self.address}:{RPC_PORT}"
        with trio.fail_after(within):
            done = await trio.run_process(
                ["serf", command, rpc, *arguments], capture_stdout=True, stderr=subprocess.STDOUT, check=False
            )
        if done.returncode:
            raise PeerError(f"serf {command}: {done.stdout.decode().strip()}")
        return done.stdout.decode()

    async def members(self) -> dict[str, Json]:
        """Everyone it remembers by name: ``addr`` ("ip:port"), ``tags``, ``status`` and ``protocol``."""
        shown: Json = json.loads(await self.run("members", "-format=json"))
        return {member["name"]: member for member in shown["members"]}

    async def saw(self, event: str, member: str, within: float = WITHIN) -> None:
        """Wait for a member event of serf: Join, Update, Leave, Failed."""
        await self.logged(f"serf: EventMember{event}: {member}", within)


@dataclass(eq=False)
class OurMember:
    """A member of ours in this process, on real sockets."""

    name: str
    address: str
    ring: Ring = field(init=False)
    events: Mailbox[Event] = field(default_factory=Mailbox)
    _scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    _stopped: trio.Event = field(default_factory=trio.Event)

    @property
    def target(self) -> str:
        """What others join."""
        return f"{self.address}:{PORT}"

    async def event(self, kind: type[EventT], *, within: float = WITHIN, **fields: object) -> EventT:
        """Wait for the next event of that kind with those fields; ``member`` is compared by its name."""

        def wanted(event: Event) -> bool:
            return isinstance(event, kind) and all(_plain(getattr(event, key)) == fields[key] for key in fields)

        found = await self.events.take(wanted, f"{kind.__name__} {fields} at {self.name}", within)
        assert isinstance(found, kind)
        return found

    def states(self) -> dict[str, State]:
        """What it holds everyone it remembers to be, by name."""
        return {member.name: member.state for member in self.ring.view.members()}

    async def kill(self) -> None:
        """Fall silent and give the sockets back."""
        self._scope.cancel()
        await self._stopped.wait()

    async def run(
        self, config: GossipConfig, options: Json, task_status: trio.TaskStatus[OurMember] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Be a member until stopped."""
        with self._scope:
            async with (
                open_ring(self.name, (self.address, PORT), config, **options) as self.ring,
                self.ring.subscribe() as events,
            ):
                task_status.started(self)
                async for event in events:
                    self.events.put(event)
        self._stopped.set()


def _plain(value: object) -> object:
    return value.name if isinstance(value, Member) else value


@dataclass(eq=False)
class OurAgent(Program):
    """A member of ours as a process of its own: ``python -m gossip agent``, which prints notices as JSON lines."""

    address: str = ""
    api: str = ""
    notices: Mailbox[Json] = field(default_factory=Mailbox)

    def heard(self, line: str) -> None:
        """File one line of its standard output."""
        self.notices.put(json.loads(line))

    async def notice(self, event: str, member: str | None = None, *, within: float = WITHIN) -> Json:
        """Wait for the next notice of that event, about that member if one is named."""

        def wanted(notice: Json) -> bool:
            return notice["event"] == event and member in (None, notice["member"])

        return await self.notices.take(wanted, f"notice {event} of {member} from {self.name}", within)

    async def sees_joining(self, member: str, within: float = WITHIN) -> None:
        """Wait until the member is in its ring."""
        await self.notice("joined", member, within=within)

    async def sees_dying(self, within: float = WITHIN) -> str:
        """Wait until it holds anybody dead, and return whom."""
        return str((await self.notice("failed", within=within))["member"])

    async def run(self, command: str, *arguments: str, within: float = WITHIN) -> Any:
        """Run ``ring COMMAND --json`` and return what it printed. Raises :class:`PeerError` when it fails."""
        asked = [*RING, command, "--api", self.api, "--json", *arguments]
        with trio.fail_after(within):
            done = await trio.run_process(asked, capture_stdout=True, capture_stderr=True, check=False, cwd=PROJECT)
        if done.returncode:
            raise PeerError(f"{command}: {done.stderr.decode().strip()}")
        return json.loads(done.stdout)
