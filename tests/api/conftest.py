"""The API in this process, over a real ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row

from api.app import Api, create
from models.engine import async_engine
from tests.api.signed import STRIPE, Rows, trusting
from tests.contract.operations import Secret

# Nobody listens there: a port that is never handed out.
NOWHERE = "127.0.0.1:1"
WRITTEN = (
    "jobs",
    "job_keys",
    "attempts",
    "interactions",
    "interventions",
    "sends",
    "batches",
    "parts",
    "mails",
    "messages",
    "objects",
    "suppressions",
    "loads",
    "contacts",
    "set_aside",
    "uploads",
    "upload_pieces",
    "vendor_states",
    "breaker_changes",
    "events",
)


@asynccontextmanager
async def serving(database: str, **options: Any) -> AsyncIterator[tuple[Api, httpx.AsyncClient]]:
    """The application and a client of it."""
    given: dict[str, Any] = {"broker_url": None, "tokens": []} | options
    app = create(async_engine(database, connections=5), **given)
    transport = httpx.ASGITransport(app)
    address = "http://localhost"
    async with httpx.AsyncClient(transport=transport, base_url=address, trust_env=False) as client:
        yield app, client
    await app.state.doors.close()
    await app.state.ledger.dispose()


@pytest.fixture
def emptied(database_url: str) -> Iterator[str]:
    """The ledger of the whole run, empty before and after: much quicker than one of its own."""
    empty(database_url)
    yield database_url
    empty(database_url)


def empty(url: str) -> None:
    with psycopg.connect(url) as connection:
        for table in WRITTEN:
            connection.execute(f"DELETE FROM ferryman.{table}")


@pytest.fixture
async def client(emptied: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API over an empty ledger."""
    async with serving(emptied) as (_, made):
        yield made


@pytest.fixture
def ledger(emptied: str) -> Iterator[psycopg.Connection[Any]]:
    """The same ledger, seen directly."""
    with psycopg.connect(emptied, autocommit=True, row_factory=dict_row) as connection:
        yield connection


@pytest.fixture
def charge() -> dict[str, Any]:
    """The body of an acceptable job."""
    return {
        "kind": "charge",
        "args": {
            "customer": "user-42",
            "amount": 1250,
            "currency": "usd",
            "payment_method": "pm_card_visa",
        },
    }


@pytest.fixture
def rows(ledger: psycopg.Connection[Any]) -> Rows:
    """The stored events of vendors, oldest first."""
    return lambda: ledger.execute("SELECT * FROM ferryman.events ORDER BY id").fetchall()


@pytest.fixture
def secret() -> Iterator[Secret]:
    """With which Stripe signs its webhooks here."""
    found = STRIPE.webhooks()
    assert found is not None
    made = found.secret()
    with trusting(STRIPE, made):
        yield made
