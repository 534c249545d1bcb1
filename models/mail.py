"""Mails: one row a recipient, alone or out of a batch, and one row a request of a batch (a part).

A mail of a batch has the status of its part, unless it was set aside by itself. So the row of a
mail is written when it is planned, and then only when the vendor tells of it. Locks are taken in
this order: jobs, mails, parts, batches.
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

# Also the data is kept as it was at first: every attempt sends the same.
SENDING_ONE = text("""
INSERT INTO ferryman.mails AS m (id, job_id, vendor, recipient, data, template, status)
VALUES (:id, :id, :vendor, :recipient, CAST(:data AS jsonb), :template, 'sending')
    ON CONFLICT (id) DO UPDATE SET status = 'sending', reason = NULL WHERE m.status <> 'sent'
RETURNING data
""")

SUPPRESSED = text("""
SELECT a.place::int - 1 AS place, s.reason
  FROM unnest(CAST(:addresses AS text[])) WITH ORDINALITY AS a(address, place)
  JOIN ferryman.suppressions s
    ON s.channel = 'email' AND s.address = lower(a.address) AND s.reason <> 'unsubscribe'
 ORDER BY a.place LIMIT 1
""")

GATE = text("""
SELECT p.batch_id, p.size, b.letter, b.status, b.per_minute,
       greatest(0, extract(epoch FROM b.next_at - now()))::float8 AS seconds
  FROM ferryman.parts p JOIN ferryman.batches b ON b.id = p.batch_id WHERE p.job_id = :job
""")

# One after the other, by the row's lock: no more than `per_minute` leave in any minute.
TAKE_TURN = text("""
UPDATE ferryman.batches
   SET next_at = greatest(next_at, now()) + make_interval(secs => 60.0 * :size / per_minute)
 WHERE id = :batch AND (next_at IS NULL OR next_at <= now())
""")

# Between two attempts, when the next may be far away, and is not late then.
RESTS = text("""
WITH patient AS (UPDATE ferryman.jobs SET due_at = '9000-01-01' WHERE id = :job)
UPDATE ferryman.parts SET status = 'waiting' WHERE job_id = :job AND status = 'sending'
""")

# Mails leave their part, each with a status of its own; the counts move with them.
_LEAVE_PART = """
, moved AS (
  UPDATE ferryman.mails m SET status = g.status, reason = g.reason FROM gone g WHERE m.id = g.id
), less AS (
  UPDATE ferryman.parts p SET size = p.size - (SELECT count(*) FROM gone)
   WHERE p.job_id = :job AND EXISTS (SELECT FROM gone)
  RETURNING p.batch_id
)
UPDATE ferryman.batches b
   SET suppressed = b.suppressed + (SELECT count(*) FROM gone WHERE status = 'suppressed'),
       failed = b.failed + (SELECT count(*) FROM gone WHERE status = 'failed')
  FROM less l WHERE b.id = l.batch_id
"""
SUPPRESS_NOW = text(f"""
WITH gone AS (
  SELECT m.id, 'suppressed' AS status, 'to: is suppressed (' || s.reason || ')' AS reason
    FROM ferryman.mails m
    JOIN ferryman.suppressions s ON s.channel = 'email' AND s.address = lower(m.recipient)
   WHERE m.job_id = :job AND m.status IS NULL ORDER BY m.id FOR UPDATE OF m
){_LEAVE_PART}
""")
FAIL_SOME = text(f"""
WITH gone AS (
  SELECT m.id, 'failed' AS status, r.reason
    FROM ferryman.mails m
    JOIN jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id uuid, reason text) USING (id)
   WHERE m.job_id = :job AND m.status IS NULL ORDER BY m.id FOR UPDATE OF m
){_LEAVE_PART}
""")

SENDING_PART = text("""
UPDATE ferryman.parts SET status = 'sending', reason = NULL
 WHERE job_id = :job AND status = 'waiting'
""")

# As one JSON document: a thousand rows, each taken apart by the driver, took four times as long.
PART = text("""
SELECT json_agg(json_build_array(id, recipient, data) ORDER BY id) FROM ferryman.mails
 WHERE job_id = :job AND status IS NULL
""")

# What has ended moves only when a person sends it again, or when it turns out to have been sent.
_MAY_MOVE = """
       ((r.status <> 'waiting' AND e.status IN ('waiting', 'sending', 'unknown'))
        OR (r.status IN ('waiting', 'sent')
            AND e.status IN ('failed', 'unknown', 'cancelled', 'suppressed')))
"""
_MOVED = """
status = r.status, reason = r.reason,
         vendor_reference = coalesce(r.vendor_reference, e.vendor_reference),
         sent_at = CASE WHEN r.status = 'sent' THEN now() END
