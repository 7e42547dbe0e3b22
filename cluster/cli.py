"""The command `starling check`: says what manifests mean, or everything that is wrong with them.

Rules kept here:

* Exit codes: 0 fine, 1 the manifests are wrong, 2 wrong usage, 3 something could not be read (whatever else is wrong).
* With `--json` the standard output holds one JSON object and nothing else.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from cluster.cross_checks import cross_check
from cluster.errors import quote
from cluster.folder import UNREADABLE_HINT, read_files
from cluster.manifests import read_manifests
from cluster.model import ServiceType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.errors import Problem
    from cluster.folder import Unreadable
    from cluster.manifests import Reading
    from cluster.model import Configuration, EndpointSlice, Service, Snapshot

SCHEMA: Final = 1
"""Of the JSON object; another number is another meaning of a key."""
EXIT_WRONG: Final = 1
EXIT_UNREADABLE: Final = 3
MAX_LINES: Final = 20
"""Objects of one kind that the summary names, and warnings that are shown; the others are counted."""


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(paths: tuple[str, ...], as_json: bool) -> None:
    """Check manifests: MetalLB's ConfigMap, Services, EndpointSlices, Nodes, Namespaces.

    PATH is a file or a folder, which is read with all that is below it. Prints what was understood, or every error with
    its file, line and column and what would be right. Warns of what is right and yet will not do what it seems to.

    Exit codes: 0 fine, 1 the manifests are wrong, 2 wrong usage, 3 something could not be read.
    """
    files = read_files(paths)
    reading = read_manifests(files.read)
    warnings = () if files.unreadable or reading.problems else cross_check(reading)
    if as_json:
        click.echo(json.dumps(_as_json(reading, files.unreadable, warnings)))
    else:
        for line in _report(reading, files.unreadable, warnings):
            click.echo(line)
    if files.unreadable:
        sys.exit(EXIT_UNREADABLE)
    if reading.problems:
        sys.exit(EXIT_WRONG)


def _as_json(reading: Reading, unreadable: list[Unreadable], warnings: tuple[Problem, ...]) -> dict[str, Any]:
    errors: list[dict[str, Any]] = [
        {"file": entry.path, "line": None, "column": None, "message": entry.reason, "hint": UNREADABLE_HINT}
        for entry in unreadable
    ]
    return {
        "schema": SCHEMA,
        "errors": errors + [_problem(problem) for problem in reading.problems],
        "warnings": [_problem(problem) for problem in warnings],
        "counts": _counts(reading),
        "ignored": dict(reading.ignored),
    }


def _problem(problem: Problem) -> dict[str, Any]:
    place = problem.place
    return {
        "file": place.file,
        "line": place.line,
        "column": place.column,
        "message": problem.message,
        "hint": problem.hint,
    }


def _counts(reading: Reading) -> dict[str, int]:
    snapshot = reading.snapshot
    return {
        "files": reading.files,
        "objects": reading.objects,
        "pools": len(snapshot.config.pools),
        "l2_advertisements": len(snapshot.config.l2_advertisements),
        "bgp_advertisements": len(snapshot.config.bgp_advertisements),
        "peers": len(snapshot.config.peers),
        "bfd_profiles": len(snapshot.config.bfd_profiles),
        "services": len(snapshot.services),
        "load_balancers": len(_load_balancers(snapshot)),
        "endpoint_slices": len(snapshot.endpoint_slices),
        "nodes": len(snapshot.nodes),
        "namespaces": len(snapshot.namespaces),
    }


def _load_balancers(snapshot: Snapshot) -> list[Service]:
    return [service for service in snapshot.services if service.type is ServiceType.LOAD_BALANCER]


# ---- for people


def _report(reading: Reading, unreadable: list[Unreadable], warnings: tuple[Problem, ...]) -> Iterator[str]:
    for entry in unreadable:
        yield f"{_shown(entry.path)}: {entry.reason}"
        yield f"    {UNREADABLE_HINT}"
    for problem in reading.problems:
        yield from _lines(problem, "")
    if total := len(unreadable) + len(reading.problems):
        yield _counted(total, "error")
        return
    for problem in warnings[:MAX_LINES]:
        yield from _lines(problem, "warning: ")
    if warnings:
        yield _counted(len(warnings), "warning")
    yield from _summary(reading)


def _lines(problem: Problem, severity: str) -> Iterator[str]:
    place = problem.place
    yield f"{_shown(place.file)}:{place.line}:{place.column}: {severity}{problem.message}"
    yield f"    {problem.hint}"


def _shown(text: str) -> str:
    return text if text.isprintable() else quote(text)


def _summary(reading: Reading) -> Iterator[str]:
    snapshot = reading.snapshot
    balancers = _load_balancers(snapshot)
    slices: dict[object, list[EndpointSlice]] = {}
    for endpoint_slice in snapshot.endpoint_slices:
        slices.setdefault(endpoint_slice.service, []).append(endpoint_slice)
    peers = [f"{peer.name}  {peer.peer_address} AS {peer.peer_asn}" for peer in snapshot.config.peers]
    yield from _section("pool", list(_pools(snapshot.config)))
    yield from _section("peer", peers)
    yield from _section("load balancer", [_service(service, slices.get(service.name, [])) for service in balancers])
    yield from _section("node", [node.name for node in snapshot.nodes])
    others = len(snapshot.services) - len(balancers), len(snapshot.endpoint_slices), len(snapshot.namespaces)
    for number, noun in zip(others, ("other service", "endpoint slice", "namespace"), strict=True):
        if number:
            yield _counted(number, noun)
    if reading.ignored:
        yield "not read: " + ", ".join(f"{count} {_shown(kind)}" for kind, count in reading.ignored)


def _section(noun: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield _counted(len(lines), noun)
    yield from (f"    {line}" for line in lines[:MAX_LINES])
    if len(lines) > MAX_LINES:
        yield f"    and {len(lines) - MAX_LINES} more"


def _pools(config: Configuration) -> Iterator[str]:
    announced: dict[str, list[str]] = {}
    for protocol, advertisements in (("layer2", config.l2_advertisements), ("bgp", config.bgp_advertisements)):
        for name in dict.fromkeys(name for advertisement in advertisements for name in advertisement.pools):
            announced.setdefault(name, []).append(protocol)
    for pool in config.pools:
        count = sum(network.num_addresses for network in pool.networks)
        networks = ", ".join(map(str, pool.networks))
        by_hand = "" if pool.auto_assign else ", on request only"
        protocols = ", ".join(announced.get(pool.name, ["announced by nothing"]))
        yield f"{_shown(pool.name)}  {protocols}  {networks} ({_counted(count, 'address')}{by_hand})"


def _service(service: Service, slices: list[EndpointSlice]) -> str:
    ports = ", ".join(f"{port.transport} {port.port}" for port in service.ports)
    asks = ", ".join(map(str, service.requested_addresses)) or "any address"
    pool = f" of {quote(service.address_pool)}" if service.address_pool else ""
    endpoints = [endpoint for endpoint_slice in slices for endpoint in endpoint_slice.endpoints]
    usable = sum(endpoint.is_usable for endpoint in endpoints)
    return f"{service.name}  {ports}  {asks}{pool}  {usable} of {_counted(len(endpoints), 'endpoint')} usable"


def _counted(number: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"
