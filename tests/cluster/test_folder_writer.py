"""The order in which statuses come to the disk: at no instant has an address two owners, and nobody waits for ever."""

import errno
import os
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.folder_statuses import StatusFolder
from cluster.folder_writer import StatusWriter
from cluster.model import ObjectName, ServiceStatus
from cluster.statuses import file_name

Written = dict[str, tuple[str, ...]]


def status(name: str, *addresses: str) -> ServiceStatus:
    return ServiceStatus(service=ObjectName("default", name), ingress=tuple(map(IPv4Address, addresses)))


class Disk:
    """A folder of statuses with its writer, and what stood in it after every write."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path.mkdir(exist_ok=True)
        self.folder = StatusFolder(str(path))
        self.writer = StatusWriter(self.folder)
        self.instants: list[Written] = []
        self.refused: set[str] = set()
        for name in ("replace", "unlink"):
            monkeypatch.setattr(os, name, self._noting(getattr(os, name)))

    def _noting(self, call: Callable[..., None]) -> Callable[..., None]:
        def change(*paths: str) -> None:
            if os.path.basename(paths[-1]) in {file_name(ObjectName("default", name)) for name in self.refused}:
                raise OSError(errno.EIO, "Input/output error")
            call(*paths)
            self.instants.append(self.written())

        return change

    def written(self) -> Written:
        """What a controller that starts now finds."""
        seen = StatusFolder(self.folder.path)
        seen.look()
        assert seen.problems == ()
        return {
            str(name.name): tuple(map(str, entry.ingress)) for name, entry in seen.statuses.items() if entry.ingress
        }

    def report(self, *statuses: ServiceStatus, again: bool = False) -> None:
        self.writer.report(statuses)
        self.writer.write(again)
        for instant in self.instants:
            owners = [address for addresses in instant.values() for address in addresses]
            assert len(owners) == len(set(owners)), self.instants


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(tmp_path, monkeypatch)


def test_statuses_come_in_the_order_in_which_they_are_reported(disk: Disk) -> None:
    disk.report(status("c", "192.0.2.3"), status("a", "192.0.2.1"), status("b", "192.0.2.2"))
    assert [list(instant) for instant in disk.instants] == [["c"], ["a", "c"], ["a", "b", "c"]]


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(descriptor: int) -> None:
        calls.append(f"fsync {os.path.basename(os.readlink(f'/proc/self/fd/{descriptor}'))}")
        fsync(descriptor)

    def note_replace(source: str, target: str) -> None:
        calls.append(f"replace {os.path.basename(target)}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    writer = StatusWriter(StatusFolder(str(tmp_path / "status")))
    writer.report([status("a", "192.0.2.1")])
    writer.write(again=False)
    assert calls == ["fsync .default.a.yaml.tmp", "replace default.a.yaml", "fsync status"]


def test_an_address_is_given_up_before_another_has_it(disk: Disk) -> None:
    disk.report(status("a", "192.0.2.1"))
    disk.report(status("b", "192.0.2.1"), status("a"))
    assert disk.written() == {"b": ("192.0.2.1",)}


def test_two_services_change_places(disk: Disk) -> None:
    disk.report(status("a", "192.0.2.1"), status("b", "192.0.2.2"))
    disk.report(status("a", "192.0.2.2"), status("b", "192.0.2.1"))
    assert disk.written() == {"a": ("192.0.2.2",), "b": ("192.0.2.1",)}


def test_who_waits_for_an_address_that_cannot_be_given_up_waits_alone(disk: Disk) -> None:
    disk.report(status("a", "192.0.2.1"))
    disk.refused.add("a")
    disk.report(status("a"), status("b", "192.0.2.1"), status("c", "192.0.2.3"))
    assert disk.written() == {"a": ("192.0.2.1",), "c": ("192.0.2.3",)}
    assert [problem.message for problem in disk.writer.problems] == [
        "the status of default/a cannot be written: Input/output error"
    ]
    disk.refused.clear()
    disk.report()
    assert disk.written() == {"a": ("192.0.2.1",), "c": ("192.0.2.3",)}, "before it is time"
    disk.report(again=True)
    assert disk.written() == {"b": ("192.0.2.1",), "c": ("192.0.2.3",)}
    assert disk.writer.problems == ()


def test_what_is_wrong_in_one_way_is_said_once(disk: Disk) -> None:
    disk.refused |= {"a", "b"}
    disk.report(status("a", "192.0.2.1"), status("b", "192.0.2.2"))
    assert len(disk.writer.problems) == 1


PERMUTATIONS = st.lists(st.permutations("abcde").map(lambda order: order[:4]), min_size=1, max_size=4)


@given(moves=PERMUTATIONS, refused=st.lists(st.sets(st.sampled_from("abcde"), max_size=2), min_size=4, max_size=4))
def test_whatever_moves_and_whatever_fails(
    tmp_path_factory: pytest.TempPathFactory, moves: list[list[str]], refused: list[set[str]]
) -> None:
    """Four addresses wander among five services; some files refuse to be written, and in the end none does."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        disk = Disk(tmp_path_factory.mktemp("status"), monkeypatch)
        for owners, disk.refused in zip(moves, refused, strict=False):
            given_out = {owner: f"192.0.2.{number}" for number, owner in enumerate(owners)}
            statuses = [status(name, given_out[name]) if name in given_out else status(name) for name in "abcde"]
            disk.report(*statuses, again=True)
        disk.refused = set()
        disk.report(again=True)
        assert disk.written() == {
            owner: (f"192.0.2.{number}",) for number, owner in sorted(enumerate(moves[-1]), key=lambda pair: pair[1])
        }
