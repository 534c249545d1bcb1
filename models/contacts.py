"""The contacts of a CRM, as far as ferryman knows them: by what their vendor knows them by.

A contact is changed by one job at a time, in the order in which the jobs were made: the row names
the job that is about to, until that has ended.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from models.engine import dumps

Row = dict[str, Any]

# Before anybody looks who changes a contact: what another load has reserved must be seen.
LOCK = text("SELECT pg_advisory_xact_lock(727105, hashtext(:vendor))")

# A job that a pause has put off for good holds up no other.
HOLDERS = text("""
SELECT c.identity, j.id, j.status = 'waiting' AS waits,
       greatest(0, extract(epoch FROM j.run_at - now()))::float8 AS seconds
  FROM ferryman.contacts c JOIN ferryman.jobs j ON j.id = c.job_id
 WHERE c.vendor = :vendor AND c.identity = ANY(CAST(:identities AS text[]))
   AND j.status IN ('waiting', 'running') AND j.run_at < '8999-01-01'
""")

RESERVE = text("""
INSERT INTO ferryman.contacts AS c (id, vendor, identity, email, external_id, job_id)
SELECT ferryman.uuid7(), :vendor, r.identity, r.email, r.external_id, r.job_id
  FROM jsonb_to_recordset(CAST(:rows AS jsonb))
    AS r(identity text, email text, external_id text, job_id uuid)
 ORDER BY r.identity
    ON CONFLICT (vendor, identity) DO UPDATE SET job_id = excluded.job_id
""")

# Locked by what they are known by, in its order, everywhere. What is cleared there is no field of
# his any more.
SAVE = text("""
WITH r AS (
  SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb))
      AS r(identity text, email text, external_id text, reference text, fields jsonb)
), locked AS (
  SELECT c.id FROM ferryman.contacts c JOIN r ON c.vendor = :vendor AND c.identity = r.identity
   ORDER BY c.identity FOR UPDATE OF c
)
UPDATE ferryman.contacts c
   SET status = 'active', vendor_reference = coalesce(r.reference, c.vendor_reference),
       email = r.email, external_id = coalesce(r.external_id, c.external_id),
       fields = jsonb_strip_nulls(coalesce(c.fields, '{}') || coalesce(r.fields, '{}')),
       updated_at = now()
  FROM r WHERE c.id IN (SELECT id FROM locked) AND c.identity = r.identity
""")

TOLD = text("""
SELECT id, identity, email, external_id, vendor_reference, status, fields, told_at
  FROM ferryman.contacts
 WHERE vendor = :vendor AND vendor_reference = ANY(CAST(:references AS text[]))
 ORDER BY identity FOR UPDATE
""")
TAKEN = text("""
SELECT identity FROM ferryman.contacts
 WHERE vendor = :vendor AND identity = ANY(CAST(:identities AS text[]))
""")
TELL = text("""
UPDATE ferryman.contacts c
   SET identity = r.identity, email = r.email, external_id = r.external_id,
       vendor_reference = r.vendor_reference, status = r.status, fields = r.fields,
       told_at = r.told_at, updated_at = now()
  FROM jsonb_to_recordset(CAST(:rows AS jsonb))
    AS r(id uuid, identity text, email text, external_id text, vendor_reference text, status text,
         fields jsonb, told_at timestamptz)
 WHERE c.id = r.id
""")


@dataclass(frozen=True)
class Holder:
    """The job that a contact is kept for. `waits`: it has been in a load, and goes again after so
    many `seconds`."""

    id: UUID
    waits: bool
    seconds: float


async def holders(
    connection: AsyncConnection, vendor: str, identities: Collection[str]
) -> dict[str, Holder]:
    """Who of these is kept for a job, by what the vendor knows him by; nobody reserves another
    until the transaction ends."""
    await connection.execute(LOCK, {"vendor": vendor})
    found = await connection.execute(HOLDERS, {"vendor": vendor, "identities": list(identities)})
    return {row.identity: Holder(row.id, row.waits, row.seconds) for row in found}


async def reserve(connection: AsyncConnection, vendor: str, rows: Sequence[Row]) -> None:
    """Keep these for their jobs: `{"identity", "email", "external_id", "job_id"}` of each."""
    await connection.execute(RESERVE, {"vendor": vendor, "rows": dumps(rows)})


async def save(connection: AsyncConnection, vendor: str, rows: Sequence[Row]) -> None:
    """The vendor has taken these: `{"identity", "email", "external_id", "reference", "fields"}`."""
    await connection.execute(SAVE, {"vendor": vendor, "rows": dumps(rows)})


async def told(connection: AsyncConnection, vendor: str, references: Collection[str]) -> list[Row]:
    """Those of whom the vendor tells, by its own ids of them, held until the transaction ends."""
    values = {"vendor": vendor, "references": list(references)}
    return [dict(row) for row in (await connection.execute(TOLD, values)).mappings()]


async def taken(connection: AsyncConnection, vendor: str, identities: Collection[str]) -> set[str]:
    """Which of these somebody is known by."""
    values = {"vendor": vendor, "identities": list(identities)}
    return set((await connection.execute(TAKEN, values)).scalars())


async def tell(connection: AsyncConnection, rows: Sequence[Row]) -> None:
    """Write those of `told` again, as the vendor has them now."""
    await connection.execute(TELL, {"rows": dumps(rows)})
