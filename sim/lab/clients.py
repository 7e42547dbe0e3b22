"""The meters of a lab, and what they have seen so far.

Rules kept here:

* A meter's host does nothing else: the client asks over UDP and HTTP, the observer over ARP.
* What was seen is kept by service and by kind of question, in the order in which it became known.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import trio

from sim.lab import meter
from sim.lab.errors import LabError
from sim.lab.nodes import Lab, environment, python
from sim.lab.plan import CLIENT, OBSERVER
from sim.lab.record import ANSWER_TIMEOUT, Ask, read_line

HOSTS: Final = {"udp": CLIENT, "http": CLIENT, "arp": OBSERVER}
"""Kind of question -> the host that asks."""
EVERY: Final = {"udp": 0.005, "http": 0.05, "arp": 0.02}
"""Kind of question -> seconds between two of them to one address."""
MAX_LINE: Final = 64 * 1024
SETTLE_TIMEOUT: Final = 60.0
"""Seconds for every address to be answered."""
CURRENT: Final = 2 * ANSWER_TIMEOUT
"""Seconds for which an answer says who has an address."""


@dataclass(slots=True)
class Sight:
    """The latest answer to one kind of question for one service."""

    at: float
    by: tuple[str, ...]
    since: float
    """The first of the answers in a row that came from the same."""


class Clients:
    """Has the services of a lab asked, whose addresses are known, and reads what the meters print."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._names = {host.mac: name for name, host in lab.lan.hosts.items()}
        self._services: dict[str, list[str]] = {}
        for service, address in lab.addresses.items():
            self._services.setdefault(address, []).append(service)
        self._latest: dict[tuple[str, str], Sight] = {}
        self._changed = trio.Event()
        self.asks: dict[str, dict[str, list[Ask]]] = {}
        """Kind of question -> service -> the questions."""
        self.heard: Callable[[str, str, Ask], None] = lambda kind, service, ask: None
        """Called with the kind, the service and what came of each question."""

    async def ask(self, kind: str, every: float, nursery: trio.Nursery) -> None:
        """Begin to ask every address; services that share one share its answers."""
        lab = self._lab
        self.asks[kind] = {service: [] for service in lab.addresses}
        host = lab.lan.hosts[HOSTS[kind]]
        ports = {service.name: service.port for service in lab.plan.services}
        targets = [f"{address}:{ports[services[0]]}" for address, services in self._services.items()]
        words = python(meter.__name__, kind, "--every", str(every), "--source", host.address, *targets)
        variables = [f"{name}={value}" for name, value in environment().items()]
        process = await trio.lowlevel.open_process(
            [*host.namespace.prefix, "env", *variables, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        nursery.start_soon(self._read, kind, process)

    def sight(self, kind: str, service: str) -> Sight | None:
        """The latest answer; None when there is none that is current."""
        sight = self._latest.get((kind, service))
        return None if sight is None or sight.at < time.monotonic() - CURRENT else sight

    def owner(self, service: str) -> str | None:
        """Who has answered for a service's address last, by ARP; None when nobody did lately, or several did."""
        sight = self.sight("arp", service)
        return sight.by[0] if sight is not None and len(sight.by) == 1 else None

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something is true that depends on what was answered."""
        while not condition():
            await self._changed.wait()

    async def wait_settled(self) -> None:
        """Wait until each kind of question about each service was answered last by one node."""
        wanted = [(kind, service) for kind, asks in self.asks.items() for service in asks]
        with trio.move_on_after(SETTLE_TIMEOUT):
            while missing := [key for key in wanted if not self._is_settled(key)]:
                await self._changed.wait()
            return
        services = ", ".join(dict.fromkeys(service for _, service in missing))
        raise LabError(f"no answer for {services} within {SETTLE_TIMEOUT:g} s; {self._lab.last_words()}")

    def _is_settled(self, key: tuple[str, str]) -> bool:
        sight = self.sight(*key)
        return sight is not None and len(sight.by) == 1

    async def _read(self, kind: str, process: trio.Process) -> None:
        assert process.stdout is not None
        rest = b""
        try:
            async with process.stdout as printed:
                async for chunk in printed:
                    *lines, rest = (rest + chunk).split(b"\n")
                    if len(rest) > MAX_LINE:
                        raise LabError(f"the {kind} meter printed a line of more than {MAX_LINE} bytes")
                    for line in lines:
                        self._take(kind, read_line(line.decode()))
            raise LabError(f"the {kind} meter ended; its reason stands above")
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()

    def _take(self, kind: str, ask: Ask) -> None:
        ask = replace(ask, by=tuple(self._names.get(one, one) for one in ask.by))
        for service in self._services[ask.target]:
            self.asks[kind][service].append(ask)
            self._look(kind, service, ask)
            self.heard(kind, service, ask)

    def _look(self, kind: str, service: str, ask: Ask) -> None:
        latest = self._latest.get((kind, service))
        if ask.answered_at is None or (latest is not None and latest.at >= ask.asked_at):
            return
        since = latest.since if latest is not None and latest.by == ask.by else ask.asked_at
        self._latest[kind, service] = Sight(ask.asked_at, ask.by, since)
        self._changed.set()
        self._changed = trio.Event()


async def wait_served(lab: Lab) -> None:
    """Wait until the client and the observer are answered about every service, and ask no more."""
    async with trio.open_nursery() as nursery:
        clients = Clients(lab)
        for kind in ("udp", "arp"):
            await clients.ask(kind, EVERY[kind], nursery)
        await clients.wait_settled()
        nursery.cancel_scope.cancel()
