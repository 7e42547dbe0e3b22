"""Manifests to a snapshot: which kinds are read, by whom, and what belongs together.

Rules kept here:

* Total: any bytes give a :class:`Reading`; :func:`parse_manifests` turns one with problems into ManifestError.
* One table says which kinds are read. Another kind that configures the same thing is another line in it.
* What is not read is counted, so that nothing is passed over in silence. Custom resources of MetalLB are refused:
  who writes them expects them to be obeyed.
* Files are given as names and bytes; nothing is opened here.

Source: docs/specs/metallb-interface.md §1.1, §3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cluster.config_map import read_configuration
from cluster.errors import ManifestError, Place, Problem, quote
from cluster.model import Configuration, Snapshot
from cluster.objects import read_endpoint_slice, read_namespace, read_node, read_service
from cluster.shapes import Path, Reader, format_path
from cluster.yaml_text import Node, Origin, decode_text, describe, read_documents

CONFIG_KIND: Final = "ConfigMap"
CONFIG_NAMESPACE: Final = "metallb-system"
CONFIG_NAME: Final = "config"
CONFIG_KEY: Final = "config"
"""Where MetalLB 0.8 to 0.12 looks for its configuration: namespace and name of the ConfigMap, and its only key."""
MAX_LIST_DEPTH: Final = 3
"""Lists in lists."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind that is read: its apiVersion, the field of the snapshot it goes to, and who reads it."""

    api_version: str
    field: str
    read: Callable[[Reader], Any]


KINDS: Final[dict[str, Kind]] = {
    "EndpointSlice": Kind("discovery.k8s.io/v1", "endpoint_slices", read_endpoint_slice),
    "Namespace": Kind("v1", "namespaces", read_namespace),
    "Node": Kind("v1", "nodes", read_node),
    "Service": Kind("v1", "services", read_service),
}
CLUSTER_SCOPED: Final = ("Namespace", "Node")
"""Kinds whose objects are in no namespace."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What manifests say, and what is wrong with them. The snapshot leaves out what could not be read."""

    snapshot: Snapshot
    problems: tuple[Problem, ...]
    """By file, line and column."""
    files: int
    objects: int
    """Objects seen, read or not."""
    ignored: tuple[tuple[str, int], ...]
    """Kinds that are not read and how many objects of each there are, sorted."""
    places: Mapping[tuple[str, str, str], Place]
    """Where the objects that are read begin, by kind, namespace and name."""


@dataclass(frozen=True, slots=True)
class Found:
    """An object of a file. `value` is None when it could not be read, which has been noted."""

    kind: str
    namespace: str
    """Empty for kinds that are in no namespace."""
    name: str
    place: Place
    path: Path
    """Leads to it from the beginning of its document, through lists."""
    value: Any

    @property
    def key(self) -> tuple[str, str, str]:
        """What no two objects have in common; sorts as the objects do."""
        return self.kind, self.namespace, self.name


@dataclass(frozen=True, slots=True)
class FileReading:
    """What one file says by itself. It holds for as long as the file is the same, whatever the others say."""

    file: str
    found: tuple[Found, ...]
    problems: tuple[Problem, ...]
    objects: int
    ignored: Mapping[str, int]


def parse_manifests(files: Iterable[tuple[str, bytes]]) -> Snapshot:
    """What the manifests (names and contents) say. Raises ManifestError with every problem, and nothing else."""
    reading = read_manifests(files)
    if reading.problems:
        raise ManifestError(reading.problems)
    return reading.snapshot


def read_manifests(files: Iterable[tuple[str, bytes]]) -> Reading:
    """What the manifests (names and contents) say, and what is wrong with them. Raises nothing."""
    return join([read_file(name, data) for name, data in files])


def read_file(name: str, data: bytes) -> FileReading:
    """What one file says. Raises nothing."""
    collector = _Collector()
    text = decode_text(data, name)
    if isinstance(text, Problem):
        collector.problems.append(text)
    else:
        documents, collector.problems = read_documents(text, Origin(name))
        for document in documents:
            collector.add(document)
    return FileReading(
        name, tuple(collector.found), tuple(collector.problems), collector.objects, dict(collector.ignored)
    )


def join(files: Sequence[FileReading]) -> Reading:
    """What files say together: the first of two objects of one name counts, the second is a problem."""
    problems = [problem for file in files for problem in file.problems]
    objects = sum(file.objects for file in files)
    if files and not objects and not problems:
        place = Place(files[0].file, 1, 1)
        problems.append(Problem(place, "there is no object in it", "name files that hold manifests"))
    first: dict[tuple[str, str, str], Found] = {}
    problems += [
        _given_twice(found, earlier)
        for file in files
        for found in file.found
        if (earlier := first.setdefault(found.key, found)) is not found
    ]
    values: dict[str, list[Any]] = {}
    for _, found in sorted(first.items()):
        if found.value is not None:
            values.setdefault(found.kind, []).append(found.value)
    configs = values.get(CONFIG_KIND, [])
    ignored: Counter[str] = Counter()
    for file in files:
        ignored.update(file.ignored)
    objects_of: dict[str, Any] = {kind.field: tuple(values.get(name, ())) for name, kind in KINDS.items()}
    return Reading(
        snapshot=Snapshot(config=configs[0] if configs else Configuration(), is_configured=bool(configs), **objects_of),
        problems=tuple(sorted(problems)),
        files=len(files),
        objects=objects,
        ignored=tuple(sorted(ignored.items())),
        places={key: found.place for key, found in first.items()},
    )


