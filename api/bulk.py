"""`POST /v1/jobs/bulk`: a job a line, an answer a line, stored by the thousand while they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response
from uuid_utils.compat import uuid7

from api import body, openapi, schemas
from api.enqueue import check_times
from api.ledger import Ledger, TheLedger, refused
from api.lines import LONGEST, MEDIA_TYPE, Answers, Line, chunks
from api.problems import Problem, invalid, unacceptable
from ferryman import requests
from ferryman.errors import InvalidArguments
from models import bulk
from models.bulk import Stored

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], responses=openapi.responses(401, 421, 503))

Row = dict[str, Any]
# What a line says, as the new job that it stands for.
Reading = Callable[[Row], Row]

TAKEN = (MEDIA_TYPE, "application/jsonl", "application/ndjson")
# A thousand keys that stand in open transactions take ten of them.
CHUNK_SECONDS = 30.0
EXAMPLE = """\
{"kind": "charge", "args": {"customer": "user-42", "amount": 1250, …}, "key": "order-1"}
{"kind": "send_email", "args": {"to": "ada@example.com", …}}
"""
ANSWER: dict[int | str, Row] = {
    200: {"description": "a line for each", "content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}
}
BODY: Row = {
    "requestBody": {
        "required": True,
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}, "example": EXAMPLE}},
    }
}


@router.post(
    "/bulk",
    summary="Enqueue many jobs",
    response_class=Response,
    responses=openapi.responses(415) | ANSWER,
    openapi_extra=BODY,
)
async def enqueue(request: Request, ledger: TheLedger) -> Response:
    """Each line is what `POST /v1/jobs` takes, at most 1 MiB long. For each that is not empty there
    is a line in answer, in order: `{"id": …}`, or `{"error": <problem>, "line": <number from 1>}`
    for one that is not stored; the others are. Lines are stored by the thousand. Where the ledger
    fails in between, the last line says which lines are not answered for."""
    return await answered(request, ledger, _as_it_is)


async def answered(request: Request, ledger: Ledger, reading: Reading) -> Response:
    """Store what each line stands for, and answer it. Raises Problem: 415, 503."""
    _check_type(request)
    answers = _answers(chunks(request.stream()), ledger, reading)
    return Answers(await anext(answers, b""), answers)


def _as_it_is(line: Row) -> Row:
    return line


def _check_type(request: Request) -> None:
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in TAKEN or request.headers.get("content-encoding", "identity") != "identity":
        raise Problem(
            "unsupported-media-type", f"Send `Content-Type: {MEDIA_TYPE}`, without an encoding."
        )


async def _answers(
    found: AsyncIterator[list[Line]], ledger: Ledger, reading: Reading
) -> AsyncIterator[bytes]:
    answered = False
    async for chunk in found:
        try:
            answers = await _chunk_answered(chunk, ledger, reading)
        except Problem as problem:
            if not answered:
                raise
            yield _cut_off(problem, chunk)
            return
        yield answers
        answered = True


def _cut_off(problem: Problem, chunk: list[Line]) -> bytes:
    first, last = chunk[0].number, chunk[-1].number
    detail = (
        f"{problem.detail} The lines before {first} are answered for; whether lines {first} to"
        f" {last} are stored is not known (their keys make it safe to send them again), and no"
        " later one is."
    )
    return _error(Problem(problem.kind, detail), first)


async def _chunk_answered(chunk: list[Line], ledger: Ledger, reading: Reading) -> bytes:
    """The answers to the lines of one transaction."""
    checked = await asyncio.to_thread(_checked, chunk, ledger.local, reading)
    rows = [row for row in checked if not isinstance(row, Problem)]
    work = partial(bulk.enqueue_each, jobs=rows)
    stored = iter(await ledger.run(work, seconds=CHUNK_SECONDS) if rows else ())
    return b"".join(
        _error(row, line.number) if isinstance(row, Problem) else _told(next(stored), line.number)
        for line, row in zip(chunk, checked, strict=True)
    )


def _checked(chunk: Iterable[Line], local: bool, reading: Reading) -> list[Row | Problem]:
    found: list[Row | Problem] = []
    for line in chunk:
        try:
            found.append(_row(line, local, reading))
        except Problem as problem:
            found.append(problem)
    return found


def _row(line: Line, local: bool, reading: Reading) -> Row:
    """What is stored for a line. Raises Problem."""
    if line.too_long:
        raise Problem("too-large", f"A line has at most {LONGEST} bytes.")
    try:
        asked = schemas.NewJob.model_validate(reading(body.parse(line.content)))
        check_times(asked)
        made = requests.validate(asked.kind, asked.args)
        if local:
            made.check_here()
    except ValidationError as error:
        raise unacceptable(error) from None
    except InvalidArguments as error:
        raise invalid(error.field, error.message) from None
    manner = asked.model_dump(exclude={"args"}, exclude_none=True)
    return {**manner, "id": uuid7(), "args": made.args()}


def _told(answer: Stored, number: int) -> bytes:
    if answer.state is None:
        return b'{"id":"%s"}\n' % str(answer.id).encode()
    return _error(refused(answer.state, str(answer.problem)), number)


def _error(problem: Problem, number: int) -> bytes:
    return b'{"error":%s,"line":%d}\n' % (bytes(problem.response().body), number)
