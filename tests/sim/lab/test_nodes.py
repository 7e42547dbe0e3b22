"""A lab's manifests: which are copied, and who shares an address."""

from __future__ import annotations

from pathlib import Path

import pytest

from sim.lab.errors import LabError
from sim.lab.nodes import MANIFESTS, copy_manifests, read_plan, write_manifests
from sim.lab.plan import render_manifests


def write(folder: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_a_copy_has_every_manifest_below_the_folder_and_no_status_of_another_cluster(tmp_path: Path) -> None:
    source, folder = tmp_path / "source", tmp_path / "lab"
    texts = render_manifests(["n1", "n2"], ["svc-1"])
    status = "apiVersion: starling.io/v1\nkind: ServiceStatus\n"
    deep = {"deep/nodes.yaml": texts.pop("nodes.yaml"), "status/default.svc-1.yaml": status, "notes.txt": "x"}
    write(source, {**texts, **deep})
    copy_manifests(source, folder)
    copied = sorted(path.name.partition("-")[2] for path in (folder / MANIFESTS).iterdir())
    assert copied == ["config.yaml", "endpoints.yaml", "nodes.yaml", "services.yaml"]
    assert list(read_plan(folder / MANIFESTS).nodes) == ["n1", "n2"]


def test_manifests_that_are_wrong_say_where(tmp_path: Path) -> None:
    write_manifests({"nodes.yaml": b"kind: Node\n"}, tmp_path)
    with pytest.raises(LabError, match=r"nodes.yaml:1:1: apiVersion is missing"):
        read_plan(tmp_path / MANIFESTS)
    with pytest.raises(LabError, match="nowhere"):
        copy_manifests(tmp_path / "nowhere", tmp_path / "other")
