"""Keeps the loopback's addresses as they are wanted last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from speaker.fast.local_addresses import LocalAddressError, LocalAddresses
from speaker.link import Level

if TYPE_CHECKING:
    from cluster.model import Address
    from speaker.fast.health import Health
    from speaker.fast.journal import Journal

TROUBLE = "local addresses"


class LocalSide:
    """Carries out the newest wish; older ones that were not begun are dropped."""

    def __init__(self, addresses: LocalAddresses, health: Health, journal: Journal) -> None:
        self._addresses = addresses
        self._health = health
        self._journal = journal
        self._wanted: tuple[Address, ...] = ()
        self._changed = trio.Event()

    def want(self, addresses: tuple[Address, ...]) -> None:
        """Have these, and no others of ours."""
        self._wanted = addresses
        self._changed.set()

    async def run(self) -> None:
        """Keep them, for ever."""
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            try:
                await self._addresses.set(self._wanted)
            except LocalAddressError as reason:
                self._health.troubles[TROUBLE] = str(reason)
                self._journal.say(Level.ERROR, "localAddresses", error=str(reason))
            else:
                self._health.troubles.pop(TROUBLE, None)
