"""Wrong usage: exit code 2, the place and the cure, before anything is opened."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from gossip.cli import ring
from gossip.cli.client import FAILURES
from starling.cli import starling

if TYPE_CHECKING:
    from pathlib import Path

SHORT_KEY = base64.b64encode(b"short").decode()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["agent", "--bind", "db.example:7946"], "'--bind': 'db.example' is not an IPv4 or IPv6 address"),
        (["agent", "--bind", "127.0.0.1:x"], "'--bind': '127.0.0.1:x': port 'x' is not a number from 1 to 65535"),
        (["agent", "--advertise", "host"], "'--advertise': 'host' is not an IPv4 or IPv6 address"),
        (["agent", "--join", ":7946"], "'--join': ':7946': no host"),
        (["agent", "--name", ""], "'--name': a name has 1 to 255 bytes"),
        (["agent", "--label", "l" * 256], "'--label': a label has 0 to 255 bytes; this one has 256"),
        (["agent", "--meta", "00" * 513], "'--meta': a member's metadata has at most 512 bytes; these are 513"),
        (["agent", "--meta", "red"], "'--meta': 'red' is not hexadecimal digits, two a byte"),
        (["agent", "--compat", "serf", "--tag", f"k={'v' * 512}"], "--tag: a member's metadata has at most 512 bytes"),
        (["agent", "--tag", "role=web"], "--tag writes serf's tags: add --compat serf"),
        (["agent", "--advertise", "0.0.0.0:7946"], "'--advertise': '0.0.0.0:7946' leads nobody to us"),
        (["agent", "--advertise", "[::]:7946"], "leads nobody to us"),
        (["agent", "--key-file", "/dev/zero"], "/dev/zero: more than 65536 bytes"),
        (["agent", "--compat", "serf", "--tag", "a=b", "--meta", "00"], "leave out --tag or --meta"),
        (["agent", "--compat", "metallb", "--label", "l"], "leave out --meta and --label"),
        (["agent", "--compat", "metallb", "--meta", "00"], "leave out --meta and --label"),
        (["agent", "--compat", "consul"], "'consul' is not one of 'serf', 'metallb'"),
        (["agent", "--profile", "warp"], "'warp' is not one of 'memberlist', 'lan'"),
        (["agent", "--allow", "10.0.0.0/40"], "'--allow': '10.0.0.0/40' does not appear to be"),
        (["agent", "--key-file", "/nowhere"], "'/nowhere' does not exist"),
        (["agent", "--api", "/" + "s" * 107], "'--api': the path of a Unix socket has 1 to 107 bytes"),
        (["members", "--api", "/" + "s" * 107], "'--api': the path of a Unix socket has 1 to 107 bytes"),
        (["join"], "Missing argument"),
        (["join", "10.0.0.1:0"], "port '0' is not a number from 1 to 65535"),
        (["send", "bea"], "give a member and a payload, or --broadcast and a payload."),
        (["send", "--broadcast", "bea", "hello"], "give a member and a payload, or --broadcast and a payload."),
        (["send", "--broadcast", "--reliable", "hello"], "leave out --reliable"),
        (["send", "--hex", "bea", "0x"], "PAYLOAD: '0x' is not hexadecimal digits"),
        (["send", "--broadcast", "x" * 600_000], "is too long; the agent reads 1048576"),
        (["keys", "use", SHORT_KEY], "'KEY': a key has 16, 24 or 32 bytes, not 5"),
        (["keys", "paint"], "No such command 'paint'"),
        (["decode"], "Missing argument"),
        (["decode", "0"], "'0' is not hexadecimal digits"),
        (["decode", "--key", "x!", "00"], "'--key': a key is written in base64"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(ring, arguments, env={"XDG_RUNTIME_DIR": str(tmp_path)})
    assert result.exit_code == 2
    assert result.stdout == ""
    assert said in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "no key in it"), (f"# ours\n{SHORT_KEY}\n", "line 2: a key has 16, 24 or 32 bytes, not 5")],
)
def test_a_wrong_key_file_is_told_with_its_place(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "ring.keys"
    path.write_text(content)
    path.chmod(0o600)
    result = CliRunner().invoke(ring, ["agent", "--key-file", str(path)])
    assert result.exit_code == 2
    assert f"Invalid value for --key-file: {path}: {said}" in result.stderr


def test_an_empty_secret_is_no_key_for_metallb(tmp_path: Path) -> None:
    path = tmp_path / "secretkey"
    path.touch(0o600)
    result = CliRunner().invoke(ring, ["agent", "--compat", "metallb", "--key-file", str(path)])
    assert result.exit_code == 2
    assert "an empty secret is no key" in result.stderr


def test_no_agent(tmp_path: Path) -> None:
    result = CliRunner().invoke(ring, ["members", "--api", str(tmp_path / "ring.sock")])
    assert (result.exit_code, result.stdout) == (3, "")
    assert "start one with `ring agent`, or say which with --api" in result.stderr


def test_the_same_group_by_both_names() -> None:
    assert starling.get_command(click.Context(starling), "ring") is ring


def walk(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        return [path]
    return [found for name, child in command.commands.items() for found in walk(child, (*path, name))]


@pytest.mark.parametrize("path", walk(ring), ids=" ".join)
def test_every_command_has_help(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(ring, [*path, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: ring {' '.join(path)}")


def test_what_the_agent_refuses_and_what_it_cannot_do_have_codes_of_their_own() -> None:
    assert {code: failure("x").exit_code for code, failure in FAILURES.items()} == {1: 1, 2: 2, 3: 3}
