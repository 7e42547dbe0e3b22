"""A speaker as its user starts it: two processes, their ends, what they need and what they say."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
import trio
from scapy.layers.l2 import ARP, Ether

from speaker.link import Report
from speaker.saved import FILE_NAME, decode_saved_untrusted
from tests.speaker.fast.namespace import in_namespace, ip, mac_of, only
from tests.speaker.fast.speakers import ADDRESS, MANIFESTS, Speaker, speaker, write_manifests

pytestmark = pytest.mark.slow

ETH_P_ARP = 0x0806
CLIENT, CLIENT_MAC = "10.64.0.1", "02:00:00:00:00:09"


def wire() -> None:
    ip("link add eth0 type veth peer name wire0", "link set eth0 up", "link set wire0 up")


async def who_has(address: str) -> str:
    """The MAC address that is the answer to a host on the wire who asks for this one."""
    asked = Ether(dst="ff:ff:ff:ff:ff:ff", src=CLIENT_MAC) / ARP(hwsrc=CLIENT_MAC, psrc=CLIENT, pdst=address)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
        wire.setblocking(False)
        wire.bind(("wire0", ETH_P_ARP))
        wire.send(bytes(asked))
        while True:
            await trio.lowlevel.wait_readable(wire)
            frame = Ether(wire.recv(2048))
            if (frame.dst, frame[ARP].op, frame[ARP].psrc) == (CLIENT_MAC, 2, address):
                return str(frame[ARP].hwsrc)


async def ended(pid: int) -> None:
    """Wait until a process that is not ours has ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await trio.lowlevel.wait_readable(pidfd)
    finally:
        os.close(pidfd)


@in_namespace
async def test_an_address_is_announced_and_explained_and_ended_in_order(tmp_path: Path) -> None:
    wire()
    write_manifests(tmp_path)
    async with speaker(tmp_path, "--interface", "eth0") as one:
        announced = await one.says("serviceAnnounced")
        assert (announced["ip"], announced["interfaces"]) == (ADDRESS, ["eth0"])
        await one.says("ready")
        why = await one.ask("why", ADDRESS)
        assert (why["schema"], why["owner"], why["services"], why["standing"]) == (
            1,
            "n1",
            ["default/web"],
            "announced",
        )
        assert [(row["node"], row["rank"], row["eligible"], row["tier"]) for row in why["candidates"]] == [
            ("n1", 0, True, "ready")
        ]
        assert [(move["from"], move["to"]) for move in why["moves"]] == [(None, "n1")]
        status = await one.ask("status")
        assert (status["verdict"], status["reasons"], status["node"]) == ("ok", [], "n1")
        assert [address["address"] for address in status["addresses"]] == [ADDRESS]
        assert [(member["name"], member["state"]) for member in status["members"]] == [("n1", "alive")]
        members = await one.ask("ring", "members")
        assert [member["name"] for member in members] == ["n1"]
        (slow,) = one.children()
        one.process.terminate()
        withdrawn = await one.says("serviceWithdrawn")
        assert withdrawn["ip"] == ADDRESS
        assert await one.process.wait() == 0
        await ended(slow)
    assert not one.api.exists()


@in_namespace
async def test_the_slow_process_is_replaced_and_no_announcement_changes(tmp_path: Path) -> None:
    wire()
    write_manifests(tmp_path)
    async with speaker(tmp_path, "--interface", "eth0") as one:
        await one.says("ready")
        await one.says("configLoaded")
        await one.says("serviceAnnounced")
        await one.says("ownerChanged")
        for _ in range(2):
            (slow,) = one.children()
            os.kill(slow, signal.SIGKILL)
            await one.says("configLoaded")
            assert one.children() != [slow]
        assert (await one.ask("why", ADDRESS))["standing"] == "announced"
        assert await who_has(ADDRESS) == mac_of("eth0").hex(":")
        said = [line["event"] for line in one.lines]
        for event, times in (("serviceAnnounced", 1), ("ownerChanged", 1), ("serviceWithdrawn", 0)):
            assert said.count(event) == times, event


