"""The application: routes, gate and errors put together around one ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from api import batches, bulk, health, interventions, jobs, metrics, openapi, problems, vendors
from api.auth import Gate
from api.ledger import Ledger


class Api(FastAPI):
    """FastAPI with our OpenAPI document."""

    def openapi(self) -> dict[str, Any]:
        if not self.openapi_schema:
            self.openapi_schema = openapi.complete(super().openapi())
        return self.openapi_schema


def create(engine: AsyncEngine, *, broker_url: str | None, tokens: Sequence[str]) -> Api:
    """The API over one ledger. Without `tokens` it answers loopback names only.

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
    app.state.figures = metrics.Figures(app.state.ledger)
    app.state.broker_url = broker_url
    app.state.stopping = False
    for part in (bulk, jobs, interventions, batches, vendors, health, metrics):
        app.include_router(part.router)
    problems.install(app)
    app.add_middleware(Gate, tokens=tokens)
    app.add_middleware(problems.Catcher)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    await app.state.ledger.dispose()
