"""Network namespaces without names, and the process that keeps them: what is started through it never outlives us.

Rules kept here:

* Process 1 of a PID namespace is a shell that reads its commands from a pipe, and the other end of the pipe is ours
  alone. When this process ends, however it ends, the shell meets end of file and ends too; the kernel then kills
  everything in that PID namespace, stopped or not, and removes each network namespace with its last process. Nothing
  has to be cleaned up, and nothing is named in /run/netns.
* Namespaces are entered with `nsenter`: `ip netns exec` would hide /sys.
* Root makes them directly; anybody else within a user namespace, where the machine allows that.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import trio

from sim.lab.errors import LabError, LabUnavailable

TOOLS: Final = {
    "ip": "iproute2",
    "nft": "nftables",
    "nsenter": "util-linux",
    "setsid": "util-linux",
    "unshare": "util-linux",
}
"""Commands that the lab runs -> the Debian package that brings each."""
CAP_NET_ADMIN: Final = 12
CAP_SYS_ADMIN: Final = 21
ANSWER_TIMEOUT: Final = 20.0
"""Seconds for the keeper to start something; it takes milliseconds."""
MAX_ANSWER: Final = 64
CURE: Final = (
    "run it as root, or let everybody make user namespaces: sysctl user.max_user_namespaces=15000"
    " (Debian: kernel.unprivileged_userns_clone=1; Ubuntu: kernel.apparmor_restrict_unprivileged_userns=0)"
)
TELL_PID: Final = 'read -r pid rest </proc/self/stat; echo "$pid"'
"""Shell: print one's process id as those see it who mounted /proc, that is, as we do."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace, reached through a process that is in it."""

    pid: int
    in_user_namespace: bool

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to put before a command so that it runs in here. It does not end with the lab by itself."""
        user = ("--user", "--preserve-credentials") if self.in_user_namespace else ()
        return ("nsenter", "--target", str(self.pid), *user, "--net")


class Keeper:
    """The shell that is process 1, and what was started through it."""

    def __init__(self, process: trio.Process, errors: IO[bytes], in_user_namespace: bool) -> None:
        self._process = process
        self._errors = errors
        self._in_user_namespace = in_user_namespace
        self._turn = trio.Lock()
        self._rest = b""

    async def root(self) -> Namespace:
        """The keeper's own network namespace: where the bridge is."""
        return self._namespace(await self._ask(TELL_PID))

    async def hold_namespace(self) -> Namespace:
        """Make a network namespace."""
        inner = shlex.quote(f"{TELL_PID}; exec sleep infinity")
        return self._namespace(await self._ask(f"unshare --net setsid sh -c {inner} &"))

    async def start(
        self, namespace: Namespace, command: Sequence[str | Path], output: Path, environment: Mapping[str, str]
    ) -> int:
        """Start a program in a namespace, as the leader of a session of its own; gives its process id.

        What it prints is appended to `output`, and its standard error to the file with `.err` behind that name.
        """
        inner = f'{TELL_PID}; exec "$@" >>"$0" 2>>"$0.err"'
        variables = [f"{name}={value}" for name, value in environment.items()]
        words = [
            "nsenter",
            f"--net=/proc/{namespace.pid}/ns/net",
            "env",
            *variables,
            "setsid",
            "sh",
            "-c",
            inner,
            output,
        ]
        return await self._ask(shlex.join(map(str, [*words, *command])) + " &")

    def _namespace(self, pid: int) -> Namespace:
        return Namespace(pid, self._in_user_namespace)

    async def _ask(self, line: str) -> int:
        """Have a command run that prints a process id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            async with self._turn:
                with trio.fail_after(ANSWER_TIMEOUT) as scope:
                    scope.shield = True  # what was asked is answered, and read, before the next is asked
                    await self._process.stdin.send_all(line.encode() + b"\n")
                    while b"\n" not in self._rest:
                        chunk = await self._process.stdout.receive_some()
                        self._rest += chunk
                        if not chunk or len(self._rest) > MAX_ANSWER:
                            raise LabError(self._complaint(f"no answer to {line!r}"))
                    answer, self._rest = self._rest.split(b"\n", 1)
                return int(answer)
        except (trio.BrokenResourceError, trio.TooSlowError) as exc:
            raise LabError(self._complaint(f"no answer to {line!r}")) from exc

    def _complaint(self, otherwise: str) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip() or otherwise


def missing_tools() -> list[str]:
    """Commands that the lab needs and this machine lacks, each with its cure."""
    return [
        f"no command {tool}: apt-get install {package}" for tool, package in TOOLS.items() if not shutil.which(tool)
    ]


def is_privileged(status: str) -> bool:
    """Whether a process may make namespaces directly, by its /proc/PID/status."""
    words = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    effective = int(words["CapEff"], 16)
    return all(effective >> capability & 1 for capability in (CAP_NET_ADMIN, CAP_SYS_ADMIN))


@asynccontextmanager
async def open_keeper() -> AsyncIterator[Keeper]:
    """A keeper; what was started through it has ended when this does. Raises LabUnavailable where there can be none."""
    if lacking := missing_tools():
        raise LabUnavailable("; ".join(lacking))
    privileged = is_privileged(await trio.Path("/proc/self/status").read_text())
    user = [] if privileged else ["--user", "--map-root-user"]
    command = ["unshare", *user, "--pid", "--net", "--fork", "--kill-child", "sh"]
    with tempfile.TemporaryFile() as errors:
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
        )
        try:
            keeper = Keeper(process, errors, not privileged)
            try:
                await keeper.root()
            except LabError as exc:
                raise LabUnavailable(f"no network namespaces here ({exc}); {CURE}") from exc
            yield keeper
        finally:
            with trio.CancelScope(shield=True):
                assert process.stdin is not None
                await process.stdin.aclose()
                await process.wait()


async def run(
    prefix: Iterable[str], *command: str, given: str = "", environment: Mapping[str, str] | None = None
) -> str:
    """Run a short command somewhere and give what it printed. Raises LabError with what it said when it fails."""
    done = await trio.run_process(
        [*prefix, *command],
        stdin=given.encode(),
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode:
        raise LabError(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip() or done.returncode}")
    return done.stdout.decode()
