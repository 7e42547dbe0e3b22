"""Keeps the loopback's addresses as they are wanted last.

Rules kept here:

* What is refused, or cannot be asked for, is tried again, less and less often; what is wrong is shown meanwhile.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import trio

from speaker.fast.local_addresses import LocalAddressError, LocalAddresses
from speaker.fast.retrying import retry_delays

if TYPE_CHECKING:
    from cluster.model import Address
    from speaker.fast.health import Health

TROUBLE: Final = "local addresses"


class LocalSide:
    """Carries out the newest wish; older ones that were not begun are dropped."""

    def __init__(self, addresses: LocalAddresses, health: Health) -> None:
        self._addresses = addresses
        self._health = health
        self._wanted: tuple[Address, ...] = ()
        self._changed = trio.Event()

    def want(self, addresses: tuple[Address, ...]) -> None:
        """Have these, and no others of ours."""
        self._wanted = addresses
        self._changed.set()

    async def run(self) -> None:
        """Keep them, for ever."""
        again_after, delays = math.inf, retry_delays()
        while True:
            with trio.move_on_after(again_after):
                await self._changed.wait()
            self._changed = trio.Event()
            trouble = await self._set()
            self._health.set_trouble(TROUBLE, trouble)
            again_after, delays = (next(delays), delays) if trouble else (math.inf, retry_delays())

    async def _set(self) -> str:
        """What kept the addresses from being as they are wanted; empty when nothing did."""
        try:
            await self._addresses.set(self._wanted)
        except LocalAddressError as reason:
            return str(reason)
        except OSError as exc:
            return f"addresses cannot be put on the loopback: {exc.strerror}"
        return ""
