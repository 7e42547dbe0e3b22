"""What an operator types, read and checked before anything is opened or asked.

Every function raises :class:`LocalError` with what would be right. Nothing is resolved and no file is read here.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from gossip.addresses import DEFAULT_PORT, pack_host, parse_join_target
from gossip.errors import LocalError
from gossip.messages import MAX_LABEL_BYTES, MAX_META_BYTES, MAX_NAME_BYTES
from gossip.serf import encode_tags

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gossip.addresses import Address

MAX_SOCKET_PATH: Final = 107
"""Bytes that Linux has for the path of a Unix socket."""


def read_bind(text: str) -> Address:
    """``ADDRESS[:PORT]``, where port 0 is any free one."""
    has_port_zero = text.endswith(":0") and (text.count(":") == 1 or text.startswith("["))
    target = parse_join_target(text[:-2], 0) if has_port_zero else parse_join_target(text)
    pack_host(target.host)
    return target.host, target.port


def read_advertised(text: str) -> Address:
    """``ADDRESS[:PORT]`` that others can reach."""
    host, port = read_bind(text)
    if not any(pack_host(host)) or not port:
        raise LocalError(
            f"{_shown(text)} leads nobody to us; name one address of this machine, and a port if not {DEFAULT_PORT}"
        )
    return host, port


def read_target(text: str) -> str:
    """``[NAME/]HOST[:PORT]``, kept as text until it is resolved."""
    parse_join_target(text)
    return text


def read_name(text: str) -> str:
    """A member's name."""
    _check_length("a name", text, 1, MAX_NAME_BYTES)
    return text


def read_label(text: str) -> bytes:
    """A ring's label."""
    return _check_length("a label", text, 0, MAX_LABEL_BYTES)


def read_socket_path(text: str) -> str:
    """Where a Unix socket can be."""
    _check_length("the path of a Unix socket", text, 1, MAX_SOCKET_PATH)
    return text


def read_hex(text: str) -> bytes:
    """Bytes in hex; spaces and colons, as tools for packets print them, do not matter."""
    try:
        return bytes.fromhex(text.replace(":", " "))
    except ValueError:
        raise LocalError(f"{_shown(text)} is not hexadecimal digits, two a byte") from None


def read_meta(text: str) -> bytes:
    """Metadata in hex."""
    meta = read_hex(text)
    _check_meta(meta)
    return meta


def read_tag(text: str) -> tuple[str, str]:
    """``KEY=VALUE``."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise LocalError(f"{_shown(text)} is not KEY=VALUE")
    return key, value


def read_network(text: str) -> str:
    """A network in CIDR form."""
    try:
        ipaddress.ip_network(text)
    except ValueError as exc:
        raise LocalError(f"{exc}; write ADDRESS/BITS") from None
    return text


def tags_as_meta(tags: Mapping[str, str]) -> bytes:
    """Metadata that holds serf tags."""
    meta = encode_tags(tags)
    _check_meta(meta)
    return meta


def _check_meta(meta: bytes) -> None:
    if len(meta) > MAX_META_BYTES:
        raise LocalError(f"a member's metadata has at most {MAX_META_BYTES} bytes; these are {len(meta)}")


def _check_length(what: str, text: str, lowest: int, highest: int) -> bytes:
    encoded = text.encode("utf-8", "surrogateescape")
    if not lowest <= len(encoded) <= highest:
        raise LocalError(f"{what} has {lowest} to {highest} bytes; this one has {len(encoded)}")
    return encoded


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
