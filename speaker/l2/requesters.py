"""Who asked for an address lately: the hosts whose caches are worth refreshing one by one.

Rules kept here:

* Bounded whatever strangers send: MAX_PER_ADDRESS for each address and interface together, MAX_REQUESTERS in all,
  forgotten after REMEMBERED. Where there is no room, the one that goes asked longest ago for the address that nobody
  asked for longest.

Source: design.md §6.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, TypeAlias

MAX_PER_ADDRESS: Final = 32
"""Hosts remembered for one address."""
MAX_REQUESTERS: Final = 4096
"""Hosts remembered for all addresses together."""
REMEMBERED: Final = 600.0
"""Seconds after its last request for which a host is remembered."""

_Key: TypeAlias = tuple[int, bytes]
"""Index of the interface, IP address of the host."""
_Asked: TypeAlias = OrderedDict[_Key, tuple[bytes, float]]
"""Hardware address of the host, and when it asked last; who asked latest comes last."""


class Requesters:
    """The table. Addresses are packed."""

    __slots__ = ("_asked", "_count")

    def __init__(self) -> None:
        self._asked: OrderedDict[bytes, _Asked] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        """How many are remembered, those that are due to be forgotten included."""
        return self._count

    def note(self, address: bytes, index: int, mac: bytes, ip: bytes, now: float) -> None:
        """A host asked for the address on the interface with this index."""
        asked = self._asked.get(address)
        if asked is None:
            asked = self._asked[address] = OrderedDict()
        else:
            self._asked.move_to_end(address)
        key = (index, ip)
        if key not in asked:
            self._make_room(asked)
        asked[key] = (mac, now)
        asked.move_to_end(key)

    def _make_room(self, asked: _Asked) -> None:
        if len(asked) >= MAX_PER_ADDRESS:
            asked.popitem(last=False)
            return
        if self._count < MAX_REQUESTERS:
            self._count += 1
            return
        address, oldest = next(iter(self._asked.items()))
        oldest.popitem(last=False)
        if not oldest:
            del self._asked[address]

    def recent(self, address: bytes, index: int, now: float) -> list[tuple[bytes, bytes]]:
        """Hardware and IP address of everybody remembered who asked on that interface."""
        asked = self._asked.get(address)
        if asked is None:
            return []
        while asked and next(iter(asked.values()))[1] + REMEMBERED <= now:
            asked.popitem(last=False)
            self._count -= 1
        if not asked:
            del self._asked[address]
        return [(mac, ip) for (on, ip), (mac, _) in asked.items() if on == index]

    def forget(self, address: bytes) -> None:
        """Nobody needs to know of this address any more."""
        self._count -= len(self._asked.pop(address, ()))
