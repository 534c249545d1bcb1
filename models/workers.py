"""Worker processes: their leases, and the rescue of what a dead one held."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

from models.engine import dumps
from models.tables import LOADS

Row = dict[str, Any]
Looks = dict[str, dict[str, float]]
"""Seconds until a job in doubt is looked up, by kind and vendor; missing: it cannot be."""

MOST_EXPIRED = 1000

REGISTER = text("""
INSERT INTO ferryman.workers (id, name, lease_until, concurrency)
VALUES (:id, :name, now() + make_interval(secs => :seconds), :concurrency)
""")

# After an outage of the database every lease is old, and nobody has rescued anything: who still
# has its row goes on. A rescuer locks the rows of the dead before it takes what they held.
RENEW = text("""
UPDATE ferryman.workers SET lease_until = now() + make_interval(secs => :seconds) WHERE id = :id
""")

DEAD = text("SELECT FROM ferryman.workers WHERE lease_until < now() ORDER BY id FOR UPDATE")

LEAVE = text("DELETE FROM ferryman.workers WHERE id = :id")

# Doubt decides: nothing sent, or harmless to repeat → back to waiting; otherwise `unknown`.
# A crash makes suspects of all that the worker held; where one was a suspect already, only that
# one is counted, since a worker holds one suspect at a time. A look-up leaves the job as `unknown`
# as it was: what was sent once is not sent again because a look died. A worker without a row has
# ended in order, which is nobody's fault. A load is over whatever was sent: its riders wait again
# (models/loads.py, `mind`), and they are nobody's own.
RESCUE = text(f"""
WITH stranded AS (
  SELECT j.id, j.fence, j.crashes, j.worker_id, j.looking, j.cancel_at, j.pending,
         j.{LOADS} AS over,
         (CAST(:looks AS jsonb) -> j.kind ->> j.vendor)::float8 AS look_seconds,
         EXISTS (SELECT FROM ferryman.workers w WHERE w.id = j.worker_id) AS crashed
    FROM ferryman.jobs j
   WHERE j.status = 'running' AND j.worker_id IS NOT NULL
     AND (NOT EXISTS (SELECT FROM ferryman.workers w
                       WHERE w.id = j.worker_id AND w.lease_until > now())
          OR j.deadline_at < now() - make_interval(secs => :overdue))
   ORDER BY j.id FOR UPDATE OF j SKIP LOCKED
), judged AS (
  SELECT s.*,
         s.crashes + (s.crashed AND (s.crashes > 0 OR NOT bool_or(s.crashes > 0)
                      OVER (PARTITION BY s.worker_id)))::int AS counted,
         d.doubtful, d.harmless
    FROM stranded s CROSS JOIN LATERAL (
         SELECT count(*) > 0 AS doubtful,
                coalesce(bool_and(n.repeat = 'natural'
                           OR (n.repeat = 'key' AND n.repeat_until > now())), true) AS harmless
           FROM ferryman.sends n
          WHERE n.job_id = s.id AND n.answered_at IS NULL) d
), fated AS (
  SELECT j.*, CASE WHEN over THEN 'cancelled'
                   WHEN looking OR NOT harmless THEN 'unknown'
                   WHEN cancel_at IS NOT NULL AND NOT doubtful AND NOT pending THEN 'cancelled'
                   WHEN cancel_at IS NOT NULL AND doubtful AND look_seconds IS NOT NULL
                   THEN 'unknown'
                   WHEN counted < :max_crashes THEN 'waiting'
                   WHEN doubtful OR pending THEN 'unknown' ELSE 'failed' END AS fate
    FROM judged j
), attempts AS (
  UPDATE ferryman.attempts a SET finished_at = now(), outcome = 'lease_lost'
    FROM fated f WHERE a.job_id = f.id AND a.number = f.fence AND a.finished_at IS NULL
)
UPDATE ferryman.jobs j
   SET status = f.fate, crashes = f.counted, worker_id = NULL, deadline_at = NULL,
       published_at = NULL, publishes = 0,
       run_at = CASE WHEN f.fate = 'waiting' THEN now() ELSE j.run_at END,
       look_at = CASE WHEN f.fate = 'unknown' AND (NOT f.looking OR f.counted < :max_crashes)
                      THEN now() + make_interval(secs => f.look_seconds) END,
       looking = false, pending = f.pending AND f.fate = 'waiting',
       reason = CASE f.fate
         WHEN 'waiting' THEN 'its worker was lost; it runs again'
         WHEN 'unknown' THEN 'its worker was lost after a request may have left' END,
       error = CASE WHEN f.fate IN ('failed', 'unknown') THEN jsonb_build_object(
         'code', CASE f.fate WHEN 'failed' THEN 'poison' ELSE 'outcome_unknown' END,
         'message', CASE f.fate WHEN 'failed' THEN 'every worker that ran it died'
                    ELSE 'the worker was lost after a request may have left' END,
         'type', 'WorkerLost') END,
       finished_at = CASE WHEN f.fate IN ('failed', 'cancelled') THEN now() END
  FROM fated f WHERE j.id = f.id
