"""A folder of manifests as a source: what is seen of its changes, and what becomes of the statuses beside it.

Everything happens on a real folder and the kernel's own events; a test waits for the reading it is about.
"""

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import trio
import watchfiles

from cluster import folder_source, folder_watch, manifests
from cluster.errors import Problem
from cluster.folder_source import FolderSource
from cluster.folder_statuses import StatusFolder
from cluster.folder_writer import StatusWriter
from cluster.model import ObjectName, ServiceStatus
from cluster.source import SourceReading, SourceTaken
from cluster.statuses import file_name, render_status
from tests.cluster import full_disk
from tests.cluster.helpers import POOL, wrap
from tests.tree import ROOT

DEADLINE = 20
"""Seconds; a machine that is busy is slow, not wrong."""


def service(name: str, port: int = 80) -> str:
    return (
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n"
        f"spec: {{type: LoadBalancer, ports: [{{port: {port}}}]}}\n"
    )


def status(name: str, *addresses: str, pool: str | None = "p") -> ServiceStatus:
    ingress = tuple(map(IPv4Address, addresses))
    return ServiceStatus(service=ObjectName("default", name), ingress=ingress, pool=pool if ingress else None)


def lay_out(root: Path, *names: str) -> Path:
    """A folder with a pool and these services, each in a file of its own."""
    folder = root / "manifests"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(wrap(POOL))
    for name in names:
        (folder / f"{name}.yaml").write_text(service(name))
    return folder


def status_file(folder: Path, name: str) -> Path:
    return folder / "status" / f"default.{name}.yaml"


def note(folder: Path, *statuses: ServiceStatus) -> None:
    """Write statuses as a controller that is gone did."""
    (folder / "status").mkdir(exist_ok=True)
    for entry in statuses:
        (folder / "status" / file_name(entry.service)).write_text(render_status(entry))


def names(reading: SourceReading) -> list[str]:
    return [found.name.name for found in reading.snapshot.services] if reading.snapshot else []


def ingress(reading: SourceReading, name: str = "web") -> list[str]:
    assert reading.snapshot
    return [str(a) for found in reading.snapshot.services if found.name.name == name for a in found.ingress]


def messages(problems: tuple[Problem, ...], folder: Path) -> list[str]:
    return [str(problem).removeprefix(f"{folder}/") for problem in problems]


class Follower:
    """Takes the readings of a source one after the other."""

    def __init__(self, readings: AsyncGenerator[SourceReading, None]) -> None:
        self._readings = readings
        self.taken = 0

    async def next(self) -> SourceReading:
        self.taken += 1
        return await anext(self._readings)

    async def until(self, is_it: Callable[[SourceReading], bool]) -> SourceReading:
        while not is_it(reading := await self.next()):
            pass
        return reading


@asynccontextmanager
async def following(source: FolderSource) -> AsyncIterator[Follower]:
    with trio.fail_after(DEADLINE):
        async with aclosing(source.snapshots()) as readings:
            yield Follower(readings)


# ---- what is seen of the manifests


async def test_the_first_reading_is_what_stands_there(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "web")
    async with following(FolderSource(str(folder))) as follower:
        reading = await follower.next()
    assert names(reading) == ["web"]
    assert reading.snapshot
    assert [pool.name for pool in reading.snapshot.config.pools] == ["p"]
    assert (reading.problems, reading.warnings) == ((), ())


def _replace(folder: Path) -> None:
    (folder / "new").write_text(service("other"))
    os.replace(folder / "new", folder / "web.yaml")


def _rename_away(folder: Path) -> None:
    (folder / "web.yaml").rename(folder / "web.yaml.off")


def _add_below(folder: Path) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "more.yml").write_text(service("more"))


