"""The rules of the house that a machine can keep: sizes, banned calls, dead files, words that do not belong.

Each check is a function from source to complaints, so that it is shown to find what it looks for as well as nothing.
"""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tree

MAX_MODULE_LINES = 600
MAX_FUNCTION_LINES = 70
MAX_CLASS_METHODS = 20

# Reached in other ways than by an import: by the interpreter, by a console script, by a table of names, by a person.
ENTRY_MODULE = re.compile(r"(^|\.)(__main__|conftest|cli|test_\w+|bench_\w+|generate\w*)$")

# The order of a set of strings differs from run to run, and so do hash() and id(): nothing may be decided by them.
BANNED_CALLS = {"hash", "id"}
ORDER_FREE = {"sorted", "set", "frozenset", "len", "any", "all", "sum", "min", "max"}
SET_TYPES = {"set", "frozenset", "Set", "AbstractSet", "MutableSet"}

# The tree speaks of the project alone. Written in pieces, so that this file does not say what it forbids.
FOREIGN = re.compile(
    "|".join(
        (
            r"(?<![\w.])/" + r"work\b",
            r"(?<![\w.])/" + r"root\b",
            r"(?<![\w/])shared" + r"/",
            r"\bpy" + r"pi\.org",
            r"\bpythonhosted\b",
            r"\bproxy\.golang" + r"\.org",
            r"\bregistry\.npm" + r"js\b",
            r"\bwork" + r"place\b",
            r"\b(?:this|that|an earlier|the last|a previous) " + r"(?:session|conversation)\b",
            r"\bhelper" + r" agent",
            r"\bCE" + r"O\b",
            r"\b[Ii]ssue " + r"#?\d",
        )
    )
)

IGNORE = re.compile(r"#\s*(?:type:\s*ignore|noqa|pragma:|ruff:|mypy:)[^#]*(?P<reason>#\s*\S.*)?")

SOURCES = sorted(tree.modules().values())
PACKAGE_SOURCES = [path for path in SOURCES if path.relative_to(tree.ROOT).parts[0] in tree.PACKAGES]


def oversized(source: str) -> Iterator[str]:
    """Modules, functions and classes over the ceiling."""
    lines = source.count("\n")
    if lines > MAX_MODULE_LINES:
        yield f"1: {lines} lines; {MAX_MODULE_LINES} is the ceiling"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                yield f"{node.lineno}: {node.name} has {length} lines; {MAX_FUNCTION_LINES} is the ceiling"
        elif isinstance(node, ast.ClassDef):
            methods = {item.name for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)}
            if len(methods) > MAX_CLASS_METHODS:
                yield f"{node.lineno}: {node.name} has {len(methods)} methods; {MAX_CLASS_METHODS} is the ceiling"


def _is_set(node: ast.expr, sets: set[str]) -> bool:
    match node:
        case ast.Set() | ast.SetComp() | ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in sets
        case ast.BinOp(left=left, right=right, op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor()):
            return _is_set(left, sets) or _is_set(right, sets)
        case _:
            return False


def _names_of_sets(module: ast.Module) -> set[str]:
    """Names and attributes that this module annotates as a set or assigns one to."""
    found = set()
    for node in ast.walk(module):
        match node:
            case ast.AnnAssign(target=ast.Name(id=name) | ast.Attribute(attr=name), annotation=annotation):
                head = annotation.value if isinstance(annotation, ast.Subscript) else annotation
                if isinstance(head, ast.Name) and head.id in SET_TYPES:
                    found.add(name)
            case ast.arg(arg=name, annotation=ast.Subscript(value=ast.Name(id=kind))) if kind in SET_TYPES:
                found.add(name)
            case ast.Assign(targets=[ast.Name(id=name) | ast.Attribute(attr=name)], value=value):
                if _is_set(value, set()):
                    found.add(name)
            case _:
                pass
    return found