"""
WRITE_EMAILS = text(f"""
WITH r AS (
  SELECT g.job_id, g.vendor_reference,
         CASE WHEN g.status = 'failed' AND j.error ->> 'code' = 'suppressed'
              THEN 'suppressed' ELSE g.status END AS status,
         CASE WHEN g.status NOT IN ('sent', 'waiting') THEN j.error ->> 'message' END AS reason
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
      AS g(job_id uuid, status text, vendor_reference text)
    JOIN ferryman.jobs j ON j.id = g.job_id
), singles AS (
  SELECT e.id FROM ferryman.mails e JOIN r USING (job_id)
   WHERE e.batch_id IS NULL AND {_MAY_MOVE} ORDER BY e.id FOR UPDATE OF e
), mails AS (
  UPDATE ferryman.mails e SET {_MOVED}
    FROM r, singles s WHERE e.id = s.id AND r.job_id = e.job_id
), parts AS (
  SELECT e.job_id FROM ferryman.parts e JOIN r USING (job_id)
   WHERE {_MAY_MOVE} ORDER BY e.job_id FOR UPDATE OF e
)
UPDATE ferryman.parts e
   SET {_MOVED},
       ended_at = CASE WHEN r.status NOT IN ('waiting', 'sending') THEN now() END
  FROM r JOIN parts p USING (job_id) WHERE e.job_id = p.job_id
""")


@dataclass(frozen=True)
class Gate:
    """Whether a part may be sent. `seconds`: until its batch's next turn, 0 where it has it."""

    letter: Row
    paused: bool = False
    cancelled: bool = False
    seconds: float = 0.0


async def sending_one(
    connection: AsyncConnection,
    id: UUID,
    *,
    vendor: str,
    recipient: str,
    data: Row | None,
    template: str | None,
) -> Row | None:
    """A single mail, with the id of its job, is about to be handed over. Returns its data as it was
    when that was first so."""
    row = {"id": id, "vendor": vendor, "recipient": recipient, "template": template}
    given = {**row, "data": dumps(data) if data else None}
    found: Row | None = await connection.scalar(SENDING_ONE, given)
    return found


async def suppressed(
    connection: AsyncConnection, addresses: Sequence[str]
) -> tuple[int, str] | None:
    """The place of the first of these addresses to which not even a single mail may go, and why;
    None: to all it may."""
    row = (await connection.execute(SUPPRESSED, {"addresses": list(addresses)})).one_or_none()
    return None if row is None else (row.place, row.reason)


async def gate(connection: AsyncConnection, job_id: UUID) -> Gate | None:
    """Whether this part may be sent now; if so, its turn is taken. None: there is no such part."""
    row = (await connection.execute(GATE, {"job": job_id})).one_or_none()
    if row is None:
        return None
    if row.status != "running":
        await connection.execute(RESTS, {"job": job_id})
        paused = row.status == "paused"
        return Gate(row.letter, paused=paused, cancelled=not paused)
    if not row.per_minute:
        return Gate(row.letter)
    turn = await connection.execute(TAKE_TURN, {"batch": row.batch_id, "size": row.size})
    return Gate(row.letter, seconds=0.0 if turn.rowcount else row.seconds + 0.1)


async def sending_part(connection: AsyncConnection, job_id: UUID) -> list[Row]:
    """A part's mails are about to be handed over, but for those that are suppressed by now:
    `{"id", "recipient", "data"}` of each."""
    await connection.execute(SUPPRESS_NOW, {"job": job_id})
    await connection.execute(SENDING_PART, {"job": job_id})
    return await _part(connection, job_id)


async def fail_some(
    connection: AsyncConnection, job_id: UUID, reasons: dict[UUID, str]
) -> list[Row]:
    """These mails of a part are refused; the rest, as `sending_part` gives it."""
    rows = [{"id": mail, "reason": reason} for mail, reason in reasons.items()]
    await connection.execute(FAIL_SOME, {"job": job_id, "rows": dumps(rows)})
    return await _part(connection, job_id)


async def _part(connection: AsyncConnection, job_id: UUID) -> list[Row]:
    found = await connection.scalar(PART, {"job": job_id}) or ()
    return [{"id": UUID(mail), "recipient": to, "data": data} for mail, to, data in found]


async def write_emails(connection: AsyncConnection, rows: Sequence[Row]) -> None:
    """Jobs have ended: `{"job_id", "status", "vendor_reference"?}`. Moves what each had to send."""
    await connection.execute(WRITE_EMAILS, {"rows": dumps(rows)})
