"""The ring's side: who is there is told once for all that waits, and in time for what depends on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from gossip import JoinCompleted, Member, MemberFailed, MemberJoined, State, UserMessageReceived
from gossip.driver import Subscription
from speaker.fast.ring_side import RingSide

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from speaker.ownership import MemberFacts


def member(name: str, state: State = State.ALIVE) -> Member:
    return Member(name, ("10.0.0.1", 7946), b"", bytes(6), 1, state, 0.0)


@dataclass
class Core:
    """What the ring's side tells, by the names of the core's inputs."""

    told: list[str] = field(default_factory=list)
    members: tuple[str, ...] = ()
    config: Any = field(default_factory=lambda: SimpleNamespace(node="n1"))

    def members_changed(self, members: Iterable[MemberFacts], now: float) -> None:
        self.members = tuple(facts.name for facts in members)
        self.told.append("members_changed")

    def ring_heard(self, now: float) -> None:
        self.told.append("ring_heard")

    def reunited(self, now: float) -> None:
        self.told.append("reunited")

    def receive_message(self, payload: bytes, now: float) -> None:
        self.told.append(f"receive_message {payload.decode()}")


class Stage:
    """A ring that is what the test says."""

    def __init__(self) -> None:
        self.core = Core()
        self.events = Subscription()
        self.members = {"n1": member("n1")}

    def put(self, name: str, state: State = State.ALIVE) -> None:
        """Have a member join or fail."""
        self.members[name] = member(name, state)
        put = self.events.put
        if state is State.ALIVE:
            put(MemberJoined(self.members[name]))
        else:
            put(MemberFailed(self.members[name], "n1"))

    async def heard(self) -> list[str]:
        """What was told since the last time, once nothing waits any more."""
        await trio.testing.wait_all_tasks_blocked()
        told, self.core.told = self.core.told, []
        return told


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()

    def tell(call: Callable[[float], object]) -> None:
        call(0.0)

    ring: Any = SimpleNamespace(view=SimpleNamespace(members=lambda: tuple(made.members.values())))
    health: Any = None  # nothing goes wrong here
    pump: Any = SimpleNamespace(core=made.core, tell=tell)
    side = RingSide(ring, pump, health, is_new=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(side.hear, made.events)
        await made.heard()
        yield made
        nursery.cancel_scope.cancel()


async def test_who_joins_is_told_before_the_ring_counts_as_heard(stage: Stage) -> None:
    stage.put("n2")
    assert await stage.heard() == ["members_changed", "ring_heard"]
    assert stage.core.members == ("n1", "n2")


async def test_a_thousand_that_join_at_once_are_told_once(stage: Stage) -> None:
    for number in range(2, 1002):
        stage.put(f"n{number}")
    stage.events.put(JoinCompleted(1, (("10.0.0.2", 7946),), ()))
    told = await stage.heard()
    assert told.count("members_changed") == 1
    assert told[0] == "members_changed"
    assert len(stage.core.members) == 1001
    stage.put("n2000")
    assert await stage.heard() == ["members_changed", "ring_heard"]
    assert "n2000" in stage.core.members


async def test_who_is_there_is_told_before_what_it_says(stage: Stage) -> None:
    stage.put("n2")
    stage.events.put(UserMessageReceived(b"first", ("10.0.0.2", 7946), True))
    stage.put("n3")
    told = await stage.heard()
    assert told.index("members_changed") < told.index("receive_message first")
    assert stage.core.members == ("n1", "n2", "n3")


async def test_a_change_whose_event_was_lost_is_told(stage: Stage) -> None:
    stage.put("n2")
    for _ in range(5000):
        stage.events.put(UserMessageReceived(b"flood", ("10.0.0.2", 7946), True))
    assert stage.events.lost > 0
    told = await stage.heard()
    assert told.count("members_changed") == 1
    assert stage.core.members == ("n1", "n2")


async def test_one_that_was_held_dead_and_is_back_is_reunited_with(stage: Stage) -> None:
    stage.put("n2")
    stage.put("n2", State.DEAD)
    await stage.heard()
    stage.put("n2")
    assert await stage.heard() == ["members_changed", "ring_heard", "reunited"]
    stage.put("n2")
    assert "reunited" not in await stage.heard()


async def test_one_that_the_ring_has_forgotten_is_a_new_one(stage: Stage) -> None:
    stage.put("n2", State.DEAD)
    await stage.heard()
    del stage.members["n2"]
    stage.put("n3")
    await stage.heard()
    stage.put("n2")
    assert "reunited" not in await stage.heard()