RETURNING j.id, j.kind, j.status
""")

# One that waits for a paused or silent vendor is never claimed, and so must be found here. A doubt
# that is repeated naturally ends by itself.
LATE = """
 WHERE status = 'waiting' AND NOT pending AND {} AND NOT EXISTS (
         SELECT FROM ferryman.sends n WHERE n.job_id = jobs.id AND n.answered_at IS NULL
         HAVING bool_and(n.repeat = 'natural'))
 LIMIT :most FOR UPDATE SKIP LOCKED
"""
EXPIRED = text("SELECT id FROM ferryman.jobs" + LATE.format("expires_at < now()"))

# Those planned for later lie among them, so this reads much: one worker does it, now and then.
STALE_LOCK = text("SELECT pg_try_advisory_xact_lock(727102)")
STALE = text(
    "SELECT id FROM ferryman.jobs"
    + LATE.format("due_at < now() - make_interval(secs => :max_wait)")
)

# A statement of its own: it sees every doubt that arose before the rows were locked.
EXPIRE = text("""
WITH judged AS (
  SELECT l.id, EXISTS (SELECT FROM ferryman.sends n
                        WHERE n.job_id = l.id AND n.answered_at IS NULL) AS doubtful
    FROM unnest(CAST(:ids AS uuid[])) AS l(id)
)
UPDATE ferryman.jobs j
   SET status = CASE WHEN doubtful THEN 'unknown' ELSE 'failed' END,
       reason = CASE WHEN doubtful THEN 'it waited too long, and a request may have left' END,
       error = jsonb_build_object('code', 'expired', 'message', 'it waited too long',
                                  'type', 'Expired'),
       look_at = CASE WHEN doubtful THEN now() + make_interval(
                   secs => (CAST(:looks AS jsonb) -> j.kind ->> j.vendor)::float8) END,
       published_at = NULL, publishes = 0,
       finished_at = CASE WHEN NOT doubtful THEN now() END
  FROM judged WHERE j.id = judged.id
RETURNING j.id, j.kind, j.status
""")

# One that was only frozen finds no row when it wakes up, and comes back under a new id.
FORGET = text("DELETE FROM ferryman.workers WHERE lease_until < now() RETURNING id")

# Messages died with it in its memory, and nobody knows which. A second one does no harm.
PUBLISH_AGAIN = text("""
UPDATE ferryman.jobs SET published_at = NULL, publishes = 0
 WHERE id = ANY(ARRAY(SELECT id FROM ferryman.jobs
                       WHERE status = 'waiting' AND published_at IS NOT NULL
                       ORDER BY id FOR UPDATE SKIP LOCKED))
""")


def register(connection: Connection, id: UUID, name: str, seconds: float, concurrency: int) -> None:
    """A new worker process with a lease of so many seconds, and with so many slots."""
    values = {"id": id, "name": name, "seconds": seconds, "concurrency": concurrency}
    connection.execute(REGISTER, values)


def renew(connection: Connection, id: UUID, seconds: float) -> bool:
    """Prolong the lease. False: it ran out, and what the worker held was taken."""
    return connection.execute(RENEW, {"id": id, "seconds": seconds}).rowcount == 1


def leave(connection: Connection, id: UUID) -> None:
    """An orderly end: nothing is held any more."""
    connection.execute(LEAVE, {"id": id})


async def rescue(
    connection: AsyncConnection, *, max_crashes: int, overdue_seconds: float, looks: Looks
) -> list[Row]:
    """End or give back what dead workers held: `{"id", "kind", "status"}` of each job."""
    values = {"max_crashes": max_crashes, "overdue": overdue_seconds, "looks": dumps(looks)}
    await connection.execute(DEAD)
    found = await connection.execute(RESCUE, values)
    rows = [dict(row) for row in found.mappings()]
    if (await connection.execute(FORGET)).all():
        await connection.execute(PUBLISH_AGAIN)
    return rows


async def expired(connection: AsyncConnection) -> list[UUID]:
    """Waiting jobs past their `expires_at`, locked; some thousand at a time."""
    return list((await connection.execute(EXPIRED, {"most": MOST_EXPIRED})).scalars())


async def stale(connection: AsyncConnection, max_wait_seconds: float) -> list[UUID]:
    """Waiting jobs that were due so long ago, locked; none while another worker looks for them."""
    if not await connection.scalar(STALE_LOCK):
        return []
    values = {"max_wait": max_wait_seconds, "most": MOST_EXPIRED}
    return list((await connection.execute(STALE, values)).scalars())


async def expire(connection: AsyncConnection, ids: Sequence[UUID], *, looks: Looks) -> list[Row]:
    """End what has waited too long: `{"id", "kind", "status"}` of each."""
    values = {"ids": list(ids), "looks": dumps(looks)}
    return [dict(row) for row in (await connection.execute(EXPIRE, values)).mappings()]
