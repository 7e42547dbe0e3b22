"""Addresses on the loopback take traffic in, the kernel is silent about them, and afterwards all is as it was."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import stat
import subprocess
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest
import trio
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether

from speaker.fast import local_addresses
from speaker.fast.local_addresses import LocalAddressError, LocalAddresses
from tests.speaker.fast.namespace import carriers, in_namespace, ip, mac_of, only, run_python, start_python

ETH_P_ALL: Final = 0x0003
LAN = ("link add eth0 up type veth peer name far0", "link set far0 up", "address add 10.1.1.1/24 dev eth0")
VIRTUAL = IPv4Address("10.1.1.100")
CLIENT, CLIENT_MAC = "10.1.1.9", "02:00:00:00:00:09"
IGNORE, ANNOUNCE = "net.ipv4.conf.all.arp_ignore", "net.ipv4.conf.all.arp_announce"

HOLD = """
import sys, trio
from ipaddress import ip_address
from pathlib import Path
from speaker.fast.local_addresses import LocalAddresses

async def main():
    with LocalAddresses(Path(sys.argv[1])) as local:
        await local.set([ip_address(text) for text in sys.argv[2:]])
        print("there", flush=True)
        sys.stdin.read()
trio.run(main)
"""
TRY = """
import sys, trio
from ipaddress import ip_address
from pathlib import Path
from speaker.fast.local_addresses import LocalAddresses, LocalAddressError

async def main():
    try:
        with LocalAddresses(Path(sys.argv[1])) as local:
            await local.set([ip_address("10.1.1.100")])
            print("there")
    except LocalAddressError as error:
        print(error)
trio.run(main)
"""
READ_ONLY = ("unshare", "--mount", "sh", "-c", 'mount -o bind,ro /proc/sys /proc/sys && exec "$@"', "sh")


def sysctl(name: str, value: str | None = None) -> str:
    path = Path("/proc/sys", *name.split("."))
    if value is not None:
        path.write_text(value)
    return path.read_text().strip()


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def on_loopback() -> list[str]:
    """Every address of the loopback with its prefix, but for its own two."""
    shown = subprocess.run(["ip", "-json", "address", "show", "lo"], text=True, check=True, capture_output=True)
    (link,) = json.loads(shown.stdout)
    found = [f"{entry['local']}/{entry['prefixlen']}" for entry in link["addr_info"]]
    return sorted(text for text in found if text not in ("127.0.0.1/8", "::1/128"))


async def open_lan(*more: str) -> None:
    """eth0 with an address, its other end far0, and whatever else."""
    ip(*LAN, *more)
    await carriers("eth0", "far0")


def far_end() -> trio.socket.SocketType:
    """What the wire carries, seen from its other end."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.bind(("far0", ETH_P_ALL))
    sock.setblocking(False)
    return trio.socket.from_stdlib_socket(sock)


def arp_request(target: object) -> bytes:
    return bytes(Ether(dst="ff:ff:ff:ff:ff:ff", src=CLIENT_MAC) / ARP(hwsrc=CLIENT_MAC, psrc=CLIENT, pdst=str(target)))


async def answers(*targets: object) -> list[str]:
    """Ask for each, and then for the node's own address, which the kernel answers; the addresses that were answered."""
    found: list[str] = []
    with far_end() as wire:
        for target in (*targets, "10.1.1.1"):
            await wire.send(arp_request(target))
        while "10.1.1.1" not in found:
            frame = Ether(await wire.recv(2048))
            if ARP in frame and frame[ARP].op == 2:
                found.append(frame[ARP].psrc)
    return found


@in_namespace
async def test_the_kernel_answers_for_such_an_address_if_nobody_stops_it() -> None:
    """What the two tests after this one rest on."""
    await open_lan(f"address add {VIRTUAL}/32 dev lo")
    assert await answers(VIRTUAL) == [str(VIRTUAL), "10.1.1.1"]


@pytest.mark.parametrize("of_all", ["0", "1", "2", "3"])
@pytest.mark.parametrize("of_interface", ["0", "3"])
@in_namespace
async def test_the_kernel_is_silent_about_an_address(of_all: str, of_interface: str, tmp_path: Path) -> None:
    await open_lan()
    sysctl(IGNORE, of_all)
    sysctl("net.ipv4.conf.eth0.arp_ignore", of_interface)
    with LocalAddresses(tmp_path) as local:
        await local.set([VIRTUAL])
        assert await answers(VIRTUAL) == ["10.1.1.1"]


