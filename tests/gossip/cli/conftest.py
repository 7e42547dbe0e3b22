"""Fixtures of the command-line tests: agents as processes, all of them ended with the test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.interop.peers import open_peers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.interop.peers import Peers


@pytest.fixture
async def peers() -> AsyncIterator[Peers]:
    async with open_peers() as running:
        yield running
