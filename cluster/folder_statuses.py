"""The statuses beside the manifests, as whoever reads them sees them: one file a service.

Rules kept here:

* A file is read again only when it has changed.
* A file that is spoilt, and the folder when it is lost, count as what they last were, and that is said.

Source: design.md §8; docs/guide/folder.md.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.errors import Place, Problem
from cluster.folder import MAX_FILES, Signature, cure, reason
from cluster.statuses import MAX_STATUS_BYTES, SUFFIX, file_name, is_empty, read_status

if TYPE_CHECKING:
    from cluster.model import ObjectName, ServiceStatus


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it was read; `status` is the last good one."""

    signature: Signature | None
    status: ServiceStatus | None
    problems: tuple[Problem, ...]


class StatusFolder:
    """The folder `path`, in a folder of manifests."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._files: dict[str, _File] = {}
        self._is_lost = False
        self._problems: tuple[Problem, ...] = ()

    @property
    def statuses(self) -> dict[ObjectName, ServiceStatus]:
        """What the services have."""
        return {file.status.service: file.status for file in self._files.values() if file.status is not None}

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong, by file."""
        return (*self._problems, *(problem for file in self._files.values() for problem in file.problems))

    def look(self) -> None:
        """Read what changed since the last time. Raises nothing."""
        self._problems = ()
        try:
            names = sorted(name for name in os.listdir(self.path) if name.endswith(SUFFIX) and name[0] != ".")
        except FileNotFoundError:
            self._is_lost = bool(self._files)
            if self._is_lost:
                self._complain("is lost; what it held stays in force", "the controller writes it again")
            return
        except OSError as exc:
            self._complain(f"cannot be read: {reason(exc)}", cure(exc))
            return
        self._is_lost = False
        if len(names) > MAX_FILES:
            self._complain(f"holds more than {MAX_FILES} files", "split the folder of manifests")
        self._files = {name: file for name in names[:MAX_FILES] if (file := self._look_at(name)) is not None}

    def holds(self, status: ServiceStatus) -> bool:
        """Whether the file of the service is there and says just this; there is none for a status that is empty."""
        file = None if self._is_lost else self._files.get(file_name(status.service))
        if file is None:
            return is_empty(status)
        return file.status == status and not file.problems

    def note(self, status: ServiceStatus) -> None:
        """Take it as read that the file of the service says this. Raises OSError."""
        name = file_name(status.service)
        if is_empty(status):
            self._files.pop(name, None)
        else:
            signature = Signature.of(os.stat(os.path.join(self.path, name)))
            self._files[name] = _File(signature, status, ())

    def _complain(self, message: str, hint: str) -> None:
        self._problems = (*self._problems, Problem(Place(self.path, 1, 1), message, hint))

    def _look_at(self, name: str) -> _File | None:
        path = os.path.join(self.path, name)
        known = self._files.get(name)
        last_good = known.status if known else None
        try:
            found = os.stat(path)
            signature = Signature.of(found)
            if known and known.signature == signature:
                return known
            if not stat.S_ISREG(found.st_mode):
                return None
            with open(path, "rb") as file:
                data = file.read(MAX_STATUS_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as exc:
            problem = Problem(Place(path, 1, 1), f"cannot be read: {reason(exc)}", cure(exc))
            return _File(None, last_good, (problem,))
        status, problems = read_status(path, data)
        if status is not None and file_name(status.service) != name:
            hint = f"name it {file_name(status.service)}, or take it out"
            problems.append(Problem(Place(path, 1, 1), f"is the status of {status.service}, under a wrong name", hint))
        return _File(signature if signature.is_settled else None, last_good if problems else status, tuple(problems))
