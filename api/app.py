"""The application: routes, gate and errors put together around one ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import Receive, Scope, Send

from api import (
    batches,
    bulk,
    contacts,
    enqueue,
    events,
    health,
    interventions,
    jobs,
    metrics,
    objects,
    openapi,
    problems,
    states,
    suppressions,
    uploads,
    vendors,
    webhooks,
)
from api.auth import Gate
from api.doors import Doors
from api.ledger import Ledger, conninfo
from api.limits import Limits

PARTS = (
    enqueue,
    jobs,
    bulk,
    events,
    states,
    interventions,
    batches,
    objects,
    suppressions,
    contacts,
    uploads,
    vendors,
    webhooks,
    health,
    metrics,
)
# Connections beside the engine's: that of new jobs, and that of the webhooks.
LINES = 2


class Api(FastAPI):
    """FastAPI with our OpenAPI document, and with webhooks on a shorter way."""

    def openapi(self) -> dict[str, Any]:
        if not self.openapi_schema:
            self.openapi_schema = openapi.complete(super().openapi())
        return self.openapi_schema

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if webhooks.is_one(scope):
            await self.state.webhooks(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create(
    engine: AsyncEngine,
    *,
    broker_url: str | None,
    tokens: Sequence[str],
    public_url: str | None = None,
    rate: float = 0,
) -> Api:
    """The API over one ledger. Without `tokens` it answers loopback names only, save to webhooks.
    `public_url` is what vendors call it by; `rate`, how many requests a second each token may make
    (0: any number).

    `state.stopping` ends all long polls.
    """
    app = Api(
        title="ferryman",
        version=version("ferryman"),
        summary="Carries calls to third parties through a durable queue.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
    )
    app.state.ledger = Ledger(engine)
    app.state.doors = Doors(conninfo(engine), public_url)
    app.state.webhooks = webhooks.Webhooks(app.state.doors)
    app.state.figures = metrics.Figures(app.state.ledger, app.state.doors.counts)
    app.state.broker_url = broker_url
    app.state.stopping = False
    for part in PARTS:
        app.include_router(part.router)
    problems.install(app)
    if rate:
        app.add_middleware(Limits, rate=rate, by_token=bool(tokens))
    app.add_middleware(Gate, tokens=tokens)
    app.add_middleware(problems.Catcher)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    await app.state.doors.close()
    await app.state.ledger.dispose()
