"""Planning a batch of text messages: a row each, those that are set aside, a job for each other.

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

ADD = text("""
INSERT INTO ferryman.messages
       (id, job_id, batch_id, vendor, place, recipient, body, segments, status, reason)
SELECT r.id, CASE WHEN r.reason IS NULL THEN r.id ELSE :batch END, :batch, :vendor, r.place,
       r.recipient, :body, :segments,
       CASE WHEN r.reason IS NULL THEN 'waiting' ELSE 'invalid' END, r.reason
  FROM jsonb_to_recordset(CAST(:rows AS jsonb))
    AS r(id uuid, place bigint, recipient text, reason text)
""")

# The job is locked with it: one that a rescuer has ended in the meantime plans nothing any more.
UNPLANNED = text("""
SELECT b.status FROM ferryman.jobs j JOIN ferryman.batches b ON b.job_id = j.id
 WHERE j.id = :batch AND j.status = 'running' AND b.planned_at IS NULL
   FOR SHARE OF j FOR UPDATE OF b
""")

# The first of equal numbers stays in the list; it may still be one that nothing is sent to.
SET_ASIDE = text("""
UPDATE ferryman.messages m
   SET job_id = :batch, status = CASE WHEN f.nth > 1 THEN 'duplicate' ELSE 'suppressed' END,
       reason = CASE WHEN f.nth > 1 THEN 'to: it stands in the list already'
                     ELSE 'to: is suppressed (' || f.reason || ')' END
  FROM (SELECT w.id, w.nth, s.reason
          FROM (SELECT id, recipient, row_number() OVER (PARTITION BY recipient ORDER BY place)
                         AS nth
                  FROM ferryman.messages
                 WHERE batch_id = :batch AND status = 'waiting') AS w
          LEFT JOIN ferryman.suppressions s ON s.channel = 'sms' AND s.address = w.recipient
         WHERE w.nth > 1 OR s.address IS NOT NULL) AS f
 WHERE m.id = f.id
""")

CANCEL = text("""
UPDATE ferryman.messages SET status = 'cancelled', job_id = :batch
 WHERE batch_id = :batch AND status = 'waiting'
""")

# Children of a paused batch are due when it is resumed. A constant payload, told once a
# transaction, as in ferryman.enqueue().
ADD_JOBS = text("""
WITH jobs AS (
  INSERT INTO ferryman.jobs
         (id, kind, vendor, args, priority, run_at, due_at, expires_at, batch_id)
  SELECT m.id, 'send_sms', m.vendor, jsonb_build_object('to', m.recipient, 'body', m.body), 'low',
         d.due_at, d.due_at, b.expires_at, b.id
    FROM ferryman.jobs b JOIN ferryman.messages m ON m.batch_id = b.id
   CROSS JOIN (SELECT CASE WHEN :paused THEN timestamptz '9000-01-01' ELSE now() END AS due_at) AS d
   WHERE b.id = :batch AND m.status = 'waiting' ORDER BY m.place
  RETURNING id
)
SELECT pg_notify('ferryman', '') FROM (SELECT count(*) FROM jobs) AS all_of_them
 WHERE current_setting('ferryman.notify', true) IS DISTINCT FROM 'off'
""")

PLANNED = text("""
UPDATE ferryman.batches b
   SET letter = CAST(:letter AS jsonb), planned_at = clock_timestamp(), total = n.total,
       invalid = n.invalid, duplicate = n.duplicate
  FROM (SELECT count(*) AS total, count(*) FILTER (WHERE status = 'invalid') AS invalid,
               count(*) FILTER (WHERE status = 'duplicate') AS duplicate
          FROM ferryman.messages WHERE batch_id = :batch) AS n
 WHERE b.id = :batch
""")

BATCH = text("SELECT ferryman.batch(:batch)")


@dataclass(frozen=True)
class Planned:
    """A recipient of a batch, at his place in the list. `reason`: why his number is none."""

    id: UUID
    place: int
    recipient: str
    reason: str | None = None


@dataclass(frozen=True)
class Messages:
    """What the messages of a batch have in common. `segments`: of each, estimated."""

    batch: UUID
    vendor: str
    body: str
    segments: int


async def add(connection: AsyncConnection, shared: Messages, rows: Sequence[Planned]) -> None:
    """Some thousands of a batch's recipients."""
    await connection.execute(ADD, {**vars(shared), "rows": dumps(rows)})


async def plan(connection: AsyncConnection, batch: UUID, letter: Row) -> Row | None:
    """All were added: set duplicates and suppressed ones aside, and store a job for each other.
    Returns the batch as it is now; None where it was planned before, or its job has ended."""
    given = {"batch": batch}
    status = await connection.scalar(UNPLANNED, given)
    if status is None:
        return None
    await connection.execute(SET_ASIDE, given)
    if status == "cancelled":
        await connection.execute(CANCEL, given)
    await connection.execute(ADD_JOBS, {**given, "paused": status == "paused"})
    await connection.execute(PLANNED, {**given, "letter": dumps(letter)})
    return await shown(connection, batch)


async def shown(connection: AsyncConnection, batch: UUID) -> Row:
    """The batch as the API shows it."""
    now: Row = await connection.scalar(BATCH, {"batch": batch})
    return now
