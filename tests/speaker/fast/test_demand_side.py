"""What was kept comes first and whole, whenever the slow process speaks: what it tells is in force in the end."""

from __future__ import annotations

from ipaddress import IPv4Address
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from speaker.commands import SetLocalAddresses
from speaker.core import Speaker, SpeakerConfig
from speaker.demand import DemandChange
from speaker.fast.demand_side import DemandSide
from speaker.fast.health import Health
from speaker.fast.pump import Outlets, Pump
from speaker.fast.state import KeptState
from speaker.link import SourceHealth, SourceState, Wanted
from tests.speaker.fast.troubles import Said
from tests.speaker.test_saved import a_group

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cluster.model import Address
    from speaker.commands import Command

NUMBERS_PER_PART = 10
OLD, NEW = range(100), range(50, 150)
CURRENT = SourceState(health=SourceHealth.CURRENT, as_of=5.0)


def parts(numbers: Iterable[int]) -> tuple[DemandChange, ...]:
    """A whole demand of groups with these numbers."""
    groups = [a_group(number) for number in numbers]
    starts = range(0, len(groups), NUMBERS_PER_PART)
    return tuple(
        DemandChange(groups=tuple(groups[start : start + NUMBERS_PER_PART]), is_complete=start == starts[-1])
        for start in starts
    )


class Stage:
    """A demand's side, and the addresses that this machine is to serve itself: one group, one address."""

    def __init__(self, kept: KeptState | None) -> None:
        self.served: list[list[int]] = []
        core = Speaker(SpeakerConfig(node="ann"), rng=Random(1))
        pump = Pump(core, Outlets(send_frame=lambda *_: None, carry_out=self._carry_out, pass_on=lambda _: None))
        journal: Any = Said()
        self.health = Health(core, journal)
        self.side = DemandSide(pump, self.health, kept)

    def _carry_out(self, command: Command) -> None:
        assert isinstance(command, SetLocalAddresses)
        self.served.append(sorted(_number(address) for address in command.addresses))

    async def hear(self, *messages: Wanted | SourceState) -> None:
        """What the slow process tells, as its link is read."""
        for message in messages:
            await self.side.take(message)
            await trio.lowlevel.checkpoint()

    def is_dated(self) -> bool:
        return any("out of date" in finding.text for finding in self.health.findings())


def _number(address: Address) -> int:
    assert isinstance(address, IPv4Address)
    return int(address)


def reset(numbers: Iterable[int]) -> list[Wanted]:
    return [Wanted(change=change, is_reset=not place) for place, change in enumerate(parts(numbers))]


@pytest.mark.parametrize("turns", [0, 1, 3, 7, 11, 30], ids=lambda turns: f"{turns} turns after")
@pytest.mark.parametrize("is_first", ["what was kept", "the slow process"])
async def test_in_the_end_what_the_slow_process_told_is_in_force(is_first: str, turns: int) -> None:
    stage = Stage(KeptState(saved_at=5.0, parts=parts(OLD), known=()))
    both = [stage.side.restore, lambda: stage.hear(*reset(NEW), CURRENT)]
    if is_first == "the slow process":
        both.reverse()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(both[0])
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
            nursery.start_soon(both[1])
    assert stage.served == [list(OLD), list(NEW)]
    assert not stage.is_dated()


@pytest.mark.parametrize("is_early", [False, True])
async def test_a_demand_that_is_half_told_leaves_what_was_kept_in_force(is_early: bool) -> None:
    stage = Stage(KeptState(saved_at=5.0, parts=parts(OLD), known=()))
    half = reset(NEW)[:4]
    async with trio.open_nursery() as nursery:
        if is_early:
            nursery.start_soon(stage.hear, *half)
            await trio.testing.wait_all_tasks_blocked()
        await stage.side.restore()
        if not is_early:
            await stage.hear(*half)
    assert stage.served == [list(OLD)]
    await stage.hear(SourceState(health=SourceHealth.STALE, reasons=("it died",)))  # and is started again
    await stage.hear(*reset(NEW), CURRENT)
    assert stage.served == [list(OLD), list(NEW)]


async def test_without_anything_kept_the_slow_process_is_heard_at_once() -> None:
    stage = Stage(None)
    await stage.side.restore()
    await stage.hear(*reset(NEW))
    assert stage.served == [list(NEW)]
