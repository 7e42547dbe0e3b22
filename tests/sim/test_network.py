"""What the simulated network does to packets."""

from __future__ import annotations

from itertools import pairwise

import pytest

from gossip import ConfigError
from sim.network import Link, Network

SURE = Link(latency=0.001, jitter=0.0)


def sent(network: Network, count: int = 10_000, source: str = "a", target: str = "b") -> list[tuple[float, ...]]:
    return [network.carry(source, target) for _ in range(count)]


def test_a_packet_takes_the_latency_and_at_most_the_jitter_more() -> None:
    delays = [delay for copies in sent(Network("1", Link(latency=0.01, jitter=0.002))) for delay in copies]
    assert len(delays) == 10_000
    assert 0.01 <= min(delays) < 0.0101
    assert 0.0119 < max(delays) < 0.012


def test_loss_and_duplication_are_as_frequent_as_configured() -> None:
    copies = [len(delays) for delays in sent(Network("1", Link(loss=0.2, duplicate=0.1)))]
    assert 0.19 < copies.count(0) / 10_000 < 0.21
    assert 0.09 < copies.count(2) / (10_000 - copies.count(0)) < 0.11


def test_each_loss_is_on_its_own() -> None:
    lost = [not delays for delays in sent(Network("1", Link(loss=0.5)))]
    after_a_loss = [second for first, second in pairwise(lost) if first]
    assert 0.47 < sum(after_a_loss) / len(after_a_loss) < 0.53


def test_a_direction_draws_the_same_whatever_happens_elsewhere() -> None:
    link = Link(loss=0.3, duplicate=0.3)
    alone = sent(Network("1", link), 100)
    busy = Network("1", link)
    among_others = []
    for number in range(100):
        busy.carry("b", "a")
        busy.carry("a", f"c{number}")
        among_others.append(busy.carry("a", "b"))
    assert among_others == alone
    assert sent(Network("2", link), 100) != alone
    assert sent(Network("1", link), 100, "b", "a") != alone


def test_a_link_of_its_own_holds_for_one_direction() -> None:
    network = Network("1", SURE)
    network.set_link("a", "b", Link(latency=0.5, jitter=0.0))
    assert network.carry("a", "b") == (0.5,)
    assert network.carry("b", "a") == network.carry("a", "c") == (0.001,)


def test_a_partition_keeps_its_groups_apart_and_nobody_else() -> None:
    network = Network("1", SURE)
    network.partition(["a", "b"], ["c"], ["d"])
    heard = ["".join(y for y in "abcde" if network.carry(x, y)) for x in "abcde"]
    assert heard == ["abe", "abe", "ce", "de", "abcde"]
    network.repair()
    assert all(network.carry(x, y) for x in "abcd" for y in "abcd")


def test_a_oneway_partition_leaves_the_other_way_open() -> None:
    network = Network("1", SURE)
    network.partition_oneway(["a"], ["b", "c"])
    assert (network.carry("a", "b"), network.carry("a", "c")) == ((), ())
    assert network.carry("b", "a") == network.carry("b", "c") == (0.001,)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"latency": -1.0}, "latency"),
        ({"jitter": -0.1}, "jitter"),
        ({"loss": 1.1}, "loss"),
        ({"duplicate": -0.1}, "duplicate"),
        ({"latency": float("nan")}, "latency"),
    ],
)
def test_a_link_that_no_network_has_is_refused(values: dict[str, float], named: str) -> None:
    with pytest.raises(ConfigError, match=f"link.{named}"):
        Link(**values)
