"""What comes to a job from outside its walk: proofs, cancels, retries, a person's word.

The job's row is locked first, each statement names the states that it leaves, and it is written
down who did it. Whoever holds the job finds its fence raised, and changes nothing any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from models.engine import dumps
from models.workers import Looks

Row = dict[str, Any]

# A statement of its own, so that the next one sees what was committed while this one waited.
LOCK = text("SELECT FROM ferryman.jobs WHERE id = :id FOR UPDATE")

# A payment that may be taken at the vendor without another word from us.
OPEN = """EXISTS (SELECT FROM ferryman.charges c
                   WHERE c.id = j.id AND c.vendor_reference IS NOT NULL
                     AND c.status IN ('requires_action', 'processing'))"""

# Nothing more of a cancelled batch is sent, whoever asks for it.
GIVEN_UP = "(SELECT b.status = 'cancelled' FROM ferryman.batches b WHERE b.id = {0}.batch_id)"

# `harmless`: what was sent last may be sent again under the same vendor key.
LOCKED = text(f"""
SELECT j.id, j.kind, j.vendor, j.args, j.status, j.look_at, j.result, j.round,
       j.pending OR (j.status = 'waiting' AND {OPEN}) AS pending,
       extract(epoch FROM now() - (SELECT a.started_at FROM ferryman.attempts a
                                    WHERE a.job_id = j.id AND a.number = j.fence))::float8
         AS running_seconds,
       EXISTS (SELECT FROM ferryman.sends s
                WHERE s.job_id = j.id AND s.answered_at IS NULL) AS doubtful,
       EXISTS (SELECT FROM ferryman.interventions i
                WHERE i.job_id = j.id AND i.action = 'late proof') AS proven,
       {GIVEN_UP.format("j")} AS given_up,
       coalesce((SELECT bool_and(s.repeat = 'natural'
                                 OR (s.repeat = 'key' AND s.repeat_until > now()))
                   FROM ferryman.sends s
                  WHERE s.job_id = j.id AND s.vendor_key IN (
                        SELECT l.vendor_key FROM ferryman.sends l WHERE l.job_id = j.id
                         ORDER BY l.answered_at IS NULL DESC, l.sent_at DESC LIMIT 1)),
                true) AS harmless
  FROM ferryman.jobs j WHERE j.id = :id
""")

# Doubts that the proof does not answer keep a failure from being believed.
SETTLE = text("""
WITH settled AS (
  UPDATE ferryman.jobs j
     SET status = :status, reason = NULL, result = CAST(:result AS jsonb),
         error = CAST(:error AS jsonb), fence = j.fence + 1, worker_id = NULL,
         deadline_at = NULL, looking = false, look_at = NULL, crashes = 0,
         pending = false, published_at = NULL, finished_at = now()
   WHERE j.id = :id AND j.status = ANY(CAST(:leaves AS text[]))
     AND (CAST(:answered AS text[]) IS NULL OR NOT EXISTS (
           SELECT FROM ferryman.sends s WHERE s.job_id = j.id AND s.answered_at IS NULL
              AND s.step <> ALL(CAST(:answered AS text[]))))
  RETURNING j.id, j.fence
), closed AS (
  UPDATE ferryman.attempts a SET finished_at = now(), outcome = 'settled'
    FROM settled s WHERE a.job_id = s.id AND a.number = s.fence - 1 AND a.finished_at IS NULL
), answered AS (
  UPDATE ferryman.sends n SET answered_at = now()
    FROM settled s WHERE n.job_id = s.id AND n.answered_at IS NULL
)
SELECT id FROM settled
""")

FLAG = text("""
UPDATE ferryman.jobs SET reason = :reason WHERE id = :id AND reason IS DISTINCT FROM :reason
""")

CANCEL = text("""
UPDATE ferryman.jobs
   SET status = 'cancelled', cancel_at = now(), reason = NULL, finished_at = now(),
       published_at = NULL
 WHERE id = :id AND status = 'waiting'
