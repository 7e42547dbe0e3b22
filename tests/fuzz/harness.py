"""A plain fuzzer: recorded inputs, mutated by a seeded generator, thrown at a table of targets.

It needs no instrumentation, gives the same inputs for the same seed, and runs as a test (seconds) or a hunt (minutes).
A target decides what is right: it returns, or raises; whatever it raises is a find.
"""

import itertools
import json
import random
import resource
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

MAX_INPUT_BYTES = 70_000
"""Longer than any datagram; streams get there by repetition, not by size."""
BATCH = 100
"""Inputs of one target before it is the next one's turn."""
MAX_GROWTH_BYTES = 64 * 1024 * 1024
"""How much more memory than at the start may be held at any moment."""
EDGES = bytes(
    (0, 1, 7, 8, 9, 10, 12, 0x7F, 0x80, 0x82, 0x90, 0xA0, 0xC0, 0xC1, 0xC4, 0xC6, 0xD1, 0xDB, 0xDD, 0xDF, 0xF4, 0xFF)
)
"""Bytes that start something in one of the formats."""


@dataclass(frozen=True)
class Target:
    """One entry of the table. ``attack`` raises nothing unless it has found something."""

    name: str
    corpus: Sequence[bytes]
    attack: Callable[[bytes], object]


@dataclass
class Score:
    """What one target has been through, in CPU time."""

    inputs: int = 0
    seconds: float = 0.0
    slowest_ms: float = 0.0


@dataclass
class Find(Exception):
    """A target raised."""

    target: str
    data: bytes
    reason: str

    def __str__(self) -> str:
        again = f"python -m tests.fuzz --target {self.target!r} --replay {self.data.hex()}"
        return f"{self.reason}\nthe same again: {again}"


@dataclass
class Report:
    """What a run did."""

    seed: int
    growth_bytes: int = 0
    scores: dict[str, Score] = field(default_factory=dict)

    @property
    def inputs(self) -> int:
        return sum(score.inputs for score in self.scores.values())

    def lines(self) -> Iterator[str]:
        """For a person."""
        for name, score in self.scores.items():
            rate = score.inputs / score.seconds if score.seconds else 0.0
            yield f"{name:28} {score.inputs:9,} inputs {rate:9,.0f}/s  slowest {score.slowest_ms:7.2f} ms"
        seconds = sum(score.seconds for score in self.scores.values())
        rate = self.inputs / seconds if seconds else 0.0
        memory = f"memory +{self.growth_bytes / 2**20:.1f} MiB"
        yield f"{'all':28} {self.inputs:9,} inputs {rate:9,.0f}/s  {memory}  seed {self.seed}"

    def summary(self) -> str:
        """For a program: one JSON object."""
        counts = {name: score.inputs for name, score in self.scores.items()}
        return json.dumps({"seed": self.seed, "growth_bytes": self.growth_bytes, "inputs": counts})


def _flip(rng: random.Random, data: bytearray, other: bytes) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _edge(rng: random.Random, data: bytearray, other: bytes) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.choice(EDGES)


def _count(rng: random.Random, data: bytearray, other: bytes) -> None:
    """Make some bytes a number that a length or count would find hard."""
    if data:
        size = rng.choice((1, 2, 4, 8))
        at = rng.randrange(len(data))
        number = rng.choice((0, 1, size, len(data), 255, 256, 65_535, 1 << 20, 0x7FFFFFFF, 0xFFFFFFFF, (1 << 64) - 1))
        data[at : at + size] = (number % (1 << (8 * size))).to_bytes(size, "big")


def _delete(rng: random.Random, data: bytearray, other: bytes) -> None:
    if data:
        start = rng.randrange(len(data))
        del data[start : start + rng.randrange(1, 16)]


def _cut(rng: random.Random, data: bytearray, other: bytes) -> None:
    if data:
        del data[rng.randrange(len(data)) :]


def _insert(rng: random.Random, data: bytearray, other: bytes) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.randbytes(rng.randrange(1, 9))


def _repeat(rng: random.Random, data: bytearray, other: bytes) -> None:
    if data:
        start = rng.randrange(len(data))
        piece = data[start : start + rng.choice((1, 2, 5, 40))]
        data[start:start] = piece * rng.choice((1, 2, 15, 300))


def _splice(rng: random.Random, data: bytearray, other: bytes) -> None:
    start = rng.randrange(len(other) + 1)
    at = rng.randrange(len(data) + 1)
    data[at:at] = other[start : start + rng.randrange(1, 200)]


MUTATIONS = (_flip, _flip, _edge, _edge, _count, _count, _delete, _cut, _insert, _repeat, _splice)


def mutate(rng: random.Random, corpus: Sequence[bytes]) -> bytes:
    """A new input made of old ones."""
    data = bytearray(rng.choice(corpus))
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        rng.choice(MUTATIONS)(rng, data, rng.choice(corpus))
    return bytes(data[:MAX_INPUT_BYTES])


def fuzz(targets: Sequence[Target], seconds: float, seed: int) -> Report:
    """Throw inputs at all targets in turn until the time is up. Raises :class:`Find`."""
    if not targets or not all(target.corpus for target in targets):
        raise LookupError("a fuzzer without targets or inputs finds nothing")
    rngs = {target.name: random.Random(f"{seed}/{target.name}") for target in targets}
    report = Report(seed, scores={target.name: Score() for target in targets})
    for target in targets:
        for data in target.corpus:
            _attack(target, data, report)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    end = time.monotonic() + seconds
    for target in itertools.cycle(targets):
        for _ in range(BATCH):
            _attack(target, mutate(rngs[target.name], target.corpus), report)
        if time.monotonic() >= end and report.scores[targets[-1].name].inputs >= BATCH:
            break
    report.growth_bytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return report


def _attack(target: Target, data: bytes, report: Report) -> None:
    score = report.scores[target.name]
    started = time.thread_time()
    try:
        target.attack(data)
    except Exception:
        raise Find(target.name, data, traceback.format_exc(limit=-4)) from None
    took = time.thread_time() - started
    score.inputs += 1
    score.seconds += took
    score.slowest_ms = max(score.slowest_ms, took * 1000)