def undecidable(source: str) -> Iterator[str]:
    """Uses of hash(), id() and of a set's order."""
    module = ast.parse(source)
    sets = _names_of_sets(module)
    free = {
        argument
        for node in ast.walk(module)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ORDER_FREE
        for argument in node.args
    } | {node for node in ast.walk(module) if isinstance(node, ast.SetComp)}
    for node in ast.walk(module):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in BANNED_CALLS:
                yield f"{node.lineno}: {name}() differs from run to run"
            case ast.For(iter=over) | ast.AsyncFor(iter=over) if _is_set(over, sets):
                yield f"{node.lineno}: iterates over a set"
            case ast.ListComp(generators=parts) | ast.GeneratorExp(generators=parts) | ast.DictComp(generators=parts):
                if node not in free and any(_is_set(part.iter, sets) for part in parts):
                    yield f"{node.lineno}: iterates over a set"
            case ast.Call(func=ast.Name(id="list" | "tuple" | "iter" | "enumerate"), args=[over, *_]) if (
                node not in free
            ):
                if _is_set(over, sets):
                    yield f"{node.lineno}: takes a set's order"
            case ast.Call(func=ast.Attribute(attr="pop", value=over), args=[]) if _is_set(over, sets):
                yield f"{node.lineno}: pops from a set"
            case _:
                pass


def unexplained(source: str) -> Iterator[str]:
    """Ignores without their reason beside them."""
    for number, line in enumerate(source.splitlines(), 1):
        found = IGNORE.search(line)
        if found and not found["reason"]:
            yield f"{number}: an ignore without its reason: {line.strip()}"


