"""Customers, charges and refunds. Amounts in ISO 4217 minor units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

Row = dict[str, Any]

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

WRITE_CHARGES = text("""
INSERT INTO ferryman.charges
       (id, vendor, vendor_reference, customer, status, amount, currency, metadata, created_at)
SELECT id, vendor, vendor_reference, customer, status, amount, currency, metadata, created_at
  FROM jsonb_to_recordset(CAST(:rows AS jsonb))
    AS r(id uuid, vendor text, vendor_reference text, customer text, status text, amount bigint,
         currency text, metadata jsonb, created_at timestamptz)
 ORDER BY id
    ON CONFLICT (id) DO NOTHING
""")

CHARGE = text("""
SELECT c.id, c.vendor, c.vendor_reference, c.status, c.amount, c.currency, c.reserved, c.refunded
  FROM ferryman.charges c WHERE c.id = :id
""")

# The condition stands in the UPDATE itself: under any number of refunds at once, what is reserved
# and refunded never exceeds the amount.
RESERVE = text("""
WITH wish AS (
  SELECT coalesce(CAST(:amount AS bigint), amount - refunded - reserved) AS amount
    FROM ferryman.charges WHERE id = :charge
)
UPDATE ferryman.charges c SET reserved = c.reserved + w.amount
  FROM wish w
 WHERE c.id = :charge AND c.status IN ('succeeded', 'partially_refunded')
   AND w.amount > 0 AND c.refunded + c.reserved + w.amount <= c.amount
RETURNING c.currency, c.vendor, w.amount
""")

# A statement of its own, so that the one above sees what was committed while this one waited.
LOCK_CHARGE = text("SELECT FROM ferryman.charges WHERE id = :charge FOR UPDATE")

REFUND = text("""
SELECT f.id, f.charge_id, f.amount, f.currency, f.status, f.vendor, c.vendor_reference AS payment
  FROM ferryman.refunds f JOIN ferryman.charges c ON c.id = f.charge_id WHERE f.id = :id
""")

INSERT_REFUND = text("""
INSERT INTO ferryman.refunds (id, charge_id, vendor, status, amount, currency, reason)
VALUES (:id, :charge, :vendor, 'reserved', :amount, :currency, :reason)
    ON CONFLICT (id) DO UPDATE SET status = 'reserved', amount = excluded.amount
""")

# What a refund had reserved is given back when it fails and becomes `refunded` when it succeeds. A
# success that comes late is a fact, and counts although its reservation was given back already.
WRITE_REFUNDS = text("""
WITH r AS (
  SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb))
      AS r(id uuid, status text, vendor_reference text)
), locked AS (
  SELECT c.id FROM ferryman.charges c
   WHERE c.id IN (SELECT f.charge_id FROM ferryman.refunds f JOIN r USING (id))
   ORDER BY c.id FOR UPDATE
), was AS (
  SELECT f.id, f.status FROM ferryman.refunds f JOIN r USING (id)
   WHERE f.charge_id IN (SELECT id FROM locked) ORDER BY f.id FOR UPDATE OF f
), moved AS (
  UPDATE ferryman.refunds f
     SET status = r.status, vendor_reference = coalesce(r.vendor_reference, f.vendor_reference)
    FROM r JOIN was w USING (id)
   WHERE f.id = r.id AND (w.status IN ('reserved', 'pending')
                          OR (w.status = 'failed' AND r.status IN ('succeeded', 'pending')))
  RETURNING f.charge_id, f.amount, f.status, w.status AS was
), sums AS (
  SELECT charge_id,
         coalesce(sum(amount) FILTER (WHERE was <> 'failed'
                                        AND status IN ('succeeded', 'failed')), 0) AS released,
         coalesce(sum(amount) FILTER (WHERE was = 'failed' AND status = 'pending'), 0) AS taken,
         coalesce(sum(amount) FILTER (WHERE status = 'succeeded'), 0) AS refunded
    FROM moved GROUP BY charge_id
)
UPDATE ferryman.charges c
   SET reserved = c.reserved - s.released + s.taken, refunded = c.refunded + s.refunded,
       status = CASE WHEN c.refunded + s.refunded >= c.amount THEN 'refunded'
                     WHEN c.refunded + s.refunded > 0 THEN 'partially_refunded'
                     ELSE c.status END
  FROM sums s WHERE c.id = s.charge_id
""")


@dataclass(frozen=True)
class Customer:
    """An application's user at a vendor. `ours`: this caller holds the right to create it."""

    id: UUID
    vendor_reference: str | None
    ours: bool


@dataclass(frozen=True)
class Reservation:
    """A refund whose amount is set aside. `payment` is the vendor's reference of the charge."""

    id: UUID
    charge_id: UUID
    amount: int
    currency: str
    status: str
    vendor: str
    payment: str | None


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


async def charge(connection: AsyncConnection, id: UUID) -> Row | None:
    """The charge made by the job with that id."""
    row = (await connection.execute(CHARGE, {"id": id})).mappings().one_or_none()
    return dict(row) if row else None


async def reserve(
    connection: AsyncConnection, id: UUID, charge_id: UUID, amount: int | None, reason: str | None
) -> Reservation | None:
    """Set the refund's amount aside, once a job; no amount means all that is left.

    None: the charge does not bear it (see `charge` for why). A repeat returns the first answer;
    after a failure, which gave the amount back, it is set aside anew.
    """
    await connection.execute(LOCK_CHARGE, {"charge": charge_id})
    known = await reservation(connection, id)
    if known is not None and known.status != "failed":
        return known
    values = {"charge": charge_id, "amount": amount}
    row = (await connection.execute(RESERVE, values)).one_or_none()
    if row is None:
        return None
    await connection.execute(
        INSERT_REFUND,
        {
            "id": id,
            "charge": charge_id,
            "vendor": row.vendor,
            "amount": row.amount,
            "currency": row.currency,
            "reason": reason,
        },
    )
    return await reservation(connection, id)


async def reservation(connection: AsyncConnection, id: UUID) -> Reservation | None:
    """What a refund has set aside, if it has."""
    row = (await connection.execute(REFUND, {"id": id})).mappings().one_or_none()
    return Reservation(**row) if row else None
