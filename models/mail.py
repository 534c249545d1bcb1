"""Mails: one row a recipient, and the batches that count them.

A batch's counts sum to its total at every moment, so each statement that moves mails moves the
counts as well. Locks are taken in this order: jobs, emails, batches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from models.engine import dumps

Row = dict[str, Any]

# Long statements gain nothing, and each holds its rows twice in memory.
ROWS_AT_ONCE = 5000

SENDING_ONE = text("""
INSERT INTO ferryman.emails AS e (id, job_id, vendor, recipient, data, template, status)
VALUES (:id, :id, :vendor, :recipient, CAST(:data AS jsonb), :template, 'sending')
    ON CONFLICT (id) DO UPDATE SET status = 'sending', reason = NULL WHERE e.status <> 'sent'
""")

# The job is locked with it: one that a rescuer has ended in the meantime plans nothing any more.
UNPLANNED = text("""
SELECT b.id FROM ferryman.jobs j JOIN ferryman.batches b ON b.job_id = j.id
 WHERE j.id = :batch AND j.status = 'running' AND b.total = 0
   FOR SHARE OF j FOR UPDATE OF b
""")

PLAN_EMAILS = text("""
INSERT INTO ferryman.emails
       (id, job_id, batch_id, vendor, recipient, data, template, status, reason)
SELECT id, job_id, CAST(:batch AS uuid), :vendor, recipient, data, :template, status, reason
  FROM jsonb_to_recordset(CAST(:rows AS jsonb))
    AS r(id uuid, job_id uuid, recipient text, data jsonb, status text, reason text)
""")

# A constant payload, told once a transaction, as in ferryman.enqueue().
PLAN_PARTS = text("""
WITH parts AS (
  INSERT INTO ferryman.jobs (id, kind, vendor, args, priority, expires_at, batch_id)
  SELECT r.id, 'bulk_email_part', b.vendor, jsonb_build_object('batch', b.id, 'part', r.part),
         'low', b.expires_at, b.id
    FROM ferryman.jobs b, jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id uuid, part int)
   WHERE b.id = :batch
  RETURNING id
)
SELECT pg_notify('ferryman', '') FROM (SELECT count(*) FROM parts) AS all_of_them
 WHERE current_setting('ferryman.notify', true) IS DISTINCT FROM 'off'
""")

PLANNED = text("""
UPDATE ferryman.batches
   SET letter = CAST(:letter AS jsonb), total = :waiting + :invalid + :duplicate,
       waiting = :waiting, invalid = :invalid, duplicate = :duplicate,
       status = CASE WHEN :waiting = 0 THEN 'done' ELSE 'running' END,
       finished_at = CASE WHEN :waiting = 0 THEN now() END
 WHERE id = :batch
""")

BATCH = text("SELECT ferryman.batch(:batch)")

SENDING_PART = text("""
WITH locked AS (
  SELECT id, batch_id FROM ferryman.emails
   WHERE job_id = :job AND status = 'waiting' ORDER BY id FOR UPDATE
), moved AS (
  UPDATE ferryman.emails e SET status = 'sending' FROM locked l WHERE e.id = l.id
)
UPDATE ferryman.batches b SET waiting = b.waiting - n.count, sending = b.sending + n.count
  FROM (SELECT batch_id, count(*) FROM locked GROUP BY batch_id) AS n
 WHERE b.id = n.batch_id
""")

PART = text("""
SELECT id, recipient, data FROM ferryman.emails
 WHERE job_id = :job AND status = 'sending' ORDER BY id
