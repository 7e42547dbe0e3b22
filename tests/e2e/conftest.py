"""What tests of the whole share: a lab for each file, and a record of what an outsider on its LAN hears."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.e2e.recorder import Recorder, record
from tests.e2e.stage import Stage, cluster, open_stage


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The lab of a file. A file that wants another than three nodes and three services says so as `CLUSTER`."""
    texts = getattr(request.module, "CLUSTER", None) or cluster(3, 3)
    with open_stage(tmp_path_factory.mktemp("lab"), texts) as opened:
        yield opened


@pytest.fixture
async def observer(stage: Stage) -> AsyncIterator[Recorder]:
    """The observer's ears; whatever the test before did is undone, and every address is where it belongs."""
    await stage.tidy()
    async with record(stage.observer) as (recorder,):
        await stage.settled(recorder, {address: stage.winner(address) for address in stage.addresses})
        yield recorder