def _link_a_folder(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir()
    (folder.parent / "elsewhere" / "more.yaml").write_text(service("more"))
    (folder / "linked").symlink_to("../elsewhere")


def _make_it_anew(folder: Path) -> None:
    shutil.rmtree(folder)
    lay_out(folder.parent, "anew")


def _swap_it(folder: Path) -> None:
    folder.rename(folder.parent / "old")
    lay_out(folder.parent / "next", "anew")
    folder.symlink_to("next/manifests")


CHANGES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "a file is added": (lambda folder: (folder / "api.yaml").write_text(service("api")), ["api", "web"]),
    "a file is written over": (lambda folder: (folder / "web.yaml").write_text(service("other")), ["other"]),
    "a file is replaced": (_replace, ["other"]),
    "a file is deleted": (lambda folder: (folder / "web.yaml").unlink(), []),
    "a file is renamed away": (_rename_away, []),
    "folders are added": (_add_below, ["more", "web"]),
    "a link to a folder is added": (_link_a_folder, ["more", "web"]),
    "the folder is made anew": (_make_it_anew, ["anew"]),
    "a link takes the folder's place": (_swap_it, ["anew"]),
}


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES)
async def test_a_change_is_seen(tmp_path: Path, change: Callable[[Path], object], expected: list[str]) -> None:
    folder = lay_out(tmp_path, "web")
    async with following(FolderSource(str(folder))) as follower:
        assert names(await follower.next()) == ["web"]
        change(folder)
        reading = await follower.until(lambda reading: not reading.problems and names(reading) == expected)
    assert reading.warnings == ()


async def test_a_volume_as_the_kubelet_swaps_it(tmp_path: Path) -> None:
    folder = tmp_path
    for version in ("1", "2"):
        (folder / f"..{version}").mkdir()
        (folder / f"..{version}" / "all.yaml").write_text(service(f"v{version}"))
    (folder / "..data").symlink_to("..1")
    (folder / "all.yaml").symlink_to("..data/all.yaml")
    async with following(FolderSource(str(folder))) as follower:
        assert names(await follower.next()) == ["v1"]
        (folder / "..next").symlink_to("..2")
        os.replace(folder / "..next", folder / "..data")
        assert names(await follower.next()) == ["v2"]


async def test_a_link_to_a_folder_is_followed_by_the_watch(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "web")
    _link_a_folder(folder)
    async with following(FolderSource(str(folder))) as follower:
        assert names(await follower.next()) == ["more", "web"]
        (tmp_path / "elsewhere" / "more.yaml").write_text(service("most"))
        assert names(await follower.next()) == ["most", "web"]


async def test_a_burst_of_changes_is_one_reading_or_few(tmp_path: Path) -> None:
    folder = lay_out(tmp_path)
    async with following(FolderSource(str(folder))) as follower:
        await follower.next()
        for number in range(300):
            (folder / f"s{number}.yaml").write_text(service(f"s{number}"))
        await follower.until(lambda reading: len(names(reading)) == 300)
        assert follower.taken <= 6


async def test_a_file_that_grows_while_it_is_read_is_not_taken_for_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = lay_out(tmp_path)
    rest = ["---\n" + service("b"), "---\n" + service("c")]

    def read_slowly(path: str) -> bytes:
        data = Path(path).read_bytes()
        if path.endswith("all.yaml") and rest:
            with open(path, "a") as file:
                file.write(rest.pop(0))
        return data

    monkeypatch.setattr(folder_source, "read_file", read_slowly)
    (folder / "all.yaml").write_text(service("a"))
    async with following(FolderSource(str(folder))) as follower:
        assert names(await follower.next()) == ["a", "b", "c"]


async def test_a_file_that_never_rests_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = lay_out(tmp_path)

    def read_and_grow(path: str) -> bytes:
        data = Path(path).read_bytes()
        with open(path, "a") as file:
            file.write("# more\n")
        return data

    monkeypatch.setattr(folder_source, "read_file", read_and_grow)
    (folder / "all.yaml").write_text(service("a"))
    async with following(FolderSource(str(folder))) as follower:
        assert names(await follower.next()) == ["a"]


async def test_a_change_without_an_event_is_found_by_looking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def tell_nothing(*_: object, **__: object) -> AsyncGenerator[set[object], None]:
        while True:
            await trio.sleep(0.01)
            yield set()

    monkeypatch.setattr(watchfiles, "awatch", tell_nothing)
    monkeypatch.setattr(folder_source, "RESCAN_INTERVAL", 0.05)
    folder = lay_out(tmp_path)
    async with following(FolderSource(str(folder))) as follower:
        await follower.next()
        (folder / "web.yaml").write_text(service("web"))
        assert names(await follower.next()) == ["web"]


