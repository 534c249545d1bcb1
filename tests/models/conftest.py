"""A depot of riders, swept."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.models.loads import Depot, depot


@pytest.fixture
async def yard(database_url: str) -> AsyncIterator[Depot]:
    async with depot(database_url) as made:
        yield made