@in_namespace
async def test_what_needs_no_probe_is_known_to_a_slow_process_that_was_started_again(tmp_path: Path) -> None:
    wire()
    write_manifests(tmp_path)
    async with speaker(tmp_path, "--interface", "eth0") as one:
        await one.says("serviceAnnounced")
        await one.says("configLoaded")
        (slow,) = one.children()
        os.kill(slow, signal.SIGKILL)
        await ended(slow)
        (tmp_path / "state-n1" / FILE_NAME).unlink(missing_ok=True)
        await one.says("configLoaded")
        one.process.terminate()
        await one.process.wait()
    _, _, body = (tmp_path / "state-n1" / FILE_NAME).read_bytes().partition(b"\n")
    reports = [message for message in decode_saved_untrusted(body) if isinstance(message, Report)]
    assert [str(address) for report in reports for address in report.known] == [ADDRESS]


@in_namespace
async def test_the_slow_process_follows_the_fast_one(tmp_path: Path) -> None:
    wire()
    write_manifests(tmp_path)
    async with speaker(tmp_path, "--interface", "eth0") as one:
        await one.says("ready")
        (slow,) = one.children()
        one.process.kill()
        await ended(slow)


@in_namespace
async def test_a_stopped_slow_process_keeps_no_address_from_being_answered(tmp_path: Path) -> None:
    wire()
    write_manifests(tmp_path)
    async with speaker(tmp_path, "--interface", "eth0") as one:
        await one.says("serviceAnnounced")
        (slow,) = one.children()
        os.kill(slow, signal.SIGSTOP)
        assert await who_has(ADDRESS) == mac_of("eth0").hex(":")
        assert (await one.ask("why", ADDRESS))["standing"] == "announced"


@in_namespace
async def test_the_status_counts_what_is_asked_and_answered(tmp_path: Path) -> None:
    wire()
    write_manifests(tmp_path)
    async with speaker(tmp_path, "--interface", "eth0") as one:
        await one.says("serviceAnnounced")
        before = (await one.ask("status"))["counters"]
        for _ in range(3):
            await who_has(ADDRESS)
        after = (await one.ask("status"))["counters"]
    grown = {name: after[name] - before[name] for name in after}
    assert (grown["frames_received"], grown["requests_received"], grown["responses_sent"]) == (3, 3, 3)
    assert grown["frames_sent"] == 3 + grown["gratuitous_sent"]
    assert after["gratuitous_sent"] > 0
    assert (after["frames_lost"], after["frames_unsent"], after["claims"]) == (0, 0, 0)


@in_namespace
async def test_a_restart_announces_from_what_was_kept_before_anything_is_read(tmp_path: Path) -> None:
    wire()
    write_manifests(tmp_path)
    async with speaker(tmp_path, "--interface", "eth0") as one:
        await one.says("ready")
        one.process.terminate()
        await one.process.wait()
    (tmp_path / "manifests").rename(tmp_path / "away")
    async with speaker(tmp_path, "--interface", "eth0") as one:
        await one.says("serviceAnnounced", ip=ADDRESS)
        status = await one.ask("status")
        assert status["verdict"] == "warning"
        assert "out of date" in status["reasons"][0]


@in_namespace
async def test_a_manifest_that_breaks_leaves_the_last_good_one_in_force(tmp_path: Path) -> None:
    wire()
    write_manifests(tmp_path)
    async with speaker(tmp_path, "--interface", "eth0") as one:
        await one.says("ready")
        await one.says("configLoaded")
        write_manifests(tmp_path, MANIFESTS.replace("10.64.0.0/24", "10.64.0.0/33"))
        stale = await one.says("configStale")
        assert "all.yaml:" in json.dumps(stale)
        status = await one.ask("status")
        assert status["verdict"] == "warning"
        assert any("all.yaml:" in reason for reason in status["reasons"])
        assert (await one.ask("why", ADDRESS))["standing"] == "announced"
        write_manifests(tmp_path)
        await one.says("configLoaded")
        assert (await one.ask("status"))["verdict"] == "ok"


