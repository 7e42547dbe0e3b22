"""What tests of the whole share: a lab for each file, and a record of what an outsider on its LAN hears."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from sim.lab.nodes import starling
from tests.e2e.clusters import cluster
from tests.e2e.figures import Figures, Measured
from tests.e2e.recorder import Recorder, record
from tests.e2e.stage import Stage, open_stage

FIGURES = pytest.StashKey[Figures]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = Figures()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash[FIGURES].lines():
        terminalreporter.write_line(line)


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Measured:
    """Notes a figure for the end of the run."""
    return request.config.stash[FIGURES].note


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The lab of a file. What it wants other than three nodes and three services it says as `CLUSTER`, and as
    `PROFILE` other timings of the ring than those of one machine."""
    texts = getattr(request.module, "CLUSTER", None) or cluster(3, 3)
    commands = starling(getattr(request.module, "PROFILE", "local"))
    with open_stage(tmp_path_factory.mktemp("lab"), texts, commands) as opened:
        yield opened


@pytest.fixture
async def observer(stage: Stage) -> AsyncIterator[Recorder]:
    """The observer's ears; whatever the test before did is undone, and every address is where it belongs."""
    await stage.tidy()
    async with record(stage.observer) as (recorder,):
        await stage.settled(recorder, {address: stage.winner(address) for address in stage.addresses})
        yield recorder
