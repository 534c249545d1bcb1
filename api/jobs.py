"""`/v1/jobs`: enqueue a job, look at one, wait for its end, list them, see its attempts."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from uuid_utils.compat import uuid7

from api import body, openapi, schemas
from api.ledger import Ledger, TheLedger
from api.problems import Problem, invalid
from ferryman import requests
from ferryman.errors import InvalidArguments
from ferryman.policies import policies
from models import jobs
from models.engine import dumps

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], responses=openapi.responses(401, 421, 503))

Row = dict[str, Any]
JobId = Annotated[UUID, Path(description="the job's id")]
Wait = Annotated[
    float, Query(ge=0, description="seconds to wait for the job's end; at most 60 are waited")
]

LONGEST_WAIT_SECONDS = 60.0
# Quick jobs are told of at once, slow ones cost few looks.
FIRST_LOOK_SECONDS, LAST_LOOK_SECONDS = 0.05, 0.25
UNSETTLED = ("waiting", "running")
# Longer arguments take milliseconds to check: other requests go on meanwhile.
LARGE_BYTES = 16_384

# A key in somebody's open transaction must not hold this request up.
LOCK_TIMEOUT = text("SET LOCAL lock_timeout = '1s'")


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


@router.post(
    "",
    status_code=201,
    response_model=schemas.Job,
    summary="Enqueue a job",
    responses=openapi.responses(400, 409, 410, 413, 415, 422)
    | {200: {"model": schemas.Job, "description": "The job that this key names already"}},
    openapi_extra=openapi.new_job(),
)
async def enqueue(request: Request, response: Response, ledger: TheLedger) -> Row:
    """Store a job, once for its key. It is checked whole before anything is stored."""
    asked = await body.read(request, schemas.NewJob)
    key = _key(asked, request)
    check_times(asked)
    args = await _checked_args(asked, ledger, small=_is_small(request))
    _check_vendor(asked)
    new_id = uuid7()
    wish = asked.model_dump(exclude={"args"}) | {
        "id": new_id,
        "key": key,
        "args": dumps(args),
        "priority": asked.priority or "normal",
    }
    job = await ledger.run(partial(_store, wish=wish))
    if job is None:
        raise Problem("job-removed", "Its key names a job that ended long ago.", field="key")
    response.status_code = 201 if job["id"] == new_id else 200
    response.headers["Location"] = f"{router.prefix}/{job['id']}"
    return job


async def _store(connection: AsyncConnection, wish: Row) -> Row | None:
    if wish["key"] is not None:
        await connection.execute(LOCK_TIMEOUT)
    return await jobs.job(connection, await jobs.enqueue(connection, wish))


def _key(asked: schemas.NewJob, request: Request) -> str | None:
    """The key of the body or of the header `Idempotency-Key`; both must agree."""
    given = request.headers.getlist("idempotency-key")
    if not given:
        return asked.key
    if len(given) > 1 or not 1 <= len(given[0]) <= 255 or not given[0].isascii():
        raise invalid("Idempotency-Key", "must be one text of 1 to 255 ASCII characters")
    if asked.key not in (None, given[0]):
        raise invalid("key", "differs from the header Idempotency-Key")
    return given[0]


def check_times(asked: schemas.NewJob) -> None:
    """Raises Problem where the job would expire before it could run."""
    if asked.expires_at and asked.expires_at <= (asked.run_at or datetime.now(UTC)):
        raise invalid("expires_at", "must be later than run_at" if asked.run_at else "is past")


def _check_vendor(asked: schemas.NewJob) -> None:
    able = [name for name, policy in policies().items() if asked.kind in policy.kinds]
    if asked.vendor not in (None, *able):
        raise invalid("vendor", f"must be one of {', '.join(able)} for this kind")


def _is_small(request: Request) -> bool:
    length = request.headers.get("content-length", "")
    return length.isdecimal() and int(length) < LARGE_BYTES


async def _checked_args(asked: schemas.NewJob, ledger: Ledger, *, small: bool) -> Row:
    def check() -> Row:
        made = requests.validate(asked.kind, asked.args)
        if ledger.local:
            made.check_here()
        return made.args()

    try:
        return check() if small else await asyncio.to_thread(check)
    except InvalidArguments as error:
        raise invalid(error.field, error.message) from None


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
    "/{id}",
    response_model=schemas.Job,
    summary="One job",
    responses=openapi.responses(404, 422),
)
async def one(request: Request, id: JobId, ledger: TheLedger, wait: Wait = 0.0) -> Row:
    """With `wait`, the answer comes as soon as the job is no longer waiting or running, and after
    that time in any case. A job that is `unknown` is not waited for."""
    if wait > 0:
        await _wait(request, id, ledger, min(wait, LONGEST_WAIT_SECONDS))
    job = await ledger.run(lambda connection: jobs.job(connection, id))
    if job is None:
        raise no_job()
    return job


async def _wait(request: Request, id: UUID, ledger: Ledger, seconds: float) -> None:
    """Return when the job is settled or missing, the time is over, or nobody listens any more."""
    until, pause = time.monotonic() + seconds, FIRST_LOOK_SECONDS
    while await ledger.status(id) in UNSETTLED:
        left = until - time.monotonic()
        if left <= 0 or request.app.state.stopping or await request.is_disconnected():
            return
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 1.5, LAST_LOOK_SECONDS)


@router.get(
    "/{id}/attempts",
    response_model=schemas.Attempts,
    summary="What was tried, and what the vendor answered",
    responses=openapi.responses(404, 422),
)
async def attempts(id: JobId, ledger: TheLedger) -> Row:
    """And what came from outside: retries, cancels, resolutions, late proofs."""

    async def read(connection: AsyncConnection) -> Row | None:
        if await jobs.status(connection, id) is None:
            return None
        return {
            "attempts": await jobs.attempts(connection, id),
            "interventions": await jobs.interventions(connection, id),
        }

    found = await ledger.run(read)
    if found is None:
        raise no_job()
    return found


def no_job() -> Problem:
    detail = "There is no job with that id (one of an open transaction shows after its commit)."
    return Problem("not-found", detail, field="id")
