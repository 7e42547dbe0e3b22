"""Which signals ask a process to end in order."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from telemetry.endings import end_signals


@pytest.fixture
def hangup() -> Iterator[None]:
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangup")
def test_a_terminal_that_goes_is_an_orderly_end() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    assert set(end_signals()) == {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


@pytest.mark.usefixtures("hangup")
def test_whoever_started_us_under_nohup_meant_it() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert set(end_signals()) == {signal.SIGINT, signal.SIGTERM}
