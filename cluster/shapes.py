"""Shapes of manifests: what fields a mapping has and what each must be; from a node to a shape or to its problems.

Rules kept here:

* A shape says what is written, under the names that are written; `cluster.model` says what it means.
* Types are exact: "80" is no number and 80 is no text. A field that is null is one that is absent, as in Go.
* A message holds the path, the value as written and the cure. No value is refused for which that would tell a secret.
"""

from __future__ import annotations

import difflib
import re
from functools import partial
from ipaddress import IPv4Address
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainValidator, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError, PydanticKnownError

from cluster.errors import Problem, ValueRefused, quote
from cluster.model import Address, Network
from cluster.ranges import parse_address, parse_ipv4, parse_networks
from cluster.yaml_text import describe, plain, quoting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from enum import StrEnum

    from pydantic_core import ErrorDetails

    from cluster.errors import Place
    from cluster.yaml_text import Node

A = TypeVar("A")
B = TypeVar("B")
S = TypeVar("S", bound=BaseModel)

Path: TypeAlias = tuple[str | int, ...]
"""Keys and indexes from the root of a document to one of its values."""

MAX_ALTERNATIVES: Final = 8
"""Names that a hint lists."""
_PLAIN_KEY = re.compile(r"[\w-]+", re.ASCII)


# ---- what a field may hold


def refusing(function: Callable[[A], B], value: A) -> B:
    """Call a function; its ValueRefused becomes what pydantic collects."""
    try:
        return function(value)
    except ValueRefused as reason:
        context = {"message": reason.message, "hint": reason.hint}
        raise PydanticCustomError("refused", "{message}", context) from None


def parsed(parse: Callable[[str], Any]) -> PlainValidator:
    """Text that a function reads; it raises ValueRefused for what is not good."""

    def check(value: object) -> object:
        if not isinstance(value, str):
            raise PydanticKnownError("string_type")
        return refusing(parse, value)

    return PlainValidator(check)


def checked(check: Callable[[Any], Any]) -> AfterValidator:
    """A value of the right type that a function looks at and gives back; it raises ValueRefused for a bad one."""
    return AfterValidator(partial(refusing, check))


def within(low: int, high: int) -> AfterValidator:
    """A whole number of this range, both ends included."""

    def check(value: int) -> int:
        if low <= value <= high:
            return value
        raise ValueRefused(f"{quote(str(value))} is out of range", f"write a whole number from {low} to {high}")

    return checked(check)


def one_of(choices: type[StrEnum]) -> PlainValidator:
    """One of the words of an enumeration."""

    def parse(text: str) -> StrEnum:
        try:
            return choices(text)
        except ValueError:
            raise ValueRefused(
                f"{quote(text)} is not a value of this field", f"write {alternatives(choices)}"
            ) from None

    return parsed(parse)


def alternatives(words: Iterable[str]) -> str:
    """`a, b or c`; the first MAX_ALTERNATIVES of them."""
    *first, last = islice(words, MAX_ALTERNATIVES)
    return f"{', '.join(first)} or {last}" if first else str(last)


def _not_empty(text: str) -> str:
    if not text:
        raise ValueRefused("is empty", "write a name")
    return text


Name = Annotated[str, checked(_not_empty)]
AddressText = Annotated[Address, parsed(parse_address)]
IPv4Text = Annotated[IPv4Address, parsed(parse_ipv4)]
NetworksText = Annotated[tuple[Network, ...], parsed(parse_networks)]


