"""The state of the last run, read at the start: used as it was kept, or ignored loudly."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio.testing

from speaker.fast import state as state_module
from speaker.fast.child import Child
from speaker.fast.state import UnusableState, load_state
from speaker.link import Report, SourceState
from speaker.saved import FILE_NAME, Origin, encode_saved
from tests.speaker.fast.children import WITHIN, address_of, rename_into, running, services, settings_in
from tests.speaker.test_saved import AT, a_demand

if TYPE_CHECKING:
    from pathlib import Path

    from speaker.demand import Demand
    from speaker.settings import Settings


def settings_with(folder: Path, wanted: Demand) -> Settings:
    """Settings whose state folder holds this demand."""
    settings = settings_in(folder)
    (folder / "state").mkdir()
    (folder / "state" / FILE_NAME).write_bytes(encode_saved(Origin.of(settings), wanted, [address_of(1)], AT))
    return settings


async def test_what_a_run_kept_is_what_the_next_one_begins_with(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    rename_into(tmp_path / "manifests", "services.yaml", services(1, 2))
    before = time.time()
    child = Child(settings.to_text())
    async with running(child) as told:
        await told.next(SourceState)
        child.send(Report(known=(address_of(1),)))
        await child.say_bye(WITHIN)
    kept = await load_state(settings, time.time())
    assert kept is not None
    assert before <= kept.saved_at <= time.time()
    assert [group.key for part in kept.parts for group in part.groups] == [address_of(1), address_of(2)]
    assert kept.parts[-1].is_complete
    assert kept.known == (address_of(1),)


@pytest.mark.slow
async def test_the_next_run_knows_what_the_one_before_did(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    rename_into(tmp_path / "manifests", "services.yaml", services(1, 2))
    for known in ((address_of(1),), ()):
        child = Child(settings.to_text())
        async with running(child) as told:
            await told.next(SourceState)
            child.send(Report(known=known))
            await child.say_bye(WITHIN)
    kept = await load_state(settings, time.time())
    assert kept is not None
    assert kept.known == (address_of(1),)


async def test_without_a_file_there_is_nothing(tmp_path: Path) -> None:
    assert await load_state(settings_in(tmp_path), AT) is None


async def test_a_torn_file_is_ignored_and_named(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, a_demand(3))
    path = tmp_path / "state" / FILE_NAME
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UnusableState, match=f"^{path} is ignored: it is torn$"):
        await load_state(settings, AT)


async def test_another_nodes_file_is_ignored_and_named(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, a_demand(3))
    with pytest.raises(UnusableState, match=f"{FILE_NAME} is ignored: it is another node's"):
        await load_state(replace(settings, node="bea"), AT)


async def test_what_is_no_file_is_ignored_and_named(tmp_path: Path) -> None:
    (tmp_path / "state" / FILE_NAME).mkdir(parents=True)
    with pytest.raises(UnusableState, match=f"{FILE_NAME} is ignored: Is a directory"):
        await load_state(settings_in(tmp_path), AT)


async def test_a_file_that_is_too_long_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_with(tmp_path, a_demand(3))
    monkeypatch.setattr(state_module, "MAX_FILE_BYTES", 100)
    with pytest.raises(UnusableState, match="it has more than 100 bytes"):
        await load_state(settings, AT)


async def test_others_have_their_turn_while_a_large_one_is_read(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, a_demand(2000))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        kept = await load_state(settings, AT)
        nursery.cancel_scope.cancel()
    assert kept is not None
    assert turns >= len(kept.parts) >= 10