def foreign_words(text: str) -> Iterator[str]:
    """What speaks of a machine, a registry or a way of working instead of the project."""
    for number, line in enumerate(text.splitlines(), 1):
        if found := FOREIGN.search(line):
            yield f"{number}: {found[0]!r} in: {line.strip()[:120]}"


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(tree.parse(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _complaints(paths: list[Path], check: object) -> list[str]:
    assert callable(check)
    return [f"{tree.name(path)}:{complaint}" for path in paths for complaint in check(path.read_text())]


def test_the_tree_is_seen() -> None:
    assert set(tree.PACKAGES) == {path.relative_to(tree.ROOT).parts[0] for path in PACKAGE_SOURCES}
    assert Path(__file__).resolve() in SOURCES


def test_sizes() -> None:
    assert _complaints(SOURCES, oversized) == []


def test_nothing_is_decided_by_an_order_that_differs_from_run_to_run() -> None:
    assert _complaints([path for path in PACKAGE_SOURCES if "starling" not in path.parts[-2]], undecidable) == []


def test_every_ignore_has_its_reason() -> None:
    assert _complaints([path for path in SOURCES if path != Path(__file__).resolve()], unexplained) == []


def test_the_tree_speaks_of_the_project_alone() -> None:
    texts = [path for path in tree.files() if path.suffix not in {".png", ".bin"}]
    assert _complaints(texts, foreign_words) == []


def test_no_dead_module() -> None:
    used = {name for path in SOURCES for name in _imports(path)}
    tables = (tree.ROOT / "starling" / "cli.py").read_text() + (tree.ROOT / "tests" / "generated.py").read_text()
    dead = [
        tree.name(path)
        for name, path in tree.modules().items()
        if name not in used and not ENTRY_MODULE.search(name) and path.name != "__init__.py" and name not in tables
    ]
    assert dead == []


def test_no_empty_file() -> None:
    allowed = {"py.typed", "__init__.py"}
    assert [tree.name(path) for path in tree.files() if path.stat().st_size == 0 and path.name not in allowed] == []


def test_every_page_is_in_the_index() -> None:
    docs = tree.ROOT / "docs"
    index = (docs / "README.md").read_text()
    pages = [path for path in tree.files() if path.is_relative_to(docs) and path.suffix == ".md"]
    assert [
        tree.name(path) for path in pages if f"({path.relative_to(docs)})" not in index and path.name != "README.md"
    ] == []


def test_every_link_between_pages_leads_somewhere() -> None:
    links = [
        (page, target)
        for page in tree.files()
        if page.suffix == ".md"
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
        if "://" not in target
    ]
    assert links
    assert [(tree.name(page), target) for page, target in links if not (page.parent / target).exists()] == []


def test_the_lock_has_hashes_and_names_no_registry() -> None:
    lock = (tree.ROOT / "requirements.lock").read_text()
    pins = re.findall(r"^([a-z0-9._-]+)==", lock, re.MULTILINE)
    assert "trio" in pins
    assert "://" not in lock
    assert all(
        "--hash=sha256:" in block for block in re.split(r"^(?=[a-z])", lock, flags=re.MULTILINE) if "==" in block
    )


def test_the_lock_holds_every_package_that_the_project_names() -> None:
    project = tomllib.loads((tree.ROOT / "pyproject.toml").read_text())
    lock = (tree.ROOT / "requirements.lock").read_text()
    groups = [entry for group in project["dependency-groups"].values() for entry in group if isinstance(entry, str)]
    wanted = {re.split(r"[<>=\[; ]", entry)[0].lower() for entry in project["project"]["dependencies"] + groups}
    assert [name for name in sorted(wanted) if not re.search(rf"^{re.escape(name)}==", lock, re.MULTILINE)] == []


@pytest.mark.parametrize("script", ["run", ".ci/run"])
def test_the_scripts_are_sound_and_executable(script: str) -> None:
    path = tree.ROOT / script
    assert path.stat().st_mode & 0o111
    assert subprocess.run(["bash", "-n", str(path)], capture_output=True, check=False).stderr == b""


@pytest.mark.parametrize(
    ("check", "source", "said"),
    [
        (oversized, "\n" * (MAX_MODULE_LINES + 1), "lines"),
        (oversized, "def f():\n" + "    x = 1\n" * MAX_FUNCTION_LINES, "f has"),
        (oversized, "class C:\n" + "".join(f"    def m{n}(self): ...\n" for n in range(21)), "C has 21 methods"),
        (undecidable, "x = hash('a')", "hash()"),
        (undecidable, "seen: set[str] = set()\nfor x in seen: print(x)", "iterates"),
        (
            undecidable,
            "class C:\n    def f(self):\n        self.s = set()\n        return [x for x in self.s]",
            "iterates",
        ),
        (undecidable, "def f(s: frozenset[str]):\n    return list(s)", "order"),
        (undecidable, "for x in {1, 2} - seen: print(x)", "iterates"),
        (undecidable, "s = {1}\ns.pop()", "pops"),
        (unexplained, "x = 1  # type: " + "ignore[misc]", "without its reason"),
        (unexplained, "x = 1  # no" + "qa: E501", "without its reason"),
        (foreign_words, "see /" + "work/main", "in:"),
        (foreign_words, "as in Issue " + "12", "in:"),
    ],
)
def test_each_check_finds_what_it_looks_for(check: object, source: str, said: str) -> None:
    assert callable(check)
    assert [complaint for complaint in check(source) if said in complaint]


@pytest.mark.parametrize(
    ("check", "source"),
    [
        (undecidable, "seen: set[str] = set()\nfor x in sorted(seen): print(x)"),
        (undecidable, "seen = {1}\nok = 1 in seen\nfor x in sorted(y for y in seen): print(x)"),
        (undecidable, "seen = [1]\nfor x in seen: print(x)"),
        (unexplained, "x = 1  # type: " + "ignore[misc]  # msgpack has no stubs"),
        (foreign_words, "the TLS session; a network/" + "work of shared values; shared state"),
    ],
)
def test_no_check_complains_of_what_is_fine(check: object, source: str) -> None:
    assert callable(check)
    assert list(check(source)) == []
