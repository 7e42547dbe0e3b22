"""Desired state from a folder of manifests, without Kubernetes: watched, with the statuses beside it.

Rules kept here:

* Every manifest below the folder counts, but for those in `status/`: there stand the statuses, one file a service.
* A change is seen when the folder has been quiet for a moment. Events can be lost, so that it is looked through now
  and then all the same.
* A file is parsed again only when it has changed, and an object that is the same stays the same object.
* The one who writes the statuses is alone (`exclusive`); whoever only reads may be there too.

Source: design.md §8; docs/guide/folder.md.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import trio

from cluster.errors import Place, Problem
from cluster.folder import MAX_TOTAL_BYTES, UNREADABLE_HINT, Signature, cure, find_files, read_file, reason
from cluster.folder_statuses import StatusFolder
from cluster.folder_watch import QUIET_TIME, FolderWatch
from cluster.folder_writer import StatusWriter
from cluster.manifests import join
from cluster.manifests import read_file as parse_file
from cluster.source import SourceReading
from cluster.statuses import with_status

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from cluster.manifests import FileReading
    from cluster.model import ObjectName, Service, ServiceStatus, Snapshot

STATUS_FOLDER: Final = "status"
"""In the folder of manifests."""
RESCAN_INTERVAL: Final = 10.0
"""Seconds after which the folder is looked through even though no event came."""
MAX_UNSETTLED_LOOKS: Final = 5
"""Looks in a row that find a file just being written; the next takes what is there."""
MIN_RETRY_INTERVAL: Final = 0.5
MAX_RETRY_INTERVAL: Final = 30.0
"""Seconds before a status that could not be written is tried again: doubled from the one to the other."""


class FolderSource:
    """The folder `path` as a source. With `exclusive` it is this process that reports, and no other may."""

    def __init__(self, path: str, *, exclusive: bool = False) -> None:
        self.path = path
        self._manifests = _Manifests(path)
        self._folder = StatusFolder(os.path.join(path, STATUS_FOLDER))
        self._writer = StatusWriter(self._folder) if exclusive else None
        self._merged: dict[ObjectName, tuple[Service, ServiceStatus | None, Service]] = {}
        self._turn = trio.Lock()
        self._retry_at = math.inf
        self._retry_interval = MIN_RETRY_INTERVAL

    async def snapshots(self) -> AsyncGenerator[SourceReading, None]:
        """A reading now, and another whenever it is a different one, for ever.

        Files are read and parsed in a thread. A folder that is missing is a problem of the reading, not an error.
        Raises SourceTaken when another process has the folder exclusively, as this one is meant to. Close the iterator
        (`contextlib.aclosing`) to end the watch and let another be exclusive.
        """
        watch = FolderWatch(self.path)
        last: SourceReading | None = None
        try:
            while True:
                async with self._turn:
                    reading = await self._read()
                if watch.problem is not None:
                    reading = replace(reading, warnings=(*reading.warnings, watch.problem))
                if reading != last:
                    last = reading
                    yield reading
                await watch.wait(self._time_to_wait())
        finally:
            with trio.CancelScope(shield=True):
                await watch.close()
            if self._writer is not None:
                self._writer.release()

    async def report(self, *statuses: ServiceStatus) -> tuple[Problem, ...]:
        """Write statuses, in this order, and give back why some could not be written.

        Each is whole on the disk or not at all, and in the snapshots at once. Raises nothing: what cannot be written is
        tried again for as long as `snapshots` is iterated, and is a warning of its readings.
        """
        assert self._writer is not None, "only an exclusive source is reported to"
        async with self._turn:
            self._writer.report(statuses)
            await trio.to_thread.run_sync(self._writer.write, False)
            self._plan_retry(again=False)
            return self._writer.problems

    async def _read(self) -> SourceReading:
        for take_unsettled in (*(False,) * MAX_UNSETTLED_LOOKS, True):
            again = trio.current_time() >= self._retry_at
            # A writer has to end before another may begin; a reader may be left to itself.
            may_be_left = self._writer is None
            reading = await trio.to_thread.run_sync(self._look, take_unsettled, again, abandon_on_cancel=may_be_left)
            if reading is not None:
                self._plan_retry(again)
                return reading
            await trio.sleep(QUIET_TIME)
        raise AssertionError("the last look takes what is there")

    def _plan_retry(self, again: bool) -> None:
        if self._writer is None or not self._writer.has_failed:
            self._retry_at, self._retry_interval = math.inf, MIN_RETRY_INTERVAL
        elif again or self._retry_at == math.inf:
            self._retry_at = trio.current_time() + self._retry_interval
            self._retry_interval = min(2 * self._retry_interval, MAX_RETRY_INTERVAL)

    def _time_to_wait(self) -> float:
        return min(RESCAN_INTERVAL, self._retry_at - trio.current_time())

    # ---- in a thread

    def _look(self, take_unsettled: bool, again: bool) -> SourceReading | None:
        """What stands in the folder, or None when a file is just being written."""
        if self._writer is not None:
            self._writer.claim()
        if not self._manifests.look(take_unsettled):
            return None
        self._folder.look()
        warnings = self._folder.problems
        snapshot = self._manifests.snapshot
        statuses: Mapping[ObjectName, ServiceStatus] = self._folder.statuses
        if self._writer is not None:
            names = None if snapshot is None else {service.name for service in snapshot.services}
            self._writer.adopt(names)
            if os.path.isdir(self.path):
                self._writer.write(again)
            warnings += self._writer.problems
            statuses = self._writer.statuses
        return SourceReading(
            snapshot=None if snapshot is None else self._with_statuses(snapshot, statuses),
            problems=self._manifests.problems,
            warnings=warnings,
        )

    def _with_statuses(self, snapshot: Snapshot, statuses: Mapping[ObjectName, ServiceStatus]) -> Snapshot:
        merged = {}
        for service in snapshot.services:
            status = statuses.get(service.name)
            known = self._merged.get(service.name)
            if known is None or known[0] is not service or known[1] is not status:
                known = service, status, service if status is None else with_status(service, status)
            merged[service.name] = known
        self._merged = merged
        return replace(snapshot, services=tuple(service for _, _, service in merged.values()))


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it was read. `signature` is None when it may have changed without a trace."""

    signature: Signature | None
    digest: bytes
    reading: FileReading


