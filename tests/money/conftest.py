"""The two payment vendors, each with an empty ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from ferryman.testing import Sandbox
from models.tables import Base
from tests.money.bank import PURSES, Bank, Purse, banking, environment

# Those that a migration fills.
KEPT = ("routes", "metric_mark")


@pytest.fixture
def emptied(database_url: str) -> Iterator[str]:
    """The ledger of the whole run, empty before and after: much quicker than one of its own."""
    _empty(database_url)
    yield database_url
    _empty(database_url)


def _empty(url: str) -> None:
    tables = [table for table in Base.metadata.sorted_tables if table.name not in KEPT]
    with psycopg.connect(url) as connection:
        connection.execute(";".join(f"DELETE FROM {table.fullname}" for table in tables))


@pytest.fixture(params=PURSES, ids=lambda purse: purse.vendor)
async def bank(
    request: pytest.FixtureRequest,
    emptied: str,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Bank]:
    """One of the payment vendors, and a ledger."""
    purse: Purse = request.param
    environment(sandbox, monkeypatch)
    async with banking(purse, emptied, sandbox) as made:
        yield made
