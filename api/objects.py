"""`/v1/batches/{id}/objects`: what a sync does with each object, and what became of that."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response, StreamingResponse

from api import batch_schemas, openapi, recipients
from api.batches import LONG_SECONDS, BatchId, no_batch
from api.ledger import Ledger, TheLedger
from api.schemas import PRINTABLE, printable
from models import batches, object_pages

router = APIRouter(
    prefix="/v1/batches", tags=["batches"], responses=openapi.responses(401, 421, 503)
)

Row = dict[str, Any]

# What a key may have, and what is added to one that the ledger cannot hold as it is.
LONGEST_KEY = 1200
COLUMNS = {name: name for name in batch_schemas.BatchObject.model_fields}
CSV: dict[int | str, Row] = {
    200: {
        "description": "A page of them; with `format=csv` all of them, an attachment",
        "content": {recipients.MEDIA_TYPE: {"schema": {"type": "string"}}},
    }
}


class Wanted(BaseModel):
    """The query of the objects; an unknown parameter is refused."""

    model_config = ConfigDict(extra="forbid")

    action: list[batch_schemas.ObjectAction] = Field([], description="any of these; absent: all")
    outcome: list[batch_schemas.ObjectOutcome] = Field([], description="any of these; absent: all")
    format: Literal["json", "csv"] = "json"
    cursor: Annotated[
        str,
        Field(max_length=LONGEST_KEY, json_schema_extra=PRINTABLE),
        printable,
    ] = Field("", description="`next` of the page before")
    limit: Annotated[int, Field(ge=1, le=1000)] = 200


@router.get(
    "/{id}/objects",
    response_model=batch_schemas.ObjectPage,
    summary="A sync's objects, and what became of each",
    responses=openapi.responses(404, 422) | CSV,
)
async def listed(
    id: BatchId, asked: Annotated[Wanted, Query()], ledger: TheLedger
) -> Row | Response:
    """In the order of their keys, as far as the sync is planned. As CSV they come in one answer,
    however many there are; it breaks off where the ledger fails in between. `cursor` and `limit`
    are for JSON alone."""
    page = partial(_page, ledger, id, asked)
    if asked.format == "csv":
        whole = partial(page, limit=recipients.ROWS_AT_ONCE)
        rows = recipients.table(await whole(""), whole, COLUMNS, last="key")
        headers = recipients.headers(id, "objects")
        return StreamingResponse(rows, headers=headers, media_type=recipients.MEDIA_TYPE)
    # One more than asked for tells whether there is a next page.
    found = await page(asked.cursor, limit=asked.limit + 1)
    shown, rest = found[: asked.limit], found[asked.limit :]
    return {"objects": shown, "next": shown[-1]["key"] if rest else None}


async def _page(ledger: Ledger, id: UUID, asked: Wanted, after: str, *, limit: int) -> list[Row]:
    """Some objects, in a transaction of their own. Raises Problem (404)."""

    async def work(connection: AsyncConnection) -> list[Row] | None:
        found = await object_pages.objects(
            connection,
            id,
            actions=asked.action,
            outcomes=asked.outcome,
            after=after,
            limit=limit,
        )
        if not found and await batches.one(connection, id) is None:
            return None
        return found

    if (rows := await ledger.run(work, seconds=LONG_SECONDS)) is None:
        raise no_batch()
    return rows
