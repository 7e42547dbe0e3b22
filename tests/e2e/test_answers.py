"""Who answers a question about an address, how, and who keeps silent; what everybody is told unasked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from scapy.layers.l2 import ARP, Dot1Q, Ether

from sim.lab.namespaces import run
from tests.e2e.recorder import EVERYBODY, Frame, Recorder
from tests.e2e.speakers import eventually
from tests.e2e.stage import Stage

pytestmark = [pytest.mark.needs("netns"), pytest.mark.slow]

UNKNOWN_MAC = "02:00:00:00:0f:0f"
ROUNDS = 5
"""A gain is told so often, each time by a request and an answer."""
AFTERWARDS = 0.5
"""Seconds in which nothing more of it comes."""


def layers(frame: Frame) -> tuple[dict[str, Any], dict[str, Any]]:
    """A frame field by field, as scapy reads it."""
    return dict(frame.ether.fields), dict(frame.arp.fields)


async def test_it_is_the_node_with_the_lowest_hash_and_nobody_else(stage: Stage, observer: Recorder) -> None:
    assert len({stage.winner(address) for address in stage.addresses}) > 1  # else this test shows little
    for address in stage.addresses:
        answers = await observer.ask(address)
        assert [answer.ether.src for answer in answers] == [stage.mac(stage.winner(address))]


async def test_no_kernel_answers_though_every_node_has_the_addresses(stage: Stage, observer: Recorder) -> None:
    """Each could, and a kernel answers for all of its addresses on any interface unless it is kept from it."""
    for node in stage.nodes:
        shown = await run(stage.host(node).namespace.prefix, "ip", "-brief", "address", "show", "dev", "lo")
        assert all(f"{address}/32" in shown for address in stage.addresses)
    for address in stage.addresses:
        for node in stage.nodes:
            answers = await observer.ask(address, to=stage.mac(node))
            assert len(answers) == (node == stage.winner(address))


QUESTIONS: dict[str, Callable[[Stage, str], dict[str, Any]]] = {
    "broadcast": lambda stage, address: {},
    "to the owner alone": lambda stage, address: {"to": stage.mac(stage.winner(address))},
    "a probe": lambda stage, address: {"psrc": "0.0.0.0"},
    "a probe to the owner alone": lambda stage, address: {"psrc": "0.0.0.0", "to": stage.mac(stage.winner(address))},
    "from another network": lambda stage, address: {"psrc": "192.0.2.9"},
}


@pytest.mark.parametrize("kind", QUESTIONS)
async def test_a_question_is_answered_to_who_asked(stage: Stage, observer: Recorder, kind: str) -> None:
    address = stage.addresses[0]
    changes = QUESTIONS[kind](stage, address)
    (answer,) = await observer.ask(address, **changes)
    owner, asker = stage.mac(stage.winner(address)), stage.observer
    assert layers(answer) == (
        {"dst": asker.mac, "src": owner, "type": 0x0806},
        {
            "hwtype": 1,
            "ptype": 0x0800,
            "hwlen": 6,
            "plen": 4,
            "op": 2,
            "hwsrc": owner,
            "psrc": address,
            "hwdst": asker.mac,
            "pdst": changes.get("psrc", asker.address),
        },
    )


def tagged(packet: Any) -> Any:
    ether = packet[Ether].copy()
    ether.remove_payload()
    ether.type = 0x8100
    return ether / Dot1Q(vlan=7) / packet[ARP].copy()


SILENCES: dict[str, Callable[[Stage, Recorder, str], Any]] = {
    "an address that nobody wants": lambda stage, ear, address: ear.question("10.225.28.200"),
    "to a hardware address that nobody has": lambda stage, ear, address: ear.question(address, to=UNKNOWN_MAC),
    "to a group": lambda stage, ear, address: ear.question(address, to="01:00:5e:00:00:01"),
    "in a VLAN": lambda stage, ear, address: tagged(ear.question(address)),
    "an answer": lambda stage, ear, address: ear.question(address, op=2),
    "of another hardware": lambda stage, ear, address: ear.question(address, hwtype=6),
    "of another protocol": lambda stage, ear, address: ear.question(address, ptype=0x86DD),
    "cut short": lambda stage, ear, address: bytes(ear.question(address))[:40],
    "from a group": lambda stage, ear, address: ear.question(address, hwsrc="03:00:00:00:00:01"),
}


@pytest.mark.parametrize("kind", SILENCES)
async def test_what_is_no_question_to_us_is_not_answered(stage: Stage, observer: Recorder, kind: str) -> None:
    address = stage.addresses[0]
    owner = stage.mac(stage.winner(address))
    since = len(observer.frames)
    observer.send(SILENCES[kind](stage, observer, address))
    observer.send(observer.question(address))  # answered in order: what came before it would have been, too
    await observer.wait_for(lambda frame: frame.answers(address, stage.observer.mac), since)
    hosts = {host.address for host in stage.lab.lan.hosts.values()}  # their kernels answer each other
    heard = [frame for frame in observer.frames[since:] if not frame.is_outgoing and not frame.is_gratuitous]
    answers = [frame for frame in heard if frame.arp.op == 2 and frame.arp.psrc not in hosts]
    assert [(answer.ether.src, answer.ether.dst) for answer in answers] == [(owner, stage.observer.mac)]


async def test_who_gains_an_address_tells_everybody(stage: Stage, observer: Recorder) -> None:
    address = stage.addresses[0]
    leaver = stage.winner(address)
    heir = stage.winner(address, [node for node in stage.nodes if node != leaver])
    await observer.ask(address)  # so that this host asked lately
    since = len(observer.frames)
    stage.kill(leaver)
    await eventually(lambda: len(observer.announcements(address, since)) >= 2 * ROUNDS)
    await observer.listen(AFTERWARDS)
    train = observer.announcements(address, since)
    for number, frame in enumerate(train):
        assert layers(frame) == (
            {"dst": EVERYBODY, "src": stage.mac(heir), "type": 0x0806},
            {
                "hwtype": 1,
                "ptype": 0x0800,
                "hwlen": 6,
                "plen": 4,
                "op": (1, 2)[number % 2],
                "hwsrc": stage.mac(heir),
                "psrc": address,
                "hwdst": EVERYBODY,
                "pdst": address,
            },
        )
    assert len(train) == 2 * ROUNDS


async def test_who_asked_lately_is_told_by_name(stage: Stage, observer: Recorder) -> None:
    address = stage.addresses[0]
    leaver = stage.winner(address)
    heir = stage.winner(address, [node for node in stage.nodes if node != leaver])
    await observer.ask(address)
    since = len(observer.frames)
    stage.stop(leaver)
    told = await observer.wait_for(
        lambda frame: frame.answers(address, stage.observer.mac) and frame.arp.pdst == stage.observer.address, since
    )
    assert (told.ether.src, told.arp.hwsrc, told.arp.hwdst) == (stage.mac(heir), stage.mac(heir), stage.observer.mac)
