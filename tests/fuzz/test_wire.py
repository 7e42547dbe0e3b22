"""Fuzzing as a test: nothing but the one exception comes out, and memory stays where it was.

``STARLING_FUZZ_SECONDS`` says how long, for all targets together; ``./run hunt`` and CI set it. The fuzzer runs in a
process of its own, so that its highest memory is its own.
"""

import json
import os
import random
import subprocess
import sys

import pytest

from tests import tree
from tests.fuzz.harness import MAX_GROWTH_BYTES, Find, Target, fuzz, mutate
from tests.fuzz.targets import TARGETS

SECONDS = float(os.environ.get("STARLING_FUZZ_SECONDS", "3"))
SEED = int(os.environ.get("STARLING_SEED", "1"))


@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.slow
def test_no_bytes_do_harm() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", str(SECONDS), "--seed", str(SEED), "--json"]
    done = subprocess.run(command, cwd=tree.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *lines, summary = done.stdout.splitlines()
    print("\n".join(lines))  # noqa: T201  # the rates of a hunt are read by a person
    report = json.loads(summary)
    assert set(report["inputs"]) == {target.name for target in TARGETS}
    assert min(report["inputs"].values()) >= 100
    assert report["growth_bytes"] <= MAX_GROWTH_BYTES


def test_every_target_has_inputs_and_a_name_of_its_own() -> None:
    assert len({target.name for target in TARGETS}) == len(TARGETS) >= 15
    assert min(len(target.corpus) for target in TARGETS) >= 9


def test_the_fuzzer_finds_what_is_there_and_says_how_to_see_it_again() -> None:
    def fragile(data: bytes) -> None:
        if 0xC1 in data:
            raise IndexError("a byte that starts nothing")

    with pytest.raises(Find, match="IndexError: a byte that starts nothing") as caught:
        fuzz([Target("fragile", [b"\x82\xa1a\x01\xa1b\x02"], fragile)], 60.0, seed=1)
    assert 0xC1 in caught.value.data
    assert f"--replay {caught.value.data.hex()}" in str(caught.value)


def test_a_fuzzer_without_inputs_is_an_error() -> None:
    with pytest.raises(LookupError):
        fuzz([Target("idle", [], lambda data: None)], 1.0, seed=1)


def test_the_same_seed_gives_the_same_inputs() -> None:
    corpus = [target.corpus[0] for target in TARGETS]
    first, second, other = (random.Random(seed) for seed in (5, 5, 6))
    made = [mutate(first, corpus) for _ in range(200)]
    assert made == [mutate(second, corpus) for _ in range(200)]
    assert made != [mutate(other, corpus) for _ in range(200)]
    assert len(set(made)) > 190