def _given_twice(found: Found, earlier: Found) -> Problem:
    full = f"{found.namespace}/{found.name}" if found.namespace else found.name
    where = f"{format_path(found.path)}: " if found.path else ""
    message = f"{where}{found.kind} {quote(full)} is given twice, first at {earlier.place}"
    return Problem(found.place, message, "take one of the two out")


@dataclass(slots=True)
class _Collector:
    """Takes the objects of a file one by one."""

    problems: list[Problem] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    objects: int = 0
    ignored: Counter[str] = field(default_factory=Counter)

    def add(self, root: Node, path: Path = (), depth: int = 0) -> None:
        """Take one object, or the items of a list of objects."""
        reader = Reader(root, self.problems, path)
        if not isinstance(root.value, dict):
            reader.refuse((), f"is {describe(root.value)}, not an object", "an object begins with apiVersion and kind")
            return
        api_version, kind = (self._header(reader, key) for key in ("apiVersion", "kind"))
        if api_version is None or kind is None:
            return
        items = root.get("items")
        if kind == "List" and items is not None and isinstance(items.value, list):
            if depth >= MAX_LIST_DEPTH:
                reader.refuse(
                    (), f"holds lists more than {MAX_LIST_DEPTH} deep", "write the objects one after the other"
                )
                return
            for index, item in enumerate(items.value):
                self.add(item, (*path, "items", index), depth + 1)
            return
        self.objects += 1
        self._take(reader, api_version, kind)

    def _header(self, reader: Reader, key: str) -> str | None:
        text = reader.text((key,))
        if text:
            return text
        reader.refuse(
            (key,) if reader.root.get(key) else (), f"{key} is missing", "an object begins with apiVersion and kind"
        )
        return None

    def _take(self, reader: Reader, api_version: str, kind: str) -> None:
        group = api_version.rpartition("/")[0]
        if group == "metallb.io":
            message = f"{quote(kind)} of {quote(api_version)} is not read"
            reader.refuse(("kind",), message, f"configure in the ConfigMap {CONFIG_NAMESPACE}/{CONFIG_NAME}")
        elif kind == CONFIG_KIND and _is_config(reader):
            self._found(reader, kind, CONFIG_NAMESPACE, self._read_config(reader))
        elif (known := KINDS.get(kind)) and group == known.api_version.rpartition("/")[0]:
            if api_version != known.api_version:
                message = f"{quote(api_version)} is not a version of {kind} that is read"
                reader.refuse(("apiVersion",), message, f"write {known.api_version}")
            else:
                self._found(reader, kind, "" if kind in CLUSTER_SCOPED else "default", known.read(reader))
        else:
            self.ignored[kind] += 1

    def _found(self, reader: Reader, kind: str, default: str, value: object) -> None:
        name = reader.text(("metadata", "name"))
        if name:  # its reader says so when it has none
            namespace = (reader.text(("metadata", "namespace")) or default) if default else ""
            self.found.append(Found(kind, namespace, name, reader.root.place, reader.path, value))

    def _read_config(self, reader: Reader) -> Configuration | None:
        path: Path = ("data", CONFIG_KEY)
        text = reader.text(path)
        node = reader.node(path)
        if text is None:
            self._refuse_config(reader, node)
            return None
        assert node is not None
        origin = node.origin or Origin(node.place.file, fixed=node.place)
        documents, problems = read_documents(text, origin)
        noted = len(self.problems)
        self.problems += problems
        if len(documents) > 1:
            second = documents[1].place
            self.problems.append(Problem(second, "is a second document, which MetalLB does not read", "join the two"))
        config = read_configuration(documents[0], self.problems) if documents else Configuration()
        return config if len(self.problems) == noted else None

    def _refuse_config(self, reader: Reader, node: Node | None) -> None:
        cure = f"write `{CONFIG_KEY}: |` and the configuration below it, indented"
        path = next((path for path in (("data", CONFIG_KEY), ("data",)) if reader.node(path)), ())
        if node is None:
            reader.refuse(path, f"the key {CONFIG_KEY} is missing", cure)
        else:
            reader.refuse(path, f"is {describe(node.value)}, not text", cure)


def _is_config(reader: Reader) -> bool:
    """A ConfigMap that names no namespace is put into the right one when it is applied."""
    return (
        reader.text(("metadata", "name")) == CONFIG_NAME
        and (reader.text(("metadata", "namespace")) or CONFIG_NAMESPACE) == CONFIG_NAMESPACE
    )
