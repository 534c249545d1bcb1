"""`POST /v1/events`: an event a line, each a `track_event` job of its own."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api import bulk, openapi, schemas
from api.ledger import TheLedger
from api.lines import MEDIA_TYPE

router = APIRouter(prefix="/v1/events", tags=["jobs"], responses=openapi.responses(401, 421, 503))

Row = dict[str, Any]

# What of a line is about its job, and not about what happened.
MANNER = ("key", "priority", "run_at", "expires_at")
EXAMPLE = """\
{"user": "user-42", "event": "Order placed", "properties": {"items": 3}, "key": "order-1042"}
{"user": "user-43", "event": "Signed in", "at": "2026-11-28T10:00:00Z"}
"""
BODY: Row = {
    "requestBody": {
        "required": True,
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}, "example": EXAMPLE}},
    }
}


class Asked(BaseModel):
    """The query; an unknown parameter is refused."""

    model_config = ConfigDict(extra="forbid")

    vendor: schemas.Word | None = Field(None, description="of all the lines; absent: configured")


@router.post(
    "",
    summary="Track many events",
    response_class=Response,
    responses=openapi.responses(415, 422) | bulk.ANSWER,
    openapi_extra=BODY,
)
async def track(request: Request, ledger: TheLedger, asked: Annotated[Asked, Query()]) -> Response:
    """Each line is an event: `user`, `event`, and if you like `properties` and `at`. With a `key`,
    the same event sent again is the same job. Also `priority`, `run_at` and `expires_at`, as
    `POST /v1/jobs` has them. Answers are those of `POST /v1/jobs/bulk`, a line each, in order."""
    return await bulk.answered(request, ledger, partial(_job, asked.vendor))


def _job(vendor: str | None, line: Row) -> Row:
    """The job that a line stands for."""
    args = {name: value for name, value in line.items() if name not in MANNER}
    manner = {name: line[name] for name in MANNER if name in line}
    return {"kind": "track_event", "args": args, "vendor": vendor, **manner}
