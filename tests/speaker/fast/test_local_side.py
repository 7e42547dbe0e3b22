"""The loopback's addresses as they are wanted last: what goes wrong is shown, and tried again until it is right."""

from __future__ import annotations

import errno
import math
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import pytest
import trio

from speaker.fast.local_addresses import LocalAddressError
from speaker.fast.local_side import LocalSide
from tests.speaker.fast.troubles import Said, a_health

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cluster.model import Address

A, B = IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")


class Loopback:
    """It refuses while there is something that it raises."""

    def __init__(self) -> None:
        self.refusal: Exception | None = None
        self.tried_at: list[float] = []
        self.wanted: tuple[Address, ...] | None = None

    async def set(self, addresses: tuple[Address, ...]) -> None:
        await trio.lowlevel.checkpoint()
        self.tried_at.append(trio.current_time())
        if self.refusal is not None:
            raise self.refusal
        self.wanted = addresses

    def gaps(self) -> list[float]:
        """Seconds between the tries."""
        return [round(after - before, 3) for before, after in zip(self.tried_at, self.tried_at[1:], strict=False)]


class Stage:
    def __init__(self) -> None:
        self.said = Said()
        self.health = a_health(self.said)
        self.loopback = Loopback()
        addresses: Any = self.loopback
        self.side = LocalSide(addresses, self.health)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.side.run)
        yield made
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("refusal", "text"),
    [
        (LocalAddressError("refused on lo: 10.0.0.1: No buffer space available"), "refused on lo: 10.0.0.1"),
        (OSError(errno.EMFILE, "Too many open files"), "on the loopback: Too many open files"),
    ],
    ids=["an address", "all of it"],
)
async def test_what_was_refused_is_tried_again_until_it_is_right(
    stage: Stage, autojump_clock: object, refusal: Exception, text: str
) -> None:
    stage.loopback.refusal = refusal
    stage.side.want((A,))
    await trio.sleep(200)
    assert stage.loopback.gaps() == [1, 2, 4, 8, 16, 32, 60, 60]
    assert [finding.text for finding in stage.health.findings() if text in finding.text]
    stage.loopback.refusal = None
    await trio.sleep(61)
    assert stage.loopback.wanted == (A,)
    assert not [finding.text for finding in stage.health.findings() if text in finding.text]
    assert stage.said.events == ["trouble", "troubleOver"]
    tries = len(stage.loopback.tried_at)
    await trio.sleep(3600)
    assert len(stage.loopback.tried_at) == tries


async def test_what_is_wanted_next_is_tried_at_once_and_the_delays_begin_again_after_a_success(
    stage: Stage, autojump_clock: object
) -> None:
    stage.loopback.refusal = LocalAddressError("refused on lo")
    stage.side.want((A,))
    await trio.sleep(100)
    stage.loopback.refusal = None
    began_at = trio.current_time()
    stage.side.want((A, B))
    await trio.sleep(0.001)
    assert stage.loopback.wanted == (A, B)
    assert math.isclose(stage.loopback.tried_at[-1], began_at)
    stage.loopback.refusal = LocalAddressError("refused on lo")
    stage.side.want(())
    await trio.sleep(10)
    assert stage.loopback.gaps()[-3:] == [1, 2, 4]
