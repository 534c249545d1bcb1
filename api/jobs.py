"""`/v1/jobs`: look at a job, wait for its end, list them, see its attempts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.convertors import StringConvertor, register_url_convertor

from api import openapi, schemas
from api.ledger import Ledger, TheLedger
from api.problems import Problem
from models import jobs, rides

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], responses=openapi.responses(401, 421, 503))

Row = dict[str, Any]
JobId = Annotated[UUID, Path(description="the job's id")]

LONGEST_WAIT_SECONDS = 60.0
# Quick jobs are told of at once, slow ones cost few looks.
FIRST_LOOK_SECONDS, LAST_LOOK_SECONDS = 0.05, 0.25
UNSETTLED = ("waiting", "running")


class _Id(StringConvertor):
    """What stands for an id in a path: not the doors of other methods beside it."""

    regex = "(?!(?:bulk|retry|states)$)[^/]+"


register_url_convertor("job", _Id())


class Filters(BaseModel):
    """The query of the list; an unknown parameter is refused, for a misspelt one shows too much."""

    model_config = ConfigDict(extra="forbid")

    status: schemas.Status | None = None
    kind: schemas.Word | None = None
    vendor: schemas.Word | None = None
    key: schemas.Word | None = None
    batch: UUID | None = Field(None, description="the jobs of one batch")
    code: schemas.Word | None = Field(None, description="`code` of the job's error")
    since: schemas.QueryMoment | None = Field(None, description="created at that time or later")
    cursor: UUID | None = Field(None, description="`next` of the page before")
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class Look(BaseModel):
    """The query of one job; an unknown parameter is refused, for a misspelt one does not wait."""

    model_config = ConfigDict(extra="forbid")

    wait: Annotated[float, Field(ge=0)] = Field(
        0.0, description="seconds to wait for the job's end; at most 60 are waited"
    )
    until: Literal["end", "action"] = Field(
        "end", description="action: wait no longer, either, once its payer has to act"
    )


def shown(job: Row, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A job as an answer. Not by a model: to check our own columns took as long as all else."""
    document = {
        name: value.astimezone(UTC) if isinstance(value, datetime) else value
        for name, value in job.items()
    }
    content = orjson.dumps(document, option=orjson.OPT_UTC_Z)
    return Response(content, status, headers, media_type="application/json")


@router.get(
    "",
    response_model=schemas.JobPage,
    summary="List jobs, newest first",
    responses=openapi.responses(422),
)
async def listed(asked: Annotated[Filters, Query()], ledger: TheLedger) -> Row:
    filters = asked.model_dump(include={"status", "kind", "vendor", "key"}, exclude_none=True)
    if asked.batch:
        filters["batch_id"] = asked.batch
    found = await ledger.run(
        # One more than asked for tells whether there is a next page.
        lambda connection: jobs.jobs(
            connection,
            filters=filters,
            code=asked.code,
            since=asked.since,
            before=asked.cursor,
            limit=asked.limit + 1,
        )
    )
    page, rest = found[: asked.limit], found[asked.limit :]
    return {"jobs": page, "next": str(page[-1]["id"]) if rest else None}


@router.get(
    "/{id:job}",
    response_class=Response,
    summary="One job",
    responses=openapi.responses(404, 422) | {200: {"model": schemas.Job, "description": "The job"}},
)
async def one(
    request: Request, id: JobId, ledger: TheLedger, asked: Annotated[Look, Query()]
) -> Response:
    """With `wait`, the answer comes as soon as the job is no longer waiting or running, and after
    that time in any case. A job that is `unknown` is not waited for. With `until=action` the answer
    also comes as soon as a payment waits for its payer: `action_url` in the result is for him."""
    if asked.wait > 0:
        await _wait(request, id, ledger, asked)
    job = await ledger.job(id)
    if job is None:
        raise no_job()
    return shown(job)


async def _wait(request: Request, id: UUID, ledger: Ledger, asked: Look) -> None:
    """Return when there is something to tell, the time is over, or nobody listens any more."""
    until = time.monotonic() + min(asked.wait, LONGEST_WAIT_SECONDS)
    pause = FIRST_LOOK_SECONDS
    while _goes_on(await ledger.progress(id), asked):
        left = until - time.monotonic()
        if left <= 0 or request.app.state.stopping or await request.is_disconnected():
            return
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 1.5, LAST_LOOK_SECONDS)


def _goes_on(found: jobs.Progress | None, asked: Look) -> bool:
    if found is None or found.status not in UNSETTLED:
        return False
    return not (asked.until == "action" and found.needs_payer)


@router.get(
    "/{id}/attempts",
    response_model=schemas.Attempts,
    summary="What was tried, and what the vendor answered",
    responses=openapi.responses(404, 422),
)
async def attempts(id: JobId, ledger: TheLedger) -> Row:
    """And what came from outside: retries, cancels, resolutions, late proofs. An event or a contact
    travels in a load with others: then `load` is the job that sent it, and its request and answer
    are about all of them."""

    async def read(connection: AsyncConnection) -> Row | None:
        if await jobs.status(connection, id) is None:
            return None
        return {
            "attempts": await rides.attempts(connection, id),
            "interventions": await jobs.interventions(connection, id),
        }

    found = await ledger.run(read)
    if found is None:
        raise no_job()
    return found


def no_job() -> Problem:
    detail = "There is no job with that id (one of an open transaction shows after its commit)."
    return Problem("not-found", detail, field="id")
