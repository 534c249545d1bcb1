"""`bulk_contacts`: make or change many contacts in the CRM."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from ferryman.errors import InvalidArguments
from ferryman.requests._base import Part, Request
from ferryman.requests._fields import JsonObject, UploadId


class ContactRecord(Part):
    """One contact of an import. What cannot be sent of it is set aside with the reason when the
    import is planned, so that one bad line does not hold up the others."""

    email: Annotated[str, Field(min_length=1, max_length=320)]
    fields: JsonObject | None = None
    external_id: str | None = None


class BulkContacts(Request):
    """Make or change each of many contacts: those of a list, or of an `upload` (the id that
    `POST /v1/uploads` gave for a file). In a file `to` is the address, and its data are the
    `external_id` and the fields; an empty one is left as it is."""

    kind: ClassVar[str] = "bulk_contacts"

    contacts: Annotated[list[ContactRecord], Field(min_length=1)] | None = None
    upload: UploadId | None = None

    def _agree(self) -> None:
        if (self.contacts is None) == (self.upload is None):
            raise InvalidArguments("contacts", "are required, or else an upload; not both")
