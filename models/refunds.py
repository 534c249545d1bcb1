"""Refunds, and what they set aside of a charge. Amounts in ISO 4217 minor units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

Row = dict[str, Any]

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
SELECT f.id, f.charge_id, f.amount, f.currency, f.status, f.vendor, f.vendor_reference,
       f.told_at, c.vendor_reference AS payment, c.vendor_session AS session
  FROM ferryman.refunds f JOIN ferryman.charges c ON c.id = f.charge_id WHERE f.id = :id
""")

INSERT_REFUND = text("""
INSERT INTO ferryman.refunds (id, charge_id, vendor, status, amount, currency, reason)
VALUES (:id, :charge, :vendor, 'reserved', :amount, :currency, :reason)
    ON CONFLICT (id) DO UPDATE SET status = 'reserved', amount = excluded.amount
""")

# A job that is sent again makes another refund at the vendor: what is told of the one that failed
# must not be taken for news of this.
SET_ASIDE = text("""
WITH failed AS (
  SELECT * FROM ferryman.refunds WHERE id = :id AND vendor_reference IS NOT NULL FOR UPDATE
), cleared AS (
  UPDATE ferryman.refunds f SET vendor_reference = NULL, told_at = NULL
    FROM failed WHERE f.id = failed.id RETURNING failed.*
)
INSERT INTO ferryman.refunds (id, charge_id, vendor, account, vendor_reference, status, amount,
                              currency, reason, told_at, created_at)
SELECT ferryman.uuid7(), charge_id, vendor, account, vendor_reference, status, amount, currency,
       reason, told_at, created_at FROM cleared
""")

# What a refund had reserved is given back when it fails and becomes `refunded` when it succeeds. A
# success that comes late is a fact, and counts although its reservation was given back already; a
# refund that fails after it succeeded gives the balance back. What the vendor told later, by its
# own time (`at`), is not undone by what it told before; within one second, and where an answer told
# without a time, the further state counts.
# A refund that looked like one of a person's, since the vendor told of it without naming the job,
# becomes one with the job's own.
WRITE_REFUNDS = text("""
WITH r AS (
  SELECT g.*, array_position(ARRAY['pending', 'succeeded', 'failed'], g.status) AS further
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
      AS g(id uuid, status text, vendor_reference text, at timestamptz)
), locked AS (
  SELECT c.id FROM ferryman.charges c
   WHERE c.id IN (SELECT f.charge_id FROM ferryman.refunds f JOIN r USING (id))
   ORDER BY c.id FOR UPDATE
), was AS (
  SELECT f.id, f.status, f.told_at,
         array_position(ARRAY['pending', 'succeeded', 'failed'], f.status) AS further
    FROM ferryman.refunds f JOIN r USING (id)
   WHERE f.charge_id IN (SELECT id FROM locked) ORDER BY f.id FOR UPDATE OF f
), absorbed AS (
  DELETE FROM ferryman.refunds o USING r JOIN ferryman.refunds f USING (id)
   WHERE o.vendor = f.vendor AND o.account = f.account AND o.id <> f.id
     AND o.vendor_reference = r.vendor_reference AND f.charge_id IN (SELECT id FROM locked)
     AND NOT EXISTS (SELECT FROM ferryman.jobs j WHERE j.id = o.id)
  RETURNING o.charge_id, o.amount, o.status
), moved AS (
  UPDATE ferryman.refunds f
     SET status = r.status, vendor_reference = coalesce(r.vendor_reference, f.vendor_reference),
         told_at = coalesce(r.at, f.told_at)
    FROM r JOIN was w USING (id)
   WHERE f.id = r.id AND (SELECT count(*) FROM absorbed) >= 0
     AND CASE
           WHEN w.status = r.status AND f.vendor_reference IS NULL THEN true
           WHEN w.status = 'reserved' THEN true
           WHEN r.at > w.told_at THEN true
           WHEN r.at = w.told_at THEN r.further > w.further
           WHEN w.told_at IS NOT NULL THEN false
           WHEN w.status = 'failed' THEN r.status <> 'failed' OR r.at IS NOT NULL
           ELSE r.further > w.further AND (r.at IS NOT NULL OR w.status = 'pending') END
  RETURNING f.charge_id, f.amount, f.status, w.status AS was
), sums AS (
  SELECT charge_id,
         (coalesce(sum(amount) FILTER (WHERE status = 'pending'), 0) - coalesce(
            sum(amount) FILTER (WHERE was IN ('reserved', 'pending')), 0))::bigint AS reserved,
         (coalesce(sum(amount) FILTER (WHERE status = 'succeeded'), 0) - coalesce(
            sum(amount) FILTER (WHERE was = 'succeeded'), 0))::bigint AS refunded
    FROM (SELECT charge_id, amount, status, was FROM moved
           UNION ALL SELECT charge_id, amount, NULL, status FROM absorbed) AS every
   GROUP BY charge_id
)
UPDATE ferryman.charges c
   SET reserved = c.reserved + s.reserved, refunded = c.refunded + s.refunded,
       status = CASE WHEN c.status IN ('succeeded', 'partially_refunded', 'refunded', 'disputed')
                     THEN ferryman.charge_status(c.amount, c.refunded + s.refunded, c.disputed)
                     ELSE c.status END
  FROM sums s WHERE c.id = s.charge_id
""")

