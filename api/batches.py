"""`/v1/batches`: how far a bulk job's recipients, or a sync's objects, are, who the recipients are,
and a person's ways to act."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response, StreamingResponse

from api import batch_schemas, body, openapi, recipients, schemas
from api.interventions import PROBLEMS, WHO
from api.ledger import Ledger, TheLedger
from api.problems import Problem
from models import batch_recipients, batches
from tasks import _batch
from tasks._settle import NotAllowed

router = APIRouter(
    prefix="/v1/batches", tags=["batches"], responses=openapi.responses(401, 421, 503)
)

_log = logging.getLogger("ferryman.api")

Row = dict[str, Any]
BatchId = Annotated[UUID, Path(description="`batch_id` of the job")]
Step = Callable[..., Coroutine[Any, Any, None]]

# A hundred thousand children take some seconds, and so does a rare status among a million rows.
LONG_SECONDS = 25.0
WHY = openapi.body("OptionalNote", {"note": "the subject is wrong"}, required=False)
CSV: dict[int | str, Row] = {
    200: {
        "description": "A page of them; with `format=csv` all of them, an attachment",
        "content": {recipients.MEDIA_TYPE: {"schema": {"type": "string"}}},
    }
}


class Wanted(BaseModel):
    """The query of the recipients; an unknown parameter is refused."""

    model_config = ConfigDict(extra="forbid")

    status: list[batch_schemas.RecipientStatus] = Field([], description="any of these; absent: all")
    format: Literal["json", "csv"] = "json"
    cursor: UUID | None = Field(None, description="`next` of the page before")
    limit: Annotated[int, Field(ge=1, le=1000)] = 200


@router.get(
    "/{id}",
    response_model=batch_schemas.Batch,
    response_model_exclude_unset=True,
    summary="A batch and its counts",
    responses=openapi.responses(404, 422),
)
async def one(id: BatchId, ledger: TheLedger) -> Row:
    """The counts sum to `total` at every look."""
    found = await ledger.run(lambda connection: batches.one(connection, id))
    if found is None:
        raise no_batch()
    return found


@router.get(
    "/{id}/recipients",
    response_model=batch_schemas.RecipientPage,
    summary="A batch's recipients, and what became of each",
    responses=openapi.responses(404, 422) | CSV,
)
async def listed(
    id: BatchId, asked: Annotated[Wanted, Query()], ledger: TheLedger
) -> Row | Response:
    """In the order of the list. As CSV they come in one answer, however many there are; it breaks
    off where the ledger fails in between. `cursor` and `limit` are for JSON alone."""
    page = partial(_page, ledger, id, asked.status)
    if asked.format == "csv":
        first = await page(None, limit=recipients.ROWS_AT_ONCE)
        rows = recipients.table(first, partial(page, limit=recipients.ROWS_AT_ONCE))
        return StreamingResponse(
            rows, headers=recipients.headers(id), media_type=recipients.MEDIA_TYPE
        )
    # One more than asked for tells whether there is a next page.
    found = await page(asked.cursor, limit=asked.limit + 1)
    shown, rest = found[: asked.limit], found[asked.limit :]
    return {"recipients": shown, "next": str(shown[-1]["id"]) if rest else None}


async def _page(
    ledger: Ledger, id: UUID, statuses: Sequence[str], after: UUID | None, *, limit: int
) -> list[Row]:
    """Some recipients, in a transaction of their own. Raises Problem (404)."""

    async def work(connection: AsyncConnection) -> list[Row] | None:
        found = await batch_recipients.recipients(
            connection, id, statuses=statuses, after=after, limit=limit
        )
        if not found and await batches.one(connection, id) is None:
            return None
        return found

    if (rows := await ledger.run(work, seconds=LONG_SECONDS)) is None:
        raise no_batch()
    return rows


@router.post(
    "/{id}/pause",
    response_model=batch_schemas.Batch,
    response_model_exclude_unset=True,
    summary="Let nothing more of a batch start",
    responses=PROBLEMS,
    openapi_extra=WHY,
)
async def pause(request: Request, id: BatchId, ledger: TheLedger) -> Row:
    """What is on its way ends. The note becomes the batch's `reason`."""
    return await _done(request, ledger, id, _batch.pause)


@router.post(
    "/{id}/resume",
    response_model=batch_schemas.Batch,
    response_model_exclude_unset=True,
    summary="Go on with a paused batch",
    responses=PROBLEMS,
    openapi_extra=WHY,
)
async def resume(request: Request, id: BatchId, ledger: TheLedger) -> Row:
    """Also one that has paused itself, because too many of its mails came back."""
    return await _done(request, ledger, id, _batch.resume)


@router.post(
    "/{id}/cancel",
    response_model=batch_schemas.Batch,
    response_model_exclude_unset=True,
    summary="Send no more of a batch",
    responses=PROBLEMS,
    openapi_extra=WHY,
)
async def cancel(request: Request, id: BatchId, ledger: TheLedger) -> Row:
    """For good. What is on its way stops where it can, and is counted as it ends."""
    return await _done(request, ledger, id, _batch.cancel)


@router.post(
    "/{id}/retry",
    response_model=batch_schemas.Batch,
    response_model_exclude_unset=True,
    summary="Send once more to those that failed",
    responses=PROBLEMS,
    openapi_extra=WHY,
)
async def retry(request: Request, id: BatchId, ledger: TheLedger) -> Row:
    """And to nobody else: not to those whose end is unknown, and not to those set aside."""
    return await _done(request, ledger, id, _batch.retry_failed)


async def _done(request: Request, ledger: Ledger, id: UUID, step: Step) -> Row:
    """The batch after the step. Raises Problem: 404, 409."""
    note = (await body.read_if_any(request, schemas.OptionalNote)).note

    async def work(connection: AsyncConnection) -> Row | None:
        await step(connection, id, who=WHO, note=note)
        return await batches.one(connection, id)

    try:
        found = await ledger.run(work, seconds=LONG_SECONDS, twice=False)
    except _batch.NoSuchBatch:
        raise no_batch() from None
    except NotAllowed as error:
        raise Problem("not-possible", error.message) from None
    assert found is not None
    _log.info("batch %s is %s%s", id, found["status"], f": {note}" if note else "")
    return found


def no_batch() -> Problem:
    """What is answered where there is none."""
    return Problem("not-found", "There is no batch with that id.", field="id")
