"""The speaker's core: from what is wanted and the ring's view to who answers, on a LAN in virtual time."""

from __future__ import annotations

import math
from ipaddress import IPv4Address, ip_address
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speaker.commands import Exchange
from speaker.core import Speaker, SpeakerConfig
from speaker.demand import DemandChange, NodeFacts
from speaker.events import (
    AddressInUse,
    MemberClaims,
    NobodyAnnounces,
    OwnerChanged,
    ProxyARPFound,
    StrangerClaims,
    Withdrawn,
    Yielded,
)
from speaker.explain import Explainer
from speaker.holdings import Standing
from speaker.l2.frames import REPLY, REQUEST, Encoder
from speaker.l2.interfaces import Interface
from tests.speaker.hashing import by_hash
from tests.speaker.lan import Host, Lan, group, mac_of

ADDRESS = "10.0.0.10"
STRANGER = bytes.fromhex("deadbeef0001")
SPARE = IPv4Address("10.0.0.250")


def known_lan(size: int = 3, *addresses: str) -> Lan:
    """A LAN on which the addresses were announced before and are owned."""
    lan = Lan(size, known=addresses or [ADDRESS])
    lan.want(*(group(address) for address in addresses or [ADDRESS]))
    lan.run(2)
    return lan


def test_exactly_the_first_by_hash_announces() -> None:
    lan = known_lan()
    assert lan.announcers(ADDRESS) == by_hash(ADDRESS, lan.hosts)[:1]
    (event,) = [event for event in lan.hosts["n1"].events if isinstance(event, OwnerChanged)]
    assert event.decision.owner == lan.owner(ADDRESS)


def test_nothing_is_decided_on_half_of_a_change() -> None:
    lan = Lan(1, known=[ADDRESS])
    core = lan.hosts["n1"].core
    core.demand_changed(DemandChange(groups=(group(ADDRESS),), is_complete=False), lan.now)
    lan.run(5)
    assert lan.announcers(ADDRESS) == []
    assert core.obstacles(lan.now) == ("what is wanted is not known yet",)
    core.demand_changed(DemandChange(), lan.now)
    lan.run(5)
    assert lan.announcers(ADDRESS) == ["n1"]


def test_a_starting_node_waits_for_the_ring_and_not_for_ever() -> None:
    lan = Lan(1, known=[ADDRESS], start=False)
    core = lan.hosts["n1"].core
    lan.view()
    core.start(lan.now, has_seeds=True)
    lan.want(group(ADDRESS))
    lan.run(1.9)
    assert lan.announcers(ADDRESS) == []
    assert core.obstacles(lan.now) == ("the ring was not heard yet",)
    lan.run(0.2)
    assert lan.announcers(ADDRESS) == ["n1"]
    assert core.obstacles(lan.now) == ()


def test_a_starting_node_announces_as_soon_as_the_ring_was_heard() -> None:
    lan = Lan(1, known=[ADDRESS], start=False)
    lan.view()
    lan.hosts["n1"].core.start(lan.now, has_seeds=True)
    lan.want(group(ADDRESS))
    lan.run(0.1)
    lan.hear_ring("n1")
    lan.run(0.001)
    assert lan.announcers(ADDRESS) == ["n1"]


def test_when_the_owner_dies_the_second_announces_at_once() -> None:
    lan = known_lan()
    first, second, third = by_hash(ADDRESS, lan.hosts)
    lan.crash(first)
    lan.run(1)
    sent_before = len(lan.hosts[second].sent)
    lan.view(live=[second, third], by=[second, third])
    lan.run(0.001)
    assert lan.announcers(ADDRESS) == [second]
    frames = [frame for _, frame in lan.hosts[second].sent[sent_before:]]
    assert [(frame.operation, frame.sender_ip) for frame in frames[:2]] == [
        (REQUEST, IPv4Address(ADDRESS).packed),
        (REPLY, IPv4Address(ADDRESS).packed),
    ]
    assert {frame.sender_mac for frame in frames} == {lan.hosts[second].interface.mac}


