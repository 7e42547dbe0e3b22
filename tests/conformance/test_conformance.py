"""Every rule of the protocol and every test of the reference implementation is shown by a test of ours, or has a
reason."""

from collections import Counter
from pathlib import Path

import pytest

from tests.conformance.generate import (
    KINDS,
    Claim,
    Entry,
    claims,
    claims_by_name,
    claims_in,
    differences,
    headings,
    rules,
    upstream_tests,
)

CHAPTERS = [str(number) for number in (*range(4, 12), 14)]
SECTIONS = [number for number in headings() if number.partition(".")[0] in CHAPTERS]
ENTRIES = {"rule": rules(), "upstream": upstream_tests()}


def names(entries: tuple[Entry, ...]) -> list[str]:
    return [entry.name for entry in entries]


def test_the_rules_are_listed_once_each_and_in_order() -> None:
    assert len(rules()) > 150
    assert len(upstream_tests()) == 148
    for entries in ENTRIES.values():
        assert [name for name, count in Counter(names(entries)).items() if count > 1] == []
    chapters = [section for section in SECTIONS if "." in section or f"{section}.1" not in SECTIONS]
    assert list(dict.fromkeys(entry.section for entry in rules())) == chapters


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_no_test_shows_has_a_reason(kind: str) -> None:
    shown = claims_by_name(kind)
    assert [entry.name for entry in ENTRIES[kind] if entry.name not in shown and not entry.reason] == []


@pytest.mark.parametrize("kind", KINDS)
def test_no_reason_is_left_where_a_test_shows_it(kind: str) -> None:
    shown = claims_by_name(kind)
    assert [entry.name for entry in ENTRIES[kind] if entry.name in shown and entry.reason] == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_marker_names_something_that_exists(kind: str) -> None:
    known = set(names(ENTRIES[kind])) | ({*headings(), *differences()} if kind == "rule" else set())
    assert [claim for claim in claims() if claim.kind == kind and claim.name not in known] == []


def test_every_marker_is_on_a_test() -> None:
    assert [claim for claim in claims() if not claim.test] == []


SOURCE = """
import pytest
pytestmark = pytest.mark.rule("1a")
@pytest.mark.rule("1b", "1c")
@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.upstream("TestOne"))])
def test_plain(x): pass
@pytest.mark.rule("1d")
class TestGroup:
    @pytest.mark.rule(NAME)
    async def test_inside(self): pass
@pytest.mark.rule("1e")
def helper(): pass
"""


def test_markers_are_found_wherever_they_may_stand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tests.tree.ROOT", tmp_path)
    path = tmp_path / "test_sample.py"
    path.write_text(SOURCE)
    assert sorted((claim.test, claim.kind, claim.name) for claim in claims_in(path)) == [
        ("", "rule", "1e"),
        ("test_inside", "rule", "1a"),
        ("test_inside", "rule", "1d"),
        ("test_inside", "rule", "NAME"),
        ("test_plain", "rule", "1a"),
        ("test_plain", "rule", "1b"),
        ("test_plain", "rule", "1c"),
        ("test_plain", "upstream", "TestOne"),
    ]
    assert Claim("rule", "1a", "test_sample.py", "test_plain") in list(claims_in(path))
