"""Objects of a sync: one row an object, kept while it goes, so that its progress can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from models.engine import dumps

Row = dict[str, Any]

# A later run finds in place what an earlier run of the same job had planned to copy: it was
# copied, and the worker died before it could say so.
WRITE_OBJECTS = text("""
INSERT INTO ferryman.objects AS o
       (job_id, key, bucket, action, outcome, reason, size, last_modified, etag, checksum)
SELECT job_id, key, bucket, action, outcome, reason, size, last_modified, etag, checksum
  FROM jsonb_to_recordset(CAST(:rows AS jsonb))
    AS r(job_id uuid, key text, bucket text, action text, outcome text, reason text, size bigint,
         last_modified timestamptz, etag text, checksum text)
 ORDER BY job_id, key
    ON CONFLICT (job_id, key) DO UPDATE
   SET action = CASE WHEN o.action = 'copy' AND excluded.action = 'keep' THEN o.action
                     ELSE excluded.action END,
       bucket = excluded.bucket, outcome = excluded.outcome, reason = excluded.reason,
       size = coalesce(excluded.size, o.size),
       last_modified = coalesce(excluded.last_modified, o.last_modified),
       etag = coalesce(excluded.etag, o.etag), checksum = coalesce(excluded.checksum, o.checksum),
       at = now()
""")

# What an earlier run planned or failed to do, and this run did not meet any more.
FORGET = text("""
DELETE FROM ferryman.objects WHERE job_id = :job AND at < :since AND outcome <> 'done'
""")

COUNTS = text("""
SELECT count(*) FILTER (WHERE action = 'copy' AND outcome <> 'failed') AS copied,
       count(*) FILTER (WHERE action = 'keep') AS kept,
       count(*) FILTER (WHERE action = 'delete' AND outcome <> 'failed') AS deleted,
       count(*) FILTER (WHERE action = 'refuse') AS refused,
       count(*) FILTER (WHERE outcome = 'failed') AS failed,
       coalesce(sum(size) FILTER (WHERE action = 'copy' AND outcome <> 'failed'), 0)::bigint
         AS bytes
  FROM ferryman.objects WHERE job_id = :job
""")

LEFT_OUT = text("""
SELECT key, reason FROM ferryman.objects
 WHERE job_id = :job AND outcome IN ('refused', 'failed') ORDER BY key LIMIT :limit
""")

TO_DELETE = text("""
SELECT key FROM ferryman.objects
 WHERE job_id = :job AND action = 'delete' AND outcome = 'planned' AND at >= :since
   AND key > :after
 ORDER BY key LIMIT :limit
""")


@dataclass(frozen=True)
class Counts:
    """Objects of a sync by what became of them; of a dry run, by what would have."""

    copied: int
    kept: int
    deleted: int
    refused: int
    failed: int
    bytes: int


async def now(connection: AsyncConnection) -> datetime:
    """The ledger's clock: when a run began."""
    found: datetime = await connection.scalar(text("SELECT now()"))
    return found


async def write_objects(connection: AsyncConnection, rows: Sequence[Row]) -> None:
    await connection.execute(WRITE_OBJECTS, {"rows": dumps(rows)})


async def forget(connection: AsyncConnection, job_id: UUID, since: datetime) -> None:
    """Drop what earlier runs left undone and the run that began at `since` did not meet."""
    await connection.execute(FORGET, {"job": job_id, "since": since})


async def counts(connection: AsyncConnection, job_id: UUID) -> Counts:
    row = (await connection.execute(COUNTS, {"job": job_id})).mappings().one()
    return Counts(**row)


async def left_out(connection: AsyncConnection, job_id: UUID, limit: int) -> list[Row]:
    """The first objects that were refused or failed: `{"key", "reason"}`."""
    found = await connection.execute(LEFT_OUT, {"job": job_id, "limit": limit})
    return [dict(row) for row in found.mappings()]


async def to_delete(
    connection: AsyncConnection, job_id: UUID, since: datetime, after: str, limit: int
) -> list[str]:
    """The next keys, beyond `after`, that the run which began at `since` planned to delete."""
    values = {"job": job_id, "since": since, "after": after, "limit": limit}
    return list((await connection.execute(TO_DELETE, values)).scalars())
