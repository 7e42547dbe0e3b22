"""Whole manifests: kinds, lists, duplicates; and that nothing but ManifestError is ever raised."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import ManifestError
from cluster.manifests import MAX_LIST_DEPTH, parse_manifests, read_manifests
from cluster.model import Snapshot
from tests.cluster.helpers import POOL, read, said, wrap
from tests.tree import ROOT

EXAMPLES = sorted((ROOT / "examples" / "hostnames").glob("*.yaml"))
NODE = "apiVersion: v1\nkind: Node\nmetadata: {name: n}\n"


def contents() -> list[tuple[str, bytes]]:
    return [(path.name, path.read_bytes()) for path in EXAMPLES]


def test_a_list_is_its_items() -> None:
    objects = [document for _, data in contents() for document in yaml.safe_load_all(data)]
    as_list = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": objects}).encode()
    assert parse_manifests([("list.yaml", as_list)]) == parse_manifests(contents()) != Snapshot()


def test_places_and_paths_in_a_list() -> None:
    text = (
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Node, metadata: {name: 5}}\n- 7\n- {kind: Node}\n"
    )
    assert said(text) == [
        "4:49: items[0].metadata.name: '5' is read as the number 5, not as text; quote it: \"5\"",
        "5:3: items[1]: is the number 7, not an object; an object begins with apiVersion and kind",
        "6:3: items[2]: apiVersion is missing; an object begins with apiVersion and kind",
    ]


def test_lists_in_lists_end() -> None:
    inner = "{apiVersion: v1, kind: Node, metadata: {name: n}}"
    for _ in range(MAX_LIST_DEPTH):
        inner = f"{{apiVersion: v1, kind: List, items: [{inner}]}}"
    assert len(read(inner).snapshot.nodes) == 1
    (problem,) = read(f"{{apiVersion: v1, kind: List, items: [{inner}]}}").problems
    assert problem.message.endswith("holds lists more than 3 deep")


def test_objects_are_sorted_by_name() -> None:
    reading = read(*(NODE.replace("n}", f"{name}}}") for name in ("c", "a", "b")))
    assert [node.name for node in reading.snapshot.nodes] == ["a", "b", "c"]


def test_what_is_given_twice_in_two_files() -> None:
    assert said(NODE, NODE) == ["m2.yaml:1:1: Node 'n' is given twice, first at m.yaml:1:1; take one of the two out"]


def test_the_same_name_in_two_namespaces_is_no_duplicate() -> None:
    service = "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: NS}\nspec: {}\n"
    default = service.replace(", namespace: NS", "")
    assert said(service.replace("NS", "a"), service.replace("NS", "b"), default) == []
    assert said(default, service.replace("NS", "default")) == [
        "m2.yaml:1:1: Service 'default/s' is given twice, first at m.yaml:1:1; take one of the two out"
    ]


def test_two_configurations() -> None:
    assert said(wrap("peers: []"), wrap("peers: []")) == [
        "m2.yaml:1:1: ConfigMap 'metallb-system/config' is given twice, first at m.yaml:1:1; take one of the two out"
    ]


def test_a_wrong_configuration_is_not_taken_in_part() -> None:
    right = "address-pools:\n- {name: p, protocol: layer2, addresses: [192.0.2.0/24]}\n"
    assert len(read(wrap(right)).snapshot.config.pools) == 1
    assert read(wrap(f"{right}zebra: 1")).snapshot.config.pools == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1", "1:1: apiVersion is missing; an object begins with apiVersion and kind"),
        (
            "apiVersion: 1\nkind: Node",
            "1:13: apiVersion: apiVersion is missing; an object begins with apiVersion and kind",
        ),
        ("- a", "1:1: is a list, not an object; an object begins with apiVersion and kind"),
        (
            "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: p}",
            (
                "2:7: kind: 'IPAddressPool' of 'metallb.io/v1beta1' is not read; "
                "configure in the ConfigMap metallb-system/config"
            ),
        ),
        (
            "apiVersion: discovery.k8s.io/v1beta1\nkind: EndpointSlice\nmetadata: {name: e}",
            (
                "1:13: apiVersion: 'discovery.k8s.io/v1beta1' is not a version of EndpointSlice that is read; "
                "write discovery.k8s.io/v1"
            ),
        ),
        ("# nothing\n", "1:1: there is no object in it; name files that hold manifests"),
        (
            "a: {{ .Values.x }}",
            "1:5: a key is a list or a mapping; write text before the colon; templates have to be rendered first",
        ),
    ],
)
def test_what_is_no_object_or_not_read(text: str, problem: str) -> None:
    assert problem in said(text)


def test_other_kinds_are_counted() -> None:
    other = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {replicas: no, anything: [1]}\n"
    knative = "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: d}\n"
    reading = read(f"{other}---\n{other}---\n{knative}")
    assert (reading.problems, reading.objects) == ((), 3)
    assert reading.ignored == (("Deployment", 2), ("Service", 1))


def test_an_empty_file_among_others_is_no_mistake() -> None:
    assert said("", NODE, "---\n") == []


def test_every_problem_is_in_the_exception_in_order() -> None:
    with pytest.raises(ManifestError) as raised:
        parse_manifests([("b.yaml", b"- a"), ("a.yaml", b"x: 'y\n"), ("c.yaml", b"\0")])
    assert [problem.place.file for problem in raised.value.problems] == ["a.yaml", "b.yaml", "c.yaml"]
    assert str(raised.value).splitlines()[1] == (
        "b.yaml:1:1: is a list, not an object; an object begins with apiVersion and kind"
    )


# ---- properties

TEXTS = [data for _, data in contents()] + [
    wrap(
        "peers:\n- {my-asn: 1, peer-asn: 2, peer-address: 192.0.2.1, hold-time: 9s, bfd-profile: f}\n"
        "bfd-profiles: [{name: f, echo-mode: true}]\nbgp-communities: {a: '1:2'}\n"
        "address-pools:\n- name: p\n  protocol: bgp\n  addresses: [192.0.2.0/24]\n"
        "  bgp-advertisements: [{communities: [a], aggregation-length: 24}]\n"
    ).encode()
]
JUNK = st.sampled_from(
    [b"", b"\t", b"&a ", b"*a", b"[", b"}", b"'", b"~", b"- ", b": ", b"\n", b"\xff", b"no", b"1:30", b"<<: "]
)
SCALARS: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 1.5, 10**30, "", "no", "192.0.2.1", "\x1b", [], {}, [None], {"a": None}, [[{}]]]
)


def never_fails(data: bytes) -> None:
    try:
        snapshot = parse_manifests([("f.yaml", data)])
    except ManifestError as exc:
        problems = exc.problems
    else:
        problems = ()
        assert isinstance(snapshot, Snapshot)
    lines = len(data.splitlines()) + data.count(b"\xc2\x85") + data.count(b"\xe2\x80") + 1
    assert all(1 <= problem.place.line <= lines and problem.message and problem.hint for problem in problems)


@given(
    st.sampled_from(TEXTS), st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 6), JUNK), min_size=1, max_size=4)
)
def test_mutated_text_gives_a_snapshot_or_the_one_error(text: bytes, edits: list[tuple[int, int, bytes]]) -> None:
    for at, length, junk in edits:
        at %= len(text) + 1
        text = text[:at] + junk + text[at + length :]
    never_fails(text)


@given(st.data())
def test_a_mutated_object_gives_a_snapshot_or_the_one_error(data: st.DataObject) -> None:
    """Well-formed, but somewhere another value stands, or none."""
    documents = list(yaml.safe_load_all(data.draw(st.sampled_from(TEXTS))))
    for document in documents:
        if "data" in document:
            inner = yaml.safe_load(document["data"]["config"])
            _spoil(inner, data)
            document["data"]["config"] = yaml.safe_dump(inner)
    if data.draw(st.booleans()):
        _spoil(documents[0], data)
    never_fails(yaml.safe_dump_all(documents).encode())


def _spoil(document: object, data: st.DataObject) -> None:
    containers = [found for found in _walk(document) if found]
    container = data.draw(st.sampled_from(containers))
    keys = list(container) if isinstance(container, dict) else list(range(len(container)))
    key = data.draw(st.sampled_from(keys))
    if data.draw(st.booleans()):
        container[key] = copy.deepcopy(data.draw(SCALARS))
    else:
        del container[key]


def _walk(value: object) -> list[Any]:
    match value:
        case dict():
            return [value, *(found for child in value.values() for found in _walk(child))]
        case list():
            return [value, *(found for child in value for found in _walk(child))]
        case _:
            return []


@given(st.binary(max_size=200))
def test_any_bytes_give_a_snapshot_or_the_one_error(data: bytes) -> None:
    never_fails(data)


def test_the_examples_are_there() -> None:
    assert [path.name for path in EXAMPLES] == ["config.yaml", "endpoints.yaml", "nodes.yaml", "services.yaml"]
    assert all(isinstance(path, Path) for path in EXAMPLES)
    assert read_manifests(contents()).problems == ()


@pytest.mark.parametrize(
    ("text", "configured"),
    [(wrap(POOL), True), (wrap(""), True), (wrap("address-pools: 7\n"), False), (NODE, False)],
    ids=["pools", "an empty document", "a mistake in it", "no ConfigMap"],
)
def test_nothing_configured_differs_from_an_empty_configuration(text: str, configured: bool) -> None:
    assert read(text).snapshot.is_configured is configured
