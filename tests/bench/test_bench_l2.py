"""The measurements of layer 2 measure what they say."""

from __future__ import annotations

from tests.bench.bench_l2 import ADDRESSES, Answering, Asking, Train, answer_by_scapy


def test_ours_and_scapys_answer_are_the_same() -> None:
    answering = Answering()
    assert answering.run() == answering.run() == answer_by_scapy()


def test_a_train_tells_of_every_address() -> None:
    train = Train(until=0.5)
    assert train.told == len(ADDRESSES)
    assert 0 < train.last_first < 0.5
    assert 0 < train.longest_turn < train.cpu


def test_every_address_that_is_asked_for_is_free() -> None:
    asking = Asking()
    assert asking.free == len(ADDRESSES)
    assert asking.at > 0.15