def test_what_is_not_wanted_any_more_is_withdrawn_and_forgotten() -> None:
    lan = known_lan()
    owner = lan.hosts[lan.owner(ADDRESS)]
    lan.want(gone=[ip_address(ADDRESS)])
    lan.run(1)
    assert lan.announcers(ADDRESS) == []
    assert [event.reason for event in owner.events if isinstance(event, Withdrawn)] == ["it is not wanted any more"]
    assert owner.core.decisions.decision(ip_address(ADDRESS)) is None
    assert owner.core.history.moves(ip_address(ADDRESS)) == ()


def test_what_is_wanted_no_more_before_its_turn_is_never_announced() -> None:
    other = "10.0.0.11"
    lan = known_lan(1, ADDRESS)
    core = lan.hosts["n1"].core
    core.demand_changed(DemandChange(groups=(group(other),)), lan.now)
    core.demand_changed(DemandChange(gone=(ip_address(other),)), lan.now)
    lan.run(1)
    assert (lan.announcers(ADDRESS), lan.announcers(other)) == (["n1"], [])
    assert core.decisions.decision(ip_address(other)) is None


def test_after_a_reset_what_was_not_named_is_gone() -> None:
    other = "10.0.0.11"
    lan = known_lan(1, ADDRESS, other)
    core = lan.hosts["n1"].core
    core.demand_changed(DemandChange(groups=(group(other),)), lan.now, is_reset=True)
    lan.run(1)
    assert (lan.announcers(ADDRESS), lan.announcers(other)) == ([], ["n1"])


def test_nobody_can_announce_is_told_with_the_decision() -> None:
    lan = Lan(3)
    lan.want(group(ADDRESS, is_served=False, serving=()))
    lan.run(1)
    events = [event for event in lan.hosts["n1"].events if isinstance(event, NobodyAnnounces)]
    assert len(events) == 1
    assert events[0].decision.owner is None
    assert events[0].decision.reasons
    assert lan.hosts["n1"].core.history.moves(ip_address(ADDRESS)) == ()


def test_a_speaker_that_stops_is_silent() -> None:
    lan = known_lan()
    owner = lan.hosts[lan.owner(ADDRESS)]
    owner.core.stop(lan.now)
    lan.drain(owner)
    sent = len(owner.sent)
    lan.run(120)
    assert lan.announcers(ADDRESS) == []
    assert len(owner.sent) == sent


# ---- two owners


def test_after_a_healed_partition_one_owner_is_left_and_says_so_again() -> None:
    lan = known_lan()
    first, *others = by_hash(ADDRESS, lan.hosts)
    lan.hosts[first].is_connected = False  # the switch blocks it: its card still sees a carrier
    lan.view(live=others, by=others)
    lan.view(live=[first], by=[first])
    lan.run(30)
    assert sorted(lan.announcers(ADDRESS)) == sorted([first, others[0]])
    lan.hosts[first].is_connected = True
    frames = len(lan.hosts[first].sent)
    lan.view()
    lan.hosts[first].core.reunited(lan.now)
    lan.drain(lan.hosts[first])
    lan.run(0.05)
    assert lan.announcers(ADDRESS) == [first]
    assert len(lan.hosts[first].sent) > frames, "nothing changed for the winner, and it says again what is its own"


def test_two_owners_who_hear_each_other_exchange_views_and_one_is_left() -> None:
    lan = known_lan()
    first, *others = by_hash(ADDRESS, lan.hosts)
    lan.hosts[first].is_connected = False
    lan.view(live=others, by=others)
    lan.view(live=[first], by=[first])
    lan.run(30)
    lan.hosts[first].is_connected = True  # the ring has not noticed: only the frames tell
    lan.run(70)
    assert lan.announcers(ADDRESS) == [first]
    assert lan.events(Yielded) == [], "to yield to somebody who withdraws would leave nobody"


