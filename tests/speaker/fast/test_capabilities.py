"""A privilege that is missing is named, with its purpose and its cure; the speaker needs CAP_NET_RAW and no other."""

from __future__ import annotations

import pytest

from tests.speaker.fast.namespace import carriers, in_namespace, ip, only, run_python

COMPLAIN = """
from speaker.fast.capabilities import Capability, missing
print("\\n".join(missing(Capability)))
"""
ANSWER = """
import trio
from speaker.fast.netlink import follow_interfaces
from speaker.fast.packet_sockets import PacketSockets
from speaker.l2.interfaces import Interface

async def main():
    async with trio.open_nursery() as nursery:
        sockets = PacketSockets(nursery, lambda index, frame: None)
        def changed(interfaces):
            failed = sockets.set_interfaces([i.index for i in interfaces if i.name == "eth0"])
            sockets.send(sockets.indexes[0], bytes(60))
            print(failed, sockets.statistics().sent)
            nursery.cancel_scope.cancel()
        nursery.start_soon(follow_interfaces, changed)
trio.run(main)
"""


@pytest.mark.needs("netns")
@pytest.mark.parametrize(
    ("held", "absent"),
    [
        ((), ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_NICE"]),
        (("net_raw",), ["CAP_NET_ADMIN", "CAP_SYS_NICE"]),
        (("net_raw", "net_admin", "sys_nice"), []),
    ],
)
def test_what_is_missing(held: tuple[str, ...], absent: list[str]) -> None:
    ran = run_python(COMPLAIN, prefix=only(*held))
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.split("\n")[:-1] if absent else []
    assert [line.split()[0] for line in lines] == absent
    for line, name in zip(lines, absent, strict=True):
        assert f"AmbientCapabilities={name}" in line
        assert f"add {name.removeprefix('CAP_')} to securityContext.capabilities.add" in line


@in_namespace
async def test_the_cure_by_hand_is_one() -> None:
    ran = run_python(
        COMPLAIN, prefix=("setpriv", "--reuid=65534", "--inh-caps", "+net_raw", "--ambient-caps", "+net_raw")
    )
    assert "CAP_NET_RAW" not in ran.stdout
    assert "CAP_NET_ADMIN" in ran.stdout


@in_namespace
async def test_net_raw_alone_is_enough_to_hear_of_interfaces_and_to_send() -> None:
    ip("link add eth0 up type veth peer name far0", "link set far0 up")
    await carriers("eth0")
    ran = run_python(ANSWER, prefix=only("net_raw"))
    assert ran.stdout.split("\n")[:1] == ["{} 1"], ran.stderr


@in_namespace
async def test_without_net_raw_the_cure_is_told() -> None:
    ip("link add eth0 up type veth peer name far0", "link set far0 up")
    ran = run_python(ANSWER, prefix=only("net_admin"))
    assert "PermissionError: [Errno 1] CAP_NET_RAW is missing: the speaker reads" in ran.stderr
