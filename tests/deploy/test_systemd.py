"""The systemd units: what systemd says of them, and the speaker under the rights and notifications that they give.

There is no systemd running where tests run, so its part is played here: the user without privileges, the ambient
capabilities, the socket that is told of readiness, the watchdog, the environment.
"""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.speaker.fast.namespace import in_namespace, ip
from tests.speaker.fast.speakers import ADDRESS, here, write_manifests
from tests.tree import ROOT

FOLDER = ROOT / "deploy" / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))
DROP_INS = sorted(FOLDER.glob("*.service.d/*.conf"))
NOBODY = 65534


def read(path: Path) -> configparser.SectionProxy:
    """The section Service; of a key that is given twice the last counts, as for systemd where it is no list."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys keep their case
    parser.read(path)
    return parser["Service"]


def test_there_are_units() -> None:
    assert [path.name for path in UNITS] == ["starling-controller.service", "starling-speaker.service"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_systemd_has_nothing_against_a_unit(path: Path, tmp_path: Path) -> None:
    """With what may be dropped in beside it."""
    for source in (path, *DROP_INS):
        copy = tmp_path / source.relative_to(FOLDER)
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(source.read_text().replace("/opt/starling/bin/starling", f"{sys.executable} -m starling"))
    checked = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / path.name)], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_the_command_of_a_unit_is_one_that_there_is(path: Path) -> None:
    words = shlex.split(read(path)["ExecStart"])
    assert words[0] == "/opt/starling/bin/starling"
    helped = subprocess.run(
        [sys.executable, "-m", "starling", words[1], "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for option in [word for word in words if word.startswith("--")]:
        assert option in helped.stdout


def test_a_key_is_handed_over_and_the_command_is_the_unit_s_otherwise() -> None:
    (path,) = DROP_INS
    section, unit = read(path), read(FOLDER / path.parent.name.removesuffix(".d"))
    name, _, source = section["LoadCredential"].partition(":")
    assert source == "/etc/starling/ring.key"
    assert section["ExecStart"] == unit["ExecStart"].replace(
        "$STARLING", f"--key-file ${{CREDENTIALS_DIRECTORY}}/{name} $STARLING"
    )


NOTIFYING = [path for path in UNITS if read(path).get("Type") == "notify"]


def test_some_units_tell_when_they_are_ready() -> None:
    assert [path.stem for path in NOTIFYING] == ["starling-speaker"]


@pytest.mark.parametrize("path", NOTIFYING, ids=lambda path: path.stem)
def test_a_unit_that_is_not_ready_yet_is_not_killed(path: Path) -> None:
    """A host cannot announce before its manifests are there and its cable is in, and that may take days."""
    assert read(path)["TimeoutStartSec"] == "infinity"


def rights(section: configparser.SectionProxy) -> list[str]:
    """What starts a command as the unit does: another user, these capabilities and no way to more."""
    names = [name.removeprefix("CAP_").lower() for name in section["CapabilityBoundingSet"].split()]
    assert section["AmbientCapabilities"].split() == section["CapabilityBoundingSet"].split()
    assert section["NoNewPrivileges"] == "yes"
    given = ",".join(f"+{name}" for name in names)
    capable = ["--no-new-privs", f"--inh-caps={given}", f"--ambient-caps={given}", f"--bounding-set=-all,{given}"]
    as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *capable]
    tried = subprocess.run([*as_nobody, "env", sys.executable, "-c", ""], capture_output=True, check=False)
    return (
        as_nobody if tried.returncode == 0 else ["setpriv", *capable]
    )  # an interpreter in root's home is root's alone


def sysctl(name: str) -> str:
    shown = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, check=True)
    return shown.stdout.strip()


def loopback() -> str:
    return subprocess.run(["ip", "-4", "address", "show", "lo"], capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
@in_namespace
async def test_the_speaker_is_ready_alive_and_ended_as_the_unit_wants_it(tmp_path: Path) -> None:
    ip("link add eth0 type veth peer name wire0", "link set eth0 up", "link set wire0 up")
    section = read(FOLDER / "starling-speaker.service")
    os.chmod(tmp_path, 0o755)
    for parent in tmp_path.parents[:2]:
        os.chmod(parent, 0o755)
    write_manifests(tmp_path)
    for name in ("run", "state"):
        (tmp_path / name).mkdir()
        os.chmod(tmp_path / name, 0o777)
    options = "--bind 127.0.0.1 --interface eth0"
    command = section["ExecStart"].replace("$STARLING_SPEAKER_OPTIONS", options)
    command = command.replace("/etc/starling/manifests", str(tmp_path / "manifests"))
    words = shlex.split(command)[1:]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "NOTIFY_SOCKET": "@" + f"starling-test-{os.getpid()}",
        "WATCHDOG_USEC": str(int(section["WatchdogSec"]) * 100_000),  # a tenth of the unit's
        "STATE_DIRECTORY": str(tmp_path / "state"),
        "STARLING_API": str(tmp_path / "run" / "speaker.sock"),
    }
    former = sysctl("net.ipv4.conf.all.arp_ignore")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind("\0" + environment["NOTIFY_SOCKET"][1:])
        heard = trio.socket.from_stdlib_socket(notified)

        async def hear(pattern: str) -> None:
            while not re.search(pattern, (await heard.recv(4096)).decode()):
                pass

        started = [*here(), *rights(section), sys.executable, "-m", "starling", *words]
        process = await trio.lowlevel.open_process(started, env=environment, cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        try:
            await hear("READY=1")
            await hear("WATCHDOG=1")
            await hear("WATCHDOG=1")
            assert ADDRESS in loopback()
            assert sysctl("net.ipv4.conf.all.arp_ignore") == "1"
            process.terminate()
            await hear("STOPPING=1")
            assert await process.wait() == 0
        finally:
            process.kill()
            await process.wait()
            await process.stdout.aclose()
    assert ADDRESS not in loopback()
    assert sysctl("net.ipv4.conf.all.arp_ignore") == former
    assert (tmp_path / "state" / "demand").exists()
