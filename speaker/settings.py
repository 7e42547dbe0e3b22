"""What a speaker is started with, and its way through an argument list: one text of JSON.

`starling speaker` reads the options, checks them and becomes the fast process, which must not load what reads options.

Rules kept here:

* No secret is among the settings, only the paths of files: everybody on the machine can read an argument list.
* A text is read whole or refused: a field that is missing, unknown or of another type raises :class:`SettingsError`.

Source: design.md §8, 13.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from speaker.ownership import Election

KUBERNETES: Final = "kube"
"""The source that is no folder."""


class SettingsError(ValueError):
    """A text holds no settings; the message says which field is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that `starling speaker` was told, checked."""

    node: str
    """The node's name, in the cluster and in the ring."""
    source: str
    """The folder of manifests, or `kube`."""
    bind: tuple[str, int]
    """Where the ring listens."""
    api: str
    """The path of the socket that `why`, `status` and `ring members` ask."""
    state: str
    """The folder where the last demand is kept."""
    advertise: tuple[str, int] | None = None
    """What the other members are told, where that is not the bound address."""
    joins: tuple[str, ...] = ()
    """Seeds, as `[name/]host[:port]`."""
    interfaces: tuple[str, ...] | None = None
    """The interfaces to announce on; None: all that are fit for it."""
    local_address: bool = False
    """Whether announced addresses are put on the loopback interface, for machines without kube-proxy."""
    election: Election = Election.STARLING
    key_file: str | None = None
    """The ring's keys."""
    profile: str = "lan"
    """The timings of the ring, by name."""
    config: str | None = None
    """A file of settings for the ring."""
    load_balancer_class: str | None = None
    """Only services of this class are announced; None: those without any."""
    ignore_exclude_label: bool = False
    """Whether nodes labelled as excluded from external load balancers announce all the same."""

    def to_text(self) -> str:
        """The settings as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Settings:
        """The settings that :meth:`to_text` wrote. Raises :class:`SettingsError`."""
        try:
            told = json.loads(text)
        except (ValueError, RecursionError):
            raise SettingsError("the settings are one JSON object") from None
        if not isinstance(told, dict):
            raise SettingsError("the settings are one JSON object")
        names = [field.name for field in fields(cls)]
        if unknown := sorted(told.keys() - set(names)):
            raise SettingsError(f"no setting {unknown[0]!r:.40}; there are {', '.join(names)}")
        return cls(**{field.name: _read(told, field.name, str(field.type)) for field in fields(cls)})


def _read(told: dict[str, Any], name: str, kind: str) -> Any:
    if name not in told:
        raise SettingsError(f"the setting {name!r} is missing")
    value = told[name]
    if value is None and kind.endswith(" | None"):
        return None
    try:
        return _READERS[kind.removesuffix(" | None")](value)
    except ValueError as reason:
        raise SettingsError(f"{name} {reason}") from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError("must be an array of strings")
    return tuple(_text(item) for item in value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _address(value: object) -> tuple[str, int]:
    match value:
        case [str(host), int(port)] if not isinstance(port, bool) and 0 <= port <= 65535:
            return host, port
    raise ValueError("must be an array of a host and a port")


def _election(value: object) -> Election:
    try:
        return Election(_text(value))
    except ValueError:
        raise ValueError(f"must be one of {', '.join(Election)}") from None


_READERS: Final[dict[str, Callable[[object], object]]] = {
    "str": _text,
    "tuple[str, ...]": _texts,
    "bool": _flag,
    "tuple[str, int]": _address,
    "Election": _election,
}
"""By the annotation of a field."""