@in_namespace
async def test_traffic_is_taken_in_and_the_requests_that_it_causes_do_not_carry_the_address(tmp_path: Path) -> None:
    await open_lan()
    with LocalAddresses(tmp_path) as local, trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as service:
        await local.set([VIRTUAL])
        await service.bind((str(VIRTUAL), 53))
        with far_end() as wire:
            question = IP(src=CLIENT, dst=str(VIRTUAL)) / UDP(sport=5353, dport=53) / b"where?"
            await wire.send(bytes(Ether(dst=mac_of("eth0").hex(":"), src=CLIENT_MAC) / question))
            data, client = await service.recvfrom(100)
            assert (data, client[0]) == (b"where?", CLIENT)
            await service.sendto(b"here", client)
            frame = Ether(await wire.recv(2048))
            while ARP not in frame:
                frame = Ether(await wire.recv(2048))
            assert (frame[ARP].pdst, frame[ARP].psrc) == (CLIENT, "10.1.1.1")
            reply = ARP(op=2, hwsrc=CLIENT_MAC, psrc=CLIENT, hwdst=frame[ARP].hwsrc, pdst=frame[ARP].psrc)
            await wire.send(bytes(Ether(dst=frame.src, src=CLIENT_MAC) / reply))
            while not (UDP in frame and frame[UDP].sport == 53):
                frame = Ether(await wire.recv(2048))
            assert (frame[IP].src, bytes(frame[UDP].payload)[:4]) == (str(VIRTUAL), b"here")


@in_namespace
async def test_the_kernel_does_not_connect_from_such_an_address(tmp_path: Path) -> None:
    ip("link add eth0 up type veth peer name far0", "link set far0 up", "route add default dev eth0")
    with LocalAddresses(tmp_path) as local:
        await local.set([VIRTUAL])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("192.0.2.1", 9))
            assert client.getsockname()[0] != str(VIRTUAL)


@in_namespace
async def test_addresses_come_and_go(tmp_path: Path) -> None:
    v6 = IPv6Address("2001:db8::5")
    with LocalAddresses(tmp_path) as local:
        await local.set([VIRTUAL, v6])
        assert on_loopback() == [f"{VIRTUAL}/32", f"{v6}/128"]
        await local.set([VIRTUAL + 1, VIRTUAL])
        assert on_loopback() == [f"{VIRTUAL}/32", f"{VIRTUAL + 1}/32"]
        assert local.held == (VIRTUAL, VIRTUAL + 1)
    assert on_loopback() == []


@in_namespace
async def test_what_others_put_there_stays(tmp_path: Path) -> None:
    ip(f"address add {VIRTUAL}/32 dev lo", "address add 10.1.1.101/32 dev lo label lo:other")
    with LocalAddresses(tmp_path) as local:
        await local.set([VIRTUAL, VIRTUAL + 2])
        await local.set([])
        assert on_loopback() == [f"{VIRTUAL}/32", f"{VIRTUAL + 1}/32"]
        await local.set([VIRTUAL])
    assert on_loopback() == [f"{VIRTUAL}/32", f"{VIRTUAL + 1}/32"]


@in_namespace
async def test_an_address_that_somebody_else_removed_is_no_trouble(tmp_path: Path) -> None:
    with LocalAddresses(tmp_path) as local:
        await local.set([VIRTUAL, VIRTUAL + 1])
        ip(f"address delete {VIRTUAL}/32 dev lo")
        await local.set([VIRTUAL + 1])
        assert local.held == (VIRTUAL + 1,)


@in_namespace
async def test_a_refused_address_is_named_and_the_others_are_in_place(tmp_path: Path) -> None:
    with LocalAddresses(tmp_path) as local:
        with pytest.raises(LocalAddressError, match=r"refused on lo: ::: Cannot assign requested address$"):
            await local.set([ip_address("::"), VIRTUAL])
        assert local.held == (VIRTUAL,)
        with pytest.raises(LocalAddressError, match=r"and 1 more$"):
            await local.set([ip_address("ff02::1") + i for i in range(6)])


