"""The state file: written once for many changes, dated by when it was true, whole at any moment."""

from __future__ import annotations

import errno
import json
import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from cluster.model import Address
from speaker.demand import Demand
from speaker.link import Report, SourceHealth, SourceState
from speaker.slow import keeper as keeper_module
from speaker.slow.keeper import Keeper, replace_file
from telemetry.logs import Log
from tests.speaker.fast.children import address_of, settings_in
from tests.speaker.test_saved import a_demand

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

CURRENT = SourceState(health=SourceHealth.CURRENT, as_of=5.0)


async def at_once(function: Callable[[], object], *, abandon_on_cancel: bool) -> object:
    """In place of a thread, for which a clock that jumps would not wait."""
    await trio.lowlevel.checkpoint()
    return function()


class Kept:
    """A keeper whose writes are counted."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = folder / "state" / "demand"
        self.lines: list[dict[str, Any]] = []
        self.writes: list[bytes] = []
        self.trouble: OSError | None = None
        monkeypatch.setattr(keeper_module, "replace_file", self._replace)
        monkeypatch.setattr(trio.to_thread, "run_sync", at_once)
        self.keeper = Keeper(settings_in(folder), Log(self._hear, lambda: 0.0))

    def _hear(self, line: str) -> bool:
        self.lines.append(json.loads(line))
        return True

    def _replace(self, path: str, data: bytes) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.writes.append(data)
        replace_file(path, data)

    def head(self) -> dict[str, Any]:
        """The first line of the file."""
        head: dict[str, Any] = json.loads(self.path.read_bytes().partition(b"\n")[0])
        return head

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Keeper]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.keeper.run)
            yield self.keeper
            nursery.cancel_scope.cancel()


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    return Kept(tmp_path, monkeypatch)


async def test_a_burst_is_written_once(kept: Kept, autojump_clock: object) -> None:
    async with kept.running() as keeper:
        keeper.date(CURRENT)
        for count in range(1, 50):
            keeper.want(a_demand(count))
        await trio.sleep(10)
    assert len(kept.writes) == 1
    assert b"service-48" in kept.writes[0]


async def test_nothing_is_written_before_anything_was_read(kept: Kept, autojump_clock: object) -> None:
    async with kept.running() as keeper:
        keeper.hear(Report(known=(address_of(1),)))
        await trio.sleep(10)
    assert not kept.path.exists()


async def test_what_stays_true_gets_a_new_date_and_what_is_stale_keeps_its_own(
    kept: Kept, autojump_clock: object
) -> None:
    before = time.time()
    async with kept.running() as keeper:
        keeper.date(CURRENT)
        keeper.want(a_demand(1))
        await trio.sleep(keeper_module.KEEP_INTERVAL * 3.5)
        assert len(kept.writes) == 4
        assert kept.head()["saved_at"] >= before
        keeper.date(SourceState(health=SourceHealth.STALE, as_of=7.0))
        keeper.want(a_demand(2))
        await trio.sleep(keeper_module.KEEP_INTERVAL * 3.5)
        assert len(kept.writes) == 5
        assert kept.head()["saved_at"] == 7.0


async def test_trouble_is_said_once_with_the_cure_and_tried_again(kept: Kept, autojump_clock: object) -> None:
    kept.trouble = OSError(errno.ENOSPC, "No space left on device")
    async with kept.running() as keeper:
        keeper.date(CURRENT)
        keeper.want(a_demand(1))
        await trio.sleep(keeper_module.RETRY_AFTER * 3)
        kept.trouble = None
        await trio.sleep(keeper_module.RETRY_AFTER * 3)
    assert [(line["level"], line["event"]) for line in kept.lines] == [("warn", "stateNotKept"), ("info", "stateKept")]
    assert kept.lines[0]["error"] == f"{kept.path}: No space left on device"
    assert f"make {kept.path.parent} writable" in kept.lines[0]["msg"]
    assert len(kept.writes) == 1


async def test_a_demand_beyond_the_limit_is_not_written_and_said(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "MAX_FILE_BYTES", 1000)
    kept.keeper.date(CURRENT)
    kept.keeper.want(a_demand(100))
    assert not await kept.keeper.keep()
    assert "1000 is the limit" in kept.lines[0]["error"]
    assert not kept.path.exists()


def known_in(kept: Kept) -> set[Address]:
    return set(Keeper(kept_settings(kept), Log(lambda line: True, lambda: 0.0))._known)


def kept_settings(kept: Kept) -> Any:
    return settings_in(kept.path.parents[1])


async def test_an_address_that_is_gone_is_new_when_it_comes_back(kept: Kept) -> None:
    keeper = kept.keeper
    keeper.date(CURRENT)
    wanted = a_demand(3)
    first, second, third = (group.key for group in wanted.groups)
    keeper.want(wanted)
    keeper.hear(Report(known=(first, third)))
    await keeper.keep()
    assert known_in(kept) == {first, third}
    keeper.want(Demand(groups=wanted.groups[:2]))
    keeper.want(wanted)
    await keeper.keep()
    assert known_in(kept) == {first}
    assert second not in known_in(kept)


def test_a_file_is_the_old_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "demand"
    replace_file(str(path), b"old")
    seen: list[bytes] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: seen.append(path.read_bytes()))
    replace_file(str(path), b"new")
    assert seen == [b"old", b"new"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["demand"]
