"""Renders docs/conformance.md: each rule of the protocol and each test of the reference implementation, with the tests
that show it.

Rules kept here:

* Rules are listed in rules.toml, the reference implementation's tests in the specification itself (§15); a test claims
  either by a marker. Whatever no test claims needs a reason.
* Markers are read from the source, not by running anything: the page is the same whatever the machine can run.
"""

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from tests import tree

HERE: Final = Path(__file__).parent
SPECIFICATION: Final = tree.ROOT / "docs" / "specs" / "memberlist-protocol.md"
KINDS: Final = ("rule", "upstream")


@dataclass(frozen=True)
class Entry:
    """A rule, or a test of the reference implementation. ``reason`` says why no test shows it, and is empty
    otherwise."""

    name: str
    section: str
    text: str
    reason: str


@dataclass(frozen=True)
class Claim:
    """A marker: ``test`` in the file ``path`` says that it shows ``name``. ``test`` is empty when the marker is on
    none."""

    kind: str
    name: str
    path: str
    test: str


@cache
def headings() -> Mapping[str, str]:
    """The sections of the specification by number, "9.2" -> "One probe"."""
    found = re.findall(r"^##+ ([\d.]+?)\.? (.+)$", SPECIFICATION.read_text(), re.MULTILINE)
    return {number: title.partition("(")[0].strip() for number, title in found}


@cache
def differences() -> tuple[str, ...]:
    """The rows of §16 as markers name them, "16.4"."""
    chapter = SPECIFICATION.read_text().partition("\n## 16. ")[2].partition("\n## ")[0]
    return tuple(f"16.{number}" for number in re.findall(r"^\| (\d+) \|", chapter, re.MULTILINE))


@cache
def rules() -> tuple[Entry, ...]:
    """The rows of rules.toml, in order."""
    rows = []
    for section, entries in tomllib.loads((HERE / "rules.toml").read_text()).items():
        for letter, row in entries.items():
            text, reason = (row, "") if isinstance(row, str) else (row["rule"], row["reason"])
            rows.append(Entry(f"{section}{letter}", section, text, reason))
    return tuple(rows)


@cache
def upstream_tests() -> tuple[Entry, ...]:
    """The rows of the specification's §15, those that stand for several tests once for each."""
    notes = tomllib.loads((HERE / "upstream.toml").read_text())
    chapter = SPECIFICATION.read_text().partition("\n## 15. ")[2].partition("\n## ")[0]
    rows, group = [], ""
    for first, second in re.findall(r"^\| (.+?) \| (.*?) \|", chapter, re.MULTILINE):
        if first.startswith("**"):
            group = first.strip("*")
        elif group:
            names = notes["shorthand"].get(first, [first])
            rows += [Entry(name, group, second, notes["reasons"].get(name, "")) for name in names]
    return tuple(rows)


def claims_in(path: Path) -> Iterator[Claim]:
    """The markers of a file with the tests they are on: by decorator, by a parameter's marks, by class, or for all of
    it."""
    module = tree.parse(path)
    placed: set[ast.Call] = set()
    for_all = [call for node in module.body if _is_pytestmark(node) for call in _markers([node])]
    for test, decorators in _tests(module.body, for_all):
        for call in decorators:
            placed.add(call)
            yield from _claims_of(call, path, test)
    for call in _markers([module]):
        if call not in placed:
            yield from _claims_of(call, path, "")


def _is_pytestmark(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "pytestmark" for t in node.targets)


def _tests(body: Sequence[ast.stmt], outer: list[ast.Call]) -> Iterator[tuple[str, list[ast.Call]]]:
    """Every test function with all markers that hold for it."""
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            yield from _tests(node.body, outer + _markers(node.decorator_list))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.name, outer + _markers(node.decorator_list)


def _markers(nodes: Sequence[ast.AST]) -> list[ast.Call]:
    """The calls of ``pytest.mark.rule`` and ``pytest.mark.upstream`` below these nodes."""
    return [
        node
        for root in nodes
        for node in ast.walk(root)
        if isinstance(node, ast.Call) and _kind(node) in KINDS and ast.unparse(node.func).startswith("pytest.mark.")
    ]


def _kind(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _claims_of(call: ast.Call, path: Path, test: str) -> Iterator[Claim]:
    for argument in call.args:
        name = argument.value if isinstance(argument, ast.Constant) else ast.unparse(argument)
        yield Claim(_kind(call), str(name), tree.name(path), test)


@cache
def claims() -> tuple[Claim, ...]:
    """Every marker of every test, in the order of files and lines."""
    paths = [path for name, path in sorted(tree.modules().items()) if name.startswith("tests.")]
    return tuple(claim for path in paths for claim in claims_in(path))


def claims_by_name(kind: str) -> dict[str, list[Claim]]:
    """The claims of one kind."""
    found: dict[str, list[Claim]] = {}
    for claim in claims():
        if claim.kind == kind and claim not in found.setdefault(claim.name, []):
            found[claim.name].append(claim)
    return found


HEAD = """\
# Conformance

Generated by `./run docs` from the markers of the tests. The first part holds every rule of sections 4 to 11 and 14 of
the [protocol](specs/memberlist-protocol.md) ("row" means a row of its section 16, where we do better than the reference
implementation; `tests/gossip/test_better_than_upstream.py` walks those), the second part every test of the reference
implementation. A rule or a test is shown by tests of ours, or has the reason why there is none.

| | shown by tests | not, with a reason |
|---|---|---|
"""


def _links(shown_by: Sequence[Claim]) -> str:
    return " · ".join(
        f"[{claim.test.removeprefix('test_').replace('_', ' ')}](../{claim.path})" for claim in shown_by if claim.test
    )


def _rows(entries: Sequence[Entry], kind: str, caption: Mapping[str, str]) -> Iterator[str]:
    shown_by, section = claims_by_name(kind), ""
    for entry in entries:
        if entry.section != section:
            section = entry.section
            yield f"\n### {caption[section]}\n\n"
            if section in shown_by:
                yield f"As a whole: {_links(shown_by[section])}\n\n"
            yield "| | | |\n|---|---|---|\n"
        label = entry.name.removeprefix(section) if kind == "rule" else f"`{entry.name}`"
        yield f"| {label} | {entry.text} | {_links(shown_by.get(entry.name, [])) or '*' + entry.reason + '*'} |\n"


def _count(title: str, entries: Sequence[Entry], kind: str) -> str:
    shown_by = claims_by_name(kind)
    reasoned = sum(bool(entry.reason) for entry in entries)
    return f"| {title} | {sum(entry.name in shown_by for entry in entries)} | {reasoned} |\n"


def render() -> str:
    """The whole page."""
    sections = {number: f"{number} {title}" for number, title in headings().items()}
    files = {entry.section: entry.section for entry in upstream_tests()}
    return "".join(
        (
            HEAD,
            _count("rules of the protocol", rules(), "rule"),
            _count("tests of the reference implementation", upstream_tests(), "upstream"),
            "\n## Rules of the protocol\n",
            *_rows(rules(), "rule", sections),
            "\n## Tests of the reference implementation\n",
            *_rows(upstream_tests(), "upstream", files),
        )
    )
