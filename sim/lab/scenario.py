"""Scenario files as the lab reads them: every mistake with its place and cure, every fault that it cannot do refused.

Rules kept here:

* Pure: bytes in, a :class:`Scenario` or problems out.
* A file whose faults the lab cannot honour is refused whole. What it leaves out of `network` is listed, not hidden.
* One table says which keys a fault of each verb has, one says how each expectation is bounded.

Source: docs/specs/scenario.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from cluster.errors import Place, Problem, quote
from cluster.shapes import ConfigShape, Reader, alternatives
from cluster.yaml_text import Origin, decode_text, read_documents
from sim.lab.scenario_shapes import FaultShape, Meaning, Reference, ScenarioShape

MAX_FAULTS: Final = 1_000
MAX_ASKS: Final = 2_000_000
"""Questions of the client in one story, which are kept until it ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is done, to whom, and when."""

    at: float
    """Seconds from the beginning of the story."""
    verb: str
    nodes: tuple[Reference, ...] = ()
    """Empty for a fault of the whole LAN."""
    others: tuple[Reference, ...] = ()
    """The other side of a one-way partition."""
    per_mille: int = 0
    """Of frames that are lost."""
    place: Place = field(default=Place("", 1, 1), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """A bound on what the client measures about a service, in part of the story."""

    subject: str
    """outage (seconds), owners, moves, lost (questions)."""
    service: str
    bound: str
    """below, at-most or exactly."""
    value: float
    begins_at: float = 0.0
    ends_at: float
    place: Place = field(default=Place("", 1, 1), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One story."""

    name: str
    about: str = ""
    nodes: tuple[str, ...] = ()
    """Empty: those of the manifests."""
    services: tuple[str, ...] = ()
    """Empty: those of the manifests."""
    manifests: str | None = None
    """A folder, as written: relative to the file."""
    profile: str
    per_mille: int = 0
    """Of frames that every node loses from beginning to end."""
    every: float
    """Seconds between two questions to one service."""
    length: float
    """Seconds."""
    faults: tuple[Fault, ...] = ()
    """By time."""
    expectations: tuple[Expectation, ...] = ()
    not_applied: tuple[str, ...] = ()
    """Keys of `network` that the lab leaves out."""