@in_namespace
async def test_what_was_put_there_without_an_answer_is_known_at_the_next_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = local_addresses._ask

    def ask_and_lose_the_answer(*request: Any) -> NoReturn:
        ask(*request)
        raise OSError(errno.ENOBUFS, "No buffer space available")

    with LocalAddresses(tmp_path) as local:
        monkeypatch.setattr(local_addresses, "_ask", ask_and_lose_the_answer)
        with pytest.raises(OSError, match="No buffer space"):
            await local.set([VIRTUAL])
        monkeypatch.undo()
        assert on_loopback() == [f"{VIRTUAL}/32"]
        await local.set([])
        assert on_loopback() == []


@in_namespace
async def test_thousands_of_addresses_leave_others_their_turns(tmp_path: Path) -> None:
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    with LocalAddresses(tmp_path) as local:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_turns)
            await local.set([VIRTUAL + i for i in range(3300)])
            nursery.cancel_scope.cancel()
        assert len(on_loopback()) == 3300
        assert turns >= 3300 // local_addresses.MAX_CHANGES_PER_TURN
    assert on_loopback() == []


@in_namespace
async def test_the_last_wish_counts(tmp_path: Path) -> None:
    with LocalAddresses(tmp_path) as local:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(local.set, [VIRTUAL + i for i in range(1000)])
            while not local.held:
                await trio.lowlevel.checkpoint()
            await local.set([VIRTUAL])
        assert local.held == (VIRTUAL,)
        assert on_loopback() == [f"{VIRTUAL}/32"]


@in_namespace
async def test_a_cancelled_change_is_undone_at_the_end_all_the_same(tmp_path: Path) -> None:
    with trio.CancelScope() as scope, LocalAddresses(tmp_path) as local:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(local.set, [VIRTUAL + i for i in range(1000)])
            while not local.held:
                await trio.lowlevel.checkpoint()
            assert len(local.held) < 1000
            scope.cancel()
    assert on_loopback() == []
    assert sysctl(IGNORE) == "0"


@pytest.mark.parametrize(
    ("before", "during"),
    [
        (("0", "0"), ("1", "2")),
        (("0", "1"), ("1", "2")),
        (("2", "2"), ("2", "2")),
        (("4", "0"), ("1", "2")),
        (("8", "0"), ("8", "2")),
    ],
)
@in_namespace
async def test_settings_are_changed_only_where_needed_and_come_back(
    before: tuple[str, str], during: tuple[str, str], tmp_path: Path
) -> None:
    sysctl(IGNORE, before[0])
    sysctl(ANNOUNCE, before[1])
    with LocalAddresses(tmp_path):
        assert (sysctl(IGNORE), sysctl(ANNOUNCE)) == during
    assert (sysctl(IGNORE), sysctl(ANNOUNCE)) == before
    assert names_in(tmp_path) == []


@in_namespace
async def test_the_former_values_and_their_name_are_on_disk_before_anything_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[bool, str]] = []

    def note(descriptor: int) -> None:
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), sysctl(IGNORE)))

    monkeypatch.setattr(os, "fsync", note)
    with LocalAddresses(tmp_path):
        assert synced == [(False, "0"), (True, "0")]
        assert sysctl(IGNORE) == "1"


@in_namespace
async def test_a_setting_that_somebody_else_changed_meanwhile_stays(tmp_path: Path) -> None:
    with LocalAddresses(tmp_path):
        sysctl(IGNORE, "2")
    assert (sysctl(IGNORE), sysctl(ANNOUNCE)) == ("2", "0")


@in_namespace
async def test_after_a_kill_the_next_start_takes_over_and_puts_everything_back(tmp_path: Path) -> None:
    sysctl(ANNOUNCE, "1")
    ip("address add 10.9.9.9/32 dev lo")
    for _ in range(2):
        holder = start_python(HOLD, str(tmp_path), "10.1.1.100", "10.1.1.101", "2001:db8::5")
        assert holder.stdout is not None
        with holder:
            assert holder.stdout.readline() == "there\n"
            holder.kill()
        assert len(on_loopback()) == 4
        assert (sysctl(IGNORE), sysctl(ANNOUNCE)) == ("1", "2")
    with LocalAddresses(tmp_path) as local:
        assert set(local.held) == {VIRTUAL, VIRTUAL + 1, IPv6Address("2001:db8::5")}
        await local.set([VIRTUAL])
        assert on_loopback() == ["10.1.1.100/32", "10.9.9.9/32"]
    assert on_loopback() == ["10.9.9.9/32"]
    assert (sysctl(IGNORE), sysctl(ANNOUNCE)) == ("0", "1")
    assert local.warnings == []


