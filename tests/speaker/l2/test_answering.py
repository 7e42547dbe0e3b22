"""Which requests are answered, and how (metallb-interface.md §4.5; §7.2, announcer and ARP)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from scapy.layers.l2 import ARP, Dot1Q, Ether

from speaker.l2.announcer import MAX_ANSWERS, Announcer
from speaker.l2.statistics import AddressCounters, Ignored
from tests.speaker.l2.helpers import (
    CLIENT,
    CLIENT_IP,
    ETH0,
    ETH1,
    EVERYBODY,
    OWN,
    OWN_TOO,
    STRANGER,
    VIP,
    VIP_TOO,
    answer,
    ask,
    drain,
    gratuitous,
    heard,
    make_announcer,
    run,
    tell,
)


@pytest.fixture
def announcer() -> Announcer:
    """It announces VIP on eth0 and eth1, and the first second is over."""
    announcer = make_announcer(ETH0, ETH1)
    announcer.announce(VIP, 0.0)
    run(announcer, 1.0)
    return announcer


def ignored(announcer: Announcer) -> dict[Ignored, int]:
    return {cause: count for cause, count in announcer.statistics().ignored.items() if count}


@pytest.mark.parametrize("destination", [EVERYBODY, OWN])
def test_broadcast_and_unicast_requests_are_answered(announcer: Announcer, destination: str) -> None:
    announcer.receive(ETH0.index, ask(destination=destination), 2.0)
    assert drain(announcer) == [(ETH0.index, answer())]
    assert ignored(announcer) == {}


def test_the_answer_tells_the_hardware_address_of_the_interface_that_was_asked(announcer: Announcer) -> None:
    announcer.receive(ETH1.index, ask(), 2.0)
    announcer.receive(ETH0.index, ask(), 2.0)
    assert drain(announcer) == [(ETH1.index, answer(mac=OWN_TOO)), (ETH0.index, answer(mac=OWN))]


@pytest.mark.parametrize("destination", [STRANGER, OWN_TOO, "01:00:5e:00:00:01", "00:00:00:00:00:00"])
def test_a_wrong_ethernet_destination_is_ignored(announcer: Announcer, destination: str) -> None:
    announcer.receive(ETH0.index, ask(destination=destination), 2.0)
    assert drain(announcer) == []
    assert ignored(announcer) == {Ignored.NOT_FOR_US: 1}


def test_a_reply_is_ignored(announcer: Announcer) -> None:
    announcer.receive(ETH0.index, tell((CLIENT, CLIENT_IP), (OWN, str(VIP))), 2.0)
    assert drain(announcer) == []
    assert ignored(announcer) == {Ignored.NOT_A_REQUEST: 1}


def test_what_is_not_announced_is_not_answered_for(announcer: Announcer) -> None:
    announcer.receive(ETH0.index, ask(VIP_TOO), 2.0)
    announcer.watch(VIP_TOO)
    announcer.receive(ETH0.index, ask(VIP_TOO), 2.0)
    assert drain(announcer) == []
    assert ignored(announcer) == {Ignored.NOT_ANNOUNCED: 2}


def test_a_probe_is_answered(announcer: Announcer) -> None:
    """Whoever would like to have the address hears that it is taken (RFC 5227 §2.1.1)."""
    announcer.receive(ETH0.index, ask(sender=(STRANGER, "0.0.0.0")), 2.0)
    assert drain(announcer) == [(ETH0.index, answer(to=(STRANGER, "0.0.0.0")))]


def test_somebody_elses_announcement_is_answered_like_any_request(announcer: Announcer) -> None:
    announcer.receive(ETH0.index, ask(sender=(STRANGER, str(VIP))), 2.0)
    assert drain(announcer) == [(ETH0.index, answer(to=(STRANGER, str(VIP))))]


def test_the_one_who_is_answered_is_the_one_in_the_packet(announcer: Announcer) -> None:
    """A host on the other side of a bridge that puts its own address into the Ethernet header."""
    announcer.receive(ETH0.index, ask(source=STRANGER), 2.0)
    assert drain(announcer) == [(ETH0.index, answer())]


@pytest.mark.parametrize("mac", [EVERYBODY, "03:bf:c0:00:02:01", "00:00:00:00:00:00"])
def test_no_answer_goes_to_a_group(announcer: Announcer, mac: str) -> None:
    announcer.receive(ETH0.index, ask(sender=(mac, CLIENT_IP), source=CLIENT), 2.0)
    assert drain(announcer) == []
    assert ignored(announcer) == {Ignored.GROUP_SENDER: 1}


@pytest.mark.parametrize("mac", [OWN, OWN_TOO])
def test_this_node_does_not_answer_itself(announcer: Announcer, mac: str) -> None:
    """Two interfaces on one LAN hear each other's announcements."""
    announcer.receive(ETH0.index, ask(sender=(mac, str(VIP))), 2.0)
    assert drain(announcer) == []
    assert ignored(announcer) == {Ignored.OWN: 1}


