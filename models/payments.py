"""Charges. Amounts in ISO 4217 minor units."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from models.engine import dumps

Row = dict[str, Any]

# Forward only. What had failed or was cancelled may still turn out to have been taken; what was
# taken moves on by refunds and disputes alone.
WRITE_CHARGES = text("""
INSERT INTO ferryman.charges AS c
       (id, vendor, vendor_reference, vendor_session, customer, status, amount, currency, metadata,
        created_at)
SELECT id, vendor, vendor_reference, vendor_session, customer, status, amount, currency, metadata,
       created_at
  FROM jsonb_to_recordset(CAST(:rows AS jsonb))
    AS r(id uuid, vendor text, vendor_reference text, vendor_session text, customer text,
         status text, amount bigint, currency text, metadata jsonb, created_at timestamptz)
 ORDER BY id
    ON CONFLICT (id) DO UPDATE
   SET status = CASE excluded.status WHEN 'succeeded'
                     THEN ferryman.charge_status(excluded.amount, c.refunded, c.disputed)
                     ELSE excluded.status END,
       amount = excluded.amount, created_at = excluded.created_at,
       -- What is made by something new has nothing of the old.
       vendor_reference = CASE WHEN excluded.vendor_session <> c.vendor_session
                               THEN excluded.vendor_reference
                               ELSE coalesce(excluded.vendor_reference, c.vendor_reference) END,
       vendor_session = coalesce(excluded.vendor_session, c.vendor_session)
 WHERE c.status IN ('requires_action', 'processing', 'failed', 'cancelled')
    OR (c.status = 'authorized' AND excluded.status = 'succeeded')
""")

# The end of a payment that was begun, or held: `failed`, `cancelled`, or taken by `amount`.
MOVE_CHARGES = text("""
WITH r AS (
  SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb))
      AS r(id uuid, status text, amount bigint, vendor_reference text)
), locked AS (
  SELECT c.id FROM ferryman.charges c JOIN r USING (id) ORDER BY c.id FOR UPDATE OF c
)
UPDATE ferryman.charges c
   SET status = CASE r.status WHEN 'succeeded'
                     THEN ferryman.charge_status(coalesce(r.amount, c.amount), c.refunded,
                                                 c.disputed)
                     ELSE r.status END,
       amount = coalesce(r.amount, c.amount), taken_by = NULL,
       vendor_reference = coalesce(r.vendor_reference, c.vendor_reference)
  FROM r JOIN locked l USING (id)
 WHERE c.id = r.id
   AND ((r.status IN ('failed', 'cancelled') AND c.status IN ('requires_action', 'processing'))
        OR (r.status IN ('succeeded', 'cancelled') AND c.status = 'authorized'))
""")

# What a person said was taken, by the name that the vendor has for it.
NAME_CHARGES = text("""
UPDATE ferryman.charges c
   SET vendor_reference = r.vendor_reference,
       vendor_session = coalesce(r.vendor_session, c.vendor_session)
  FROM jsonb_to_recordset(CAST(:rows AS jsonb))
    AS r(id uuid, vendor_reference text, vendor_session text)
 WHERE c.id = r.id AND c.vendor_reference IS NULL
""")

# A job that was to take a held payment, or to let go of it, has ended without doing so.
RELEASE_CHARGES = text("""
UPDATE ferryman.charges c SET taken_by = NULL
  FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(job uuid) WHERE c.taken_by = r.job
""")

# One job at a time takes a held payment, or lets go of it.
TAKE = text("""
UPDATE ferryman.charges SET taken_by = :job
 WHERE id = :charge AND status = 'authorized' AND (taken_by IS NULL OR taken_by = :job)
   AND amount >= coalesce(CAST(:amount AS bigint), 1)
RETURNING id
""")

# By the vendor's time; within one second the end of a dispute counts.
DISPUTE = text("""
WITH was AS (SELECT id, disputed FROM ferryman.charges WHERE id = :charge FOR UPDATE)
UPDATE ferryman.charges c
   SET disputed = :disputed, disputed_at = :at,
       status = CASE WHEN c.status IN ('succeeded', 'partially_refunded', 'refunded', 'disputed')
                     THEN ferryman.charge_status(c.amount, c.refunded, :disputed)
                     ELSE c.status END
  FROM was
 WHERE c.id = was.id
   AND (c.disputed_at IS NULL OR c.disputed_at < :at
        OR (c.disputed_at = :at AND NOT CAST(:disputed AS boolean)))
RETURNING was.disputed <> :disputed
""")

CHARGE_COLUMNS = """
SELECT c.id, c.vendor, c.vendor_reference, c.vendor_session, c.customer, c.status, c.amount,
       c.currency, c.reserved, c.refunded, c.taken_by, c.created_at, c.disputed,
       extract(epoch FROM now() - c.created_at)::float8 AS age_seconds
  FROM ferryman.charges c
"""
CHARGE = text(f"{CHARGE_COLUMNS} WHERE c.id = :id")
BY_REFERENCE = text(f"""{CHARGE_COLUMNS}
 WHERE c.vendor = :vendor AND c.account = 'default'
   AND (c.vendor_reference = :payment OR c.vendor_session = :session)
 LIMIT 1
""")

STANDS = text("""
SELECT j.id, j.status AS job_status, c.status, c.vendor_reference
  FROM ferryman.jobs j LEFT JOIN ferryman.charges c ON c.id = j.id
 WHERE j.id = ANY(CAST(:ids AS uuid[])) AND j.vendor = :vendor
""")


async def charge(connection: AsyncConnection, id: UUID) -> Row | None:
    """The charge made by the job with that id."""
    row = (await connection.execute(CHARGE, {"id": id})).mappings().one_or_none()
    return dict(row) if row else None


async def by_reference(
    connection: AsyncConnection, vendor: str, payment: str | None, session: str | None = None
) -> Row | None:
    """The charge that the vendor knows by that reference, or by what it was made by."""
    values = {"vendor": vendor, "payment": payment, "session": session}
    row = (await connection.execute(BY_REFERENCE, values)).mappings().one_or_none()
    return dict(row) if row else None


async def begin(connection: AsyncConnection, row: Row) -> None:
    """A payment is begun: from now on money may move by its session."""
    await connection.execute(WRITE_CHARGES, {"rows": dumps([row])})


async def take(
    connection: AsyncConnection, charge_id: UUID, job_id: UUID, amount: int | None
) -> bool:
    """Give one job the right to take a held payment, or to let go of it. False: it is not held, is
    another's to take, or holds less than `amount`."""
    values = {"charge": charge_id, "job": job_id, "amount": amount}
    return (await connection.execute(TAKE, values)).one_or_none() is not None


async def dispute(
    connection: AsyncConnection, charge_id: UUID, *, disputed: bool, at: datetime
) -> bool:
    """A payer disputes the charge, or does no more. False: that was known, or is out of date."""
    values = {"charge": charge_id, "disputed": disputed, "at": at}
    return bool((await connection.execute(DISPUTE, values)).scalar_one_or_none())


async def stand(
    connection: AsyncConnection, vendor: str, ids: Sequence[UUID]
) -> dict[UUID, tuple[str, str | None, str | None]]:
    """Of each of these jobs its status, and the status and reference of its payment."""
    found = await connection.execute(STANDS, {"vendor": vendor, "ids": list(ids)})
    return {row.id: (row.job_status, row.status, row.vendor_reference) for row in found}
