"""Desired state from a folder of manifests, without Kubernetes: watched, with the statuses beside it.

Rules kept here:

* Every manifest below the folder counts, but for those in `status/`: there stand the statuses, one file a service.
* A change is seen when the folder has been quiet for a moment; events can be lost, so that it is looked through
  now and then all the same.
* The one who writes the statuses is alone (`exclusive`); whoever only reads may be there too.

Source: design.md §8; docs/guide/folder.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cluster.model import ServiceStatus
    from cluster.source import SourceReading


class FolderSource:
    """The folder `path` as a source. With `exclusive` it is this process that reports, and no other may."""

    def __init__(self, path: str, *, exclusive: bool = False) -> None:
        self.path = path
        self.exclusive = exclusive

    def snapshots(self) -> AsyncIterator[SourceReading]:
        """A reading now, and another whenever it is a different one, for ever.

        Files are read and parsed in a thread. A folder that is missing is a problem of the reading, not an error.
        Raises SourceTaken when another process has the folder exclusively, as this one is meant to. Close the iterator
        (`contextlib.aclosing`) to end the watch.
        """
        raise NotImplementedError

    async def report(self, *statuses: ServiceStatus) -> None:
        """Write statuses, in this order; each is whole on the disk or not at all.

        They are in the snapshots at once. Raises nothing: what cannot be written is a warning of the next reading, and
        is tried again for as long as `snapshots` is iterated.
        """
        raise NotImplementedError
