"""What an operator types: what is taken, and what is said of what is not."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from gossip import LocalError
from gossip.cli.arguments import (
    MAX_SOCKET_PATH,
    read_bind,
    read_hex,
    read_label,
    read_meta,
    read_name,
    read_network,
    read_socket_path,
    read_tag,
    read_target,
    tags_as_meta,
)
from gossip.control.key_file import read_key_file
from gossip.keyring import parse_key, parse_keys

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:7000", ("127.0.0.1", 7000)),
        ("127.0.0.1", ("127.0.0.1", 7946)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:7000", ("::1", 7000)),
        ("[::1]:0", ("::1", 0)),
        ("::1", ("::1", 7946)),
        ("::0", ("::0", 7946)),
        ("[::]", ("::", 7946)),
    ],
)
def test_addresses_to_bind(text: str, address: tuple[str, int]) -> None:
    assert read_bind(text) == address


def test_hex_is_taken_as_packet_tools_print_it() -> None:
    assert read_hex("08 c0:ff\nee") == b"\x08\xc0\xff\xee"


def test_a_key_file_has_keys_and_remarks() -> None:
    other = base64.b64encode(bytes(16)).decode()
    content = f"# the ring's keys\n\n  {KEY}  # since May\n{other}\n".encode()
    assert parse_keys(content) == (bytes(range(32)), bytes(16))


def test_what_is_right_is_taken() -> None:
    assert read_target("web/db.example:7000") == "web/db.example:7000"
    assert read_name("n" * 255) == "n" * 255
    assert read_name("caf\udce9") == "caf\udce9"
    assert read_label("flock") == b"flock"
    assert read_label("") == b""
    assert read_meta("ff80") == b"\xff\x80"
    assert read_tag("role=a=b") == ("role", "a=b")
    assert read_tag("role=") == ("role", "")
    assert read_network("10.0.0.0/8") == "10.0.0.0/8"
    assert parse_key(KEY) == bytes(range(32))
    assert read_socket_path("/run/ring.sock") == "/run/ring.sock"
    assert tags_as_meta({"role": "web"}) == b"\xff\x81\xa4role\xa3web"


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (read_bind, "db.example:7946", "'db.example' is not an IPv4 or IPv6 address"),
        (read_bind, "127.0.0.1:70000", "port '70000' is not a number from 1 to 65535"),
        (read_bind, "", "no host"),
        (read_target, "/10.0.0.1", "the name before '/' is empty"),
        (read_name, "", "a name has 1 to 255 bytes; this one has 0"),
        (read_name, "é" * 128, "this one has 256"),
        (read_label, "l" * 256, "a label has 0 to 255 bytes; this one has 256"),
        (read_meta, "00" * 513, "at most 512 bytes; these are 513"),
        (read_meta, "0g", "'0g' is not hexadecimal digits, two a byte"),
        (read_hex, "abc", "two a byte"),
        (read_hex, "x" * 500, "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…'"),
        (read_tag, "role", "'role' is not KEY=VALUE"),
        (read_tag, "=web", "is not KEY=VALUE"),
        (read_network, "10.0.0.0/33", "10.0.0.0/33.*; write ADDRESS/BITS"),
        (read_network, "10.0.0.1/8", "has host bits set"),
        (parse_key, "not base64!", "a key is written in base64"),
        (parse_key, "schlüssel", "a key is written in base64"),
        (parse_key, "c2hvcnQ=", "16, 24 or 32 bytes, not 5"),
        (read_socket_path, "/" + "s" * MAX_SOCKET_PATH, "1 to 107 bytes; this one has 108"),
    ],
)
def test_what_is_wrong_is_told_with_the_cure(read: Callable[[str], object], text: str, said: str) -> None:
    with pytest.raises(LocalError, match=said):
        read(text)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no key in it"),
        (b"# nothing yet\n", "no key in it"),
        (f"{KEY}\njunk\n".encode(), "line 2: a key has 16, 24 or 32 bytes, not 3"),
        (b"\xff\xfe\n", "line 1: a key is written in base64"),
    ],
)
def test_a_wrong_key_file_is_told_with_its_line(content: bytes, said: str) -> None:
    with pytest.raises(LocalError, match=said):
        parse_keys(content)


def test_tags_that_do_not_fit() -> None:
    with pytest.raises(LocalError, match="at most 512 bytes"):
        tags_as_meta({"motto": "m" * 510})


@pytest.mark.parametrize(("folder", "complaints"), [("", 0), ("elsewhere", 1)])
def test_a_credential_of_systemd_is_no_file_that_others_may_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str, complaints: int
) -> None:
    """Its access list names the user alone, and shows as a right of the group."""
    path = tmp_path / "ring.key"
    path.write_text(KEY)
    path.chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / folder))
    complained: list[str] = []
    assert read_key_file(str(path), complained.append) == (parse_key(KEY),)
    assert len(complained) == complaints