class _Manifests:
    """The manifests of a folder, as they were last looked at. `snapshot` is the last that was good."""

    def __init__(self, path: str) -> None:
        self._path = os.path.join(path, "")  # so that a file of this name is refused
        self._files: dict[str, _File] = {}
        self._is_settled = True
        self.snapshot: Snapshot | None = None
        self.problems: tuple[Problem, ...] = ()

    def look(self, take_unsettled: bool) -> bool:
        """Read and parse what changed, and say whether that is to count; not when a file is just being written."""
        paths = find_files([self._path], without=os.path.join(self._path, STATUS_FOLDER))
        problems = [Problem(Place(entry.path, 1, 1), entry.reason, UNREADABLE_HINT) for entry in paths.unreadable]
        before, self._files, self._is_settled = self._files, {}, True
        size = 0
        for path, signature in paths.found:
            size += signature.size
            if size > MAX_TOTAL_BYTES:
                message = f"more than {MAX_TOTAL_BYTES} bytes in all files"
                problems.append(Problem(Place(path, 1, 1), message, "split the folder"))
                break
            try:
                self._files[path] = self._read(path, signature, before.get(path))
            except OSError as exc:
                self._is_settled &= not isinstance(exc, FileNotFoundError)
                problems.append(Problem(Place(path, 1, 1), f"cannot be read: {reason(exc)}", cure(exc)))
        if not self._is_settled and not take_unsettled:
            return False
        reading = join([file.reading for file in self._files.values()])
        self.problems = (*problems, *reading.problems)
        if not self.problems:
            self.snapshot = reading.snapshot
        return True

    def _read(self, path: str, signature: Signature, known: _File | None) -> _File:
        if known is not None and known.signature == signature:
            return known
        data = read_file(path)
        is_whole = Signature.of(os.stat(path)) == signature
        self._is_settled &= is_whole
        digest = sha256(data).digest()
        is_same = known is not None and known.digest == digest
        reading = known.reading if known is not None and is_same else parse_file(path, data)
        return _File(signature if is_whole and signature.is_settled else None, digest, reading)