def test_without_an_exchange_the_isolated_one_yields_until_its_view_changes() -> None:
    lan = known_lan()
    first, second, third = by_hash(ADDRESS, lan.hosts)
    lan.on_exchange = lambda host, command: refuse(lan, host, command)
    lan.view(live=[second, third], by=[second, third])
    lan.view(live=[first], by=[first])
    lan.run(80)
    assert lan.announcers(ADDRESS) == [second]
    assert [(event.to, event.reason) for event in lan.hosts[first].events if isinstance(event, Yielded)] == [
        (second, "isolated")
    ]
    lan.crash(second)
    lan.view(live=[first, third], by=[first, third])
    lan.run(1)
    assert lan.announcers(ADDRESS) == [first]


def test_who_yielded_takes_the_address_back_when_nobody_announces_it() -> None:
    lan = known_lan()
    first, second, third = by_hash(ADDRESS, lan.hosts)
    lan.on_exchange = lambda host, command: refuse(lan, host, command)
    lan.view(live=[second, third], by=[second, third])
    lan.view(live=[first], by=[first])
    lan.run(80)
    assert lan.hosts[first].core.holdings.get(ip_address(ADDRESS)).standing is Standing.YIELDED  # type: ignore[union-attr]  # it is held
    lan.crash(second)
    lan.run(120)
    assert lan.announcers(ADDRESS) == [first]


def refuse(lan: Lan, host: Host, command: Exchange) -> None:
    """The ring's port is blocked between the two, while frames pass."""
    host.core.exchanged(command.member, False, lan.now)
    lan.drain(host)


def test_a_node_that_has_left_and_still_answers_is_no_second_owner() -> None:
    lan = known_lan()
    owner = lan.hosts[lan.owner(ADDRESS)]
    lan.add_member("gone", mac_of(9), has_left=True)
    lan.inject(Encoder(mac_of(9)).gratuitous_request(IPv4Address(ADDRESS).packed))
    lan.run(1)
    assert not any(isinstance(command, Exchange) for command in owner.commands)


def test_a_claim_that_goes_on_after_an_exchange_is_told_and_answered() -> None:
    lan = known_lan()
    owner = lan.hosts[lan.owner(ADDRESS)]
    other = next(host for host in lan.hosts.values() if host is not owner)
    for _ in range(5):
        lan.inject(Encoder(other.interface.mac).gratuitous_request(IPv4Address(ADDRESS).packed))
        lan.run(3)
    claims = [event for event in owner.events if isinstance(event, MemberClaims)]
    assert {(event.member, event.interface) for event in claims} == {(other.name, "eth0")}
    assert lan.announcers(ADDRESS) == [owner.name]


def test_a_stranger_who_claims_an_address_is_reported_once_a_minute_and_answered() -> None:
    lan = known_lan()
    owner = lan.hosts[lan.owner(ADDRESS)]
    lan.run(10)
    sent = len(owner.sent)
    for _ in range(30):
        lan.inject(Encoder(STRANGER).gratuitous_reply(IPv4Address(ADDRESS).packed))
        lan.run(1)
    events = lan.events(StrangerClaims)
    assert [(event.address, event.mac, event.interface) for event in events if isinstance(event, StrangerClaims)] == [
        (IPv4Address(ADDRESS), STRANGER, "eth0")
    ]
    told = [finding.text for finding in Explainer(owner.core, lan.now, 0.0).findings()]
    assert len(told) == 1
    assert all(part in told[0] for part in (ADDRESS, STRANGER.hex(":"), "eth0"))
    assert lan.announcers(ADDRESS) == [owner.name]
    assert 10 <= len(owner.sent) - sent <= 100, "it says again what is its own, and not for every claim"
    lan.run(61)
    assert not list(Explainer(owner.core, lan.now, 0.0).findings()), "it was heard no more"


