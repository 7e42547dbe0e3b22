"""The interfaces' side of a speaker: which there are, and a packet socket on each that is served.

Rules kept here:

* An interface without a socket is not served on: nothing would be heard or said there.
* A socket that could not be opened is tried again at each change of the interfaces, and without one less and less
  often; what is wrong is shown meanwhile.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import trio

from speaker.fast.retrying import retry_delays
from speaker.l2.interfaces import served_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from speaker.fast.health import Health
    from speaker.fast.packet_sockets import PacketSockets
    from speaker.l2.interfaces import Interface

TROUBLE: Final = "packet sockets"
MAX_NAMED: Final = 8
"""Interfaces without a socket that are named."""


class InterfaceSide:
    """Between the kernel's interfaces and who serves on them. ``tell`` is given all interfaces at each change."""

    def __init__(
        self,
        sockets: PacketSockets,
        wanted: tuple[str, ...] | None,
        health: Health,
        tell: Callable[[tuple[Interface, ...]], None],
    ) -> None:
        """``wanted`` are the names that the user gave; None: all that are fit."""
        self._sockets = sockets
        self._wanted = wanted
        self._health = health
        self._tell = tell
        self._interfaces: tuple[Interface, ...] = ()
        self._told: tuple[Interface, ...] | None = None
        self._failed: dict[int, str] = {}
        self._has_failed = trio.Event()

    def change(self, interfaces: tuple[Interface, ...]) -> None:
        """The machine has these interfaces from now on."""
        self._interfaces = interfaces
        self._open()

    async def run(self) -> None:
        """Try again what failed, for ever."""
        while True:
            await self._has_failed.wait()
            for delay in retry_delays():
                await trio.sleep(delay)
                if self._failed:
                    self._open()
                if not self._failed:
                    break
            self._has_failed = trio.Event()

    def _open(self) -> None:
        """Have the sockets that are wanted, as far as that can be done, and tell what came of it."""
        served = served_of(self._interfaces, self._wanted)
        self._failed = failed = self._sockets.set_interfaces(interface.index for interface in served)
        if failed:
            self._has_failed.set()
        self._health.set_trouble(TROUBLE, self._describe(served))
        told = tuple(
            replace(interface, has_socket=False) if interface.index in failed else interface
            for interface in self._interfaces
        )
        if told != self._told:
            self._told = told
            self._tell(told)

    def _describe(self, served: tuple[Interface, ...]) -> str:
        """What is wrong with the sockets; empty when nothing is."""
        reasons = [f"{each.name} ({self._failed[each.index]})" for each in served if each.index in self._failed]
        more = [f"{len(reasons) - MAX_NAMED} more"] if len(reasons) > MAX_NAMED else []
        return f"no packet socket can be opened on {', '.join(reasons[:MAX_NAMED] + more)}" if reasons else ""
