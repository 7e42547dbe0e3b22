"""A LAN that falls apart and is whole again: two owners meanwhile, one soon after, and never none.

The observer stays connected to every node, so it sees both owners.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import pairwise

import pytest
import trio

from tests.e2e.clusters import cluster
from tests.e2e.figures import Measured
from tests.e2e.recorder import OTHERS_WITHIN, Frame, Recorder
from tests.e2e.stage import Stage

pytestmark = [pytest.mark.needs("netns"), pytest.mark.slow]

CLUSTER = cluster(5, 3)
ASK_EVERY = 0.02
IN_A_ROW = 50
"""Answers of one node, one after another, that end a watch."""
WATCHED_AT_MOST = 30.0
UNHEARD = 10
"""Questions to a node that has its cable again and hears nobody; it waits for the ring far longer than they take."""
TRAIN = 1.2
"""Seconds in which who gained an address has told everybody as often as it does."""
FIND_WITHIN = 60.0


@dataclass(frozen=True)
class Healing:
    """What was seen of an address from the repair on, until one node alone answered."""

    questions: int
    answers: list[Frame]
    repaired_at: float

    def by(self, mac: str) -> list[float]:
        """When a node answered."""
        return [answer.at for answer in self.answers if answer.ether.src == mac]

    def last_but_by(self, mac: str) -> float:
        """When anybody else answered for the last time, or the repair."""
        return max((answer.at for answer in self.answers if answer.ether.src != mac), default=self.repaired_at)

    def longest_silence(self) -> float:
        times = [self.repaired_at, *(answer.at for answer in self.answers)]
        return max(later - earlier for earlier, later in pairwise(times))


async def heal(stage: Stage, observer: Recorder, address: str, repair: Callable[[], Awaitable[None]]) -> Healing:
    """Repair the LAN and go on asking for an address until its owner alone has answered for a while."""
    since, repaired_at, questions = len(observer.frames), time.time(), 0
    owner = stage.mac(stage.winner(address))

    def answers() -> list[Frame]:
        return [frame for frame in observer.frames[since:] if frame.answers(address, stage.observer.mac)]

    await repair()
    with trio.fail_after(WATCHED_AT_MOST):
        while [answer.ether.src for answer in answers()[-IN_A_ROW:]] != [owner] * IN_A_ROW:
            observer.send(observer.question(address))
            questions += 1
            await trio.sleep(ASK_EVERY)
    await observer.listen(OTHERS_WITHIN)  # to the last questions
    return Healing(questions, answers(), repaired_at)


async def wait_for_two(observer: Recorder, address: str) -> None:
    with trio.fail_after(FIND_WITHIN):
        while len({answer.ether.src for answer in await observer.ask(address)}) < 2:
            pass


@pytest.mark.parametrize("size", [1, 3])
async def test_the_owner_is_in_a_part_of(stage: Stage, observer: Recorder, measured: Measured, size: int) -> None:
    address = stage.addresses[0]
    owner = stage.winner(address)
    others = [node for node in stage.nodes if node != owner]
    here, there = [owner, *others[: size - 1]], others[size - 1 :]
    assert await stage.fetch(address) == owner
    await stage.lab.lan.block(here, there)
    await stage.lab.lan.block(there, here)
    await wait_for_two(observer, address)

    since = len(observer.frames)
    healing = await heal(stage, observer, address, stage.lab.lan.repair)
    mac = stage.mac(owner)
    measured(f"repair to one owner, owner among {size} of 5", healing.last_but_by(mac) - healing.repaired_at)
    measured(f"longest silence after the repair, owner among {size} of 5", healing.longest_silence())
    assert len(healing.by(mac)) >= healing.questions  # none was in vain
    said = [frame.at for frame in observer.announcements(address, since) if frame.ether.src == stage.mac(owner)]
    assert [at for at in said if at >= healing.repaired_at]
    await stage.settled(observer, {one: stage.winner(one) for one in stage.addresses})
    assert await stage.fetch(address) == owner


async def test_a_cable_that_was_out_makes_no_two_owners(stage: Stage, observer: Recorder, measured: Measured) -> None:
    """Without a carrier a node knows that it hears nothing, and does not go on where it left off."""
    address = stage.addresses[0]
    owner = stage.winner(address)
    rest = [node for node in stage.nodes if node != owner]
    await stage.lab.lan.cut(owner)
    await stage.settled(observer, {one: stage.winner(one, rest) for one in stage.addresses})
    await stage.lab.lan.block([owner], rest)
    await stage.lab.lan.block(rest, [owner])
    await stage.lab.lan.mend(owner)
    since = len(observer.frames)
    for _ in range(UNHEARD):
        observer.send(observer.question(address))
        await trio.sleep(ASK_EVERY)
    await observer.listen(OTHERS_WITHIN)
    answers = [frame for frame in observer.frames[since:] if frame.answers(address, stage.observer.mac)]
    assert [answer.ether.src for answer in answers] == [stage.mac(stage.winner(address, rest))] * UNHEARD

    healing = await heal(stage, observer, address, stage.lab.lan.repair)
    measured("ring heard again to the owner's first answer", healing.by(stage.mac(owner))[0] - healing.repaired_at)
    measured("longest silence after that", healing.longest_silence())
    await stage.settled(observer, {one: stage.winner(one) for one in stage.addresses})


async def test_who_heard_of_nothing_is_believed_again(stage: Stage, observer: Recorder) -> None:
    """For the owner nothing has changed, but others have announced its address meanwhile, and clients believed them."""
    address = stage.addresses[0]
    owner = stage.winner(address)
    rest = [node for node in stage.nodes if node != owner]
    await stage.lab.lan.block([owner], rest)
    await stage.lab.lan.block(rest, [owner])
    heir = stage.mac(stage.winner(address, rest))
    await observer.wait_for(lambda frame: frame.is_gratuitous and frame.claims(address) and frame.ether.src == heir)
    await observer.listen(TRAIN)  # so that it is not contradicted by what the heir still has to say
    since = len(observer.frames)
    await stage.lab.lan.repair()
    said = await observer.wait_for(
        lambda frame: frame.is_gratuitous and frame.claims(address) and frame.ether.src == stage.mac(owner), since
    )
    assert said.arp.hwsrc == stage.mac(owner)
    await stage.settled(observer, {one: stage.winner(one) for one in stage.addresses})
    assert await stage.fetch(address) == owner