""")

LETTER = text("SELECT letter FROM ferryman.batches WHERE id = :batch")

# A batch is done when none of its mails waits or is being sent. That of a bulk job which failed
# before its plan was made never had any. What has ended moves only when a person sends it again, or
# when it turns out to have been sent.
_OPEN = "('waiting', 'sending', 'unknown')"
_ENDED = "('failed', 'unknown', 'cancelled')"
_MOVED = ("waiting", "sending", "sent", "failed", "unknown", "cancelled")
_DELTAS = ", ".join(
    f"count(*) FILTER (WHERE status = '{one}') - count(*) FILTER (WHERE was = '{one}') AS {one}"
    for one in _MOVED
)
_COUNTS = ", ".join(f"{one} = b.{one} + s.{one}" for one in _MOVED)
_OVER = "b.waiting + s.waiting + b.sending + s.sending = 0"
WRITE_EMAILS = text(f"""
WITH r AS (
  SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb))
      AS r(job_id uuid, status text, vendor_reference text)
), locked AS (
  SELECT e.id, e.batch_id, e.status AS was, r.status, r.vendor_reference,
         CASE WHEN r.status NOT IN ('sent', 'waiting') THEN j.error ->> 'message' END AS reason
    FROM ferryman.emails e JOIN r USING (job_id) JOIN ferryman.jobs j ON j.id = e.job_id
   WHERE (r.status <> 'waiting' AND e.status IN {_OPEN})
      OR (r.status = 'waiting' AND e.status IN {_ENDED})
      OR (r.status = 'sent' AND e.status IN {_ENDED})
   ORDER BY e.id FOR UPDATE OF e
), moved AS (
  UPDATE ferryman.emails e
     SET status = l.status, reason = l.reason,
         vendor_reference = coalesce(l.vendor_reference, e.vendor_reference),
         sent_at = CASE WHEN l.status = 'sent' THEN now() END
    FROM locked l WHERE e.id = l.id
), touched AS (
  SELECT batch_id AS id, was, status FROM locked WHERE batch_id IS NOT NULL
   UNION ALL
  SELECT b.id, NULL, NULL FROM ferryman.batches b JOIN r ON b.id = r.job_id
), sums AS (
  SELECT id, {_DELTAS} FROM touched GROUP BY id
), counted AS (
  SELECT b.id FROM ferryman.batches b WHERE b.id IN (SELECT id FROM sums)
   ORDER BY b.id FOR UPDATE
)
UPDATE ferryman.batches b
   SET {_COUNTS},
       status = CASE WHEN {_OVER} AND b.status IN ('running', 'paused') THEN 'done'
                     WHEN NOT {_OVER} AND b.status = 'done' THEN 'running' ELSE b.status END,
       finished_at = CASE WHEN {_OVER} THEN coalesce(b.finished_at, now()) END
  FROM sums s JOIN counted USING (id) WHERE b.id = s.id
""")


@dataclass(frozen=True)
class Planned:
    """A recipient of a batch. `reason` says why a mail that is not `waiting` is set aside."""

    id: UUID
    job_id: UUID
    recipient: str
    data: Row | None
    status: str
    reason: str | None = None


@dataclass(frozen=True)
class Part:
    """One request's worth of recipients; `id` is that of its job."""

    id: UUID
    part: int


@dataclass(frozen=True)
class Plan:
    """A batch: its mails, the jobs that send them, and the arguments that all have in common."""

    id: UUID
    vendor: str
    letter: Row
    emails: Sequence[Planned]
    parts: Sequence[Part]


async def sending_one(
    connection: AsyncConnection,
    id: UUID,
    *,
    vendor: str,
    recipient: str,
    data: Row | None,
    template: str | None,
) -> None:
    """A single mail is about to be handed over. It has the id of its job."""
    row = {"id": id, "vendor": vendor, "recipient": recipient, "template": template}
    await connection.execute(SENDING_ONE, {**row, "data": dumps(data) if data else None})


async def plan(connection: AsyncConnection, batch: Plan) -> Row:
    """Store a batch's mails and the jobs that send them, once; returns the batch as it is now."""
    if await connection.scalar(UNPLANNED, {"batch": batch.id}) is not None:
        shared = {"batch": batch.id, "vendor": batch.vendor, "template": batch.letter["template"]}
        for start in range(0, len(batch.emails), ROWS_AT_ONCE):
            rows = batch.emails[start : start + ROWS_AT_ONCE]
            await connection.execute(PLAN_EMAILS, {**shared, "rows": dumps(rows)})
        await connection.execute(PLAN_PARTS, {"batch": batch.id, "rows": dumps(batch.parts)})
        found = Counter(email.status for email in batch.emails)
        counts = {name: found[name] for name in ("waiting", "invalid", "duplicate")}
        await connection.execute(
            PLANNED, {"batch": batch.id, "letter": dumps(batch.letter), **counts}
        )
    now: Row = await connection.scalar(BATCH, {"batch": batch.id})
    return now


async def sending_part(connection: AsyncConnection, job_id: UUID) -> list[Row]:
    """A part's mails are about to be handed over: `{"id", "recipient", "data"}` of each."""
    await connection.execute(SENDING_PART, {"job": job_id})
    return [dict(row) for row in (await connection.execute(PART, {"job": job_id})).mappings()]


async def letter(connection: AsyncConnection, batch: UUID) -> Row | None:
    """What a batch's mails have in common."""
    found: Row | None = await connection.scalar(LETTER, {"batch": batch})
    return found


async def write_emails(connection: AsyncConnection, rows: Sequence[Row]) -> None:
    """Jobs have ended: `{"job_id", "status", "vendor_reference"?}`. Moves what each had to send."""
    await connection.execute(WRITE_EMAILS, {"rows": dumps(rows)})
