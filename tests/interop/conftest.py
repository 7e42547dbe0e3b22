"""Fixtures of the tests with real peers."""

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
