"""Is this process alive, and can it do its work? And, for a visitor: what is here?"""

from __future__ import annotations

import asyncio
from functools import cache
from importlib.metadata import version
from typing import Any

from alembic.script import ScriptDirectory
from fastapi import APIRouter, Request
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from api import doors, openapi, schemas
from api.ledger import Ledger, TheLedger, down
from models.migrate import config

router = APIRouter(tags=["health"], responses=openapi.responses(421))

ASK_SECONDS = 1.0
REVISION = text("SELECT version_num FROM ferryman.alembic_version")
OPEN: dict[str, Any] = {"security": []}


@router.get(
    "/healthz",
    response_model=schemas.Health,
    summary="Alive",
    openapi_extra=OPEN,
)
async def healthz() -> dict[str, str]:
    """Needs neither token nor ledger."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    response_model=schemas.Readiness,
    summary="Able to work",
    responses=openapi.responses(503),
    openapi_extra=OPEN,
)
async def readyz(request: Request, ledger: TheLedger) -> dict[str, Any]:
    """503 without the ledger or with another schema than this version's. `degraded` names what is
    down while jobs are still accepted: without the broker they wait in the ledger, and where
    `webhooks.stripe` is named, what Stripe sends is not taken: what verifies it is not set."""
    _, broker = await asyncio.gather(_check_ledger(ledger), _answers(request.app.state.broker_url))
    shut = [f"webhooks.{vendor}" for vendor in doors.closed()]
    return {"status": "ready", "degraded": [*([] if broker else ["broker"]), *shut]}


@router.get(
    "/",
    response_model=schemas.Index,
    summary="What is here",
    responses=openapi.responses(401),
)
async def index() -> dict[str, Any]:
    return {
        "name": "ferryman",
        "version": version("ferryman"),
        "openapi": "/openapi.json",
        "jobs": "/v1/jobs",
        "vendors": "/v1/vendors",
        "health": ["/healthz", "/readyz"],
        "metrics": "/metrics",
    }


async def _check_ledger(ledger: Ledger) -> None:
    async def revision(connection: AsyncConnection) -> str | None:
        found: str | None = await connection.scalar(REVISION)
        return found

    if await ledger.run(revision, seconds=ASK_SECONDS) != _head():
        raise down("Its schema is not that of this version: run `ferryman migrate`.")


@cache
def _head() -> str | None:
    return ScriptDirectory.from_config(config()).get_current_head()


async def _answers(broker_url: str | None) -> bool:
    """Whether the broker answers a ping in time."""
    if broker_url is None:
        return False
    try:
        client = Redis.from_url(broker_url, retry=Retry(NoBackoff(), 0))
        async with asyncio.timeout(ASK_SECONDS), client:
            return bool(await client.ping())
    except (RedisError, OSError, TimeoutError, ValueError):
        return False
