"""`/v1/contacts`: the contacts of the CRMs, as far as ferryman knows them."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from api import openapi, schemas
from api.ledger import TheLedger
from api.schemas import Utc
from models import contact_pages

router = APIRouter(
    prefix="/v1/contacts", tags=["contacts"], responses=openapi.responses(401, 421, 503)
)

Row = dict[str, Any]


class Filters(BaseModel):
    """The query of the list; an unknown parameter is refused, for a misspelt one shows too much."""

    model_config = ConfigDict(extra="forbid")

    email: schemas.Word | None = Field(None, description="this address, however it is written")
    vendor: schemas.Word | None = None
    cursor: UUID | None = Field(None, description="`next` of the page before")
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class Contact(BaseModel):
    """A contact that a job has made or changed, and what its vendor has told of it since."""

    id: UUID
    vendor: str
    email: str | None = Field(description="null: erased at the vendor")
    external_id: str | None
    vendor_reference: str | None = Field(description="the vendor's own id")
    status: Literal["new", "active", "deleted"] = Field(
        description="new: the vendor has not taken it yet"
    )
    fields: dict[str, Any] | None = Field(description="what jobs have set, by our names")
    job_id: UUID | None = Field(description="the job that changed it last, or is about to")
    told_at: Utc | None = Field(description="of the latest news, by the vendor's own clock")
    created_at: Utc
    updated_at: Utc


class ContactPage(BaseModel):
    """Contacts, the first that ferryman met first."""

    contacts: list[Contact]
    next: str | None = Field(description="the `cursor` of the next page; null on the last one")


@router.get(
    "",
    response_model=ContactPage,
    summary="List contacts",
    responses=openapi.responses(422),
)
async def listed(asked: Annotated[Filters, Query()], ledger: TheLedger) -> Row:
    """Only those that a job was about: what else stands in the CRM is not known here."""
    found = await ledger.run(
        # One more than asked for tells whether there is a next page.
        lambda connection: contact_pages.page(
            connection,
            vendor=asked.vendor,
            email=asked.email,
            after=asked.cursor,
            limit=asked.limit + 1,
        )
    )
    page, rest = found[: asked.limit], found[asked.limit :]
    return {"contacts": page, "next": str(page[-1]["id"]) if rest else None}
