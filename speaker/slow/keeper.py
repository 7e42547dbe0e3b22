"""Keeps the demand on the disk, for a start before anything could be read.

Rules kept here:

* The file is whole or the one before: written beside it, flushed, and put in its place.
* A change is kept within KEEP_AFTER; a demand that stays true is kept again now and then, because its date counts.
* What cannot be written is said once, with the cure, and tried again.

Source: design.md §8.
"""

from __future__ import annotations

import math
import os
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from speaker.link import Report, SourceHealth, SourceState, Wanted
from speaker.saved import (
    FILE_NAME,
    MAX_FILE_BYTES,
    Origin,
    UnusableState,
    check_saved_untrusted,
    decode_saved_untrusted,
    encode_saved,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cluster.model import Address
    from speaker.demand import Demand
    from speaker.settings import Settings
    from telemetry.logs import Log

KEEP_AFTER: Final = 1.0
"""Seconds from a change to the file: what changes in bursts is written once."""
KEEP_INTERVAL: Final = 3600.0
"""Seconds after which a demand that is still true gets a new date."""
RETRY_AFTER: Final = 30.0
"""Seconds after a failure."""


class Keeper:
    """Keeps what it was told last; :meth:`run` writes it."""

    def __init__(self, settings: Settings, log: Log) -> None:
        self._folder = settings.state
        self._origin = Origin.of(settings)
        self._log = log
        self._wanted: Demand | None = None
        self._known: dict[Address, None] = dict.fromkeys(self._read_known())
        self._state = SourceState(health=SourceHealth.LOADING)
        self._turn = trio.Lock()
        self._changed = trio.Event()
        self._trouble = ""

    def want(self, wanted: Demand) -> None:
        """The demand from now on. An address that it does not have is a new one when it comes back."""
        self._wanted = wanted
        held = {address for group in wanted.groups for address in group.addresses}
        self._known = {address: None for address in self._known if address in held}
        self._changed.set()

    def hear(self, report: Report) -> None:
        """What the fast process says of addresses."""
        if any(address not in self._known for address in report.known):
            self._known.update(dict.fromkeys(report.known))
            self._changed.set()

    def date(self, state: SourceState) -> None:
        """Until when the demand is known to be true: for ever, while the source is current."""
        self._state = state

    async def run(self) -> None:
        """Keep it, for ever."""
        while True:
            with trio.move_on_after(KEEP_INTERVAL if self._state.health is SourceHealth.CURRENT else math.inf):
                await self._changed.wait()
            await trio.sleep(KEEP_AFTER)
            self._changed = trio.Event()
            if not await self.keep():
                self._changed.set()
                await trio.sleep(RETRY_AFTER)

    async def keep(self) -> bool:
        """Write the file now; False when it could not be written."""
        async with self._turn:
            wanted, as_of = self._wanted, self._state.as_of
            if wanted is None or as_of is None:
                return True
            saved_at = time.time() if self._state.health is SourceHealth.CURRENT else as_of
            write = partial(self._write, wanted, tuple(self._known), saved_at)
            trouble = await trio.to_thread.run_sync(write, abandon_on_cancel=True)
        if trouble and trouble != self._trouble:
            self._log.warning(
                "stateNotKept", error=trouble, msg=f"make {self._folder} writable; a restart begins empty"
            )
        if self._trouble and not trouble:
            self._log.info("stateKept", msg=f"{self._folder} can be written again")
        self._trouble = trouble
        return not trouble

    def _write(self, wanted: Demand, known: Iterable[Address], saved_at: float) -> str:
        """What kept it from being written; empty when it was."""
        data = encode_saved(self._origin, wanted, known, saved_at)
        if len(data) > MAX_FILE_BYTES:
            return f"the demand has {len(data)} bytes; {MAX_FILE_BYTES} is the limit"
        path = os.path.join(self._folder, FILE_NAME)
        try:
            os.makedirs(self._folder, mode=0o755, exist_ok=True)
            replace_file(path, data)
        except OSError as exc:
            return f"{path}: {exc.strerror}"
        return ""

    def _read_known(self) -> list[Address]:
        """What the last run knew: the fast process only reports what is new to it."""
        with suppress(OSError, UnusableState):
            with open(os.path.join(self._folder, FILE_NAME), "rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
            _, body = check_saved_untrusted(data, self._origin, time.time())
            reports = [message for message in decode_saved_untrusted(body) if not isinstance(message, Wanted)]
            return [address for report in reports for address in report.known]
        return []


def replace_file(path: str, data: bytes) -> None:
    """Write a file so that it is the old or the new one at any moment, a crash of the machine included."""
    beside = f"{path}.new"
    with open(beside, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