""")

# In doubt, and it can be looked up: what was sent decides, after the settle time.
CANCEL_IN_DOUBT = text("""
UPDATE ferryman.jobs j
   SET cancel_at = now(), published_at = NULL,
       status = CASE WHEN j.status = 'waiting' AND CAST(:seconds AS float8) IS NOT NULL
                     THEN 'unknown' ELSE j.status END,
       look_at = CASE WHEN j.status = 'waiting'
                      THEN greatest(now(), (SELECT max(s.sent_at) FROM ferryman.sends s
                                             WHERE s.job_id = j.id)
                                           + make_interval(secs => CAST(:seconds AS float8)))
                      ELSE j.look_at END,
       reason = CASE WHEN j.status = 'running' THEN j.reason
                     ELSE 'a cancel was asked; it is found out whether it took effect' END,
       -- A sync that waits for its parts stops them.
       run_at = CASE WHEN j.status = 'waiting' AND EXISTS (
                          SELECT FROM ferryman.batches b WHERE b.id = j.id AND b.awaits)
                     THEN now() ELSE j.run_at END
 WHERE id = :id AND status IN ('waiting', 'running', 'unknown')
RETURNING status
""")

# What is under way at the vendor is stopped there, by the job's own next run.
CANCEL_PENDING = text("""
UPDATE ferryman.jobs
   SET cancel_at = now(), pending = true, run_at = now(), published_at = NULL, publishes = 0,
       reason = 'a cancel was asked; it is stopped at the vendor'
 WHERE id = :id AND status = 'waiting'
RETURNING status
""")

# News of a job that waits for its vendor: it looks at once.
WAKE = text("""
UPDATE ferryman.jobs SET run_at = now(), published_at = NULL, publishes = 0
 WHERE id = :id AND status = 'waiting' AND pending AND run_at > now()
""")

# From the beginning, with all its attempts. `fresh`: with new vendor keys, since the vendor would
# repeat its stored answer under the old ones.
AGAIN = text(f"""
WITH again AS (
  UPDATE ferryman.jobs j
     SET status = 'waiting', reason = 'sent again by a person', error = NULL, result = NULL,
         attempts = 0, crashes = 0, throttled_since = NULL, run_at = now(), due_at = now(),
         expires_at = CASE WHEN expires_at > now() THEN expires_at END,
         look_at = NULL, looks = 0, cancel_at = NULL, published_at = NULL, publishes = 0,
         pending = {OPEN}, finished_at = NULL, round = j.round + CAST(:fresh AS boolean)::int
   WHERE j.id = ANY(CAST(:ids AS uuid[])) AND j.status IN ('failed', 'unknown')
  RETURNING j.id
), waived AS (
  UPDATE ferryman.sends s SET answered_at = now()
    FROM again a WHERE s.job_id = a.id AND s.answered_at IS NULL AND CAST(:fresh AS boolean)
)
SELECT id FROM again
""")

# What is known to have had its effect after all is never sent again.
FAILED = f"""
 WHERE status = 'failed' AND {GIVEN_UP.format("jobs")} IS NOT TRUE
   AND NOT EXISTS (SELECT FROM ferryman.interventions i
                    WHERE i.job_id = jobs.id AND i.action = 'late proof')
   AND (CAST(:kind AS text) IS NULL OR kind = :kind)
   AND (CAST(:vendor AS text) IS NULL OR vendor = :vendor)
   AND (CAST(:code AS text) IS NULL OR error ->> 'code' = :code)
   AND (CAST(:since AS timestamptz) IS NULL OR finished_at >= :since)
