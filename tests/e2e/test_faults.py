"""One node fails or goes: another serves its addresses, and when it is back there is one owner all the same."""

from __future__ import annotations

import time

import pytest

from tests.e2e.figures import Measured
from tests.e2e.recorder import Recorder
from tests.e2e.stage import Stage

pytestmark = [pytest.mark.needs("netns"), pytest.mark.slow]


class Failure:
    """The first address, its owner, and who is to follow it."""

    def __init__(self, stage: Stage, observer: Recorder) -> None:
        self.stage, self.observer = stage, observer
        self.address = stage.addresses[0]
        self.owner = stage.winner(self.address)
        self.rest = [node for node in stage.nodes if node != self.owner]
        self.heirs = {address: stage.winner(address, self.rest) for address in stage.addresses}
        self.heir = self.heirs[self.address]
        self._since, self._began_at = len(observer.frames), time.time()

    async def wait_taken_over(self) -> float:
        """Seconds from the beginning to the heir's first announcement, for everybody and all addresses settled."""
        mac = self.stage.mac(self.heir)
        first = await self.observer.wait_for(
            lambda frame: frame.is_gratuitous and frame.claims(self.address) and frame.ether.src == mac, self._since
        )
        await self.stage.settled(self.observer, self.heirs)
        return first.at - self._began_at

    async def wait_back(self) -> None:
        """Until everything is where it belongs, and reached there."""
        stage = self.stage
        await stage.settled(self.observer, {address: stage.winner(address) for address in stage.addresses})
        assert await stage.fetch(self.address) == self.owner


async def test_a_killed_speaker(stage: Stage, observer: Recorder, measured: Measured) -> None:
    """Its host goes on, with the addresses on its loopback: nobody may hear of them from its kernel."""
    fault = Failure(stage, observer)
    assert await stage.fetch(fault.address) == fault.owner
    stage.kill(fault.owner)
    measured("SIGKILL to takeover", await fault.wait_taken_over())
    assert await stage.fetch(fault.address) == fault.heir
    await stage.lab.restart(fault.owner)
    await fault.wait_back()


async def test_a_cable_that_is_pulled(stage: Stage, observer: Recorder, measured: Measured) -> None:
    fault = Failure(stage, observer)
    assert await stage.fetch(fault.address) == fault.owner
    await stage.lab.lan.cut(fault.owner)
    measured("cut to takeover", await fault.wait_taken_over())
    assert await stage.fetch(fault.address) == fault.heir
    await stage.lab.lan.mend(fault.owner)
    await fault.wait_back()


async def test_a_speaker_that_is_told_to_end(stage: Stage, observer: Recorder, measured: Measured) -> None:
    fault = Failure(stage, observer)
    assert await stage.fetch(fault.address) == fault.owner
    stage.stop(fault.owner)
    for node in fault.rest:
        await stage.speakers.logged(node, "memberLeft", member=fault.owner)
    measured("SIGTERM to takeover", await fault.wait_taken_over())
    told = [line["event"] for node in fault.rest for line in stage.speakers.log(node)]
    assert "memberFailed" not in told  # it said goodbye, and nobody had to find out
    assert await stage.fetch(fault.address) == fault.heir
    await stage.lab.restart(fault.owner)
    await fault.wait_back()


async def test_a_speaker_that_stands_still(stage: Stage, observer: Recorder, measured: Measured) -> None:
    """It wakes up with a view in which it owns what others have taken over meanwhile."""
    fault = Failure(stage, observer)
    assert await stage.fetch(fault.address) == fault.owner
    speaker = stage.lab.nodes[fault.owner].speaker
    speaker.pause()
    measured("SIGSTOP to takeover", await fault.wait_taken_over())
    assert await stage.fetch(fault.address) == fault.heir
    speaker.resume()
    await fault.wait_back()


async def test_two_at_once(stage: Stage, observer: Recorder) -> None:
    (last, *others) = sorted(stage.nodes)
    for node in others:
        stage.kill(node)
    await stage.settled(observer, dict.fromkeys(stage.addresses, last))
    assert {await stage.fetch(address) for address in stage.addresses} == {last}
