"""Worker processes: their leases, and the rescue of what a dead one held."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

Row = dict[str, Any]

REGISTER = text("""
INSERT INTO ferryman.workers (id, name, lease_until)
VALUES (:id, :name, now() + make_interval(secs => :seconds))
""")

RENEW = text("""
UPDATE ferryman.workers SET lease_until = now() + make_interval(secs => :seconds)
 WHERE id = :id AND lease_until > now()
""")

LEAVE = text("DELETE FROM ferryman.workers WHERE id = :id")

# Doubt decides: nothing sent, or harmless to repeat → back to waiting; otherwise `unknown`.
# A crash makes suspects of all that the worker held; where one was a suspect already, only that
# one is counted, since a worker holds one suspect at a time.
RESCUE = text("""
WITH stranded AS (
  SELECT j.id, j.fence, j.crashes, j.worker_id
    FROM ferryman.jobs j
   WHERE j.status = 'running'
     AND (NOT EXISTS (SELECT FROM ferryman.workers w
                       WHERE w.id = j.worker_id AND w.lease_until > now())
          OR j.deadline_at < now() - make_interval(secs => :overdue))
   ORDER BY j.id FOR UPDATE OF j SKIP LOCKED
), judged AS (
  SELECT s.id, s.fence,
         s.crashes + (s.crashes > 0 OR NOT bool_or(s.crashes > 0)
                      OVER (PARTITION BY s.worker_id))::int AS crashes,
         d.doubtful, d.harmless
    FROM stranded s CROSS JOIN LATERAL (
         SELECT count(*) > 0 AS doubtful,
                coalesce(bool_and(n.repeat = 'natural'
                           OR (n.repeat = 'key' AND n.repeat_until > now())), true) AS harmless
           FROM ferryman.sends n
          WHERE n.job_id = s.id AND n.answered_at IS NULL) d
), fated AS (
  SELECT j.*, CASE WHEN NOT harmless THEN 'unknown'
                   WHEN crashes < :max_crashes THEN 'waiting'
                   WHEN doubtful THEN 'unknown' ELSE 'failed' END AS fate
    FROM judged j
), attempts AS (
  UPDATE ferryman.attempts a SET finished_at = now(), outcome = 'lease_lost'
    FROM fated f WHERE a.job_id = f.id AND a.number = f.fence AND a.finished_at IS NULL
)
UPDATE ferryman.jobs j
   SET status = f.fate, crashes = f.crashes, worker_id = NULL, deadline_at = NULL,
       published_at = NULL, publishes = 0,
       run_at = CASE WHEN f.fate = 'waiting' THEN now() ELSE j.run_at END,
       reason = CASE f.fate
         WHEN 'waiting' THEN 'its worker was lost; it runs again'
         WHEN 'unknown' THEN 'its worker was lost after a request may have left' END,
       error = CASE WHEN f.fate <> 'waiting' THEN jsonb_build_object(
         'code', CASE f.fate WHEN 'failed' THEN 'poison' ELSE 'outcome_unknown' END,
         'message', CASE f.fate WHEN 'failed' THEN 'every worker that ran it died'
                    ELSE 'the worker was lost after a request may have left' END,
         'type', 'WorkerLost') END,
       finished_at = CASE WHEN f.fate = 'failed' THEN now() END
  FROM fated f WHERE j.id = f.id
RETURNING j.id, j.kind, j.status
""")

# One that was only frozen finds no row when it wakes up, and comes back under a new id.
FORGET = text("DELETE FROM ferryman.workers WHERE lease_until < now() RETURNING id")

# Messages died with it in its memory, and nobody knows which. A second one does no harm.
PUBLISH_AGAIN = text("""
UPDATE ferryman.jobs SET published_at = NULL, publishes = 0
 WHERE id IN (SELECT id FROM ferryman.jobs
               WHERE status = 'waiting' AND published_at IS NOT NULL
               ORDER BY id FOR UPDATE SKIP LOCKED)
""")


def register(connection: Connection, id: UUID, name: str, seconds: float) -> None:
    """A new worker process with a lease of so many seconds."""
    connection.execute(REGISTER, {"id": id, "name": name, "seconds": seconds})


def renew(connection: Connection, id: UUID, seconds: float) -> bool:
    """Prolong the lease. False: it ran out; what the worker held may be another's by now."""
    return connection.execute(RENEW, {"id": id, "seconds": seconds}).rowcount == 1


def leave(connection: Connection, id: UUID) -> None:
    """An orderly end: nothing is held any more."""
    connection.execute(LEAVE, {"id": id})


async def rescue(
    connection: AsyncConnection, *, max_crashes: int, overdue_seconds: float
) -> list[Row]:
    """End or give back what dead workers held: `{"id", "kind", "status"}` of each job."""
    found = await connection.execute(
        RESCUE, {"max_crashes": max_crashes, "overdue": overdue_seconds}
    )
    rows = [dict(row) for row in found.mappings()]
    if (await connection.execute(FORGET)).all():
        await connection.execute(PUBLISH_AGAIN)
    return rows