# As `failed`, which counts for nothing, until what the vendor told is written over it.
FOREIGN_REFUND = text("""
INSERT INTO ferryman.refunds
       (id, charge_id, vendor, vendor_reference, status, amount, currency, created_at)
VALUES (:id, :charge, :vendor, :reference, 'failed', :amount, :currency, :created_at)
    ON CONFLICT (vendor, account, vendor_reference) DO NOTHING
""")

REFUND_BY_REFERENCE = text("""
SELECT f.id, f.charge_id, f.status FROM ferryman.refunds f
 WHERE f.vendor = :vendor AND f.account = 'default' AND f.vendor_reference = :reference
""")

STANDS = text("""
SELECT f.vendor_reference, f.status FROM ferryman.refunds f
 WHERE f.vendor = :vendor AND f.account = 'default'
   AND f.vendor_reference = ANY(CAST(:references AS text[]))
""")


@dataclass(frozen=True)
class Reservation:
    """A refund whose amount is set aside. `payment` is the vendor's reference of the charge,
    `session` its handle of what the charge was made by."""

    id: UUID
    charge_id: UUID
    amount: int
    currency: str
    status: str
    vendor: str
    vendor_reference: str | None
    told_at: datetime | None
    payment: str | None
    session: str | None


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
    if known is not None:
        await connection.execute(SET_ASIDE, {"id": id})
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


async def made_elsewhere(
    connection: AsyncConnection, vendor: str, charge_id: UUID, new_id: UUID, told: Row
) -> UUID:
    """The row of a refund that a person made at the vendor's; `told`: its `reference`, `amount`,
    `currency`, `created_at`."""
    wish = {**told, "id": new_id, "charge": charge_id, "vendor": vendor}
    await connection.execute(FOREIGN_REFUND, wish)
    row = await by_reference(connection, vendor, told["reference"])
    assert row is not None
    found: UUID = row["id"]
    return found


async def by_reference(connection: AsyncConnection, vendor: str, reference: str) -> Row | None:
    """The refund that the vendor knows by that reference: `id, charge_id, status`."""
    values = {"vendor": vendor, "reference": reference}
    row = (await connection.execute(REFUND_BY_REFERENCE, values)).mappings().one_or_none()
    return dict(row) if row else None


async def stand(
    connection: AsyncConnection, vendor: str, references: Sequence[str]
) -> dict[str, str]:
    """The status of each of these refunds that is known."""
    values = {"vendor": vendor, "references": list(references)}
    found = await connection.execute(STANDS, values)
    return {row.vendor_reference: row.status for row in found}
