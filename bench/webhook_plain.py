"""The webhook endpoint as Stripe's and FastAPI's own pages lead to it: the SDK checks the
signature, a transaction of its own stores the event, then comes the answer."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg
import stripe
from fastapi import FastAPI, HTTPException, Request
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

SECRET = os.environ["BENCH_SECRET"]
DATABASE = os.environ["BENCH_DATABASE"]
POOL = 10
COLUMNS = ("id", "event_id", "type", "at", "payload")
STORE = """
INSERT INTO ferryman.events (id, event_id, type, at, payload, vendor, via)
VALUES ({}, 'stripe', 'webhook') ON CONFLICT DO NOTHING
"""

Row = dict[str, Any]
Store = Callable[[Row], Awaitable[None]]


@asynccontextmanager
async def by_sqlalchemy() -> AsyncIterator[Store]:
    address = DATABASE.replace("postgresql:", "postgresql+psycopg:")
    engine = create_async_engine(address, pool_size=POOL, max_overflow=0)
    statement = text(STORE.format(", ".join(f":{name}" for name in COLUMNS)))

    async def store(row: Row) -> None:
        async with engine.begin() as connection:
            await connection.execute(statement, row)

    yield store
    await engine.dispose()


@asynccontextmanager
async def by_psycopg() -> AsyncIterator[Store]:
    """The driver alone: a statement is a transaction."""
    free: asyncio.Queue[psycopg.AsyncConnection] = asyncio.Queue()
    for _ in range(POOL):
        free.put_nowait(await psycopg.AsyncConnection.connect(DATABASE, autocommit=True))
    statement = STORE.format(", ".join(f"%({name})s" for name in COLUMNS))

    async def store(row: Row) -> None:
        connection = await free.get()
        try:
            await connection.execute(statement, row)
        finally:
            free.put_nowait(connection)

    yield store
    while not free.empty():
        await free.get_nowait().close()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    ways = {"sqlalchemy": by_sqlalchemy, "psycopg": by_psycopg}
    async with ways[os.environ["BENCH_WAY"]]() as app.state.store:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/webhooks/stripe")
async def receive(request: Request) -> dict[str, str]:
    body = await request.body()
    signature = request.headers.get("stripe-signature", "")
    try:
        event = stripe.Webhook.construct_event(body, signature, SECRET)
    except (ValueError, stripe.SignatureVerificationError):
        raise HTTPException(400, "The signature is not Stripe's.") from None
    await app.state.store(
        {
            "id": uuid4(),
            "event_id": event.id,
            "type": event.type,
            "at": datetime.fromtimestamp(event.created, UTC),
            "payload": json.dumps(event.to_dict()),
        }
    )
    return {"status": "received"}
