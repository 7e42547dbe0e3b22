"""Values as MessagePack has them: how each is written, and read again without trusting what comes.

Rules kept here:

* A shape writes what :func:`speaker.packing.pack` takes, and reads what `unpack_untrusted` gives. What reads otherwise
  than it was written raises :class:`BadShape`, and nothing else does.
* A record is an array of its fields in the order of its class: no names are sent, and a field that is added to the
  class without a shape is noticed when this is imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final, NoReturn

MAX_INTEGER: Final = 2**63 - 1
"""Integers beyond it are shown as text."""


class BadShape(ValueError):
    """A value is not what is expected in its place."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of value. `write` trusts its argument, `read` does not."""

    write: Callable[[Any], object]
    read: Callable[[object], Any]


def _refuse(wanted: str, value: object) -> NoReturn:
    raise BadShape(f"{type(value).__name__} where {wanted} should be")


def _same(value: object) -> object:
    return value


def _write_text(value: str) -> str:
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()


def _read_text(value: object) -> str:
    return value if isinstance(value, str) else _refuse("text", value)


def _read_flag(value: object) -> bool:
    return value if isinstance(value, bool) else _refuse("true or false", value)


def _read_integer(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else _refuse("an integer", value)


def _read_number(value: object) -> float:
    return value if isinstance(value, float) and math.isfinite(value) else _refuse("a finite number", value)


def _write_address(value: IPv4Address | IPv6Address) -> bytes:
    return value.packed


def _read_address(value: object) -> IPv4Address | IPv6Address:
    if isinstance(value, bytes):
        if len(value) == 4:
            return IPv4Address(value)
        if len(value) == 16:
            return IPv6Address(value)
    return _refuse("an address", value)


TEXT: Final = Shape(_write_text, _read_text)
FLAG: Final = Shape(_same, _read_flag)
INTEGER: Final = Shape(_same, _read_integer)
NUMBER: Final = Shape(float, _read_number)
ADDRESS: Final = Shape(_write_address, _read_address)


def optional(shape: Shape) -> Shape:
    """That, or None."""
    return Shape(
        lambda value: None if value is None else shape.write(value),
        lambda value: None if value is None else shape.read(value),
    )


def choice_of(choices: type[StrEnum]) -> Shape:
    """A member of an enumeration."""
    by_value = {choice.value: choice for choice in choices}

    def read(value: object) -> StrEnum:
        choice = by_value.get(value) if isinstance(value, str) else None
        return choice if choice is not None else _refuse(f"one of {', '.join(by_value)}", value)

    return Shape(str, read)


def tuple_of(shape: Shape) -> Shape:
    """Any number of these."""
    write_one, read_one = shape.write, shape.read

    def read(value: object) -> tuple[Any, ...]:
        return tuple([read_one(item) for item in value]) if isinstance(value, list) else _refuse("an array", value)

    return Shape(lambda values: [write_one(value) for value in values], read)


def mapping_of(shape: Shape) -> Shape:
    """Names, and one of these for each."""

    def read(value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            _refuse("a map", value)
        return {_read_text(name): shape.read(item) for name, item in value.items()}

    return Shape(lambda values: {_write_text(name): shape.write(value) for name, value in values.items()}, read)


def record(cls: type, **shapes: Shape) -> Shape:
    """An object of a dataclass whose fields have these shapes."""
    names = tuple(field.name for field in fields(cls))
    assert names == tuple(shapes), f"{cls.__name__} has the fields {', '.join(names)}"
    writers = tuple((name, shape.write) for name, shape in shapes.items())
    readers = tuple((name, shape.read) for name, shape in shapes.items())

    def read(value: object) -> Any:
        if not isinstance(value, list) or len(value) != len(readers):
            _refuse(f"an array of {len(readers)}", value)
        return cls(**{name: read_one(item) for (name, read_one), item in zip(readers, value, strict=True)})

    return Shape(lambda value: [write_one(getattr(value, name)) for name, write_one in writers], read)


def _write_plain(value: Any) -> object:
    if isinstance(value, str):
        return _write_text(value)
    if isinstance(value, tuple):
        return [_write_text(item) for item in value]
    return str(value) if isinstance(value, int) and abs(value) > MAX_INTEGER else value


def _read_plain(value: object) -> object:
    if isinstance(value, list):
        return tuple([_read_text(item) for item in value])
    return value if value is None or isinstance(value, str | int | float) else _refuse("a plain value", value)


PLAIN: Final = Shape(_write_plain, _read_plain)
"""Text, a number, true, false, None, or a tuple of texts."""
