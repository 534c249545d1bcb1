"""`upsert_contact`: make a contact in the CRM, or change it."""

from __future__ import annotations

from typing import ClassVar

from ferryman.requests._base import Request
from ferryman.requests._fields import Address, JsonObject, Label


class UpsertContact(Request):
    """Make or change a contact, known by its e-mail address or by `external_id`. `fields` by our
    names (`first_name`, `last_name`, `phone`, `company`, `title` …) or the vendor's own; null
    clears one, and what is not named stays."""

    kind: ClassVar[str] = "upsert_contact"

    email: Address
    fields: JsonObject | None = None
    external_id: Label | None = None
