"""The ring's timings that a speaker is given by a profile and a file."""

from __future__ import annotations

from typing import Final

from gossip import ConfigError, GossipConfig, LocalError, parse_config, profile

MAX_FILE_BYTES: Final = 1024 * 1024


def read_ring_config(path: str | None, profile_name: str) -> GossipConfig:
    """The timings of a profile, and what the file changes of them. Raises :class:`LocalError` naming the file."""
    if path is None:
        return profile(profile_name)
    try:
        with open(path, "rb") as file:
            text = file.read(MAX_FILE_BYTES).decode()
        return parse_config(text, profile_name)
    except OSError as exc:
        raise LocalError(f"{path}: {exc.strerror}") from None
    except (ConfigError, UnicodeDecodeError) as reason:
        raise LocalError(f"{path}: {reason}") from None
