"""`starling lab` as a user meets it: with the speakers themselves."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sim.lab import folders
from tests.sim.lab.helpers import eventually, first_line, processes_with, running
from tests.tree import ROOT

pytestmark = [pytest.mark.needs("netns"), pytest.mark.slow]
TIMEOUT = 100


def command(*words: str) -> list[str]:
    return [sys.executable, "-P", "-m", "starling", "lab", *words]


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files that no other lab of this machine uses; its end is the end of every lab in it.

    Its path is short, as those of sockets have to be.
    """
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)
        for pid in folders.running("*").values():
            os.kill(pid, signal.SIGKILL)


def lab(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), capture_output=True, text=True, check=False, timeout=TIMEOUT, cwd="/")


def left(folder: Path) -> list[Path]:
    return list(folder.glob("starling-lab-*"))


def nothing_is_left(folder: Path) -> bool:
    return not left(folder) and not processes_with(str(folder))


def test_a_lab_that_is_up_serves_until_it_is_taken_down(temporary: Path) -> None:
    began = lab("up", "--source", str(ROOT / "examples" / "hostnames"), "--detach")
    assert (began.returncode, began.stderr) == (0, "")
    example = next(line for line in began.stdout.splitlines() if "curl" in line)
    prefix, url = re.fullmatch(r"  (.*) curl http://(\S+):80/", example).groups()  # type: ignore[union-attr]  # else it fails here
    program = f"import urllib.request as r; print(r.urlopen('http://{url}/', timeout=9).read().decode())"
    answer = subprocess.run(
        [*prefix.split(), sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() in {"rain-kubernetes-1", "rain-kubernetes-2", "rain-kubernetes-3"}
    (socket,) = re.findall(r"starling why \S+ --api (\S+)", began.stdout)
    why = [sys.executable, "-P", "-m", "starling", "why", url, "--api", socket, "--json"]
    told = json.loads(subprocess.run(why, capture_output=True, check=True).stdout)
    assert told["owner"] == answer.stdout.strip()
    ended = lab("down")
    assert ended.returncode == 0
    assert ended.stdout.startswith("ended: ")
    assert nothing_is_left(temporary)
    assert lab("down").stdout == "no lab is running\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_lab_that_is_interrupted_leaves_nothing(temporary: Path, number: signal.Signals, code: int) -> None:
    async with running(*command("up", "--nodes", "2")) as process:
        assert (await first_line(process)).startswith("the lab is up")
        assert len(processes_with(str(temporary))) >= 2
        process.send_signal(number)
        assert await process.wait() == code
    assert nothing_is_left(temporary)


async def test_what_a_killed_lab_leaves_is_files_only_and_the_next_one_removes_them(temporary: Path) -> None:
    async with running(*command("up", "--nodes", "2")) as process:
        assert (await first_line(process)).startswith("the lab is up")
    await eventually(lambda: not processes_with(str(temporary)))
    assert len(left(temporary)) == 1
    with folders.open_folder("test") as folder:
        assert left(temporary) == [folder]
    assert nothing_is_left(temporary)


def test_a_story_is_told_and_judged(temporary: Path) -> None:
    file = temporary / "stop.yaml"
    file.write_text(
        "name: stop\nnodes: 2\nfor: 8s\nfaults: [{at: 2s, do: stop, node: owner(svc-1)}]\n"
        "expect:\n- {moves: svc-1, exactly: 1}\n- {owners: svc-1, exactly: 2, from: 4s}\n"
    )
    result = lab("run", str(file), "--json", "--keep", str(temporary / "kept"))
    told = json.loads(result.stdout)
    assert result.returncode == 1  # the second expectation is wrong
    assert "stop n" in result.stderr
    assert [(one["expect"], one["measured"], one["passed"]) for one in told["expectations"]] == [
        ("moves", 1, True),
        ("owners", [1, 1], False),
    ]
    service = told["services"]["default/svc-1"]
    assert service["owners"][0]["nodes"] == told["faults"][0]["nodes"]
    assert service["asked"] > 1000
    assert told["traffic"]["n1"]["packets_sent"] > 0
    assert "serviceAnnounced" in (temporary / "kept" / "speaker-n1.out").read_text()
    assert nothing_is_left(temporary)


def test_a_wrong_file_exits_with_2_and_every_mistake(temporary: Path) -> None:
    file = temporary / "wrong.yaml"
    file.write_text("name: wrong\nnodes: 2\nfor: 8s\nfaults: [{at: 2s, do: clock, node: n1}, {at: 1s, do: cut}]\n")
    result = lab("run", str(file))
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("starling lab run: ") == 2
    assert f"{file}:4:23: faults[0].do: the lab cannot do 'clock'" in result.stderr


def test_manifests_without_nodes_are_refused_with_the_cure(temporary: Path) -> None:
    (temporary / "manifests").mkdir()
    (temporary / "manifests" / "services.yaml").write_text((ROOT / "examples/hostnames/services.yaml").read_text())
    result = lab("up", "--source", str(temporary / "manifests"))
    assert result.returncode == 3
    assert "name no node; add a Node with an InternalIP for each machine" in result.stderr
    assert lab("up", "--source", str(temporary), "--nodes", "3").returncode == 2


def test_a_machine_that_allows_none_is_refused_with_the_cure(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (temporary / "unshare").write_text("#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2\nexit 1\n")
    (temporary / "unshare").chmod(0o755)
    monkeypatch.setenv("PATH", f"{temporary}:{os.environ['PATH']}")
    result = lab("up")
    assert result.returncode == 3
    assert "Operation not permitted); run it as root, or let everybody make user namespaces" in result.stderr
    assert nothing_is_left(temporary)
