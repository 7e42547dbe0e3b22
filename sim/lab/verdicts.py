"""What came of a story: its report as one object, its expectations judged, and both for people. Pure.

Rules kept here:

* Times in a report are seconds from the beginning of the story; what is short is in milliseconds and its name says so.
* What the client measured is said as it was, with the meter's own noise beside it.

Source: docs/specs/scenario.md, "Output".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sim.lab.record import Ask, Noise, Tenure, moves, noise, owners, silences, tenures
from sim.lab.scenario import Expectation, Scenario

SCHEMA: Final = 1
CAUSE_WITHIN: Final = 30.0
"""Seconds for which a fault is taken for the cause of what begins after it."""
SLACK: Final = 0.05
"""Seconds by which the beginning of an effect may be measured before the fault is noted as done."""
TOLD_FROM: Final = 3
"""Questions in a row whose silence people are told of by itself; one or two are lost frames and are counted."""


@dataclass(frozen=True, slots=True)
class Deed:
    """A fault as it was done."""

    at: float
    """Seconds from the beginning of the story."""
    took: float
    """Seconds that doing it took."""
    verb: str
    nodes: tuple[str, ...]
    per_mille: int | None = None
    """Of frames that are lost from then on."""

    def __str__(self) -> str:
        share = () if self.per_mille is None else (f"{self.per_mille / 10:g}%",)
        return " ".join((self.verb, *share, *self.nodes))


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of one service; times are seconds from the beginning of the story."""

    address: str
    client: Sequence[Ask]
    """Questions over UDP."""
    observer: Sequence[Ask]
    """Questions over ARP, answered by nodes."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """An expectation and what came of it."""

    expectation: Expectation
    measured: float | tuple[int, int]
    passed: bool


def judge(expectation: Expectation, seen: Seen) -> Judgement:
    """Hold what was seen against an expectation."""
    begins_at, ends_at = expectation.begins_at, expectation.ends_at
    client = [ask for ask in seen.client if begins_at <= ask.asked_at <= ends_at]
    observer = [ask for ask in seen.observer if begins_at <= ask.asked_at <= ends_at]
    match expectation.subject:
        case "outage":
            longest = max((silence.lasts(ends_at) for silence in silences(client)), default=0.0)
            return Judgement(expectation, longest, bool(client) and longest < expectation.value)
        case "owners":
            fewest, most = owners(observer)
            met = fewest == most == expectation.value if expectation.bound == "exactly" else most <= expectation.value
            return Judgement(expectation, (fewest, most), bool(observer) and met)
        case "moves":
            return _counted(expectation, moves(tenures(observer)), bool(observer))
        case _:
            return _counted(expectation, sum(ask.answered_at is None for ask in client), bool(client))


def _counted(expectation: Expectation, count: int, was_measured: bool) -> Judgement:
    met = count == expectation.value if expectation.bound == "exactly" else count <= expectation.value
    return Judgement(expectation, count, was_measured and met)


def report(
    scenario: Scenario,
    versions: Mapping[str, str],
    deeds: Sequence[Deed],
    services: Mapping[str, Seen],
    traffic: Mapping[str, Mapping[str, int]],
    judgements: Sequence[Judgement],
) -> dict[str, Any]:
    """The object that `starling lab run --json` prints."""
    client = [ask for seen in services.values() for ask in seen.client]
    observer = [ask for seen in services.values() for ask in seen.observer]
    return {
        "schema": SCHEMA,
        "scenario": scenario.name,
        "stage": "lab",
        "versions": dict(versions),
        "length": scenario.length,
        "not_applied": list(scenario.not_applied),
        "faults": [
            {
                "at": _rounded(deed.at),
                "do": deed.verb,
                "nodes": list(deed.nodes),
                "loss": None if deed.per_mille is None else deed.per_mille / 1000,
                "took_ms": _ms(deed.took),
            }
            for deed in deeds
        ],
        "services": {name: _service(seen, deeds, scenario.length) for name, seen in services.items()},
        "traffic": {name: dict(counts) for name, counts in traffic.items()},
        "meter": {"udp": _noise(noise(client)), "arp": _noise(noise(observer))},
        "expectations": [_judgement(one) for one in judgements],
        "passed": all(one.passed for one in judgements),
    }


def _service(seen: Seen, deeds: Sequence[Deed], length: float) -> dict[str, Any]:
    held = tenures(seen.observer)
    return {
        "address": seen.address,
        "owners": [_tenure(tenure, deeds) for tenure in held],
        "moves": moves(held),
        "silences": [
            {
                "from": _rounded(silence.begins_at),
                "to": None if silence.ends_at is None else _rounded(silence.ends_at),
                "ms": _ms(silence.lasts(length)),
                "asked": silence.asks,
                "lost": silence.lost,
                "cause": _cause(silence.begins_at, deeds),
            }
            for silence in silences(seen.client)
        ],
        "asked": len(seen.client),
        "lost": sum(ask.answered_at is None for ask in seen.client),
    }


def _tenure(tenure: Tenure, deeds: Sequence[Deed]) -> dict[str, Any]:
    times = {"from": _rounded(tenure.begins_at), "to": _rounded(tenure.ends_at)}
    return {"nodes": list(tenure.nodes), **times, "cause": _cause(tenure.begins_at, deeds)}


def _cause(at: float, deeds: Sequence[Deed]) -> str | None:
    before = [deed for deed in deeds if deed.at - SLACK <= at <= deed.at + CAUSE_WITHIN]
    return str(before[-1]) if before else None


def _noise(told: Noise) -> dict[str, Any]:
    return {
        "asked": told.asks,
        "late_median_ms": _ms(told.late_median),
        "late_worst_ms": _ms(told.late_worst),
        "answer_median_ms": _ms(told.answer_median),
        "answer_worst_ms": _ms(told.answer_worst),
    }


def _judgement(one: Judgement) -> dict[str, Any]:
    expected = one.expectation
    value = _ms(expected.value) if expected.subject == "outage" else int(expected.value)
    return {
        "line": expected.place.line,
        "expect": expected.subject,
        "service": expected.service,
        "bound": expected.bound,
        "value": value,
        "from": expected.begins_at,
        "to": expected.ends_at,
        "measured": _measured(one),
        "passed": one.passed,
    }


def _measured(one: Judgement) -> float | list[int]:
    if isinstance(one.measured, tuple):
        return list(one.measured)
    return _ms(one.measured) if one.expectation.subject == "outage" else one.measured


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 1)


def _rounded(seconds: float) -> float:
    return round(seconds, 3)


# ---- for people


def tell(told: Mapping[str, Any]) -> Iterator[str]:
    """A report as lines: what happened when, then the expectations."""
    yield f"{told['scenario']}: {told['length']:g} s in the lab"
    if told["not_applied"]:
        yield f"not applied: {', '.join(told['not_applied'])}"
    yield from (f"{at:9.3f} s  {line}" for at, line in sorted(_timeline(told)))
    meter = told["meter"]["udp"]
    yield f"the client asked {meter['asked']} times, at most {meter['late_worst_ms']:g} ms late"
    yield from (_tell_judgement(one) for one in told["expectations"])


def _timeline(told: Mapping[str, Any]) -> Iterator[tuple[float, str]]:
    for deed in told["faults"]:
        share = [] if deed["loss"] is None else [f"{deed['loss']:.1%}"]
        yield deed["at"], " ".join((deed["do"], *share, *deed["nodes"]))
    for name, service in told["services"].items():
        for tenure in service["owners"]:
            yield tenure["from"], f"{name} {service['address']} is answered by {' and '.join(tenure['nodes'])}"
        long = [silence for silence in service["silences"] if silence["asked"] >= TOLD_FROM]
        for silence in long:
            lost = f"{silence['lost']} of {silence['asked']} questions lost"
            yield silence["from"], f"{name} is silent for {silence['ms']:g} ms ({lost})"
        if others := len(service["silences"]) - len(long):
            yield told["length"], f"{name} had {others} questions lost one by one"


def _tell_judgement(one: Mapping[str, Any]) -> str:
    unit = " ms" if one["expect"] == "outage" else ""
    measured = one["measured"]
    shown = f"{measured[0]} to {measured[1]}" if isinstance(measured, list) else f"{measured:g}{unit}"
    mark = "pass" if one["passed"] else "FAIL"
    bound = f"{one['bound'].replace('-', ' ')} {one['value']:g}{unit}"
    return f"{mark}  {one['expect']} of {one['service']} {bound}, from {one['from']:g} s to {one['to']:g} s: {shown}"
