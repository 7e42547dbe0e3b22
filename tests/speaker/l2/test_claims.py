"""Hearing that somebody else claims an address (design.md §5, two owners; RFC 5227 §2.4)."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from speaker.l2.announcer import Announcer
from speaker.l2.claims import MAX_CLAIMS, Claim
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
    ask,
    make_announcer,
    tell,
)

KINDS = {
    "announcement": ask(sender=(STRANGER, str(VIP))),
    "gratuitous reply": tell((STRANGER, str(VIP)), (EVERYBODY, str(VIP))),
    "answer to somebody": tell((STRANGER, str(VIP)), (CLIENT, CLIENT_IP)),
    "request for another address": ask(VIP_TOO, sender=(STRANGER, str(VIP))),
}


def packed(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def claims(announcer: Announcer) -> list[Claim]:
    return list(iter(announcer.next_claim, None))


@pytest.fixture
def announcer() -> Announcer:
    announcer = make_announcer(ETH0, ETH1)
    announcer.announce(VIP, 0.0)
    return announcer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("now", [0.0, -7.0, 1e9])
def test_any_arp_of_somebody_else_with_the_address_is_a_claim(announcer: Announcer, kind: str, now: float) -> None:
    announcer.receive(ETH1.index, KINDS[kind], now)
    assert claims(announcer) == [Claim(address=VIP, mac=packed(STRANGER), index=ETH1.index, interface="eth1", at=now)]


def test_questions_and_probes_are_no_claims(announcer: Announcer) -> None:
    announcer.receive(ETH0.index, ask(), 0.0)
    announcer.receive(ETH0.index, ask(sender=(STRANGER, "0.0.0.0")), 0.0)
    announcer.receive(ETH0.index, ask(VIP_TOO, sender=(STRANGER, str(VIP_TOO))), 0.0)
    assert claims(announcer) == []


def test_this_nodes_own_addresses_are_no_claims(announcer: Announcer) -> None:
    """Neither of the interfaces served on, nor others that the kernel may answer with."""
    other = "02:00:00:00:00:03"
    announcer.set_own_macs([packed(other)])
    announcer.set_interfaces([ETH0, ETH1], 0.0)
    for mac in (OWN, OWN_TOO, other):
        announcer.receive(ETH0.index, ask(sender=(mac, str(VIP))), 0.0)
    assert claims(announcer) == []
    announcer.set_own_macs([])
    announcer.receive(ETH0.index, ask(sender=(other, str(VIP))), 0.0)
    assert [claim.mac for claim in claims(announcer)] == [packed(other)]


def test_what_is_watched_is_heard_of_until_it_is_not(announcer: Announcer) -> None:
    frame = ask(sender=(STRANGER, str(VIP_TOO)))
    announcer.watch(VIP_TOO)
    announcer.receive(ETH0.index, frame, 0.0)
    assert [claim.address for claim in claims(announcer)] == [VIP_TOO]
    announcer.unwatch(VIP_TOO)
    announcer.receive(ETH0.index, frame, 10.0)
    assert claims(announcer) == []


def test_an_address_that_was_withdrawn_is_watched_still(announcer: Announcer) -> None:
    announcer.watch(VIP)
    announcer.withdraw(VIP, 0.0)
    announcer.receive(ETH0.index, ask(sender=(STRANGER, str(VIP))), 0.0)
    assert [claim.address for claim in claims(announcer)] == [VIP]


def test_an_address_is_told_of_once_a_second(announcer: Announcer) -> None:
    for tick in range(30):
        announcer.receive(ETH0.index, KINDS["announcement"], tick / 10)
    assert [claim.at for claim in claims(announcer)] == [0.0, 1.0, 2.0]
    assert announcer.statistics().claims == 3


def test_claims_that_nobody_reads_have_a_bound(announcer: Announcer) -> None:
    addresses = [IPv4Address("10.0.0.0") + number for number in range(MAX_CLAIMS + 5)]
    for address in addresses:
        announcer.watch(address)
        announcer.receive(ETH0.index, ask(sender=(STRANGER, str(address))), 0.0)
    statistics = announcer.statistics()
    assert (statistics.claims, statistics.claims_dropped) == (MAX_CLAIMS, 5)
    assert [claim.address for claim in claims(announcer)] == addresses[:MAX_CLAIMS]
    announcer.receive(ETH0.index, ask(sender=(STRANGER, str(addresses[-1]))), 0.0)
    assert len(claims(announcer)) == 1, "what was dropped is told when it comes again"


def test_a_claim_with_a_groups_address_is_one_all_the_same(announcer: Announcer) -> None:
    """Clusters that share a multicast hardware address answer so."""
    announcer.receive(ETH0.index, tell(("03:bf:c0:00:02:64", str(VIP)), (CLIENT, CLIENT_IP)), 0.0)
    assert [claim.mac for claim in claims(announcer)] == [packed("03:bf:c0:00:02:64")]
