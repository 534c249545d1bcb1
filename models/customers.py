"""An application's users at the vendors, each created there once."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# Others wait so long for who creates a customer, who may have died with it. Two that create it at
# once send the same key, and so make one: the wait only spares the vendor.
CREATING_SECONDS = 5

CUSTOMER = text("""
INSERT INTO ferryman.customers AS c (id, vendor, app_user, creating_until)
VALUES (:id, :vendor, :app_user, now() + make_interval(secs => :seconds))
    ON CONFLICT (vendor, account, app_user) DO UPDATE SET creating_until = excluded.creating_until
 WHERE c.vendor_reference IS NULL AND (c.creating_until IS NULL OR c.creating_until < now())
RETURNING c.id, c.vendor_reference, true AS ours
""")

KNOWN_CUSTOMER = text("""
SELECT id, vendor_reference, false AS ours FROM ferryman.customers
 WHERE vendor = :vendor AND account = 'default' AND app_user = :app_user
""")

# The first one stays: payments are looked for under it.
CUSTOMER_CREATED = text("""
UPDATE ferryman.customers
   SET vendor_reference = coalesce(vendor_reference, :reference), creating_until = NULL
 WHERE vendor = :vendor AND account = 'default' AND app_user = :app_user
RETURNING vendor_reference
""")

# Its id is the vendor key of its creation, and a new one escapes an answer that the vendor keeps
# under the old: a second customer without payments costs nothing.
CUSTOMER_LET_GO = text("""
UPDATE ferryman.customers SET creating_until = NULL, id = coalesce(CAST(:renewed AS uuid), id)
 WHERE id = :id AND vendor_reference IS NULL
""")


@dataclass(frozen=True)
class Customer:
    """An application's user at a vendor. `ours`: this caller holds the right to create it."""

    id: UUID
    vendor_reference: str | None
    ours: bool


async def customer(
    connection: AsyncConnection, vendor: str, app_user: str, new_id: UUID
) -> Customer:
    """The customer's row; the first to ask may create it at the vendor, the others wait."""
    values = {"vendor": vendor, "app_user": app_user}
    row = (await connection.execute(KNOWN_CUSTOMER, values)).one_or_none()
    if row is None or row.vendor_reference is None:
        wish = {**values, "id": new_id, "seconds": CREATING_SECONDS}
        row = (await connection.execute(CUSTOMER, wish)).one_or_none() or row
    if row is None:
        row = (await connection.execute(KNOWN_CUSTOMER, values)).one()
    return Customer(row.id, row.vendor_reference, row.ours)


async def known_customer(connection: AsyncConnection, vendor: str, app_user: str) -> str | None:
    """The vendor's id of the app's user, if it was created there."""
    values = {"vendor": vendor, "app_user": app_user}
    row = (await connection.execute(KNOWN_CUSTOMER, values)).one_or_none()
    return row.vendor_reference if row else None


async def customer_created(
    connection: AsyncConnection, vendor: str, app_user: str, reference: str
) -> str:
    """The vendor has made the customer; returns the one that is used from now on."""
    values = {"vendor": vendor, "app_user": app_user, "reference": reference}
    first: str = await connection.scalar(CUSTOMER_CREATED, values)
    return first


async def customer_let_go(connection: AsyncConnection, id: UUID, renewed: UUID | None) -> None:
    """The creation failed: the next one may try at once, under the `renewed` id if there is one."""
    await connection.execute(CUSTOMER_LET_GO, {"id": id, "renewed": renewed})