async def test_where_nothing_can_be_watched_it_is_said_and_looked_at_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        async def __anext__(self) -> set[object]:
            raise OSError(errno.ENOSPC, "OS file watch limit reached")

    monkeypatch.setattr(watchfiles, "awatch", Refusing)
    monkeypatch.setattr(folder_watch, "BLIND_INTERVAL", 0.1)
    folder = lay_out(tmp_path)
    async with following(FolderSource(str(folder))) as follower:
        assert (await follower.next()).warnings == ()
        (warning,) = (await follower.next()).warnings
        assert str(warning).startswith(
            f"{folder}:1:1: cannot be watched: OS file watch limit reached; raise fs.inotify"
        )
        (folder / "web.yaml").write_text(service("web"))
        assert names(await follower.next()) == ["web"]


# ---- what is wrong with them


async def test_broken_manifests_are_said_and_what_was_good_stays_until_they_are_mended(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "web")
    async with following(FolderSource(str(folder))) as follower:
        good = await follower.next()
        (folder / "config.yaml").write_text(wrap("address-pools:\n- name: q\n"))
        (folder / "api.yaml").write_text(service("api"))
        broken = await follower.until(lambda reading: reading.problems != ())
        assert messages(broken.problems, folder) == [
            "config.yaml:7:7: address-pools[0]: addresses is missing; add `addresses: [192.0.2.10-192.0.2.20]`",
            "config.yaml:7:7: address-pools[0]: protocol is missing; add `protocol: layer2`",
        ]
        assert broken.snapshot == good.snapshot
        (folder / "config.yaml").write_text(wrap(POOL))
        mended = await follower.until(lambda reading: reading.problems == ())
        assert names(mended) == ["api", "web"]


async def test_manifests_that_are_broken_from_the_start_give_nothing(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "web")
    (folder / "bad.yaml").write_text("kind: [\n")
    async with following(FolderSource(str(folder))) as follower:
        reading = await follower.next()
        assert reading.snapshot is None
        assert len(reading.problems) == 1
        (folder / "bad.yaml").unlink()
        assert names(await follower.next()) == ["web"]


async def test_a_folder_that_is_missing_is_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    async with following(FolderSource(str(folder))) as follower:
        reading = await follower.next()
        assert reading.snapshot is None
        assert messages(reading.problems, folder) == [
            ":1:1: No such file or directory; check the path and who may read it"
        ]
        lay_out(tmp_path, "web")
        assert names(await follower.until(lambda reading: reading.problems == ())) == ["web"]


async def test_a_folder_that_goes_away_leaves_what_was_in_force(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "web")
    note(folder, status("web", "192.0.2.7"))
    async with following(FolderSource(str(folder))) as follower:
        good = await follower.next()
        shutil.rmtree(folder)
        gone = await follower.until(lambda reading: reading.problems != ())
        assert gone.snapshot == good.snapshot
        assert ingress(gone) == ["192.0.2.7"]


async def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifests").write_text(service("web"))
    async with following(FolderSource(str(tmp_path / "manifests"))) as follower:
        (problem,) = (await follower.next()).problems
    assert problem.message == "Not a directory"


