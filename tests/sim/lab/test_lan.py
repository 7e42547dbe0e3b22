"""A LAN in namespaces: it carries, loses and blocks as told, and leaves nothing behind however it ends."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from sim.lab.addresses import number_hosts
from sim.lab.errors import LabError, LabUnavailable
from sim.lab.lan import MAX_HOSTS, Lan, open_lan
from sim.lab.namespaces import is_privileged, open_keeper, run
from tests.sim.lab.helpers import eventually, first_line, network_of, networks, processes_with, reaches, running

pytestmark = pytest.mark.needs("netns")
NOBODY = "65534"


@pytest.fixture
async def lan() -> AsyncIterator[Lan]:
    async with open_lan(number_hosts(["a", "b", "c"])) as made:
        yield made


async def test_a_cut_cable_loses_the_carrier_and_a_mended_one_carries(lan: Lan) -> None:
    a, b, c = lan.hosts.values()
    assert await reaches(a, b)
    await lan.cut("b")
    assert "NO-CARRIER" in await run(b.namespace.prefix, "ip", "link", "show", "eth0")
    assert not await reaches(a, b)
    assert await reaches(a, c)
    await lan.mend("b")
    assert await reaches(a, b)


async def test_a_partition_blocks_one_way_or_both_while_carriers_stay(lan: Lan) -> None:
    a, b, c = lan.hosts.values()
    await lan.block(["a"], ["b"])
    assert not await reaches(a, b)
    assert not await reaches(b, a)  # the request arrives, the answer does not
    assert await reaches(a, c)
    assert await reaches(c, b)
    await lan.block(["c"], ["b"])
    assert not await reaches(c, b)
    assert "NO-CARRIER" not in await run(b.namespace.prefix, "ip", "link", "show", "eth0")
    await lan.repair()
    assert await reaches(a, b)
    assert await reaches(c, b)


async def test_all_frames_can_be_lost_or_none(lan: Lan) -> None:
    a, b, _ = lan.hosts.values()
    await lan.lose("a", 1000)
    assert not await reaches(a, b)
    await lan.lose("a", 0)
    assert await reaches(a, b)
    await lan.lose("a", 5)
    assert "random mod 1000 < 5 drop" in await run(a.namespace.prefix, "nft", "list", "ruleset")
    with pytest.raises(ValueError, match="1001 per mille"):
        await lan.lose("a", 1001)


async def test_hosts_have_their_addresses_and_hardware_addresses(lan: Lan) -> None:
    text = await run(lan.hosts["c"].namespace.prefix, "ip", "address", "show", "eth0")
    assert "10.225.28.3/24" in text
    assert lan.hosts["c"].mac in text
    with pytest.raises(LabError, match="more than the 100"):
        async with open_lan(number_hosts(str(number) for number in range(MAX_HOSTS + 1))):
            pass


async def test_a_command_that_fails_says_what_it_said(lan: Lan) -> None:
    with pytest.raises(LabError, match="ip link show nonsense: Device"):
        await run(lan.hosts["a"].namespace.prefix, "ip", "link", "show", "nonsense")


async def test_a_lan_that_ends_takes_its_processes_and_namespaces_along() -> None:
    async with open_lan(number_hosts(["a"])) as lan:
        holder = lan.hosts["a"].namespace.pid
        namespace = network_of(holder)
        assert namespace
        assert namespace in networks()
    assert namespace not in networks()


async def test_no_answer_and_no_right_are_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    unshare = tmp_path / "unshare"
    unshare.write_text("#!/bin/sh\necho 'unshare: not today' >&2\nexit 1\n")
    unshare.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(LabUnavailable, match=r"unshare: not today\); run it as root, or let everybody"):
        async with open_keeper():
            pass
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "nft" else name)
    with pytest.raises(LabUnavailable, match="no command nft: apt-get install nftables"):
        async with open_keeper():
            pass


def test_privileged_is_who_may_make_namespaces_and_configure_them() -> None:
    assert is_privileged("Name:\tx\nCapEff:\t0000000000201000\n")
    assert not is_privileged("Name:\tx\nCapEff:\t0000000000200000\n")
    assert not is_privileged("Name:\tx\nCapEff:\t0000000000001000\n")


PROGRAM = """
import sys, trio
from sim.lab.addresses import number_hosts
from sim.lab.lan import open_lan
from sim.lab.processes import start
from pathlib import Path

async def main(folder, word):
    async with open_lan(number_hosts(["a", "b"])) as lan:
        program = await start(lan, "a", "sleeper", ["sh", "-c", f"sleep {word} & exec sleep {word}"], Path(folder))
        program.pause()
        await lan.lose("b", 10)
        print("in a user namespace:", lan.hosts["a"].namespace.in_user_namespace, flush=True)
        await trio.sleep_forever()

trio.run(main, *sys.argv[1:])
"""
CALL = [sys.executable, "-B", "-c", PROGRAM]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_nothing_outlives_a_lab_that_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    word = f"98765.{os.getpid()}"
    async with running(*CALL, str(tmp_path), word) as process:
        assert await first_line(process) == "in a user namespace: False"
        assert len(processes_with(word)) >= 2  # the program, and who asked for it
        process.send_signal(number)
        await process.wait()
        await eventually(lambda: not processes_with(word))


async def test_the_same_without_any_right_in_a_user_namespace() -> None:
    word = f"98764.{os.getpid()}"
    nobody = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]
    if (await trio.run_process([*nobody, "unshare", "--user", "true"], capture_stderr=True, check=False)).returncode:
        pytest.skip("this machine does not allow user namespaces")
    read = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]  # the interpreter may be in root's home
    with tempfile.TemporaryDirectory() as folder:
        await trio.Path(folder).chmod(0o777)
        async with running(*nobody, *read, *CALL, folder, word) as process:
            assert await first_line(process) == "in a user namespace: True"
            process.kill()
            await process.wait()
            await eventually(lambda: not processes_with(word))
