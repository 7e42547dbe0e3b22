"""YAML text into trees of nodes that know where they stand; the traps of YAML are caught here.

Rules kept here:

* Whatever the text, nothing is raised: what is wrong becomes a :class:`Problem`, and the documents before it are kept.
* Values are what YAML 1.1 says, because that is what clusters are written in; a scalar also keeps its text, so that a
  message can say that `no` was read as false. Timestamps stay text, as they do for the API server.
* A key given twice is a problem. Keys are text: a number keeps its spelling; what is read as true, false or null has
  to be quoted.
* Size, depth, nodes and aliases are limited, and an alias counts as all that it stands for.
* A text inside a text (a ConfigMap's literal) gives places in the file that holds it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeAlias

import yaml

from cluster.errors import MAX_SHOWN, Place, Problem, quote

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_TEXT_BYTES: Final = 32 * 1024 * 1024
"""Bytes of one file: a list of tens of thousands of objects fits."""
MAX_DEPTH: Final = 100
"""Levels of nesting; the deepest schemas of custom resources have about half."""
MAX_NODES: Final = 4_000_000
"""Keys and values of one text, aliases counted as what they stand for."""
MAX_ALIASES: Final = 1_000
"""Aliases of one text."""
MAX_PROBLEMS: Final = 1_000
"""Problems of one text, after which it is not read on."""

Scalar: TypeAlias = str | int | float | bool | None

_BREAK = re.compile(r"\r\n|[\r\n\x85\u2028\u2029]")  # what the scanner counts as the end of a line
_TAG: Final = "tag:yaml.org,2002:"
_RESOLVER = yaml.resolver.Resolver()
_CONSTRUCTOR = yaml.constructor.SafeConstructor()
_TEXT_TAGS: Final = ("str", "timestamp", "value")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a text begins: the file and its lines and columns that come before. `fixed`, if set, is every place."""

    file: str
    lines: int = 0
    columns: int = 0
    fixed: Place | None = None

    def place(self, line: int, column: int) -> Place:
        """The place of a character of the text, counted from 0."""
        return self.fixed or Place(self.file, self.lines + line + 1, self.columns + column + 1)


_NO_KEYS: Final[Mapping[str, Place]] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A value and where it stands. `keys` are the places of a mapping's keys, `origin` that of a literal's lines."""

    value: Scalar | list[Node] | dict[str, Node]
    place: Place
    text: str = ""
    keys: Mapping[str, Place] = field(default_factory=lambda: _NO_KEYS)
    origin: Origin | None = None

    def get(self, key: str) -> Node | None:
        """The value of a mapping's key, or None for what is no mapping or has no such key."""
        return self.value.get(key) if isinstance(self.value, dict) else None


class _Stop(Exception):  # the text is not read on
    def __init__(self, place: Place, message: str, hint: str) -> None:
        super().__init__(message)
        self.problem = Problem(place, message, hint)


@dataclass(slots=True)
class _Sized:
    """A node with what counts against the limits."""

    node: Node
    nodes: int = 1
    height: int = 0
    is_merge: bool = False


@dataclass(slots=True)
class _Open:
    """A sequence or mapping whose end has not come."""

    is_mapping: bool
    place: Place
    anchor: str | None
    children: list[_Sized] = field(default_factory=list)
    nodes: int = 1


def read_documents(text: str, origin: Origin) -> tuple[list[Node], list[Problem]]:
    """Read all documents of a text. Empty ones are left out; what follows a mistake in the syntax is not reached."""
    builder = _Builder(text, origin)
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            builder.take(event)
    except _Stop as stop:
        builder.problems.append(stop.problem)
    except yaml.YAMLError as exc:
        builder.problems.append(_syntax_problem(exc, text, origin))
    return builder.documents, builder.problems


def decode_text(data: bytes, file: str) -> str | Problem:
    """The text of a file: UTF-8, with or without a byte order mark."""
    start = Place(file, 1, 1)
    if len(data) > MAX_TEXT_BYTES:
        return Problem(start, f"has more than {MAX_TEXT_BYTES} bytes", "split it into several files")
    if b"\0" in data:
        return Problem(start, "is a binary file, not text", "take it out of the folder, or name the files to check")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        before = data[: exc.start].decode("utf-8", "replace")
        place = Origin(file).place(*_position(before, len(before)))
        return Problem(place, f"byte 0x{data[exc.start]:02x} is not UTF-8", "save the file as UTF-8")


def plain(node: Node) -> object:
    """The value without places: dicts, lists, text, numbers, booleans and None."""
    match node.value:
        case dict() as mapping:
            return {key: plain(child) for key, child in mapping.items()}
        case list() as items:
            return [plain(item) for item in items]
        case scalar:
            return scalar


