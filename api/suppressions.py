"""`/v1/suppressions`: addresses that nothing is sent to, and a person's way to add and free one."""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncConnection

from api import batch_schemas, body, openapi, schemas
from api.interventions import WHO
from api.ledger import TheLedger
from api.problems import Problem, invalid
from ferryman import addresses, phones
from models import suppressions

router = APIRouter(
    prefix="/v1/suppressions", tags=["suppressions"], responses=openapi.responses(401, 421, 503)
)

_log = logging.getLogger("ferryman.api")

Row = dict[str, Any]

_WAYS: dict[str, Callable[[str], str]] = {
    "email": addresses.normalised,
    "sms": phones.normalised,
}


def _place(cursor: str) -> str:
    _after(cursor)
    return cursor


def _after(cursor: str) -> tuple[str, str]:
    """The channel and the address that a cursor stands for. Raises ValueError."""
    try:
        text = base64.b64decode(cursor, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    channel, _, address = text.partition(" ")
    if channel not in suppressions.CHANNELS or schemas.CONTROL.search(address):
        raise ValueError("must be `next` of another page")
    return channel, address


def _cursor(row: Row) -> str:
    return base64.urlsafe_b64encode(f"{row['channel']} {row['address']}".encode()).decode()


class Filters(BaseModel):
    """The query of the list; an unknown parameter is refused, for a misspelt one shows too much."""

    model_config = ConfigDict(extra="forbid")

    channel: batch_schemas.Channel | None = None
    address: schemas.Word | None = Field(None, description="this one alone, however it is written")
    reason: batch_schemas.SuppressionReason | None = None
    cursor: Annotated[str, Field(max_length=1000), AfterValidator(_place)] | None = Field(
        None, description="`next` of the page before"
    )
    limit: Annotated[int, Field(ge=1, le=200)] = 50


@router.get(
    "",
    response_model=batch_schemas.SuppressionPage,
    summary="List suppressed addresses",
    responses=openapi.responses(422),
)
async def listed(asked: Annotated[Filters, Query()], ledger: TheLedger) -> Row:
    found = await ledger.run(
        # One more than asked for tells whether there is a next page.
        lambda connection: suppressions.page(
            connection,
            channel=asked.channel,
            address=_as_kept(asked.address) if asked.address else None,
            reason=asked.reason,
            after=_after(asked.cursor) if asked.cursor else None,
            limit=asked.limit + 1,
        )
    )
    page, rest = found[: asked.limit], found[asked.limit :]
    return {"suppressions": page, "next": _cursor(page[-1]) if rest else None}


@router.post(
    "",
    status_code=201,
    response_model=batch_schemas.Suppression,
    summary="Send nothing to an address any more",
    responses=openapi.responses(400, 413, 415, 422)
    | {200: {"model": batch_schemas.Suppression, "description": "It was suppressed already"}},
    openapi_extra=openapi.body(
        "NewSuppression",
        {"channel": "email", "address": "ada@example.com", "note": "asked for it by telephone"},
    ),
)
async def add(request: Request, response: Response, ledger: TheLedger) -> Row:
    """Its reason is `manual`, unless a stronger one is known: a bounce, a spam report, or that
    there is no such address. What is on its way already is not called back."""
    asked = await body.read(request, batch_schemas.NewSuppression)
    address = _checked(asked.channel, asked.address)
    row = {
        "channel": asked.channel,
        "address": address,
        "reason": "manual",
        "source": f"{WHO}: {asked.note}" if asked.note else WHO,
    }

    async def work(connection: AsyncConnection) -> tuple[int, Row | None]:
        new = await suppressions.add(connection, [row])
        return new, await suppressions.one(connection, asked.channel, address)

    new, made = await ledger.run(work)
    assert made is not None
    response.status_code = 201 if new else 200
    return made


@router.delete(
    "/{channel}/{address:path}",
    status_code=204,
    response_class=Response,
    summary="Send to an address again",
    responses=openapi.responses(404, 422),
)
async def remove(
    channel: batch_schemas.Channel,
    address: Annotated[schemas.Word, Path(description="percent-encoded where it has a slash")],
    ledger: TheLedger,
) -> Response:
    """Only ferryman's own entry: the vendor may have the address on a list of its own, sends
    nothing to it then, and brings it back when its lists are read."""
    work = _removed(channel, _as_kept(address))
    if not await ledger.run(work):
        raise Problem("not-found", "That address is not suppressed.", field="address")
    _log.info("an address is no longer suppressed for %s", channel)
    return Response(status_code=204)


def _removed(channel: str, address: str) -> Any:
    async def work(connection: AsyncConnection) -> bool:
        return await suppressions.remove(connection, channel, address)

    return work


def _checked(channel: str, given: str) -> str:
    """The address in the one way it is kept. Raises Problem (422)."""
    try:
        return _WAYS[channel](given)
    except ValueError as error:
        raise invalid("address", str(error)) from None


def _as_kept(given: str) -> str:
    """The same for one that is looked for; what is no address of ours may be a vendor's. In a query
    string, a `+` that was not quoted has become a space."""
    given = f"+{given[1:]}" if given.startswith(" ") else given
    for normalised in _WAYS.values():
        try:
            return normalised(given)
        except ValueError:
            continue
    return given
