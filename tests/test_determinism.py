"""The same seed tells the same story: twice, under another hash seed, and on another Python."""

import os
import subprocess
import sys

import pytest

from gossip import MemberFailed, MemberLeft, MemberUpdated, UserMessageReceived
from tests.sim.story import tell
from tests.tree import ROOT

pytestmark = pytest.mark.slow


def digest_of(python: str, hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    told = subprocess.run(
        [python, "-m", "tests.sim.story"], cwd=ROOT, env=environment, capture_output=True, check=True, text=True
    )
    return told.stdout.strip()


def test_the_story_is_worth_comparing() -> None:
    engine = tell()
    statistics = engine.statistics()
    assert statistics.datagrams_lost > 100
    assert statistics.streams_opened > 20
    for kind in (MemberFailed, MemberLeft, MemberUpdated, UserMessageReceived):
        assert list(engine.events(kind)), kind


def test_another_process_under_another_hash_seed_tells_the_same() -> None:
    assert {digest_of(sys.executable, seed) for seed in ("0", "12345")} == {tell().digest}


def test_another_seed_tells_another_story() -> None:
    assert tell(seed=2).digest != tell(seed=1).digest


@pytest.mark.needs("other-python")
def test_another_python_tells_the_same() -> None:
    assert digest_of(os.environ["STARLING_OTHER_PYTHON"], "0") == tell().digest
