"""The command line as a user meets it: help, version, exit codes."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from starling import __version__, cli
from tests.tree import ROOT


def test_help_names_every_command_and_the_exit_codes() -> None:
    result = CliRunner().invoke(cli.starling, ["--help"])
    assert result.exit_code == 0
    assert all(f"  {name} " in result.output for name in cli.COMMANDS)
    assert "3 could not be done" in result.output


def test_version() -> None:
    result = CliRunner().invoke(cli.starling, ["--version"])
    assert (result.exit_code, result.output) == (0, f"starling {__version__}\n")


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_entry_of_the_table_leads_to_its_command(name: str) -> None:
    command = cli.COMMANDS[name].load()
    assert command.name == name
    assert command.help


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"], ["ring", "nonsense"]])
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    result = CliRunner().invoke(cli.starling, arguments)
    assert result.exit_code == 2
    assert "Usage: starling" in result.output


def test_a_wrong_entry_says_which() -> None:
    with pytest.raises(TypeError, match="starling:__version__ is a str"):
        cli.CommandEntry("starling:__version__", "").load()


def test_what_the_system_refuses_exits_with_3_and_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def refused() -> None:
        raise OSError(98, "Address already in use")

    monkeypatch.setattr(cli, "starling", refused)
    monkeypatch.setattr("sys.argv", ["starling"])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert exit_.value.code == 3
    assert capsys.readouterr().err == "starling: [Errno 98] Address already in use\n"


COMMANDS = {
    "check": "check examples/hostnames",
    "speaker": "speaker --source /nowhere --state /proc/nowhere --api /proc/nowhere/x.sock",
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("where", [">&-", "> /dev/full", "| true"], ids=["closed", "full", "not read"])
def test_nothing_is_printed_by_python_when_nobody_can_read(command: str, where: str) -> None:
    """Whatever becomes of the standard output, the user never sees a traceback."""
    line = f"{sys.executable} -m starling {command} {where}"
    ran = subprocess.run(["sh", "-c", line], cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert "Traceback" not in ran.stderr
    assert "Exception" not in ran.stderr
