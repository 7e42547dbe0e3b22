"""The statuses beside the manifests: what is read of them, how they are written, and by whom."""

import errno
import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cluster import folder_source
from cluster.folder_source import FolderSource
from cluster.folder_statuses import StatusFolder
from cluster.folder_writer import StatusWriter
from cluster.source import SourceTaken
from cluster.statuses import render_status
from tests.cluster import full_disk
from tests.cluster.sources import following, ingress, lay_out, messages, names, note, status, status_file
from tests.tree import ROOT

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


@pytest.mark.slow
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


@pytest.mark.slow
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
