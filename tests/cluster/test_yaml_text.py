"""YAML text to nodes: values, places, and the traps."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cluster import yaml_text
from cluster.errors import Place, Problem
from cluster.yaml_text import Node, Origin, decode_text, plain, read_documents

FILE = "f.yaml"


def read(text: str) -> tuple[list[object], list[str]]:
    documents, problems = read_documents(text, Origin(FILE))
    return [plain(document) for document in documents], [str(problem).removeprefix(f"{FILE}:") for problem in problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1", {"a": 1}),
        ("a: '1'", {"a": "1"}),
        ("a: ! 1", {"a": "1"}),
        ("a: !!str 1", {"a": "1"}),
        ("a: !!int '1'", {"a": 1}),
        ("a: 1.5", {"a": 1.5}),
        ("a: no", {"a": False}),
        ("a: 'no'", {"a": "no"}),
        ("a: ~", {"a": None}),
        ("a:", {"a": None}),
        ("a: 2020-01-02T03:04:05Z", {"a": "2020-01-02T03:04:05Z"}),
        ("a: =", {"a": "="}),
        ("a: 65000:50", {"a": 3900050}),
        ("a: 0x10", {"a": 16}),
        ("8080: a\n1.5: b\n65000:50: c", {"8080": "a", "1.5": "b", "65000:50": "c"}),
        ("a: |\n  b\n  c\n", {"a": "b\nc\n"}),
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ("a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  b: 3", {"a": {"b": 1, "c": 2}, "d": {"b": 3, "c": 2}}),
        ("d: {<<: [{b: 1}, {b: 2, c: 3}]}", {"d": {"b": 1, "c": 3}}),
        ('{"a": [1, true, null, "x"]}', {"a": [1, True, None, "x"]}),
    ],
)
def test_values(text: str, value: object) -> None:
    assert read(text) == ([value], [])


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "---\n---\n...\n", "\ufeff"])
def test_no_document(text: str) -> None:
    decoded = decode_text(text.encode(), FILE)
    assert isinstance(decoded, str)
    assert read(decoded) == ([], [])


def test_documents_one_after_the_other() -> None:
    assert read("a: 1\n---\n---\n- b\n") == ([{"a": 1}, ["b"]], [])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\na: 2", "2:1: the key 'a' is given twice, first in line 1; keep one of the two"),
        ("a: {1: x, '1': y}", "1:11: the key '1' is given twice, first in line 1; keep one of the two"),
        ("no: 1", "1:1: the key 'no' is read as false; quote it: \"no\""),
        ("~: 1", "1:1: the key '~' is read as nothing; quote it: \"~\""),
        (
            "? [a]\n: 1",
            "1:3: a key is a list or a mapping; write text before the colon; templates have to be rendered first",
        ),
        ("a:\n\tb: 1", "2:1: a tab stands where YAML wants spaces; indent with spaces"),
        ("a: |\n\tb", "2:1: a tab stands where YAML wants spaces; indent with spaces"),
        ("a: !!binary aGk=", "1:4: the tag 'tag:yaml.org,2002:binary' has no meaning here; leave it out"),
        ("a: !x {}", "1:4: the tag '!x' has no meaning here; leave it out"),
        ("a: !!int x", "1:4: 'x' looks like a number or a switch and is none; put it in quotes"),
        ("a: 0b_", "1:4: '0b_' looks like a number or a switch and is none; put it in quotes"),
        ("a: *x", "1:4: the alias *x stands for nothing; put &x before the value it repeats"),
        ("a: &x [*x]", "1:8: the alias *x stands for what it is a part of; write the value out"),
        ("a: {<<: 1}", "1:9: << merges what is no mapping; put an alias of a mapping after it"),
        (
            "a: 'x",
            (
                "1:6: is not YAML: found unexpected end of stream while scanning a quoted scalar; "
                "close the quote or bracket that was opened before"
            ),
        ),
        (
            "a: b: c",
            (
                "1:5: is not YAML: mapping values are not allowed in this context; "
                "put the value in quotes if it holds a colon, or look at the indentation"
            ),
        ),
        (
            "a: [1\nb: 2",
            (
                "2:2: is not YAML: did not find expected ',' or ']' while parsing a flow sequence; "
                "look at the indentation, and for a bracket or a dash that is missing"
            ),
        ),
        (
            "a: @b",
            (
                "1:4: is not YAML: found character that cannot start any token while scanning for the next token; "
                "put the value in quotes"
            ),
        ),
        ("a: b\n \x01", "2:2: the character 0x01 has no place in text; take it out"),
        ("é: b\n \x01", "2:2: the character 0x01 has no place in text; take it out"),
    ],
)
def test_what_is_wrong(text: str, problem: str) -> None:
    _, problems = read(text)
    assert problems == [problem]


def test_documents_before_a_mistake_are_kept() -> None:
    documents, problems = read("a: 1\n---\nb: '\n")
    assert documents == [{"a": 1}]
    assert len(problems) == 1


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"a: 1\nb: \xff", Problem(Place(FILE, 2, 4), "byte 0xff is not UTF-8", "save the file as UTF-8")),
        (
            b"\x7fELF\0",
            Problem(
                Place(FILE, 1, 1), "is a binary file, not text", "take it out of the folder, or name the files to check"
            ),
        ),
    ],
)
def test_what_is_no_text(data: bytes, problem: Problem) -> None:
    assert decode_text(data, FILE) == problem


# ---- limits


def test_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_text, "MAX_TEXT_BYTES", 10)
    assert decode_text(b"a" * 10, FILE) == "a" * 10
    assert decode_text(b"a" * 11, FILE) == Problem(
        Place(FILE, 1, 1), "has more than 10 bytes", "split it into several files"
    )


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_depth(opening: str) -> None:
    deep = yaml_text.MAX_DEPTH
    closing = {"[": "]", "{a: ": "}", "- ": ""}[opening]
    assert read(opening * deep + "x" + closing * deep)[1] == []
    _, (problem,) = read(opening * 100_000)
    assert problem == f"1:{deep * len(opening) + 1}: is nested more than {deep} levels deep; flatten it"


def test_depth_behind_an_alias() -> None:
    half = yaml_text.MAX_DEPTH // 2
    nested = "[" * half + "]" * half
    assert read(f"a: &x {nested}\nb: {'[' * (half - 1)}*x{']' * (half - 1)}")[1] == []
    _, problems = read(f"a: &x {nested}\nb: {'[' * half}*x{']' * half}")
    assert problems == [f"2:{4 + half}: is nested more than {yaml_text.MAX_DEPTH} levels deep; flatten it"]


def test_a_bomb_of_aliases_is_not_lit() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 20)]
    _, problems = read("\n".join(lines))
    assert problems == [
        f"7:25: has more than {yaml_text.MAX_NODES} keys and values; split it, or write out its aliases"
    ]


def test_aliases_are_counted() -> None:
    many = ", ".join(["*x"] * yaml_text.MAX_ALIASES)
    assert read(f"a: &x 1\nb: [{many}]")[1] == []
    _, problems = read(f"a: &x 1\nb: [{many}, *x]")
    assert problems == [f"2:{5 + len(many) + 2}: has more than 1000 aliases; write the values out"]


def test_problems_are_counted() -> None:
    _, problems = read("\n".join("- !x a" for _ in range(yaml_text.MAX_PROBLEMS + 5)))
    assert len(problems) == yaml_text.MAX_PROBLEMS + 1
    assert problems[-1].endswith("more than 1000 problems; the rest is not read; cure these first")


def test_nodes_of_all_documents_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_text, "MAX_NODES", 9)
    assert read("- a\n- b\n---\n- a\n- b\n---\n- a\n- b\n")[1] == []
    _, problems = read("- a\n- b\n---\n- a\n- b\n---\n- a\n- b\n- c\n")
    assert problems == ["7:1: has more than 9 keys and values; split it, or write out its aliases"]


# ---- properties

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_what_another_library_writes_is_read_as_it_was(value: object, flow: bool) -> None:
    text = yaml.safe_dump(value, default_flow_style=flow)
    documents, problems = read(text)
    assert problems == []
    assert documents == ([] if value is None else [value])


@given(st.dictionaries(st.text(), st.text(), min_size=1, max_size=5))
def test_a_node_stands_where_its_value_is_written(mapping: dict[str, str]) -> None:
    text = yaml.safe_dump(mapping, default_flow_style=False, width=10_000)
    ((document,), _) = read_documents(text, Origin(FILE))
    lines = text.split("\n")
    for key, node in _children(document):
        assert lines[document.keys[key].line - 1]
        assert document.keys[key] < node.place or "\n" in key
        if node.text and node.text.isascii() and node.text.isalnum():
            assert lines[node.place.line - 1][node.place.column - 1 :].strip("'\"").startswith(node.text)


def _children(document: Node) -> list[tuple[str, Node]]:
    assert isinstance(document.value, dict)
    return list(document.value.items())


FRAGMENTS = [
    "a: ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    "&x ",
    "*x",
    "<<: ",
    "|\n",
    ">-\n",
    "'",
    '"',
    "\t",
    "\n",
    "  ",
    "!!int ",
    "!x ",
    "? ",
    "---\n",
    "#",
    "%",
    "0x_",
    "1:60.",
    "\x85",
    "\u2028",
    "~",
    "no",
]


@given(st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=40).map("".join))
def test_any_text_gives_nodes_or_problems(text: str) -> None:
    data: Any = text.encode("utf-8", "surrogatepass")
    decoded = decode_text(data, FILE)
    if isinstance(decoded, Problem):
        return
    documents, problems = read_documents(decoded, Origin(FILE))
    for document in documents:
        plain(document)
    for problem in problems:
        assert problem.place.line <= len(yaml_text._BREAK.split(decoded)) + 1
        assert problem.hint