class ScenarioError(Exception):
    """The file is no scenario for the lab; it holds every problem, in order."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Verb:
    """The keys that a fault has beside `at` and `do`."""

    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()


ONE_OR_MORE: Final = ("node", "nodes")
"""Keys of which a verb that says so needs one."""
VERBS: Final = {
    "cut": Verb(ONE_OR_MORE),
    "mend": Verb(ONE_OR_MORE),
    "kill": Verb(ONE_OR_MORE),
    "stop": Verb(ONE_OR_MORE),
    "restart": Verb(ONE_OR_MORE),
    "pause": Verb(ONE_OR_MORE),
    "resume": Verb(ONE_OR_MORE),
    "partition": Verb(ONE_OR_MORE),
    "partition-oneway": Verb((*ONE_OR_MORE, "to")),
    "repair": Verb(),
    "loss": Verb(("loss",), ONE_OR_MORE),
}
"""What the lab can do."""
VIRTUAL_ONLY: Final = (
    *("crash", "drain", "undrain", "stall", "slow", "latency", "duplicate", "reorder", "burst", "blackhole"),
    *("hold", "release", "clock", "block-udp", "block-tcp", "mtu", "api-down", "api-up", "api-slow", "join"),
    *("stranger-claims", "fdb-ageing", "arp-timeout"),
)
"""Verbs of the format that the lab refuses."""
BOUNDS: Final = {
    "outage": ("below",),
    "owners": ("exactly", "at-most"),
    "moves": ("at-most", "exactly"),
    "lost": ("at-most", "exactly"),
}
"""What can be expected -> how it can be bounded."""


def decode_scenario_untrusted(data: bytes, file: str) -> Scenario:
    """What a file says. Raises ScenarioError, and nothing else, on any bytes."""
    text = decode_text(data, file)
    if isinstance(text, Problem):
        raise ScenarioError((text,))
    documents, problems = read_documents(text, Origin(file))
    if not problems and len(documents) != 1:
        hint = "write one scenario a file"
        problems.append(Problem(Place(file, 1, 1), f"holds {len(documents)} documents, not one", hint))
    scenario = None if problems else _read(Reader(documents[0], problems))
    if problems or scenario is None:
        raise ScenarioError(tuple(sorted(problems)))
    return scenario


def _read(reader: Reader) -> Scenario | None:
    shape = reader.read(ScenarioShape)
    if shape is None:
        return None
    by_number = not isinstance(shape.services, str)
    if by_number and not shape.nodes:
        reader.refuse((), "nodes is missing", "add `nodes: 3`, or a folder of manifests as `services`")
    if not by_number and shape.nodes:
        reader.refuse(("nodes",), "the manifests of `services` say which nodes there are", "leave it out")
    if len(shape.faults) > MAX_FAULTS:
        reader.refuse(("faults",), f"has more than {MAX_FAULTS} faults", "make several stories of it")
    asks = shape.length / shape.client.every * (len(shape.services) if by_number else 1)
    if asks > MAX_ASKS:
        message = f"lets the client ask {asks:.0f} questions; {MAX_ASKS} are the most"
        reader.refuse((), message, "write a longer `client: {every: …}`, or a shorter `for`")
    faults = tuple(sorted(_faults(reader, shape), key=lambda fault: fault.at))
    scenario = Scenario(
        name=shape.name,
        about=shape.about,
        nodes=shape.nodes,
        services=() if isinstance(shape.services, str) else shape.services,
        manifests=shape.services if isinstance(shape.services, str) else None,
        profile=shape.profile,
        per_mille=shape.network.loss or 0,
        every=shape.client.every,
        length=shape.length,
        faults=faults,
        expectations=tuple(_expectations(reader, shape)),
        not_applied=tuple(f"network.{key}" for key in _set(shape.network) if key != "loss"),
    )
    if by_number:
        reader.problems += unknown_names(scenario, scenario.nodes, scenario.services)
    return scenario


def _set(shape: ConfigShape) -> list[str]:
    """The keys that are written, by their written names."""
    fields = type(shape).model_fields.items()
    return [str(field.alias) for name, field in fields if name in shape.model_fields_set]


def _place(reader: Reader, *path: str | int) -> Place:
    node = reader.node(path)
    return node.place if node else reader.root.place


def _faults(reader: Reader, shape: ScenarioShape) -> Iterator[Fault]:
    named: list[str] = []
    for number, fault in sorted(enumerate(shape.faults), key=lambda numbered: numbered[1].at):
        path = ("faults", number)
        verb = VERBS.get(fault.do)
        if verb is None:
            virtual = fault.do in VIRTUAL_ONLY
            message = f"the lab cannot do {quote(fault.do)}" if virtual else f"{quote(fault.do)} is no fault"
            hint = (
                "leave it to `starling sim`, or write another fault" if virtual else f"write one of {', '.join(VERBS)}"
            )
            reader.refuse((*path, "do"), message, hint)
            continue
        if fault.at > shape.length:
            reader.refuse((*path, "at"), "is after the end of the story", "make `for` longer")
        _check_keys(reader, path, fault, verb)
        nodes = fault.nodes or ((fault.node,) if fault.node else ())
        for reference in (*nodes, *(fault.to or ())):
            if reference.meaning is Meaning.WAS_OWNER and reference.name not in named:
                message = f"{reference} comes before any owner({reference.name})"
                reader.refuse(path, message, "name the node, or write owner(…) in an earlier fault")
            named += [reference.name] if reference.meaning is Meaning.OWNER else []
        yield Fault(
            at=fault.at,
            verb=fault.do,
            nodes=nodes,
            others=fault.to or (),
            per_mille=fault.loss or 0,
            place=_place(reader, *path),
        )


def _check_keys(reader: Reader, path: tuple[str | int, ...], fault: FaultShape, verb: Verb) -> None:
    given = [key for key in _set(fault) if key not in ("at", "do")]
    needed = [key for key in verb.needs if key not in ONE_OR_MORE]
    if "node" in verb.needs and not any(key in given for key in ONE_OR_MORE):
        reader.refuse(path, "node is missing", f"add `node: n1` or `nodes: [n1, n2]`, to say what to {fault.do}")
    for key in needed:
        if key not in given:
            reader.refuse(path, f"{key} is missing", f"{fault.do} has the keys at, do, {', '.join(verb.needs)}")
    for key in given:
        if key not in (*verb.needs, *verb.may):
            reader.refuse((*path, key), f"{fault.do} has no key {key}", "leave it out")
    if "node" in given and "nodes" in given:
        reader.refuse((*path, "node"), "stands beside nodes", "write them in one list")


def _expectations(reader: Reader, shape: ScenarioShape) -> Iterator[Expectation]:
    for number, expected in enumerate(shape.expect):
        path = ("expect", number)
        given = {key: getattr(expected, key.replace("-", "_"), None) for key in _set(expected)}
        subjects = [key for key in given if key in BOUNDS]
        bounds = [key for key in given if key in ("below", "at-most", "exactly")]
        if len(subjects) != 1:
            reader.refuse(
                path, "does not name one thing that is expected", f"write {alternatives(BOUNDS)} and its service"
            )
            continue
        subject = subjects[0]
        if len(bounds) != 1 or bounds[0] not in BOUNDS[subject]:
            reader.refuse(path, f"{subject} needs one bound", f"write {alternatives(BOUNDS[subject])}")
            continue
        begins_at = expected.begins or 0.0
        ends_at = shape.length if expected.ends is None else expected.ends
        if not begins_at < ends_at <= shape.length:
            reader.refuse(
                path, "is about no part of the story", f"let it begin before it ends, within {shape.length:g}s"
            )
        yield Expectation(
            subject=subject,
            service=str(given[subject]),
            bound=bounds[0],
            value=float(given[bounds[0]] or 0),
            begins_at=begins_at,
            ends_at=ends_at,
            place=_place(reader, *path),
        )


def unknown_names(scenario: Scenario, nodes: tuple[str, ...], services: tuple[str, ...]) -> list[Problem]:
    """Every name in faults and expectations that no node or service has. Namespaces may be left out."""
    short = [*services, *(service.rpartition("/")[2] for service in services)]
    known = {Meaning.NAME: list(nodes), Meaning.OWNER: short, Meaning.WAS_OWNER: short}
    problems = [
        Problem(
            fault.place, f"there is no {_noun(reference)} {quote(reference.name)}", _known(known[reference.meaning])
        )
        for fault in scenario.faults
        for reference in (*fault.nodes, *fault.others)
        if reference.name not in known[reference.meaning]
    ]
    return problems + [
        Problem(expected.place, f"there is no service {quote(expected.service)}", _known(short))
        for expected in scenario.expectations
        if expected.service not in short
    ]


def _noun(reference: Reference) -> str:
    return "node" if reference.meaning is Meaning.NAME else "service"


def _known(names: list[str]) -> str:
    return f"write {alternatives(dict.fromkeys(names))}"