@pytest.mark.parametrize(
    "frame",
    [b"", ask()[:41], bytes(Ether(dst=EVERYBODY) / Dot1Q(vlan=7) / ARP(op=1, pdst=str(VIP))), bytes(64)],
    ids=["nothing", "cut", "VLAN", "zeros"],
)
def test_what_is_no_arp_is_counted(announcer: Announcer, frame: bytes) -> None:
    announcer.receive(ETH0.index, frame, 2.0)
    assert drain(announcer) == []
    assert ignored(announcer) == {Ignored.BAD_FRAME: 1}


def test_an_interface_that_is_not_served_on_is_not_answered_on(announcer: Announcer) -> None:
    announcer.receive(99, ask(), 2.0)
    announcer.set_interfaces([ETH0], 2.0)
    announcer.receive(ETH1.index, ask(), 2.0)
    assert drain(announcer) == []
    assert ignored(announcer) == {Ignored.NOT_SERVED: 2}


def test_a_frame_that_is_here_before_the_news_of_the_carrier_is_answered() -> None:
    announcer = make_announcer(replace(ETH0, has_carrier=False))
    announcer.announce(VIP, 0.0)
    announcer.receive(ETH0.index, ask(), 0.0)
    assert drain(announcer) == [(ETH0.index, answer())]


def test_nothing_is_answered_after_the_address_was_withdrawn(announcer: Announcer) -> None:
    announcer.announce(VIP_TOO, 2.0)
    announcer.receive(ETH0.index, ask(), 2.0)
    announcer.receive(ETH0.index, ask(VIP_TOO), 2.0)
    announcer.withdraw(VIP, 2.0)
    announcer.receive(ETH0.index, ask(), 2.0)
    assert drain(announcer) == [(ETH0.index, answer(address=VIP_TOO))], "not even what was made before"


def test_nothing_goes_out_on_an_interface_that_was_taken_away(announcer: Announcer) -> None:
    announcer.receive(ETH0.index, ask(), 2.0)
    announcer.receive(ETH1.index, ask(), 2.0)
    announcer.set_interfaces([ETH1], 2.0)
    assert drain(announcer) == [(ETH1.index, answer(mac=OWN_TOO))]


def test_a_new_hardware_address_is_told_from_the_first_answer_on(announcer: Announcer) -> None:
    announcer.receive(ETH0.index, ask(), 2.0)
    mac = "02:00:00:00:00:77"
    announcer.set_interfaces([replace(ETH0, mac=bytes.fromhex(mac.replace(":", "")))], 2.0)
    assert drain(announcer) == [], "the answer with the former one"
    announcer.receive(ETH0.index, ask(), 2.0)
    assert drain(announcer) == [(ETH0.index, answer(mac=mac))]
    assert (2.0, ETH0.index, gratuitous("request", mac)) in heard(run(announcer, 2.0, 2.0))


def test_a_flood_of_requests_has_a_bound(announcer: Announcer) -> None:
    for _ in range(MAX_ANSWERS + 10):
        announcer.receive(ETH0.index, ask(), 2.0)
    assert len(drain(announcer)) == MAX_ANSWERS
    assert ignored(announcer) == {Ignored.OVERLOAD: 10}
    announcer.receive(ETH0.index, ask(), 2.0)
    assert len(drain(announcer)) == 1


@pytest.mark.parametrize("ip", ["0.0.0.0", str(VIP)])
def test_who_has_no_address_yet_or_claims_ours_is_no_client(announcer: Announcer, ip: str) -> None:
    announcer.receive(ETH0.index, ask(sender=(CLIENT, ip)), 2.0)
    assert announcer.statistics().requesters == 0


def test_what_is_counted(announcer: Announcer) -> None:
    announcer.watch(VIP)
    assert announcer.counters(VIP) == AddressCounters(gratuitous_sent=20)
    announcer.receive(ETH0.index, ask(), 2.0)
    announcer.receive(ETH0.index, ask(VIP_TOO), 2.0)
    assert announcer.counters(VIP) == AddressCounters(requests_received=1, responses_sent=1, gratuitous_sent=20)
    assert announcer.counters(VIP_TOO) == AddressCounters()
    statistics = announcer.statistics()
    assert (statistics.announced, statistics.requesters, statistics.frames_waiting) == (1, 1, 1)
    assert (statistics.requests_received, statistics.responses_sent, statistics.gratuitous_sent) == (1, 1, 20)
    announcer.withdraw(VIP, 2.0)
    announcer.announce(VIP, 2.0)
    assert announcer.counters(VIP) == AddressCounters(), "since it was announced"
    assert announcer.statistics().responses_sent == 1, "since the start"


def test_what_is_announced_can_be_asked_for(announcer: Announcer) -> None:
    announcer.announce(IPv4Address("192.0.2.1"), 2.0)
    assert list(announcer.announced) == [VIP, IPv4Address("192.0.2.1")]
    announcer.withdraw(VIP, 2.0)
    assert VIP not in announcer.announced
    assert announcer.interface_names == ("eth0", "eth1")
