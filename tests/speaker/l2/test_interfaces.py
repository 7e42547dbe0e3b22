"""Which interfaces are served on (metallb-interface.md §4.4)."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from speaker.l2.interfaces import UNFIT_WORDS, Interface, Unfit, is_host_mac, is_usable, refusal
from tests.speaker.l2.helpers import ETH0

LO = Interface(index=1, name="lo", mac=bytes(6), has_broadcast=False, is_loopback=True)
FLAWS = [
    (replace(ETH0, is_up=False), Unfit.DOWN),
    (replace(ETH0, is_enslaved=True), Unfit.ENSLAVED),
    (replace(ETH0, has_arp=False), Unfit.NO_ARP),
    (replace(ETH0, has_broadcast=False), Unfit.NO_BROADCAST),
    (replace(ETH0, mac=b""), Unfit.NO_MAC),
    (replace(ETH0, mac=bytes(6)), Unfit.NO_MAC),
    (replace(ETH0, mac=bytes(20)), Unfit.NO_MAC),
    (replace(ETH0, mac=bytes.fromhex("010000000001")), Unfit.NO_MAC),
    (replace(ETH0, has_socket=False), Unfit.NO_SOCKET),
    (replace(ETH0, is_loopback=True), Unfit.LOOPBACK),
]


def named(name: str) -> Interface:
    return replace(ETH0, name=name)


@pytest.mark.parametrize(
    "name",
    [
        "docker0", "cbr0", "dummy3", "virbr0", "virbr0-nic", "lxcbr0", "veth1a2b", "cali77", "tunl0", "flannel.1",
        "kube-ipvs0", "cni0", "nodelocaldns", "lxc0",
    ],
)  # fmt: skip
def test_names_of_containers_and_overlays_are_left_out_unless_they_are_named(name: str) -> None:
    assert refusal(named(name)) is Unfit.EXCLUDED
    assert refusal(named(name), ("eth0", name)) is None


@pytest.mark.parametrize(
    "name", ["eth0", "ens3", "bond0", "br0", "eth0.10", "vlan7", "lo0", "lo1", "mydocker", "wlan0"]
)
def test_other_names_are_served(name: str) -> None:
    assert refusal(named(name)) is None


def test_what_was_not_named_is_left_out() -> None:
    assert refusal(ETH0, ("eth1",)) is Unfit.NOT_NAMED
    assert refusal(ETH0, ()) is Unfit.NOT_NAMED
    assert refusal(ETH0, ("eth1", "eth0")) is None


def test_the_users_own_patterns_replace_the_list() -> None:
    patterns = (re.compile("^eth"), re.compile("wan$"))
    assert refusal(ETH0, excluded=patterns) is Unfit.EXCLUDED
    assert refusal(named("to-wan"), excluded=patterns) is Unfit.EXCLUDED
    assert refusal(named("docker0"), excluded=patterns) is None


@pytest.mark.parametrize(("interface", "unfit"), FLAWS)
@pytest.mark.parametrize("wanted", [None, ("eth0",)])
def test_what_cannot_carry_arp_is_refused_named_or_not(
    interface: Interface, unfit: Unfit, wanted: tuple[str, ...] | None
) -> None:
    assert refusal(interface, wanted) is unfit
    assert not is_usable(interface, wanted)


@pytest.mark.parametrize("wanted", [None, ("lo",)])
def test_the_loopback_is_called_what_it_is(wanted: tuple[str, ...] | None) -> None:
    assert refusal(LO, wanted) is Unfit.LOOPBACK


def test_without_a_carrier_it_is_served_on_but_not_usable() -> None:
    unplugged = replace(ETH0, has_carrier=False)
    assert refusal(unplugged) is None
    assert is_usable(ETH0)
    assert not is_usable(unplugged)


def test_every_reason_is_explained() -> None:
    assert set(UNFIT_WORDS) == set(Unfit)


@pytest.mark.parametrize(
    ("mac", "verdict"),
    [("020000000001", True), ("fe0000000001", True), ("030000000001", False), ("ffffffffffff", False),
     ("000000000000", False), ("02", False), ("", False)],
)  # fmt: skip
def test_which_addresses_a_host_can_have(mac: str, verdict: bool) -> None:
    assert is_host_mac(bytes.fromhex(mac)) is verdict
