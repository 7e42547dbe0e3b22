"""A ring's timings as a text of TOML: a profile, and what differs from it.

Rules kept here:

* Only what shapes the ring's behaviour is read: who may be in it and how packets look is said elsewhere.
* Unknown tables, unknown keys and values of another type are refused with their name and what there is.
"""

from __future__ import annotations

import tomllib
from dataclasses import fields, replace
from math import isfinite
from typing import Any, Final

from gossip.config import PROFILES, GossipConfig, profile
from gossip.errors import ConfigError

GROUPS: Final = ("probe", "suspicion", "gossip", "push_pull", "reconnect")
"""The tables, named as the groups of :class:`~gossip.config.GossipConfig`."""
MAX_TEXT_BYTES: Final = 64 * 1024


def parse_config(text: str, default_profile: str) -> GossipConfig:
    """The configuration that a text describes; it may name its ``profile``. Raises :class:`ConfigError`."""
    if len(text.encode(errors="replace")) > MAX_TEXT_BYTES:
        raise ConfigError(f"more than {MAX_TEXT_BYTES} bytes; is this a file of settings?")
    try:
        told = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise ConfigError(f"no TOML: {exc}") from None
    base = told.pop("profile", default_profile)
    if base not in PROFILES:
        raise ConfigError(f"profile {base!r:.60}: there are {', '.join(PROFILES)}")
    config = profile(base)
    for group, values in told.items():
        if group not in GROUPS or not isinstance(values, dict):
            raise ConfigError(
                f"no table [{group}]; there are {', '.join(f'[{known}]' for known in GROUPS)} and profile"
            )
        config = replace(config, **{group: _change(group, getattr(config, group), values)})
    return config


def _change(group: str, settings: Any, values: dict[str, Any]) -> Any:
    types = {field.name: str(field.type) for field in fields(settings)}
    changes = {}
    for key, value in values.items():
        if key not in types:
            raise ConfigError(f"no setting {group}.{key}; there are {', '.join(types)}")
        changes[key] = _read(f"{group}.{key}", value, types[key])
    return replace(settings, **changes)


def _read(name: str, value: object, kind: str) -> object:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    match kind:
        case "float" if is_number:
            return float(value)  # type: ignore[arg-type]  # it is a number
        case "int" if is_number and isinstance(value, int):
            return value
        case "bool" if isinstance(value, bool):
            return value
    words = {"float": "a number", "int": "a whole number", "bool": "true or false"}
    raise ConfigError(f"{name} is {value!r:.40}; it has to be {words.get(kind, kind)}")
