"""Planning an import of contacts: those that are set aside, and a job for each other.

All in the caller's one transaction, so that a batch is planned whole or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from models.engine import dumps

Row = dict[str, Any]

# A line's job is known by its batch and its place: so the list's order is that of the ids, and a
# failed contact leads back to its line.
PLACE_BITS = 40
OTHER_THAN_ITS_BATCH = 1 << 64
# Ids of one moment differ only in what the place covers: these bits of it are kept elsewhere.
TAIL = (1 << 22) - 1

BEGIN = text("""
CREATE TEMPORARY TABLE ferryman_import (
  id uuid, place bigint, identity text, content text, args jsonb, field text, reason text
) ON COMMIT DROP
""")

ADD = text("""
INSERT INTO ferryman_import
SELECT r.* FROM jsonb_to_recordset(CAST(:rows AS jsonb))
  AS r(id uuid, place bigint, identity text, content text, args jsonb, field text, reason text)
""")

# The job is locked with it: one that a rescuer has ended in the meantime plans nothing any more.
UNPLANNED = text("""
SELECT b.status FROM ferryman.jobs j JOIN ferryman.batches b ON b.job_id = j.id
 WHERE j.id = :batch AND j.status = 'running' AND b.planned_at IS NULL
   FOR SHARE OF j FOR UPDATE OF b
""")

# Of equal records the first one goes. Of different ones with one identity nobody knows which is
# right, so that none does, and each tells of another.
JUDGE = text("""
WITH firsts AS (
  SELECT DISTINCT ON (identity) identity, place, content
    FROM ferryman_import WHERE reason IS NULL ORDER BY identity, place
), groups AS (
  SELECT i.identity, f.place AS first, f.content,
         min(i.place) FILTER (WHERE i.content <> f.content) AS second
    FROM ferryman_import i JOIN firsts f USING (identity) WHERE i.reason IS NULL
   GROUP BY i.identity, f.place, f.content HAVING count(*) > 1
), aside AS (
  SELECT i.id, g.second IS NOT NULL AS differ,
         CASE WHEN i.content = g.content AND g.second IS NOT NULL THEN g.second ELSE g.first END
         AS other
    FROM ferryman_import i JOIN groups g USING (identity)
   WHERE i.reason IS NULL AND (g.second IS NOT NULL OR i.place > g.first)
)
UPDATE ferryman_import i
   SET field = CASE WHEN i.args ? 'external_id' THEN 'external_id' ELSE 'email' END,
       reason = CASE WHEN i.args ? 'external_id' THEN 'external_id' ELSE 'email' END
         || ': line ' || a.other
         || CASE WHEN a.differ THEN ' is another record with the same one'
                 ELSE ' has the same record' END,
       content = CASE WHEN a.differ THEN NULL ELSE 'duplicate' END
  FROM aside a WHERE i.id = a.id
""")

SET_ASIDE = text("""
INSERT INTO ferryman.set_aside (batch_id, place, given, status, field, reason)
SELECT :batch, place, args, CASE content WHEN 'duplicate' THEN content ELSE 'invalid' END, field,
       reason
  FROM ferryman_import WHERE reason IS NOT NULL
""")

# Children of a paused batch are due when it is resumed; those of a cancelled one are over. A
# constant payload, told once a transaction, as in ferryman.enqueue().
ADD_JOBS = text("""
WITH jobs AS (
  INSERT INTO ferryman.jobs
         (id, kind, vendor, args, priority, run_at, due_at, expires_at, batch_id, status, cancel_at,
          finished_at)
  SELECT i.id, 'upsert_contact', b.vendor, i.args, 'low', d.due_at, d.due_at, b.expires_at, b.id,
         CASE WHEN :status = 'cancelled' THEN 'cancelled' ELSE 'waiting' END, d.over_at, d.over_at
    FROM ferryman_import i JOIN ferryman.jobs b ON b.id = :batch
   CROSS JOIN (SELECT CASE WHEN :status = 'paused' THEN timestamptz '9000-01-01'
                           ELSE now() END AS due_at,
                      CASE WHEN :status = 'cancelled' THEN now() END AS over_at) AS d
   WHERE i.reason IS NULL ORDER BY i.place
  RETURNING id
)
SELECT pg_notify('ferryman', '') FROM (SELECT count(*) FROM jobs) AS all_of_them
 WHERE current_setting('ferryman.notify', true) IS DISTINCT FROM 'off'
""")

PLANNED = text("""
UPDATE ferryman.batches b
   SET planned_at = clock_timestamp(), total = n.total, invalid = n.aside - n.duplicate,
       duplicate = n.duplicate
  FROM (SELECT count(*) AS total, count(reason) AS aside,
               count(*) FILTER (WHERE reason IS NOT NULL AND content = 'duplicate') AS duplicate
          FROM ferryman_import) AS n
 WHERE b.id = :batch
""")

BATCH = text("SELECT ferryman.batch(:batch)")


@dataclass(frozen=True)
class Planned:
    """A record of an import, at its place in the list. `identity`: what the vendor knows it by;
    `content`: what it says, where equal ones say the same. `reason`: why it is not sent."""

    id: UUID
    place: int
    args: Row
    identity: str | None = None
    content: str | None = None
    field: str | None = None
    reason: str | None = None


def id_of(batch: UUID, place: int) -> UUID:
    """The id of a line's job."""
    tail = batch.int & (1 << PLACE_BITS) - 1
    first = (batch.int ^ OTHER_THAN_ITS_BATCH) >> PLACE_BITS << PLACE_BITS
    return UUID(int=first ^ (tail & TAIL) << PLACE_BITS | place)


async def begin(connection: AsyncConnection) -> None:
    """Make room for a list, until the transaction ends."""
    await connection.execute(BEGIN)


async def add(connection: AsyncConnection, rows: Sequence[Planned]) -> None:
    """Some thousands of its records."""
    await connection.execute(ADD, {"rows": dumps(rows)})


async def plan(connection: AsyncConnection, batch: UUID) -> Row | None:
    """All were added: set aside those that cannot be sent, and store a job for each other. Returns
    the batch as it is now; None where it was planned before, or its job has ended."""
    given = {"batch": batch}
    status = await connection.scalar(UNPLANNED, given)
    if status is None:
        return None
    await connection.execute(text("ANALYZE ferryman_import"))
    await connection.execute(JUDGE)
    await connection.execute(SET_ASIDE, given)
    await connection.execute(ADD_JOBS, {**given, "status": status})
    await connection.execute(PLANNED, given)
    now: Row = await connection.scalar(BATCH, given)
    return now
