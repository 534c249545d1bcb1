"""Reading contacts: those that meet some conditions, a page at a time."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

Row = dict[str, Any]

# Some are known by an external id, so that no index has all addresses: all contacts are looked at.
# A million take some tenths of a second, for a question that a person asks.
PAGE = text("""
SELECT id, vendor, email, external_id, vendor_reference, status, fields, job_id, told_at,
       created_at, updated_at
  FROM ferryman.contacts
 WHERE (CAST(:vendor AS text) IS NULL OR vendor = :vendor)
   AND (CAST(:email AS text) IS NULL OR lower(email) = :email)
   AND (CAST(:after AS uuid) IS NULL OR id > :after)
 ORDER BY id LIMIT :limit
""")


async def page(
    connection: AsyncConnection,
    *,
    vendor: str | None,
    email: str | None,
    after: UUID | None,
    limit: int,
) -> list[Row]:
    """Contacts in the order in which ferryman first met them; `after` is the last id of the page
    before. `email`: however it is written."""
    values = {"vendor": vendor, "email": email.lower() if email else None}
    found = await connection.execute(PAGE, {**values, "after": after, "limit": limit})
    return [dict(row) for row in found.mappings()]
