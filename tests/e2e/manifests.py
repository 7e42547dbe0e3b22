"""The manifests of a lab, as an administrator changes them; they come back as they were."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml


class ManifestFiles:
    """A folder with manifests, and how it was at first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._texts = {path.name: path.read_text() for path in sorted(folder.glob("*.yaml"))}

    def path(self, name: str) -> Path:
        """A manifest's."""
        return self._folder / name

    def put(self, name: str, text: str) -> None:
        """Write a manifest, all of it at once."""
        fresh = self.path(f".{name}.new")
        fresh.write_text(text)
        os.replace(fresh, self.path(name))

    @contextmanager
    def edited(self, name: str) -> Iterator[list[Any]]:
        """The documents of a manifest, to be changed."""
        documents = list(yaml.safe_load_all(self.path(name).read_text()))
        yield documents
        self.put(name, yaml.safe_dump_all(documents))

    def restore(self, name: str) -> None:
        """Write a manifest as it was at first, if it is not so."""
        if self.path(name).read_text() != self._texts[name]:
            self.put(name, self._texts[name])

    def restore_all(self) -> None:
        """Everything as it was at first."""
        for path in sorted(self._folder.glob("*.yaml")):
            if path.name not in self._texts:
                path.unlink()
        for name in self._texts:
            self.restore(name)