@given(st.permutations(["n1", "n2"]))
def test_two_owners_that_read_different_manifests_end_in_one(order: list[str]) -> None:
    lan = Lan(2, known=[ADDRESS])
    excluded, other = order
    lan.want(group(ADDRESS), by=[excluded])
    nodes = (NodeFacts(name=excluded, is_excluded=True), NodeFacts(name=other))
    lan.hosts[other].core.demand_changed(DemandChange(groups=(group(ADDRESS),), nodes=nodes), lan.now)
    for host in lan.hosts.values():
        host.core.arbiter.source_changed(math.inf)  # both believe what they read to be current
    lan.run(300)
    assert len(lan.announcers(ADDRESS)) == 1


def test_who_yielded_is_told_when_the_other_withdraws() -> None:
    lan = known_lan(2)
    first, second = by_hash(ADDRESS, lan.hosts)
    lan.hosts[first].core.arbiter.source_changed(lan.now - 60)  # its folder is stale
    lan.hosts[second].core.arbiter.source_changed(math.inf)
    excluded = (NodeFacts(name=first, is_excluded=True), NodeFacts(name=second))
    lan.hosts[second].core.demand_changed(DemandChange(groups=(group(ADDRESS),), nodes=excluded), lan.now)
    lan.run(90)
    assert lan.announcers(ADDRESS) == [second], "the one whose folder is stale yielded"
    lan.want(group(ADDRESS), by=[second])
    lan.run(0.1)
    assert lan.announcers(ADDRESS) == [first]


def test_where_everybody_is_isolated_exactly_one_announces() -> None:
    lan = known_lan(3)
    lan.on_exchange = lambda host, command: refuse(lan, host, command)
    lan.on_tell = lambda host, command: None
    for name in lan.hosts:
        lan.view(live=[name], by=[name])
    lan.run(300)
    assert len(lan.announcers(ADDRESS)) == 1


def test_a_thousand_claims_of_one_member_are_one_exchange_at_a_time() -> None:
    addresses = [f"10.0.{number // 250}.{number % 250}" for number in range(1, 500)]
    lan = known_lan(1, *addresses)
    lan.add_member("n2", mac_of(2))
    exchanges: list[Exchange] = []
    lan.on_exchange = lambda host, command: exchanges.append(command)
    for address in addresses:
        lan.inject(Encoder(mac_of(2)).gratuitous_request(IPv4Address(address).packed))
    lan.run(0.5)
    assert len(exchanges) == 1
    lan.hosts["n1"].core.exchanged("n2", True, lan.now)
    lan.run(0.5)
    assert len(exchanges) == 1, "there is a second between two exchanges"
    lan.run(1)
    assert len(exchanges) <= 2


# ---- the cable


def test_what_was_being_probed_when_the_carrier_went_is_probed_again() -> None:
    lan = Lan(1)
    lan.strangers[STRANGER] = (ip_address(ADDRESS),)
    lan.want(group(ADDRESS))
    lan.run(0.03)
    lan.cut("n1")
    lan.run(10)
    assert lan.announcers(ADDRESS) == []
    lan.mend("n1")
    lan.hear_ring("n1")
    lan.run(3)
    assert lan.announcers(ADDRESS) == []
    assert len(lan.events(AddressInUse)) == 1


def test_the_ring_heard_before_the_start_counts() -> None:
    lan = Lan(1, known=[ADDRESS], start=False)
    lan.view()
    lan.hear_ring("n1")
    lan.hosts["n1"].core.start(lan.now, has_seeds=True)
    lan.want(group(ADDRESS))
    lan.run(0.01)
    assert lan.announcers(ADDRESS) == ["n1"]


def test_a_node_without_a_carrier_gains_nothing_and_after_it_returns_hears_the_ring_first() -> None:
    lan = known_lan()
    first, *others = by_hash(ADDRESS, lan.hosts)
    lan.cut(first)
    lan.run(5)
    lan.view(live=[first], by=[first])
    lan.view(live=others, by=others)
    lan.run(30)
    assert lan.announcers(ADDRESS) == [others[0]]
    assert "no interface has a carrier" in lan.hosts[first].core.obstacles(lan.now)
    lan.mend(first)
    lan.run(0.5)
    assert lan.announcers(ADDRESS) == [others[0]]
    lan.view()
    lan.hear_ring(first)
    lan.run(0.1)
    assert lan.announcers(ADDRESS) == [first]


