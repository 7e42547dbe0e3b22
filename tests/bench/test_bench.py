"""The measurements measure what they say. How fast it is, is asserted nowhere."""

from __future__ import annotations

import pytest

from gossip import Keyring
from tests.bench.__main__ import merge, table
from tests.bench.bench_core import PACKET_ROOM, QUEUED, Probing, Queueing
from tests.bench.bench_wire import sample
from tests.bench.measuring import RUNS, Row, show, time_calls


@pytest.mark.parametrize(
    ("seconds", "shown"), [(12.34, "12.3 s"), (0.0456, "45.6 ms"), (7.89e-6, "7.89 µs"), (1.5e-7, "150 ns")]
)
def test_a_duration_is_shown_in_the_unit_that_suits_it(seconds: float, shown: str) -> None:
    assert show(seconds) == shown


def test_a_row_shows_medians_worsts_and_the_ratio_of_the_medians() -> None:
    row = Row("sort", [3.0, 2.0, 9.0], [1.0, 2.0, 4.0])
    assert row.cells() == ["sort", "3 s", "9 s", "2 s", "4 s", "1.5"]
    assert Row("sort", [3.0]).cells() == ["sort", "3 s", "3 s", "", "", ""]


def test_what_was_measured_now_replaces_its_row_and_leaves_the_others() -> None:
    page = "# Page\n\n" + table([["a", "1 s"], ["b", "2 s"]]) + "\n\ntext\n"
    assert merge(page, [["b", "3 s"], ["c", "4 s"]]) == [["a", "1 s"], ["b", "3 s"], ["c", "4 s"]]


@pytest.mark.slow
def test_an_operation_is_called_as_often_as_it_takes_in_each_run() -> None:
    calls: list[int] = []
    assert len(time_calls(lambda: calls.append(1))) == RUNS
    assert len(calls) > 100 * RUNS


@pytest.mark.parametrize("keyring", [Keyring(), Keyring([bytes(16)])], ids=["plain", "encrypted"])
def test_a_probing_run_is_one_probe_that_is_answered(keyring: Keyring) -> None:
    probing = Probing(keyring)
    before, sent = probing.prober.statistics().probes_answered, probing.probed.statistics().datagrams_sent
    for _ in range(10):
        probing.run()
    assert probing.prober.statistics().probes_answered == before + 10
    assert probing.probed.statistics().datagrams_sent == sent + 10


def test_the_queue_stays_as_full_as_it_is_said_to_be() -> None:
    queueing = Queueing()
    for _ in range(10):
        queueing.replace()
        queueing.fill()
    assert len(queueing.queue) == QUEUED
    assert len(queueing.queue.take(PACKET_ROOM)) > 20


def test_what_is_compressed_repeats_as_gossip_does() -> None:
    assert len(sample(1024)) == 1024
    assert b"node-00003" in sample(1024)
