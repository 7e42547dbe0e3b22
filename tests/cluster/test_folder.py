"""Files and folders: which are read, in which order, and what cannot be."""

import os
from pathlib import Path

import pytest

from cluster import folder
from cluster.folder import Unreadable, read_files


def names(root: Path, *paths: str) -> list[str]:
    files = read_files([str(root / path) for path in paths] or [str(root)])
    assert files.unreadable == []
    return [os.path.relpath(name, root) for name, _ in files.read]


def fill(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)


def test_a_folder_in_the_order_of_names_with_what_is_below(tmp_path: Path) -> None:
    fill(tmp_path, "b.yaml", "a/z.yml", "a/b/c.json", "c.txt", "README.md", ".hidden.yaml", ".git/x.yaml", "d.yaml.bak")
    assert names(tmp_path) == ["a/b/c.json", "a/z.yml", "b.yaml"]


def test_a_file_that_is_named_needs_no_ending(tmp_path: Path) -> None:
    fill(tmp_path, "config", "a.yaml")
    assert names(tmp_path, "config", "a.yaml") == ["config", "a.yaml"]


def test_nothing_is_read_twice(tmp_path: Path) -> None:
    fill(tmp_path, "a/x.yaml", "b/y.yaml")
    (tmp_path / "link.yaml").symlink_to("a/x.yaml")
    (tmp_path / "b" / "up").symlink_to("..")
    (tmp_path / "b" / "again").symlink_to("../a")
    assert names(tmp_path) == ["a/x.yaml", "b/y.yaml"]
    assert names(tmp_path, ".", "a", "a/x.yaml") == ["a/x.yaml", "b/y.yaml"]


def test_a_volume_as_the_kubelet_mounts_it(tmp_path: Path) -> None:
    fill(tmp_path, "..2026/config.yaml")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "config.yaml").symlink_to("..data/config.yaml")
    assert names(tmp_path) == ["config.yaml"]


def test_what_the_system_refuses_does_not_hide_the_rest(tmp_path: Path) -> None:
    fill(tmp_path, "good.yaml")
    (tmp_path / "self.yaml").symlink_to("self.yaml")
    (tmp_path / "gone.yaml").symlink_to("nowhere")
    files = read_files([str(tmp_path), str(tmp_path / "absent"), "zero\0byte"])
    assert [os.path.basename(name) for name, _ in files.read] == ["good.yaml"]
    assert files.unreadable == [
        Unreadable(str(tmp_path / "gone.yaml"), "No such file or directory"),
        Unreadable(str(tmp_path / "self.yaml"), "Too many levels of symbolic links"),
        Unreadable(str(tmp_path / "absent"), "No such file or directory"),
        Unreadable("zero\0byte", "embedded null byte"),
    ]


def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    fill(tmp_path, "a.yaml")
    assert names(tmp_path) == ["a.yaml"]


def test_a_folder_without_manifests(tmp_path: Path) -> None:
    fill(tmp_path, "README.md")
    assert read_files([str(tmp_path)]).unreadable == [
        Unreadable(str(tmp_path), "no file in it ends in .yaml, .yml, .json")
    ]


def test_a_file_is_read_to_one_byte_more_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "MAX_TEXT_BYTES", 10)
    (tmp_path / "a.yaml").write_bytes(b"x" * 100)
    assert read_files([str(tmp_path)]).read == [(str(tmp_path / "a.yaml"), b"x" * 11)]


@pytest.mark.parametrize(
    ("limit", "reason"), [("MAX_FILES", "more than 2 files"), ("MAX_TOTAL_BYTES", "more than 2 bytes in all files")]
)
def test_files_and_bytes_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, reason: str) -> None:
    monkeypatch.setattr(folder, limit, 2)
    for name in "abc":
        (tmp_path / f"{name}.yaml").write_text("x")
    files = read_files([str(tmp_path)])
    assert len(files.read) == 2
    assert files.unreadable == [Unreadable(str(tmp_path / "c.yaml"), reason)]