def test_a_short_cut_that_nobody_noticed_ends_as_it_was() -> None:
    lan = known_lan()
    first = by_hash(ADDRESS, lan.hosts)[0]
    lan.cut(first)
    lan.view(by=[first])
    lan.run(1)
    lan.mend(first)
    lan.view(by=[first])
    lan.hear_ring(first)
    lan.run(0.1)
    assert lan.announcers(ADDRESS) == [first]


# ---- first use


def test_a_new_address_that_a_stranger_has_is_not_announced_and_asked_for_again() -> None:
    lan = Lan(3)
    lan.strangers[STRANGER] = (ip_address(ADDRESS),)
    lan.want(group(ADDRESS, spare=SPARE))
    lan.run(4)
    assert lan.announcers(ADDRESS) == []
    (event,) = lan.events(AddressInUse)
    assert isinstance(event, AddressInUse)
    assert (event.address, event.mac, event.interface) == (IPv4Address(ADDRESS), STRANGER, "eth0")
    lan.strangers.clear()
    lan.run(10)
    assert len(lan.announcers(ADDRESS)) == 1


def test_whoever_takes_over_a_new_address_that_a_stranger_has_does_not_announce_it_either() -> None:
    lan = Lan(2)
    lan.strangers[STRANGER] = (ip_address(ADDRESS),)
    lan.want(group(ADDRESS))
    lan.run(4)
    first, second = by_hash(ADDRESS, lan.hosts)
    lan.crash(first)
    lan.view(live=[second], by=[second])
    lan.run(4)
    assert lan.announcers(ADDRESS) == []
    assert [event.address for event in lan.hosts[second].events if isinstance(event, AddressInUse)] == [
        IPv4Address(ADDRESS)
    ]


def test_an_address_that_is_wanted_again_is_new_again() -> None:
    lan = known_lan()
    lan.want(gone=[ip_address(ADDRESS)])
    lan.run(1)
    lan.frames.clear()
    lan.want(group(ADDRESS))
    lan.run(1)
    assert any(frame.is_probe for _, frame in lan.frames)
    assert len(lan.announcers(ADDRESS)) == 1


def test_a_new_address_behind_proxy_arp_is_announced_with_a_warning() -> None:
    lan = Lan(3)
    lan.strangers[STRANGER] = (ip_address(ADDRESS), SPARE)
    lan.want(group(ADDRESS, spare=SPARE))
    lan.run(4)
    assert len(lan.announcers(ADDRESS)) == 1
    assert len(lan.events(ProxyARPFound)) == 1


def test_an_address_that_was_wanted_before_is_never_probed_not_even_at_a_failover() -> None:
    lan = Lan(3)
    lan.want(group(ADDRESS))
    lan.run(4)
    first, *others = by_hash(ADDRESS, lan.hosts)
    assert any(frame.is_probe for _, frame in lan.frames)
    lan.frames.clear()
    lan.crash(first)
    lan.view(live=others, by=others)
    lan.run(1)
    assert lan.announcers(ADDRESS) == others[:1]
    assert not any(frame.is_probe for _, frame in lan.frames)


# ---- everything at once


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["cut", "block", "mend", "crash", "want", "drop", "wait"]),
        st.integers(1, 4),
        st.floats(0.01, 40),
    ),
    max_size=12,
)