# ---- what is not done twice


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are parsed, in order."""
    seen: list[str] = []

    def count(path: str, data: bytes) -> object:
        seen.append(os.path.basename(path))
        return manifests.read_file(path, data)

    monkeypatch.setattr("cluster.folder_source.parse_file", count)
    return seen


async def test_only_the_file_that_changed_is_parsed_again(tmp_path: Path, parsed: list[str]) -> None:
    folder = lay_out(tmp_path, "a", "b", "c")
    async with following(FolderSource(str(folder))) as follower:
        before = await follower.next()
        parsed.clear()
        (folder / "b.yaml").write_text(service("b", port=81))
        after = await follower.next()
    assert parsed == ["b.yaml"]
    assert before.snapshot
    assert after.snapshot
    same = [old is new for old, new in zip(before.snapshot.services, after.snapshot.services, strict=True)]
    assert same == [True, False, True]


async def test_no_manifest_is_parsed_for_a_status(tmp_path: Path, parsed: list[str]) -> None:
    folder = lay_out(tmp_path, "a", "web")
    async with following(FolderSource(str(folder))) as follower:
        before = await follower.next()
        parsed.clear()
        note(folder, status("web", "192.0.2.7"))
        after = await follower.next()
        note(folder, status("a", "192.0.2.8"))
        last = await follower.next()
    assert parsed == []
    assert (ingress(after), ingress(last)) == (["192.0.2.7"], ["192.0.2.7"])
    assert before.snapshot
    assert after.snapshot
    assert last.snapshot
    assert before.snapshot.services[0] is after.snapshot.services[0]
    assert after.snapshot.services[1] is last.snapshot.services[1]


async def test_a_file_that_is_only_touched_is_nothing_new(tmp_path: Path, parsed: list[str]) -> None:
    folder = lay_out(tmp_path, "web")
    async with following(FolderSource(str(folder))) as follower:
        await follower.next()
        parsed.clear()
        (folder / "web.yaml").touch()
        (folder / "last.yaml").write_text(service("last"))
        assert names(await follower.next()) == ["last", "web"]
    assert parsed == ["last.yaml"]


# ---- statuses, read


async def test_a_status_beside_the_manifest_counts_for_more_than_the_one_in_it(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "web")
    with (folder / "web.yaml").open("a") as file:
        file.write("status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}\n")
    async with following(FolderSource(str(folder))) as follower:
        assert ingress(await follower.next()) == ["192.0.2.1"]
        note(folder, status("web", "192.0.2.7", pool="edge"))
        reading = await follower.next()
        assert ingress(reading) == ["192.0.2.7"]
        assert reading.snapshot
        assert reading.snapshot.services[0].allocated_from_pool == "edge"


async def test_a_spoilt_status_is_said_and_what_it_was_stays(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "web")
    note(folder, status("web", "192.0.2.7"))
    async with following(FolderSource(str(folder))) as follower:
        assert ingress(await follower.next()) == ["192.0.2.7"]
        status_file(folder, "web").write_text(status_file(folder, "web").read_text()[:-20])
        spoilt = await follower.next()
        assert ingress(spoilt) == ["192.0.2.7"]
        assert spoilt.problems == ()
        (warning,) = messages(spoilt.warnings, folder)
        assert warning.startswith("status/default.web.yaml:10:1: ends before the line ...; the controller replaces it")


async def test_a_status_that_is_spoilt_from_the_start_holds_up_nothing(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "api", "web")
    note(folder, status("web", "192.0.2.7"))
    note(folder, status("api", "192.0.2.8"))
    status_file(folder, "api").write_text("status: [\n")
    async with following(FolderSource(str(folder))) as follower:
        reading = await follower.next()
    assert reading.problems == ()
    assert (ingress(reading), ingress(reading, "api")) == (["192.0.2.7"], [])
    (warning,) = reading.warnings
    assert (warning.place.file, warning.place.line) == (str(status_file(folder, "api")), 2)


async def test_a_status_under_a_wrong_name_is_not_read(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "web")
    note(folder, status("web", "192.0.2.7"))
    status_file(folder, "web").rename(status_file(folder, "copy"))
    async with following(FolderSource(str(folder))) as follower:
        reading = await follower.next()
    assert ingress(reading) == []
    (warning,) = reading.warnings
    assert (warning.message, warning.hint) == (
        "is the status of default/web, under a wrong name",
        "name it default.web.yaml, or take it out",
    )


async def test_statuses_that_are_lost_with_their_folder_stay_in_force_for_readers(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "web")
    note(folder, status("web", "192.0.2.7"))
    async with following(FolderSource(str(folder))) as follower:
        await follower.next()
        shutil.rmtree(folder / "status")
        reading = await follower.until(lambda reading: reading.warnings != ())
    assert ingress(reading) == ["192.0.2.7"]
    assert messages(reading.warnings, folder)[0].startswith("status:1:1: is lost; what it held stays in force")


# ---- statuses, written


async def test_a_status_is_written_where_a_reader_sees_it(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "web")
    writer = FolderSource(str(folder), exclusive=True)
    async with following(writer) as mine, following(FolderSource(str(folder))) as other:
        await mine.next()
        await other.next()
        assert await writer.report(status("web", "192.0.2.7")) == ()
        assert ingress(await mine.next()) == ["192.0.2.7"]
        assert ingress(await other.next()) == ["192.0.2.7"]
    assert status_file(folder, "web").read_text() == render_status(status("web", "192.0.2.7"))
    assert [path.name for path in (folder / "status").iterdir()] == ["default.web.yaml"]


async def test_a_status_that_stands_is_not_written_again(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "web")
    note(folder, status("web", "192.0.2.7"))
    before = status_file(folder, "web").stat()
    source = FolderSource(str(folder), exclusive=True)
    async with following(source) as follower:
        await follower.next()
        await source.report(status("web", "192.0.2.7"))
    after = status_file(folder, "web").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


async def test_an_empty_status_is_no_file_and_hides_the_one_in_the_manifest(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "web")
    with (folder / "web.yaml").open("a") as file:
        file.write("status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}\n")
    note(folder, status("web", "192.0.2.7"))
    source = FolderSource(str(folder), exclusive=True)
    async with following(source) as follower:
        await follower.next()
        await source.report(status("web"))
        assert ingress(await follower.next()) == []
    assert list((folder / "status").iterdir()) == []


async def test_the_status_of_a_service_that_is_gone_goes_too(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "api", "web")
    note(folder, status("api", "192.0.2.8"), status("web", "192.0.2.7"))
    async with following(FolderSource(str(folder), exclusive=True)) as follower:
        await follower.next()
        (folder / "api.yaml").unlink()
        await follower.until(lambda reading: names(reading) == ["web"])
        assert [path.name for path in (folder / "status").iterdir()] == ["default.web.yaml"]


async def test_no_status_goes_while_the_manifests_are_broken(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "web")
    note(folder, status("web", "192.0.2.7"), status("other", "192.0.2.8"))
    (folder / "bad.yaml").write_text("kind: [\n")
    async with following(FolderSource(str(folder), exclusive=True)) as follower:
        await follower.next()
        assert status_file(folder, "other").exists()
        (folder / "bad.yaml").unlink()
        await follower.next()
        assert not status_file(folder, "other").exists()


async def test_what_was_reported_is_written_again_when_it_is_spoilt_or_lost(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "a", "b", "c")
    written = [status("a", "192.0.2.1"), status("b", "192.0.2.2"), status("c", "192.0.2.3")]
    note(folder, written[0])
    source = FolderSource(str(folder), exclusive=True)
    async with following(source) as follower:
        await follower.next()
        await source.report(*written[1:])
        await follower.next()
        status_file(folder, "a").unlink()
        status_file(folder, "b").write_text("spoilt: [")
        reading = await follower.until(lambda reading: reading.warnings != ())
        assert ingress(reading, "b") == ["192.0.2.2"]
        await follower.until(lambda reading: reading.warnings == ())
        assert [status_file(folder, name).exists() for name in "abc"] == [True, True, True]
        shutil.rmtree(folder / "status")
        await follower.until(lambda reading: reading.warnings != ())
        await follower.until(lambda reading: reading.warnings == ())
    for name, entry in zip("abc", written, strict=True):
        assert status_file(folder, name).read_text() == render_status(entry)


async def test_statuses_move_into_a_folder_that_takes_the_place(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "web")
    source = FolderSource(str(folder), exclusive=True)
    async with following(source) as follower:
        await follower.next()
        await source.report(status("web", "192.0.2.7"))
        shutil.rmtree(folder)
        lay_out(tmp_path, "api", "web")
        reading = await follower.until(lambda reading: names(reading) == ["api", "web"] and not reading.warnings)
    assert ingress(reading) == ["192.0.2.7"]
    assert status_file(folder, "web").read_text() == render_status(status("web", "192.0.2.7"))


async def test_temporary_files_of_a_writer_that_was_killed_are_removed(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "web")
    note(folder, status("web", "192.0.2.7"))
    (folder / "status" / ".default.web.yaml.tmp").write_text("apiVer")
    (folder / "status" / ".somebody's").write_text("")
    async with following(FolderSource(str(folder), exclusive=True)) as follower:
        assert ingress(await follower.next()) == ["192.0.2.7"]
    assert sorted(path.name for path in (folder / "status").iterdir()) == [".somebody's", "default.web.yaml"]


async def test_a_status_that_cannot_be_written_is_said_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_source, "MIN_RETRY_INTERVAL", 0.05)
    folder = lay_out(tmp_path, "web")
    (folder / "status").write_text("a file in its place")
    source = FolderSource(str(folder), exclusive=True)
    async with following(source) as follower:
        await follower.next()
        (unwritten,) = await source.report(status("web", "192.0.2.7"))
        assert str(unwritten) == (
            f"{status_file(folder, 'web')}:1:1: the status of default/web cannot be written: Not a directory; "
            "take the file of that name away; it is tried again"
        )
        reading = await follower.next()
        assert unwritten in reading.warnings
        assert ingress(reading) == ["192.0.2.7"]
        tried = 0
        write = StatusWriter.write

        def count_and_mend(writer: StatusWriter, again: bool) -> None:
            nonlocal tried
            tried += again
            if again and tried == 3:
                (folder / "status").unlink()
            write(writer, again)

        monkeypatch.setattr(StatusWriter, "write", count_and_mend)
        reading = await follower.next()
        assert tried >= 3, "nothing is said while nothing changes"
        if reading.warnings:
            assert (await follower.next()).warnings == ()
    assert status_file(folder, "web").read_text() == render_status(status("web", "192.0.2.7"))


async def test_one_that_cannot_be_written_does_not_hold_up_the_others(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "a", "b", "c")
    (status_file(folder, "b") / "inside").mkdir(parents=True)
    source = FolderSource(str(folder), exclusive=True)
    async with following(source) as follower:
        await follower.next()
        (unwritten,) = await source.report(status("a", "192.0.2.1"), status("b", "192.0.2.2"), status("c", "192.0.2.3"))
    assert unwritten.message == "the status of default/b cannot be written: Is a directory"
    assert status_file(folder, "a").is_file()
    assert status_file(folder, "c").is_file()
    assert [path.name for path in (folder / "status").iterdir() if path.name.startswith(".")] == []


# ---- one writer


async def test_a_second_writer_is_refused_and_a_reader_is_not(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "web")
    async with following(FolderSource(str(folder), exclusive=True)) as first:
        await first.next()
        with pytest.raises(SourceTaken, match="another controller writes the statuses of"):
            async with following(FolderSource(str(folder), exclusive=True)) as second:
                await second.next()
        async with following(FolderSource(str(folder))) as reader:
            assert names(await reader.next()) == ["web"]
    async with following(FolderSource(str(folder), exclusive=True)) as next_one:
        assert names(await next_one.next()) == ["web"]


async def test_a_writer_whose_folder_another_took_over_gives_up(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "web")
    async with following(FolderSource(str(folder), exclusive=True)) as first:
        await first.next()
        folder.rename(tmp_path / "old")
        lay_out(tmp_path, "web")
        async with following(FolderSource(str(folder), exclusive=True)) as second:
            await second.next()
            with pytest.raises(SourceTaken):
                await first.until(lambda _: False)


async def test_where_there_are_no_locks_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    folder = lay_out(tmp_path, "web")
    async with following(FolderSource(str(folder), exclusive=True)) as follower:
        reading = await follower.next()
    assert names(reading) == ["web"]
    (warning,) = reading.warnings
    assert (warning.message, warning.place.file) == ("cannot be locked: No locks available", str(folder))


# ---- file systems that refuse


@pytest.mark.needs("netns")
@pytest.mark.parametrize(
    ("fault", "message", "hint"),
    [
        ("full", "No space left on device", "make room on the file system; it is tried again"),
        ("read-only", "Read-only file system", "make the file system writable; it is tried again"),
    ],
)
def test_a_file_system_that_refuses_loses_nothing(tmp_path: Path, fault: str, message: str, hint: str) -> None:
    folder = lay_out(tmp_path, "a", "b")
    ran = subprocess.run(
        ["unshare", "--mount", sys.executable, "-m", full_disk.__name__, str(folder), fault],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(ran.stdout) == {
        "unwritten": [f"the status of default/a cannot be written: {message}"],
        "hints": [hint],
        "during": ["192.0.2.1", "192.0.2.2"],
        "after": ["192.0.2.11", "192.0.2.12"],
    }


@pytest.mark.parametrize("size", [0, 40])
def test_a_limit_on_the_size_of_files_leaves_the_old_file_whole(tmp_path: Path, size: int) -> None:
    folder = tmp_path / "status"
    folder.mkdir()
    writer = StatusWriter(StatusFolder(str(folder)))
    writer.report([status("web", "192.0.2.7")])
    writer.write(again=False)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer.report([status("web", "192.0.2.8")])
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        writer.write(again=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    (problem,) = writer.problems
    assert problem.message == "the status of default/web cannot be written: File too large"
    assert [path.name for path in folder.iterdir()] == ["default.web.yaml"]
    assert (folder / "default.web.yaml").read_text() == render_status(status("web", "192.0.2.7"))
    writer.write(again=True)
    assert (folder / "default.web.yaml").read_text() == render_status(status("web", "192.0.2.8"))
