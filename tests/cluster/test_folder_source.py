"""A folder of manifests as a source: what is seen of its changes.

Everything happens on a real folder and the kernel's own events; a test waits for the reading it is about.
"""

import errno
import os
import shutil
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest
import trio
import trio.testing
import watchfiles

from cluster import folder as folder_module
from cluster import folder_source, folder_watch, manifests
from cluster.folder import Signature
from cluster.folder_source import FolderSource
from cluster.folder_watch import FolderWatch
from tests.cluster.helpers import POOL, wrap
from tests.cluster.sources import following, ingress, lay_out, messages, names, note, service, status

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
async def test_a_change_is_seen_and_so_is_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object], expected: list[str]
) -> None:
    monkeypatch.setattr(folder_source, "RESCAN_INTERVAL", 1000.0)
    folder = lay_out(tmp_path, "web")
    async with following(FolderSource(str(folder))) as follower:
        assert names(await follower.next()) == ["web"]
        (folder / "config.yaml").write_text(wrap(POOL.replace("/24", "/25")))
        await follower.next()  # and now it is watched
        change(folder)
        reading = await follower.until(lambda reading: not reading.problems and names(reading) == expected)
        assert reading.warnings == ()
        (folder / "zebra.yaml").write_text(service("zebra"))
        await follower.until(lambda reading: names(reading) == [*expected, "zebra"])


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
        assert follower.taken < 30


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


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_text("")], ids=["nothing", "a file"])
async def test_what_is_no_folder_is_looked_at_no_more_often_than_need_be(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, make: Callable[[Path], object]
) -> None:
    make(tmp_path / "manifests")
    watch = FolderWatch(str(tmp_path / "manifests"))
    await watch.wait(5.0)
    began_at = trio.current_time()
    await watch.wait(5.0)
    assert trio.current_time() - began_at == pytest.approx(5.0)
    await watch.close()


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


async def test_a_file_that_is_as_it_was_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def count(path: str) -> bytes:
        opened.append(os.path.basename(path))
        return Path(path).read_bytes()

    monkeypatch.setattr(folder_source, "read_file", count)
    folder = lay_out(tmp_path, "a", "b")
    for path in folder.iterdir():
        os.utime(path, (0, 0))  # one that was changed just now could be changed again in the same tick of its clock
    async with following(FolderSource(str(folder))) as follower:
        await follower.next()
        assert sorted(opened) == ["a.yaml", "b.yaml", "config.yaml"]
        opened.clear()
        (folder / "c.yaml").write_text(service("c"))
        await follower.next()
    assert set(opened) == {"c.yaml"}


async def test_a_file_that_changes_within_a_tick_of_its_clock_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "RACY_TIME", 10**15)
    root = lay_out(tmp_path, "web")
    fixed = (root / "web.yaml").stat()
    monkeypatch.setattr(Signature, "of", classmethod(lambda cls, status: cls(0, 0, 0, fixed.st_mtime_ns, 0)))
    async with following(FolderSource(str(root))) as follower:
        assert names(await follower.next()) == ["web"]
        (root / "web.yaml").write_text(service("bew"))
        assert names(await follower.next()) == ["bew"]


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
