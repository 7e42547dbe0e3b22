"""Tells when it is time to look through a folder again.

Rules kept here:

* The kernel's events, when the folder has been quiet for a moment, so that a burst is one change and a file that is
  being written is left alone until it is whole.
* The folder itself may go, come back or become another one; that is looked at by itself, as it has no events.
* Where there can be no events, it is time rather often.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import trio
import watchfiles

from cluster.errors import Place, Problem
from cluster.folder import reason

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

QUIET_TIME: Final = 0.05
"""Seconds without an event after which a burst is over."""
MAX_BURST_TIME: Final = 1.0
"""Seconds after which a burst counts as over even though it is not."""
POLL_INTERVAL: Final = 0.2
"""Seconds between two looks at the folder itself."""
BLIND_INTERVAL: Final = 2.0
"""Seconds for which nothing is said where there are no events."""


class FolderWatch:
    """Watches what is below the folder `path`, which need not exist. Close it in the end."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._has_begun = False
        self._folder: int | None = None  # what is watched; as long as it is open, no other folder is taken for it
        self._events: AsyncGenerator[set[watchfiles.main.FileChange], None] | None = None
        self.problem: Problem | None = None
        """Why there are no events, while there are none although the folder is there."""

    async def wait(self, at_most: float) -> None:
        """Until something changed and all is quiet, or for about `at_most` seconds.

        The first call returns as soon as the watch has begun: what changed before it is seen by looking once more.
        """
        if self.problem is not None:
            at_most = min(at_most, BLIND_INTERVAL)
        deadline = trio.current_time() + at_most
        while True:
            if not self._has_begun or (self.problem is None and self._is_another()):
                await self._begin()
                return
            if (left := deadline - trio.current_time()) <= 0:
                break
            if self._events is None:
                await trio.sleep(min(left, POLL_INTERVAL))
            elif await self._has_changed():
                return
        self._has_begun = self.problem is None  # perhaps it can be watched next time

    async def close(self) -> None:
        """End the watch."""
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None
        if self._events is not None:
            events, self._events = self._events, None
            await events.aclose()

    def _is_another(self) -> bool:
        """Whether another folder is there than the one that is watched, or one where there was none, or none."""
        try:
            status = os.stat(os.path.join(self._path, ""))  # of a folder, or none
        except OSError:
            return self._folder is not None
        return self._folder is None or not os.path.samestat(status, os.fstat(self._folder))

    async def _begin(self) -> None:
        """Watch the folder that is there now, if there is one. Returns when its events are no longer lost."""
        await self.close()
        self._has_begun, self.problem = True, None
        try:
            self._folder = os.open(self._path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as exc:
            self._refuse(reason(exc))
            return
        self._events = watchfiles.awatch(
            self._path,
            watch_filter=None,
            debounce=round(MAX_BURST_TIME * 1000),
            step=round(QUIET_TIME * 1000),
            rust_timeout=round(POLL_INTERVAL * 1000),
            yield_on_timeout=True,
            ignore_permission_denied=True,
        )
        await self._has_changed()

    async def _has_changed(self) -> bool:
        """Whether something changed before POLL_INTERVAL was over, the watch included."""
        assert self._events is not None
        try:
            return bool(await anext(self._events))
        except FileNotFoundError:  # gone before it could be watched
            self._events = None
        except (OSError, RuntimeError) as exc:  # watchfiles' own error is a RuntimeError
            self._events = None
            self._refuse(reason(exc) if isinstance(exc, OSError) else str(exc))
        return True

    def _refuse(self, why: str) -> None:
        hint = f"raise fs.inotify.max_user_watches and max_user_instances; changes are seen {BLIND_INTERVAL:g} s late"
        self.problem = Problem(Place(self._path, 1, 1), f"cannot be watched: {why}", hint)