class Shape(BaseModel):
    """A mapping with known fields. Subclasses decide about the others."""

    model_config = ConfigDict(strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _leave_out_null(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        known = {field.alias for field in cls.model_fields.values()}
        return {key: value for key, value in data.items() if value is not None or key not in known}


class ConfigShape(Shape):
    """A mapping of the ConfigMap's document: an unknown key is a mistake, words are joined by dashes."""

    model_config = ConfigDict(extra="forbid", alias_generator=lambda name: name.replace("_", "-"))


class ObjectShape(Shape):
    """A mapping of an API object: fields that are not listed are none of our business, words are joined by capitals."""

    model_config = ConfigDict(extra="ignore", alias_generator=to_camel)


# ---- from a node to a shape


class Reader:
    """Reads the values of one document and collects what is wrong. `root` is the document, `path` leads to it."""

    def __init__(self, root: Node, problems: list[Problem], path: Path = ()) -> None:
        self.root = root
        self.problems = problems
        self.path = path

    def read(self, shape: type[S], path: Path = ()) -> S | None:
        """The value at a path of the document as a shape, or None after noting every reason why not."""
        node = find(self.root, path)
        assert node is not None
        data = plain(node)
        while True:
            try:
                return shape.model_validate(data)
            except ValidationError as exc:
                errors = exc.errors(include_url=False, include_input=False)
            texts = [(error["loc"], text) for error in errors if (text := self._text_wanted(node, error)) is not None]
            if not texts:
                break
            for loc, text in texts:
                data = _with(data, loc, text)
        for error in errors:
            self._note(shape, error, path)
        return None

    def refuse(self, path: Path, message: str, hint: str) -> None:
        """Note that the value at a path is wrong."""
        node = find(self.root, path)
        self._add(path, node.place if node else self.root.place, message, hint)

    def node(self, path: Path) -> Node | None:
        """The node at a path."""
        return find(self.root, path)

    def items(self, path: Path) -> list[Path]:
        """The paths of a list's items; none if there is no list at the path."""
        node = find(self.root, path)
        return [(*path, index) for index in range(len(node.value))] if node and isinstance(node.value, list) else []

    def text(self, path: Path) -> str | None:
        """The text at a path, if there is text."""
        node = find(self.root, path)
        return self.text_of(node) if node else None

    def text_of(self, node: Node) -> str | None:
        """The text that a node is, if it is text."""
        return node.value if isinstance(node.value, str) else None

    def refuse_repeated(self, paths: Iterable[Path], key: str) -> None:
        """Note every item whose `key` has the text of an earlier one's."""
        first: dict[str, Path] = {}
        for path in paths:
            text = self.text((*path, key))
            if text is not None and (earlier := first.setdefault(text, path)) != path:
                message = f"{quote(text)} is the {key} of {format_path(self.path + earlier)} too"
                self.refuse((*path, key), message, f"give each a {key} of its own")

    def _text_wanted(self, root: Node, error: ErrorDetails) -> str | None:
        """What a value is as text, where one was refused for not being any and yet it is."""
        node = find(root, error["loc"]) if error["type"] == "string_type" else None
        return self.text_of(node) if node else None

    def _add(self, path: Path, place: Place, message: str, hint: str) -> None:
        where = format_path(self.path + path)
        self.problems.append(Problem(place, f"{where}: {message}" if where else message, hint))

    def _note(self, shape: type[BaseModel], error: ErrorDetails, base: Path) -> None:
        kind, loc = error["type"], error["loc"]
        if loc and loc[-1] == "[key]":  # pydantic's mark for a mapping's key
            loc = loc[:-1]
            kind = "key"
        path = base + loc
        node, place = find(self.root, path), self.root.place
        parent = find(self.root, path[:-1])
        match kind:
            case "missing":
                place = parent.place if parent else place
                example = fields_at(shape, loc[:-1])[str(loc[-1])]
                self._add(path[:-1], place, f"{path[-1]} is missing", f"add `{path[-1]}: {example or '…'}`")
            case "extra_forbidden":
                place = parent.keys[str(path[-1])] if parent else place
                message, hint = _unknown(str(loc[-1]), list(fields_at(shape, loc[:-1])))
                self._add(path[:-1], place, message, hint)
            case "key" | "refused":
                context = error["ctx"]
                place = parent.keys[str(path[-1])] if kind == "key" and parent else node.place if node else place
                self._add(path, place, context["message"], context["hint"])
            case _:
                assert node is not None
                expected = _EXPECTED[kind]
                self._add(path, node.place, _mistyped(node, expected), _cure(node, expected))


class DocumentReader(Reader):
    """Reads a document for programs in Go: to their fields for text a number or a switch is the text it is written as.

    So MetalLB reads its ConfigMap, but not so the API server the objects (docs/specs/metallb-interface.md §1.1).
    """

    def text_of(self, node: Node) -> str | None:
        """The text that a node is written as, if it is a scalar and not null."""
        return None if node.value is None or isinstance(node.value, list | dict) else node.text


_EXPECTED: Final = {
    "string_type": "text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
"""What each of pydantic's errors of type means."""


def find(node: Node, path: Path) -> Node | None:
    """The node at the end of a path, or None."""
    for step in path:
        match node.value, step:
            case dict() as mapping, str() if step in mapping:
                node = mapping[step]
            case list() as items, int() if step < len(items):
                node = items[step]
            case _:
                return None
    return node


def _with(data: Any, path: Path, value: object) -> Any:
    """The data with another value at a path; the data's own lists and mappings are changed."""
    if not path:
        return value
    *steps, last = path
    parent = data
    for step in steps:
        parent = parent[step]
    parent[last] = value
    return data


def format_path(path: Path) -> str:
    """`spec.ports[0].port`; a key that holds other characters stands in brackets and quotes."""
    parts = []
    for step in path:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        elif _PLAIN_KEY.fullmatch(step):
            parts.append(f".{step}")
        else:
            parts.append(f"[{quote(step)}]")
    return "".join(parts).removeprefix(".")


def fields_at(shape: type[BaseModel], loc: Sequence[str | int]) -> dict[str, str]:
    """The keys of the mapping at a location below a shape, each with an example of its value or nothing."""
    for step in loc:
        if isinstance(step, str):
            annotation = next(field.annotation for field in shape.model_fields.values() if field.alias == step)
            shape = next(part for part in (annotation, *get_args(annotation)) if _is_shape(part))
    return {str(field.alias): str((field.examples or [""])[0]) for field in shape.model_fields.values()}


def _is_shape(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _unknown(key: str, known: list[str]) -> tuple[str, str]:
    close = difflib.get_close_matches(key.replace("_", "-").lower(), known, n=1)
    message = f"{quote(key)} is no key of this mapping"
    return message, f"did you mean {close[0]}?" if close else f"its keys are {', '.join(known)}"


def _mistyped(node: Node, expected: str) -> str:
    match node.value:
        case None:
            return f"is empty, not {expected}"
        case list() | dict():
            return f"is {describe(node.value)}, not {expected}"
        case str():
            return f"{quote(node.text)} is text, not {expected}"
        case value:
            return f"{quote(node.text)} is read as {describe(value)}, not as {expected}"


def _cure(node: Node, expected: str) -> str:
    match expected:
        case "text" if isinstance(node.value, bool | int | float):
            return quoting(node.text)
        case "text":
            return "write text, in quotes if in doubt"
        case "a whole number":
            number = isinstance(node.value, str) and node.value.isascii() and node.value.isdigit()
            return f"write {node.value} without quotes" if number and len(node.text) < 20 else "write a whole number"
        case "true or false":
            return f"write {node.value} without quotes" if node.value in ("true", "false") else "write true or false"
        case "a list":
            return "begin each entry with a dash"
        case _:
            return "write `key: value`, one a line"
