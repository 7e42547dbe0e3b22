"""The slow process as the fast one sees it: started, heard, told, and started again when it dies.

Rules kept here:

* The fast process never waits for the slow one: what is told goes into a bounded queue, and the oldest log records are
  dropped for newer ones, and counted.
* One child at a time, reaped when it dies; it ends with us, however we end.

Source: design.md §8.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from speaker.link import ToFast, ToSlow


class Child:
    """The slow process. :meth:`run` keeps it running."""

    def __init__(self, settings_text: str, *, command: Sequence[str] = ()) -> None:
        raise NotImplementedError

    async def run(self, received: Callable[[ToFast], Awaitable[None]]) -> None:
        """Start it, hand out what it tells, message by message, and start it again when it dies, until cancelled.

        Its first message is Hello, and then everything is to be reported to it again. When it dies, `received` gets a
        SourceState that says so.
        """
        raise NotImplementedError

    def send(self, message: ToSlow) -> None:
        """Tell it something, as soon as it takes it."""
        raise NotImplementedError

    async def say_bye(self, within: float = 1.0) -> None:
        """Tell it to end, and wait so many seconds for it to have written its log; after that, :meth:`run` may be
        cancelled."""
        raise NotImplementedError
