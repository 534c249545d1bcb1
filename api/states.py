"""`POST /v1/jobs/states`: how a thousand jobs are, in one look."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from api import body, openapi
from api.ledger import TheLedger
from api.state_schemas import JobIds, JobStates
from models import job_states

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], responses=openapi.responses(401, 421, 503))

EXAMPLE = {"ids": ["019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901"]}


@router.post(
    "/states",
    response_model=JobStates,
    summary="How many jobs are",
    responses=openapi.responses(400, 413, 415, 422),
    openapi_extra=openapi.body("JobIds", EXAMPLE),
)
async def states(request: Request, ledger: TheLedger) -> dict[str, Any]:
    """For those who wait for more jobs than can be asked for one by one. It changes nothing. An id
    that nobody knows is left out; the order is not that of the ids."""
    asked = await body.read(request, JobIds)
    return {"jobs": await ledger.run(lambda connection: job_states.of(connection, asked.ids))}
