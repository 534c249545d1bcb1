"""`/v1/batches`: how far a bulk job's recipients are."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path

from api import openapi, schemas
from api.ledger import TheLedger
from api.problems import Problem
from models import jobs

router = APIRouter(
    prefix="/v1/batches", tags=["batches"], responses=openapi.responses(401, 421, 503)
)


@router.get(
    "/{id}",
    response_model=schemas.Batch,
    summary="A batch and its counts",
    responses=openapi.responses(404, 422),
)
async def one(
    id: Annotated[UUID, Path(description="`batch_id` of the bulk job")], ledger: TheLedger
) -> dict[str, Any]:
    """The counts sum to `total` at every look."""
    found = await ledger.run(lambda connection: jobs.batch(connection, id))
    if found is None:
        raise Problem("not-found", "There is no batch with that id.", field="id")
    return found
