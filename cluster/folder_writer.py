"""Writes the statuses beside the manifests: whole files or none, in order, by one process at a time.

Rules kept here:

* A file is written beside its place, brought to the disk and renamed, in the order in which statuses were reported: a
  process that is killed leaves a beginning of what it was told.
* An address is not written down for a service while another's file, that is to give it up, still has it.
* What was reported is what counts; a file that is lost or spoilt is written again.
* What cannot be written holds up nothing else.

Source: design.md §8; docs/guide/folder.md.
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cluster.errors import Place, Problem
from cluster.folder import cure, reason
from cluster.model import ServiceStatus
from cluster.source import SourceTaken
from cluster.statuses import SUFFIX, file_name, is_empty, render_status

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from cluster.folder_statuses import StatusFolder
    from cluster.model import Address, ObjectName

TEMPORARY_SUFFIX: Final = ".tmp"


class StatusWriter:
    """The only writer of a folder of statuses. Its methods block; one at a time is called."""

    def __init__(self, folder: StatusFolder) -> None:
        self._folder = folder
        self._root = os.path.dirname(folder.path)
        self._statuses: dict[ObjectName, ServiceStatus] = {}
        self._waiting: dict[ObjectName, ServiceStatus] = {}  # in the order in which they are to be written
        self._failed: dict[ObjectName, OSError] = {}
        self._lock: int | None = None
        self._lock_problems: tuple[Problem, ...] = ()

    @property
    def statuses(self) -> Mapping[ObjectName, ServiceStatus]:
        """What the services have, written or not."""
        return self._statuses

    @property
    def has_failed(self) -> bool:
        """Whether something has to be tried again."""
        return bool(self._failed)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What could not be written, each reason once."""
        first: dict[str, Problem] = {}
        for service, exc in self._failed.items():
            path = os.path.join(self._folder.path, file_name(service))
            message = f"the status of {service} cannot be written: {reason(exc)}"
            hint = f"{cure(exc)}; it is tried again"
            first.setdefault(reason(exc), Problem(Place(path, 1, 1), message, hint))
        return (*self._lock_problems, *first.values())

    def claim(self) -> None:
        """Be the only writer of the folder that is there now. Raises SourceTaken."""
        try:
            folder = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return  # whoever looks for manifests says so
        if self._lock is not None and os.path.sameopenfile(folder, self._lock):
            os.close(folder)
            return
        self._lock_problems = ()
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(folder)
            raise SourceTaken(
                f"another controller writes the statuses of {self._root}; stop it, or use another folder"
            ) from None
        except OSError as exc:
            message = f"cannot be locked: {reason(exc)}"
            hint = "see that no other controller uses it, or move it to another file system"
            self._lock_problems = (Problem(Place(self._root, 1, 1), message, hint),)
        self.release()
        self._lock = folder
        self._remove_temporary_files()

    def release(self) -> None:
        """Let another be the writer."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def report(self, statuses: Iterable[ServiceStatus]) -> None:
        """Have these written, after those that wait."""
        for status in statuses:
            self._statuses[status.service] = status
            self._wait(status)

    def adopt(self, services: Container[ObjectName] | None) -> None:
        """Take what the folder holds and nothing was reported for, and have written what it lost.

        `services` are all there are, None when that is not known: the statuses of others are to go.
        """
        found = self._folder.statuses
        for service, status in found.items():
            self._statuses.setdefault(service, status)
        if services is not None:
            for service in [service for service in self._statuses if service not in services]:
                self._statuses.pop(service)
                self._wait(ServiceStatus(service=service))
        for service, status in self._statuses.items():
            if service not in self._waiting and not self._folder.holds(status):
                self._wait(status)

    def write(self, again: bool) -> None:
        """Write what waits; `again` tries once more what failed. Raises nothing."""
        if again:
            self._failed.clear()
        if not self._waiting:
            return
        leaving = _Leaving(self._waiting.values(), self._folder.statuses)
        is_going_on = True
        while is_going_on:
            is_going_on = False
            for service, status in list(self._waiting.items()):
                if service not in self._failed and self._write(status, leaving):
                    is_going_on = True
        with suppress(OSError):  # the names come to the disk a little later, then
            _sync_folder(self._folder.path)

    def _wait(self, status: ServiceStatus) -> None:
        self._waiting.pop(status.service, None)
        self._waiting[status.service] = status

    def _write(self, status: ServiceStatus, leaving: _Leaving) -> bool:
        """Write what can be written of a status now, and say whether there was anything.

        While another's file has its address, a service only leaves its own, so that two can change places.
        """
        is_held = leaving.holds_up(status)
        if is_held and not leaving.has(status.service):
            return False
        part = replace(status, ingress=(), pool=None) if is_held else status
        try:
            if not self._folder.holds(part):
                self._replace_file(part)
                self._folder.note(part)
        except OSError as exc:
            self._failed[status.service] = exc
            return False
        leaving.left(status.service)
        if not is_held:
            del self._waiting[status.service]
        return True

    def _replace_file(self, status: ServiceStatus) -> None:
        name = file_name(status.service)
        path = os.path.join(self._folder.path, name)
        if is_empty(status):
            with suppress(FileNotFoundError):
                os.unlink(path)
            return
        with suppress(FileExistsError):
            os.mkdir(self._folder.path)
        temporary = os.path.join(self._folder.path, f".{name}{TEMPORARY_SUFFIX}")
        try:
            with open(temporary, "wb") as file:
                file.write(render_status(status).encode())
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary)
            raise

    def _remove_temporary_files(self) -> None:
        """Of a writer that was killed."""
        with suppress(OSError):
            for name in os.listdir(self._folder.path):
                if name.startswith(".") and name.endswith(SUFFIX + TEMPORARY_SUFFIX):
                    os.unlink(os.path.join(self._folder.path, name))


class _Leaving:
    """Addresses that stand in files of services that are to have them no longer."""

    def __init__(self, waiting: Iterable[ServiceStatus], written: Mapping[ObjectName, ServiceStatus]) -> None:
        self._of: dict[ObjectName, list[Address]] = {}
        self._files: Counter[Address] = Counter()
        for status in waiting:
            old = written.get(status.service)
            addresses = [address for address in old.ingress if address not in status.ingress] if old else []
            if addresses:
                self._of[status.service] = addresses
                self._files.update(addresses)

    def has(self, service: ObjectName) -> bool:
        """Whether the service's own file has such an address."""
        return service in self._of

    def holds_up(self, status: ServiceStatus) -> bool:
        """Whether an address of the status stands in such a file of another service."""
        return any(self._files[address] for address in status.ingress)

    def left(self, service: ObjectName) -> None:
        """The service's file has been written."""
        for address in self._of.pop(service, ()):
            self._files[address] -= 1


def _sync_folder(path: str) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
