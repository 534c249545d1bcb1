"""A person's ways to act on jobs: cancel one, retry one or many, say how an unknown one ended."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

from fastapi import APIRouter, Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from api import body, openapi, schemas
from api.jobs import JobId, no_job
from api.ledger import Ledger, TheLedger
from api.problems import Problem
from models import jobs
from models.settle import Filters
from tasks import _settle

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], responses=openapi.responses(401, 421, 503))

_log = logging.getLogger("ferryman.api")

Row = dict[str, Any]
Told = TypeVar("Told")

WHO = "the API"
PROBLEMS = openapi.responses(400, 404, 409, 413, 415, 422)
# A hundred thousand jobs take some seconds; the command line waits for an answer a little longer.
REPLAY_SECONDS = 25.0


@router.post(
    "/retry",
    response_model=schemas.Replayed,
    summary="Retry failed jobs by a filter",
    responses=openapi.responses(400, 413, 415, 422),
    openapi_extra=openapi.body(
        "Replay", {"vendor": "stripe", "code": "vendor_unavailable", "dry_run": True}
    ),
)
async def replay(request: Request, ledger: TheLedger) -> Row:
    """Each keeps its arguments and takes new keys at the vendor, which would only replay the
    answer that it stored under the old ones."""
    asked = await body.read(request, schemas.Replay)
    chosen = Filters(kind=asked.kind, vendor=asked.vendor, code=asked.code, since=asked.since)

    async def work(connection: AsyncConnection) -> int:
        if asked.dry_run:
            return await _settle.failed(connection, chosen)
        return await _settle.retry_failed(connection, chosen, who=WHO, note=asked.note)

    count = await ledger.run(work, seconds=REPLAY_SECONDS)
    if not asked.dry_run:
        _log.info("%s failed jobs are retried", count)
    return {"count": count}


@router.post(
    "/{id}/retry",
    response_model=schemas.RetriedJob,
    summary="Run a failed or unknown job again",
    responses=PROBLEMS,
    openapi_extra=openapi.body("OptionalNote", {"note": "their card is mended"}, required=False),
)
async def retry(request: Request, id: JobId, ledger: TheLedger) -> Row:
    """A failed job takes new keys at the vendor. To send an unknown one again may cause its effect
    a second time: `warning` then says so."""
    note = (await body.read_if_any(request, schemas.OptionalNote)).note
    warning, job = await _done(
        ledger, id, lambda connection: _settle.retry(connection, id, who=WHO, note=note)
    )
    return job | {"warning": warning}


@router.post(
    "/{id}/cancel",
    response_model=schemas.Job,
    summary="Cancel a job",
    responses=PROBLEMS
    | {202: {"model": schemas.Job, "description": "It runs, or is in doubt: the answer is open"}},
    openapi_extra=openapi.body("OptionalNote", {"note": "ordered by mistake"}, required=False),
)
async def cancel(request: Request, response: Response, id: JobId, ledger: TheLedger) -> Row:
    """A waiting job is cancelled at once. One that runs stops before its request leaves, or not at
    all; of one in doubt nobody can tell yet."""
    note = (await body.read_if_any(request, schemas.OptionalNote)).note
    at_once, job = await _done(
        ledger, id, lambda connection: _settle.cancel(connection, id, who=WHO, note=note)
    )
    response.status_code = 200 if at_once else 202
    return job


@router.post(
    "/{id}/resolve",
    response_model=schemas.Job,
    summary="Say how an unknown job ended",
    responses=PROBLEMS,
    openapi_extra=openapi.body(
        "Resolution", {"outcome": "succeeded", "note": "it stands in their dashboard"}
    ),
)
async def resolve(request: Request, id: JobId, ledger: TheLedger) -> Row:
    """For a person who has looked at the vendor's side. Only an `unknown` job takes it."""
    asked = await body.read(request, schemas.Resolution)
    _, job = await _done(
        ledger,
        id,
        lambda connection: _settle.resolve(connection, id, asked.outcome, who=WHO, note=asked.note),
    )
    return job


async def _done(
    ledger: Ledger, id: UUID, change: Callable[[AsyncConnection], Awaitable[Told]]
) -> tuple[Told, Row]:
    """What the change told, and the job after it. Raises Problem: 404, 409."""

    async def work(connection: AsyncConnection) -> tuple[Told, Row | None]:
        return await change(connection), await jobs.job(connection, id)

    try:
        told, job = await ledger.run(work, twice=False)
    except _settle.NoSuchJob:
        raise no_job() from None
    except _settle.NotAllowed as error:
        raise Problem("not-possible", error.message) from None
    if job is None:
        raise no_job()
    return told, job