@in_namespace
async def test_a_spoilt_status_is_warned_of_and_keeps_nothing_back(tmp_path: Path) -> None:
    wire()
    write_manifests(tmp_path)
    status = tmp_path / "manifests" / "status" / "default.web.yaml"
    status.parent.mkdir()
    status.write_text("status: {loadBalancer: {ingress: [{ip: 10.64.0.999}]}}\n")
    async with speaker(tmp_path, "--interface", "eth0") as one:
        await one.says("serviceAnnounced", ip=ADDRESS)
        warned = await one.says("sourceWarning")
        assert "default.web.yaml" in warned["error"]
        shown = await one.ask("status")
        assert (shown["verdict"], shown["reasons"]) == ("warning", [warned["error"]])
        status.unlink()
        await one.says("sourceWarningOver", error=warned["error"])
        assert (await one.ask("status"))["verdict"] == "ok"
        assert [line for line in one.lines if line["event"] == "configStale"] == []


@in_namespace
async def test_a_config_map_that_vanishes_withdraws_nothing(tmp_path: Path) -> None:
    wire()
    write_manifests(tmp_path)
    async with speaker(tmp_path, "--interface", "eth0") as one:
        await one.says("serviceAnnounced")
        write_manifests(tmp_path, MANIFESTS.partition("---\n")[2])
        stale = await one.says("configStale")
        assert "there is no ConfigMap metallb-system/config" in stale["error"]
        assert (await one.ask("why", ADDRESS))["standing"] == "announced"
        assert (await one.ask("status"))["verdict"] == "warning"


@in_namespace
async def test_an_address_outside_of_every_pool_is_explained(tmp_path: Path) -> None:
    wire()
    write_manifests(tmp_path, MANIFESTS.replace("10.64.0.10", "10.65.0.10"))
    async with speaker(tmp_path, "--interface", "eth0") as one:
        said = await one.says("nobodyAnnounces")
        assert "in no pool" in said["reason"]
        why = await one.ask("why", "10.65.0.10")
        assert (why["owner"], why["reasons"]) == (None, ["outside-pools"])
        assert (await one.ask("status"))["verdict"] == "warning"


@in_namespace
async def test_without_a_fit_interface_it_is_not_ready_and_says_so(tmp_path: Path) -> None:
    write_manifests(tmp_path)
    async with speaker(tmp_path) as one:
        await one.says("configLoaded")
        status = await one.ask("status")
        assert status["verdict"] == "error"
        assert any(reason.startswith("no interface is fit to announce on (lo: ") for reason in status["reasons"])
        wire()
        await one.says("ready")
        await one.says("serviceAnnounced")


