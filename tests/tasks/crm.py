"""Contacts on their way to a scripted HubSpot, and what came of them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tests.tasks.riders import Station

Row = dict[str, Any]


async def save(at: Station, email: str = "ada@example.com", **fields: Any) -> UUID:
    return await at.enqueue("upsert_contact", {"email": email, "fields": fields})


async def ride(at: Station) -> Row:
    return await at.ride("upsert_contact", "hubspot")


def sent(at: Station) -> list[list[Row]]:
    """The properties in each request."""
    each = [at.vendors.sent(request)["inputs"] for request in at.vendors.requests]
    return [[one["properties"] for one in inputs] for inputs in each]


async def contact(at: Station, email: str = "ada@example.com") -> Row:
    (row,) = await at.rows("SELECT * FROM ferryman.contacts WHERE identity = :id", id=email)
    return row


async def imported(at: Station, contacts: list[Row], **options: Any) -> UUID:
    return await at.enqueue("bulk_contacts", {"contacts": contacts}, **options)
