"""`/v1/uploads`: a list of recipients, checked and kept while it comes, for bulk jobs to name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect
from uuid_utils.compat import uuid7

from api import openapi
from api.ledger import Ledger, TheLedger
from api.problems import Problem, invalid
from api.schemas import Utc
from ferryman.recipients import BadList
from ferryman.uploads import PIECE, Inspection
from models import uploads

router = APIRouter(
    prefix="/v1/uploads", tags=["uploads"], responses=openapi.responses(401, 421, 503)
)

Row = dict[str, Any]
UploadId = Annotated[UUID, Path(description="the upload's id")]

MOST_BYTES = 2**31
FORMATS = {
    "text/csv": "csv",
    "application/json": "json",
    "application/x-ndjson": "jsonl",
    "application/jsonl": "jsonl",
    "application/ndjson": "jsonl",
}
CSV = "to,first_name\r\nada@example.com,Ada\r\n"
LINES = '{"to": "ada@example.com", "data": {"first_name": "Ada"}}\n'
LIST = [{"to": "ada@example.com", "data": {"first_name": "Ada"}}]
BYTES = {"type": "string", "format": "binary"}
BODY: Row = {
    "requestBody": {
        "required": True,
        "content": {
            "text/csv": {"schema": BYTES, "example": CSV},
            "application/x-ndjson": {"schema": BYTES, "example": LINES},
            "application/json": {
                "schema": {"type": "array", "items": {"$ref": "#/components/schemas/Recipient"}},
                "example": LIST,
            },
        },
    }
}


class Upload(BaseModel):
    """A list of recipients that is kept."""

    id: UUID = Field(description="made of its content: the same list has the same id")
    format: Literal["csv", "json", "jsonl"]
    rows: int = Field(description="how many recipients it names, whatever their addresses are like")
    bytes: int
    created_at: Utc


@router.post(
    "",
    status_code=201,
    response_model=Upload,
    summary="Upload a list of recipients",
    responses=openapi.responses(413, 415, 422)
    | {200: {"model": Upload, "description": "The same list is there already"}},
    openapi_extra=BODY,
)
async def upload(request: Request, response: Response, ledger: TheLedger) -> Row:
    """CSV with a header and a column `to` (the others are data for a template), JSON lines or a
    JSON list of `{"to": …, "data": {…}}`; UTF-8, at most 2 GiB. Its form is checked while it comes:
    a 422 names the first line at fault, and nothing is kept. Name the id in a bulk job's `upload`.
    """
    coming = _Coming(ledger, _format(request))
    _check_length(request)
    stream = request.stream()
    try:
        found, new = await coming.keep(stream)
    except BadList as error:
        await _read_on(stream)
        raise invalid(error.field, error.message) from None
    except Problem:
        await _read_on(stream)
        raise
    except ClientDisconnect:
        # Nobody is there to be told.
        raise Problem("too-slow", "The connection ended before the list did.") from None
    response.status_code = 201 if new else 200
    return found


@router.get(
    "/{id}",
    response_model=Upload,
    summary="Look at an upload",
    responses=openapi.responses(404, 422),
)
async def one(id: UploadId, ledger: TheLedger) -> Row:
    """What is known of a list; not its content."""
    found = await ledger.run(partial(uploads.known, id=id))
    if found is None:
        raise Problem("not-found", "There is no upload with that id.")
    return found


class _Coming:
    """A list on its way into the ledger."""

    def __init__(self, ledger: Ledger, format: str) -> None:
        self._ledger = ledger
        self._temporary = uuid7()
        self._inspection = Inspection(format)

    async def keep(self, stream: AsyncIterator[bytes]) -> tuple[Row, bool]:
        """The list as it is kept, and whether it is new. Raises BadList, Problem and
        ClientDisconnect, and then keeps nothing."""
        try:
            await self._keep_pieces(stream)
            return await self._done()
        except BaseException:
            with suppress(Problem):
                # What cannot be dropped now is dropped after a day.
                await self._ledger.run(partial(uploads.drop, temporary=self._temporary))
            raise

    async def _keep_pieces(self, stream: AsyncIterator[bytes]) -> None:
        place = 0
        async for piece in _pieces(stream):
            await asyncio.to_thread(self._inspection.add, piece)
            if self._inspection.bytes > MOST_BYTES:
                raise _too_large()
            await self._ledger.run(
                partial(uploads.keep, temporary=self._temporary, place=place, content=piece)
            )
            place += 1

    async def _done(self) -> tuple[Row, bool]:
        found = await asyncio.to_thread(self._inspection.end)
        new = await self._ledger.run(
            partial(uploads.done, temporary=self._temporary, **vars(found))
        )
        kept = await self._ledger.run(partial(uploads.known, id=found.id))
        assert kept is not None
        return kept, new


def _format(request: Request) -> str:
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in FORMATS or request.headers.get("content-encoding", "identity") != "identity":
        raise Problem(
            "unsupported-media-type",
            "Send `Content-Type: text/csv`, `application/x-ndjson` or `application/json`, without"
            " an encoding.",
        )
    return FORMATS[media]


def _check_length(request: Request) -> None:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > MOST_BYTES:
        raise _too_large()


def _too_large() -> Problem:
    # What is still on its way is not read, so the connection cannot be used again.
    return Problem(
        "too-large", f"At most {MOST_BYTES} bytes are taken.", headers={"Connection": "close"}
    )


async def _pieces(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The bytes in pieces of one size, whatever the network cuts them into."""
    held = bytearray()
    async for part in stream:
        held += part
        while len(held) >= PIECE:
            yield bytes(held[:PIECE])
            del held[:PIECE]
    if held:
        yield bytes(held)


async def _read_on(stream: AsyncIterator[bytes]) -> None:
    """To the end, as far as one may send: most clients read no answer before they have sent all,
    and would take a closed connection for a broken one."""
    left = MOST_BYTES
    with suppress(ClientDisconnect):
        async for part in stream:
            left -= len(part)
            if left < 0:
                return