"""
COUNT_FAILED = text("SELECT count(*) FROM ferryman.jobs" + FAILED)
LOCK_FAILED = text("SELECT id, kind FROM ferryman.jobs" + FAILED + "ORDER BY id FOR UPDATE")

TELL = text("""
INSERT INTO ferryman.interventions (job_id, who, action, was, became, note)
SELECT r.job_id, r.who, r.action, r.was, r.became, r.note
  FROM jsonb_to_recordset(CAST(:rows AS jsonb))
    AS r(job_id uuid, who text, action text, was text, became text, note text)
""")


@dataclass(frozen=True)
class End:
    """What is proven about a job. `answered`: the steps that the proof is about (None: all)."""

    status: str
    result: Row | None = None
    error: Row | None = None
    answered: Sequence[str] | None = None


@dataclass(frozen=True)
class Filters:
    """Which failed jobs are meant; `since` is about when they failed."""

    kind: str | None = None
    vendor: str | None = None
    code: str | None = None
    since: datetime | None = None


async def lock(connection: AsyncConnection, id: UUID) -> Row | None:
    """The job's row, held until the transaction ends, and what follows from it: see LOCKED. It was
    `proven` after its end; `harmless` would be to repeat it under its vendor keys."""
    await connection.execute(LOCK, {"id": id})
    row = (await connection.execute(LOCKED, {"id": id})).mappings().one_or_none()
    return dict(row) if row else None


async def settle(connection: AsyncConnection, id: UUID, end: End, *, leaves: Sequence[str]) -> bool:
    """Give a job the end that is proven. False: it is in none of the states in `leaves`, or the
    proof does not answer every doubt."""
    values = {
        "id": id,
        "status": end.status,
        "result": dumps(end.result) if end.result is not None else None,
        "error": dumps(end.error) if end.error is not None else None,
        "answered": list(end.answered) if end.answered is not None else None,
        "leaves": list(leaves),
    }
    return (await connection.execute(SETTLE, values)).one_or_none() is not None


async def flag(connection: AsyncConnection, id: UUID, reason: str) -> bool:
    """Say on an ended job what a person should know. False: it said so already."""
    return (await connection.execute(FLAG, {"id": id, "reason": reason})).rowcount == 1


async def cancel(connection: AsyncConnection, id: UUID) -> None:
    """End a waiting job of which nothing was sent."""
    await connection.execute(CANCEL, {"id": id})


async def ask_to_cancel(connection: AsyncConnection, row: Row, looks: Looks) -> str:
    """Let a job that runs, or is in doubt, stop where it can; its status now."""
    values = {"id": row["id"], "seconds": looks.get(row["kind"], {}).get(row["vendor"])}
    became: str = await connection.scalar(CANCEL_IN_DOUBT, values)
    return became


async def cancel_pending(connection: AsyncConnection, id: UUID) -> str:
    """Let a job stop what is under way at its vendor; its status now."""
    became: str = await connection.scalar(CANCEL_PENDING, {"id": id})
    return became


async def wake(connection: AsyncConnection, id: UUID) -> None:
    """Let a job that waits for its vendor look at once."""
    await connection.execute(WAKE, {"id": id})


async def again(connection: AsyncConnection, ids: Sequence[UUID], *, fresh: bool) -> list[UUID]:
    """Send failed or unknown jobs again; those that it was done to."""
    found = await connection.execute(AGAIN, {"ids": list(ids), "fresh": fresh})
    return list(found.scalars())


async def count_failed(connection: AsyncConnection, filters: Filters) -> int:
    counted: int = await connection.scalar(COUNT_FAILED, vars(filters))
    return counted


async def lock_failed(connection: AsyncConnection, filters: Filters) -> list[Row]:
    """The failed jobs that are meant: `{"id", "kind"}` of each."""
    return [dict(row) for row in (await connection.execute(LOCK_FAILED, vars(filters))).mappings()]


async def tell(connection: AsyncConnection, rows: Sequence[Row]) -> None:
    """Write down who did what: `{"job_id", "who", "action", "was", "became", "note"}`."""
    await connection.execute(TELL, {"rows": dumps(rows)})