@in_namespace
async def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    wire()
    write_manifests(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    write_manifests(other)
    async with speaker(tmp_path, "--interface", "eth0") as one:
        await one.says("ready")
        async with speaker(other, "--join", "127.0.0.1", "--interface", "eth0", bind="127.0.0.2:7946") as two:
            assert await two.process.wait() == 3
            await trio.testing.wait_all_tasks_blocked()
        assert "called n1 already" in two.errors
        assert "Traceback" not in two.errors
        assert not any(line["event"] == "serviceAnnounced" for line in two.lines)
        status = await one.ask("status")
        assert any("127.0.0.2:7946" in reason for reason in status["reasons"])
        assert (await one.ask("why", ADDRESS))["standing"] == "announced"


@in_namespace
async def test_net_raw_is_all_it_needs(tmp_path: Path) -> None:
    wire()
    write_manifests(tmp_path)
    async with speaker(tmp_path, "--interface", "eth0", prefix=only("net_raw")) as one:
        await one.says("serviceAnnounced")


@in_namespace
async def test_a_missing_capability_is_named(tmp_path: Path) -> None:
    write_manifests(tmp_path)
    async with speaker(tmp_path, prefix=only()) as one:
        assert await one.process.wait() == 3
        await trio.testing.wait_all_tasks_blocked()
    assert "CAP_NET_RAW" in one.errors
    assert "CAP_NET_ADMIN" not in one.errors
    async with speaker(tmp_path, "--local-address", prefix=only("net_raw")) as one:
        assert await one.process.wait() == 3
        await trio.testing.wait_all_tasks_blocked()
    assert "CAP_NET_ADMIN" in one.errors


@in_namespace
async def test_a_second_speaker_on_one_socket_is_refused(tmp_path: Path) -> None:
    wire()
    write_manifests(tmp_path)
    async with speaker(tmp_path, "--interface", "eth0") as one:
        await one.says("ready")
        async with speaker(tmp_path, bind="127.0.0.2:7946") as two:
            assert await two.process.wait() == 3
            await trio.testing.wait_all_tasks_blocked()
        assert str(one.api) in two.errors
        async with speaker(tmp_path, name="n2") as three:  # the port of the first
            assert await three.process.wait() == 3
            await trio.testing.wait_all_tasks_blocked()
        assert "127.0.0.1:7946" in three.errors


ALLOWED = {
    *sys.stdlib_module_names,
    *("trio", "attr", "attrs", "outcome", "sortedcontainers", "sniffio", "idna"),  # trio and what it needs
    "msgpack",
    *("cryptography", "_cffi_backend", "cffi", "_openssl"),
    "pyroute2",
    *("cython_runtime", "_distutils_hack"),  # how some of these were built, and the environment itself
    *("gossip", "speaker", "telemetry", "cluster"),
}

NOT_OURS = ("__", "_cython", "_sysconfigdata", "sitecustomize", "coverage", "$coverage")
"""How some of these were built, the interpreter's own, and what measures the coverage of the tests."""


@in_namespace
async def test_the_modules_of_the_fast_process(tmp_path: Path) -> None:
    """What it has loaded in a life with everything in it: an announcement, questions, the end."""
    wire()
    write_manifests(tmp_path)
    listing = tmp_path / "modules"
    hook = tmp_path / "sitecustomize.py"
    hook.write_text(
        "import atexit, sys\n"
        "def note():\n"
        "    if 'speaker.fast' in ' '.join(sys.orig_argv):\n"
        f"        open({str(listing)!r}, 'w').write('\\n'.join(sorted(sys.modules)))\n"
        "atexit.register(note)\n"
    )
    environment = ("env", f"PYTHONPATH={tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    async with speaker(tmp_path, "--interface", "eth0", "--local-address", prefix=environment) as one:
        await one.says("ready")
        await one.ask("why", ADDRESS)
        await one.ask("status")
        one.process.terminate()
        await one.process.wait()
    loaded = listing.read_text().split("\n")
    roots = {name.partition(".")[0] for name in loaded}
    assert {"trio", "msgpack", "cryptography", "pyroute2", "speaker"} <= roots
    ours = {name for name in loaded if name.startswith("cluster.")}
    assert ours == {"cluster.model"}
    assert {name for name in roots if not name.startswith(NOT_OURS)} - ALLOWED == set()
    for slow in ("click", "yaml", "pydantic", "rich", "scapy", "watchfiles", "speaker.slow", "speaker.cli"):
        assert slow not in loaded


async def count_addresses(one: Speaker) -> int:
    return len((await one.ask("status"))["addresses"])


@in_namespace
async def test_the_status_of_many_addresses_comes_whole(tmp_path: Path) -> None:
    wire()
    services = "".join(
        f"---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{number}, namespace: default}}\n"
        "spec: {type: LoadBalancer, clusterIP: 10.96.1.1, ports: [{port: 80}]}\n"
        f"status: {{loadBalancer: {{ingress: [{{ip: 10.64.0.{number}}}]}}}}\n"
        for number in range(20, 250)
    )
    write_manifests(tmp_path, MANIFESTS + services)
    async with speaker(tmp_path, "--interface", "eth0") as one:
        await one.says("ready")
        assert await count_addresses(one) == 231
