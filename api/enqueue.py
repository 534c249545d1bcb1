"""`POST /v1/jobs`: a job, stored once for its key, together with those of other requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from uuid_utils.compat import uuid7

from api import body, openapi, schemas
from api.jobs import shown
from api.ledger import Ledger, refused
from api.problems import Problem, invalid
from ferryman import requests
from ferryman.errors import InvalidArguments
from ferryman.policies import policies
from models import jobs
from models.engine import dumps
from models.enqueue import BUSY

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], responses=openapi.responses(401, 421, 503))

Row = dict[str, Any]

LOCATION = {"Location": {"description": "the job's address", "schema": {"type": "string"}}}
# Longer arguments take milliseconds to check: other requests go on meanwhile.
LARGE_BYTES = 16_384

# A key in somebody's open transaction must not hold this request up.
LOCK_TIMEOUT = text("SET LOCAL lock_timeout = '1s'")


async def enqueue(request: Request) -> Response:
    """Store a job, once for its key. It is checked whole before anything is stored.

    After a 503 a job with a key is safe to send again: it is stored once. One without a key is not
    stored either, unless the connection to the ledger broke at the very commit, which nobody can
    tell: only a key makes that safe.
    """
    ledger: Ledger = request.app.state.ledger
    asked = await body.read(request, schemas.NewJob)
    key = _key(asked, request)
    check_times(asked)
    small = _is_small(request)
    args = await _checked_args(asked, ledger, small=small)
    _check_vendor(asked)
    wish = asked.model_dump(exclude={"args"}) | {"id": uuid7(), "key": key, "args": args}
    charge = _charge(asked.kind, args)
    job = await _stored(ledger, wish, charge, alone=not (small or charge))
    if job is None:
        raise Problem("job-removed", "Its key names a job that ended long ago.", field="key")
    headers = {"Location": f"{router.prefix}/{job['id']}"}
    return shown(job, status=201 if job["id"] == wish["id"] else 200, headers=headers)


class Direct(APIRoute):
    """A route whose endpoint takes the request and gives the answer by itself: FastAPI's solving of
    arguments takes as long as all else that this process does for a small job."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return enqueue


router.add_api_route(
    "",
    enqueue,
    methods=["POST"],
    route_class_override=Direct,
    status_code=201,
    response_class=Response,
    summary="Enqueue a job",
    responses=openapi.responses(400, 409, 410, 413, 415, 422)
    | {
        201: {"model": schemas.Job, "description": "A new job", "headers": LOCATION},
        200: {
            "model": schemas.Job,
            "description": "The job that this key names already",
            "headers": LOCATION,
        },
    },
    openapi_extra=openapi.new_job(),
)


async def _stored(ledger: Ledger, wish: Row, charge: UUID | None, *, alone: bool) -> Row | None:
    """Store it with those of other requests, whom one that is large would keep waiting."""
    if not alone:
        answer = await ledger.store(dumps(wish), charge)
        if answer.state is None:
            return answer.job
        if answer.state != BUSY:
            raise refused(answer.state, answer.problem)
    return await ledger.run(partial(_store, wish=wish))


async def _store(connection: AsyncConnection, wish: Row) -> Row | None:
    if wish["key"] is not None:
        await connection.execute(LOCK_TIMEOUT)
    given = wish | {"args": dumps(wish["args"]), "priority": wish["priority"] or "normal"}
    return await jobs.job(connection, await jobs.enqueue(connection, given))


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
    if asked.vendor is None:
        return
    able = [name for name, policy in policies().items() if asked.kind in policy.kinds]
    if asked.vendor not in able:
        raise invalid("vendor", f"must be one of {', '.join(able)} for this kind")


def _charge(kind: str, args: Row) -> UUID | None:
    """The charge that a job of this kind goes by. Raises Problem where it is no id."""
    if (argument := _followed().get(kind)) is None:
        return None
    try:
        return UUID(args[argument])
    except ValueError:
        raise invalid(argument, "there is no charge with that id") from None


@cache
def _followed() -> dict[str, str]:
    """The argument that names an earlier charge, by kind."""
    follows = (policy.follows for policy in policies().values())
    return {kind: argument for one in follows for kind, argument in one.items()}


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