class _Builder:
    """Makes nodes from the parser's events; holds what the limits need to know."""

    def __init__(self, text: str, origin: Origin) -> None:
        self.documents: list[Node] = []
        self.problems: list[Problem] = []
        self._origin = origin
        self._lines = _BREAK.split(text)
        self._open: list[_Open] = []
        self._anchors: dict[str, _Sized | None] = {}  # None: its end has not come
        self._aliases = 0
        self._finished_nodes = 0

    def take(self, event: yaml.Event) -> None:
        """Take the next event. Raises _Stop where the text is not to be read on."""
        match event:
            case yaml.DocumentStartEvent():
                self._anchors.clear()
            case yaml.ScalarEvent():
                self._add(self._scalar(event), self._place(event), event.anchor)
            case yaml.AliasEvent():
                self._add(self._alias(event), self._place(event), None)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._begin(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._end()
            case _:
                pass

    def _place(self, event: yaml.Event) -> Place:
        mark = event.start_mark
        assert mark is not None
        return self._origin.place(mark.line, mark.column)

    def _say(self, place: Place, message: str, hint: str) -> None:
        self.problems.append(Problem(place, message, hint))
        if len(self.problems) >= MAX_PROBLEMS:
            raise _Stop(place, f"more than {MAX_PROBLEMS} problems; the rest is not read", "cure these first")

    def _begin(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        place = self._place(event)
        if event.tag not in (None, "!", _TAG + ("map" if is_mapping else "seq")):
            self._say(place, f"the tag {quote(event.tag)} has no meaning here", "leave it out")
        if len(self._open) >= MAX_DEPTH:
            raise _Stop(place, f"is nested more than {MAX_DEPTH} levels deep", "flatten it")
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._open.append(_Open(is_mapping, place, event.anchor))

    def _end(self) -> None:
        closed = self._open.pop()
        height = 1 + max((child.height for child in closed.children), default=0)
        if closed.is_mapping:
            node = self._mapping(closed)
        else:
            node = Node([child.node for child in closed.children], closed.place)
        self._add(_Sized(node, closed.nodes, height), closed.place, closed.anchor)

    def _add(self, sized: _Sized, place: Place, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = sized
        if self._open:
            parent = self._open[-1]
            parent.children.append(sized)
            parent.nodes += sized.nodes
            nodes = parent.nodes
        else:
            nodes = self._finished_nodes = self._finished_nodes + sized.nodes
            if sized.node.value is not None:
                self.documents.append(sized.node)
        if nodes > MAX_NODES:
            raise _Stop(place, f"has more than {MAX_NODES} keys and values", "split it, or write out its aliases")
        if len(self._open) + sized.height > MAX_DEPTH:
            raise _Stop(place, f"is nested more than {MAX_DEPTH} levels deep", "flatten it")

    def _alias(self, event: yaml.AliasEvent) -> _Sized:
        place, name = self._place(event), event.anchor
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            raise _Stop(place, f"has more than {MAX_ALIASES} aliases", "write the values out")
        if name not in self._anchors:
            raise _Stop(place, f"the alias *{name} stands for nothing", f"put &{name} before the value it repeats")
        target = self._anchors[name]
        if target is None:
            raise _Stop(place, f"the alias *{name} stands for what it is a part of", "write the value out")
        return replace(target)

    def _scalar(self, event: yaml.ScalarEvent) -> _Sized:
        place, text = self._place(event), event.value
        tag = event.tag if event.tag not in (None, "!") else None
        if tag is None:
            plain_style = event.implicit[0] and event.tag is None
            resolved = _RESOLVER.resolve(yaml.ScalarNode, text, (plain_style, not plain_style))  # type: ignore[no-untyped-call]  # the stubs leave it out
            tag = str(resolved)
        kind = tag.removeprefix(_TAG)
        origin = self._inner_origin(event, place)
        node = Node(self._value(kind, tag, text, place), place, text, origin=origin)
        return _Sized(node, is_merge=kind == "merge")

    def _value(self, kind: str, tag: str, text: str, place: Place) -> Scalar:
        scalar = yaml.ScalarNode(tag, text)
        try:
            match kind:
                case "null":
                    return None
                case "bool":
                    return bool(_CONSTRUCTOR.construct_yaml_bool(scalar))
                case "int":
                    return int(_CONSTRUCTOR.construct_yaml_int(scalar))
                case "float":
                    return float(_CONSTRUCTOR.construct_yaml_float(scalar))
                case _:
                    pass
        except (ValueError, KeyError, IndexError, OverflowError):
            self._say(place, f"{quote(text)} looks like a number or a switch and is none", "put it in quotes")
            return text
        if kind not in (*_TEXT_TAGS, "merge"):
            self._say(place, f"the tag {quote(tag)} has no meaning here", "leave it out")
        return text

    def _inner_origin(self, event: yaml.ScalarEvent, place: Place) -> Origin | None:
        """Where the lines of a literal scalar stand in the file; None where they cannot be told apart."""
        if event.style != "|" or self._origin.fixed:
            return None
        first = place.line - self._origin.lines
        for number, line in enumerate(_BREAK.split(event.value)):
            if not line:
                continue
            written = self._lines[first + number] if first + number < len(self._lines) else ""
            if not written.endswith(line):  # an anchor or a tag stands on a line of its own
                return None
            columns = self._origin.columns + len(written) - len(line)
            return Origin(place.file, self._origin.lines + first, columns)
        return None

    def _mapping(self, closed: _Open) -> Node:
        value: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        merged: list[Node] = []
        for key, child in zip(closed.children[::2], closed.children[1::2], strict=True):
            if key.is_merge:
                merged += self._merged(child.node)
                continue
            name = self._key(key.node)
            if name is None:
                continue
            if name in value:
                message = f"the key {quote(name)} is given twice, first in line {keys[name].line}"
                self._say(key.node.place, message, "keep one of the two")
                continue
            value[name], keys[name] = child.node, key.node.place
        for source in merged:
            assert isinstance(source.value, dict)
            for name, node in source.value.items():
                if name not in value:
                    value[name], keys[name] = node, source.keys[name]
        return Node(value, closed.place, keys=keys)

    def _key(self, node: Node) -> str | None:
        if isinstance(node.value, list | dict):
            hint = "write text before the colon; templates have to be rendered first"
            self._say(node.place, "a key is a list or a mapping", hint)
            return None
        if isinstance(node.value, bool) or node.value is None:
            self._say(node.place, f"the key {quote(node.text)} is read as {describe(node.value)}", quoting(node.text))
            return None
        return node.text

    def _merged(self, node: Node) -> list[Node]:
        sources = node.value if isinstance(node.value, list) else [node]
        if any(not isinstance(source.value, dict) for source in sources):
            self._say(node.place, "<< merges what is no mapping", "put an alias of a mapping after it")
            return []
        return sources


def describe(value: object) -> str:
    """What a value is, in words: after "is read as" or before "not text"."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int():
            return f"the number {value}" if abs(value) < 10**18 else "a number"
        case float():
            return "a number with a fraction"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "a mapping"


def quoting(text: str) -> str:
    """The cure for text that YAML reads as something else."""
    return f'quote it: "{text}"' if text.isprintable() and len(text) <= MAX_SHOWN and '"' not in text else "quote it"


def _position(text: str, index: int) -> tuple[int, int]:
    """Line and column, both from 0, of a character of the text."""
    lines = _BREAK.split(text[:index])
    return len(lines) - 1, len(lines[-1])


def _syntax_problem(exc: yaml.YAMLError, text: str, origin: Origin) -> Problem:
    if isinstance(exc, yaml.MarkedYAMLError) and exc.problem_mark is not None:
        line, column = exc.problem_mark.line, exc.problem_mark.column
        written = _BREAK.split(text)
        if line < len(written) and "\t" in written[line][: column + 1]:
            return Problem(origin.place(line, column), "a tab stands where YAML wants spaces", "indent with spaces")
        message = f"is not YAML: {exc.problem}{f' {exc.context}' if exc.context else ''}"
        return Problem(origin.place(line, column), message, _syntax_hint(str(exc.problem)))
    if isinstance(exc, yaml.reader.ReaderError):
        before = text.encode()[: exc.position].decode(errors="replace")
        place = origin.place(*_position(before, len(before)))
        return Problem(place, f"the character 0x{int(exc.character):02x} has no place in text", "take it out")
    return Problem(origin.place(0, 0), "is not YAML", "see what precedes this line")


_HINTS: Final = {
    "mapping values are not allowed": "put the value in quotes if it holds a colon, or look at the indentation",
    "did not find expected": "look at the indentation, and for a bracket or a dash that is missing",
    "unexpected end of stream": "close the quote or bracket that was opened before",
    "cannot start any token": "put the value in quotes",
    "unexpected ':'": "put the value in quotes",
}


def _syntax_hint(problem: str) -> str:
    return next((hint for part, hint in _HINTS.items() if part in problem), "correct the line, or the one before it")