@given(STEPS)
@settings(max_examples=40, deadline=None)
def test_whatever_happened_in_the_end_every_wanted_address_has_one_owner(steps: list[tuple[str, int, float]]) -> None:
    addresses = [f"10.0.0.{10 + number}" for number in range(1, 5)]
    lan = known_lan(4, *addresses)
    dropped: set[str] = set()

    def refresh() -> None:
        """The ring's view: who is connected sees who is connected, who is not sees itself alone."""
        connected = [name for name, host in lan.hosts.items() if host.is_connected and host.is_running]
        for name, host in lan.hosts.items():
            if host.is_running:
                lan.view(live=connected if host.is_connected else [name], by=[name])
                if host.is_connected and len(connected) > 1:
                    lan.hear_ring(name)

    for step, number, seconds in steps:
        name, address = f"n{number}", addresses[number - 1]
        match step:
            case "cut":
                lan.cut(name)
            case "block":
                lan.cut(name, carrier=True)
            case "mend":
                lan.mend(name)
            case "crash" if sum(host.is_running for host in lan.hosts.values()) > 1:
                lan.crash(name)
            case "want":
                lan.want(group(address))
                dropped.discard(address)
            case "drop":
                lan.want(gone=[ip_address(address)])
                dropped.add(address)
            case _:
                pass
        lan.run(seconds / 2)
        refresh()
        lan.run(seconds / 2)
    for name in lan.hosts:
        lan.mend(name)
    refresh()
    lan.run(5)
    for address in addresses:
        expected = 0 if address in dropped else 1
        assert len(lan.announcers(address)) == expected, address


def test_the_stranger_of_the_tests_is_no_member() -> None:
    assert STRANGER not in {mac_of(number) for number in range(1, 10)}


@pytest.mark.parametrize("payload", [b"", b"S1", b"S1\xc1", b"S1" + b"\x95" + b"\xff" * 600, b"other"])
def test_a_message_that_is_no_notice_is_nobodys_harm(payload: bytes) -> None:
    lan = known_lan()
    lan.hosts["n1"].core.receive_message(payload, lan.now)
    lan.run(1)
    assert len(lan.announcers(ADDRESS)) == 1


@pytest.mark.parametrize(
    ("wanted", "present", "said"),
    [
        (None, (), "no interface is fit to announce on"),
        (None, (Interface(index=1, name="lo", mac=bytes(6), is_loopback=True),), "lo: nobody outside hears"),
        (("eth0",), (Interface(index=2, name="eth0", mac=mac_of(1), is_up=False),), "eth0: it is down"),
        (("eth7",), (Interface(index=2, name="eth0", mac=mac_of(1)),), "eth7: there is no interface of this name"),
        (None, (Interface(index=2, name="eth0", mac=mac_of(1), has_carrier=False),), "no interface has a carrier"),
    ],
)
def test_why_there_is_nothing_to_announce_on_is_said(
    wanted: tuple[str, ...] | None, present: tuple[Interface, ...], said: str
) -> None:
    core = Speaker(SpeakerConfig(node="n1", interfaces=wanted), rng=Random(1))
    core.interfaces_changed(present, 0.0)
    (obstacle,) = [text for text in core.obstacles(0.0) if "interface" in text]
    assert said in obstacle


def told(lan: Lan, name: str) -> list[str]:
    return [finding.text for finding in Explainer(lan.hosts[name].core, lan.now, 0.0).findings()]


def test_a_node_that_the_cluster_does_not_list_is_told_which_there_are() -> None:
    lan = Lan(2, known=[ADDRESS])
    change = DemandChange(groups=(group(ADDRESS),), nodes=(NodeFacts(name="n1"), NodeFacts(name="m2")))
    for host in lan.hosts.values():
        host.core.demand_changed(change, lan.now)
    lan.run(1)
    assert told(lan, "n1") == []
    assert told(lan, "n2") == ["the cluster lists no node n2; is --node right? There are n1, m2"]


def test_a_node_that_hears_nobody_is_told_that_there_are_others() -> None:
    lan = known_lan(3)
    assert told(lan, "n1") == []
    lan.view(live=["n1"], by=["n1"])
    assert any("the cluster lists 2 more nodes" in text for text in told(lan, "n1"))