@in_namespace
async def test_values_of_an_earlier_boot_are_not_brought_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = LocalAddresses(tmp_path)
    local.__enter__()  # and killed
    sysctl(IGNORE, "1")
    sysctl(ANNOUNCE, "2")  # by the administrator, for good
    monkeypatch.setattr(local_addresses, "_origin", lambda: "another boot")
    with LocalAddresses(tmp_path):
        pass
    assert (sysctl(IGNORE), sysctl(ANNOUNCE)) == ("1", "2")


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"[1]", b"{}", b'{"former": 3}', b'{"former": {"a": "$(reboot)"}}', b"[" * 4000, b" " * 100_000],
)
@in_namespace
async def test_a_broken_note_of_former_values_is_said_and_stops_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / local_addresses.STATE_FILE).write_bytes(content)
    with LocalAddresses(tmp_path) as local:
        assert len(local.warnings) == 1
        assert re.search(r"local-addresses\.json cannot be read .* stay as they are", local.warnings[0])
    assert (sysctl(IGNORE), sysctl(ANNOUNCE)) == ("0", "0")


@in_namespace
async def test_former_values_that_cannot_be_noted_leave_the_settings_alone(tmp_path: Path) -> None:
    with pytest.raises(
        LocalAddressError, match=r"absent/local-addresses.json: cannot note .*: No such file .* state folder"
    ):
        LocalAddresses(tmp_path / "absent").__enter__()
    assert (sysctl(IGNORE), sysctl(ANNOUNCE)) == ("0", "0")


@in_namespace
async def test_a_state_folder_that_is_a_file_is_an_error_too(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"")
    with pytest.raises(LocalAddressError, match=r"cannot note .*: Not a directory; give the speaker a state folder"):
        LocalAddresses(tmp_path / "state").__enter__()


def test_settings_that_are_not_there_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_addresses, "SYSCTLS", tmp_path)
    with pytest.raises(LocalAddressError, match=f"cannot read {re.escape(IGNORE)}: No such file"):
        LocalAddresses(tmp_path).__enter__()


@in_namespace
async def test_a_setting_that_cannot_be_made_takes_the_other_one_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = local_addresses._write

    def refuse(setting: local_addresses.Setting, value: str) -> None:
        if setting.name == ANNOUNCE:
            raise LocalAddressError("no")
        write(setting, value)

    monkeypatch.setattr(local_addresses, "_write", refuse)
    with pytest.raises(LocalAddressError):
        LocalAddresses(tmp_path).__enter__()
    assert sysctl(IGNORE) == "0"


@in_namespace
async def test_read_only_settings_are_an_error_with_its_cure_and_the_cure_works(tmp_path: Path) -> None:
    refused = run_python(TRY, str(tmp_path), prefix=READ_ONLY)
    assert refused.stdout.startswith(f"cannot set {IGNORE} to 1: Read-only file system. Set it on the node"), refused
    for name, value in re.findall(r"sysctl -w (\S+)=(\d)", refused.stdout):
        sysctl(name, value)
    sysctl(ANNOUNCE, "2")
    assert run_python(TRY, str(tmp_path), prefix=READ_ONLY).stdout == "there\n"


@in_namespace
async def test_without_net_admin_the_cure_is_told(tmp_path: Path) -> None:
    sysctl(IGNORE, "1")
    sysctl(ANNOUNCE, "2")
    refused = run_python(TRY, str(tmp_path), prefix=only("net_raw"))
    assert refused.stdout.startswith("CAP_NET_ADMIN is missing: --local-address puts"), refused


@in_namespace
async def test_addresses_that_cannot_be_taken_away_keep_the_kernel_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LocalAddresses(tmp_path) as local:
        await local.set([VIRTUAL])
        monkeypatch.setattr(
            local_addresses, "_ask", lambda sock, kind, addresses: dict.fromkeys(addresses, errno.EINVAL)
        )
    assert sysctl(IGNORE) == "1"
    assert local.warnings == [f"refused on lo: {VIRTUAL}: Invalid argument"]
