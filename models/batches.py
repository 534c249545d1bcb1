"""Batches under control: paused, resumed, cancelled, retried.

A person's step locks the jobs, by id, then the batch's row, as all others do that need both, and
looks again for what was planned meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from uuid_utils.compat import uuid7

from models import batch_recipients

Row = dict[str, Any]

AUTO_PAUSED = "paused by itself: "
# Of fewer mails no rate is known.
LEAST_TOLD = 100
WINDOW = "1 hour"

BATCH = text("SELECT ferryman.batch(:batch)")
LOCK = text("SELECT FROM ferryman.batches WHERE id = :batch FOR UPDATE")

PAUSE = text("""
UPDATE ferryman.batches SET status = 'paused', reason = :reason
 WHERE id = :batch AND status = 'running'
""")
# Out of every queue, and not late, however long it takes. One that is just being taken waits for
# itself, and must not be waited for: it may want the batch's row. One that its sync does not let
# begin yet is out of them already.
HOLD = text("""
WITH held AS (
  SELECT j.id FROM ferryman.jobs j LEFT JOIN ferryman.parts p ON p.job_id = j.id
   WHERE j.batch_id = :batch AND j.id <> :batch AND j.status = 'waiting' AND NOT j.pending
     AND p.held IS NOT TRUE
   ORDER BY j.id FOR UPDATE OF j SKIP LOCKED
)
UPDATE ferryman.jobs j
   SET run_at = '9000-01-01', due_at = '9000-01-01', published_at = NULL, publishes = 0,
       reason = 'its batch is paused'
  FROM held h WHERE j.id = h.id
""")
# What waits between two attempts is on no way any more.
REST = text("""
UPDATE ferryman.parts p SET status = 'waiting'
  FROM ferryman.jobs j
 WHERE p.batch_id = :batch AND p.status = 'sending' AND j.id = p.job_id AND j.status = 'waiting'
""")
REST_MESSAGES = text("""
UPDATE ferryman.messages m SET status = 'waiting'
  FROM ferryman.jobs j
 WHERE m.batch_id = :batch AND m.status = 'sending' AND j.id = m.id AND j.status = 'waiting'
""")

# What the vendor told before the pause is no reason to pause again.
RESUME = text("""
WITH told AS (DELETE FROM ferryman.batch_minutes WHERE batch_id = :batch)
UPDATE ferryman.batches SET status = 'running', reason = NULL, next_at = NULL
 WHERE id = :batch AND status = 'paused'
""")
# One behind the other where there is a rate; the first ones at once. Those that a sync holds are
# not a person's to release.
RELEASE = text("""
WITH held AS (
  SELECT j.id FROM ferryman.jobs j LEFT JOIN ferryman.parts p ON p.job_id = j.id
   WHERE j.batch_id = :batch AND j.id <> :batch AND j.status = 'waiting' AND NOT j.pending
     AND p.held IS NOT TRUE
   ORDER BY j.id FOR UPDATE OF j
), due AS (
  SELECT j.id, now() + make_interval(secs => coalesce(60.0 / b.per_minute * (
           sum(coalesce(p.size, 1)) OVER (ORDER BY j.id) - coalesce(p.size, 1)), 0)) AS at,
         p.action IS NOT NULL AS patient
    FROM held j
    JOIN ferryman.batches b ON b.id = :batch
    LEFT JOIN ferryman.parts p ON p.job_id = j.id
), released AS (
  UPDATE ferryman.jobs j
     SET run_at = d.at, due_at = CASE WHEN d.patient THEN j.due_at ELSE d.at END,
         published_at = NULL, publishes = 0, reason = NULL
    FROM due d WHERE j.id = d.id
  RETURNING j.id
)
SELECT pg_notify('ferryman', '') FROM (SELECT count(*) FROM released) AS all_of_them
 WHERE current_setting('ferryman.notify', true) IS DISTINCT FROM 'off'
""")

# Whatever of it may still change, also the job that plans it.
HOLD_ALL = text("""
SELECT FROM ferryman.jobs WHERE batch_id = :batch AND status NOT IN ('succeeded', 'cancelled')
 ORDER BY id FOR UPDATE
""")
CANCEL = text("""
UPDATE ferryman.batches SET status = 'cancelled', reason = :reason
 WHERE id = :batch AND status <> 'cancelled'
""")
CANCEL_WAITING = text("""
UPDATE ferryman.jobs j
   SET status = 'cancelled', cancel_at = now(), reason = NULL, finished_at = now(),
       published_at = NULL
 WHERE j.batch_id = :batch AND j.id <> :batch AND j.status = 'waiting' AND NOT j.pending
   AND NOT EXISTS (SELECT FROM ferryman.sends s WHERE s.job_id = j.id AND s.answered_at IS NULL)
RETURNING j.id, j.kind
""")
# What runs, or is in doubt, stops where it can; also what a pause has put off for good.
ASK_TO_CANCEL = text("""
UPDATE ferryman.jobs
   SET cancel_at = now(), published_at = NULL, publishes = 0,
       run_at = CASE WHEN status = 'waiting' AND run_at > '8999-01-01' THEN now() ELSE run_at END
 WHERE batch_id = :batch AND id <> :batch AND cancel_at IS NULL
   AND (status IN ('running', 'waiting') OR (status = 'unknown' AND look_at IS NOT NULL))
""")

FAILED_JOBS = text("""
SELECT j.id, j.kind FROM ferryman.jobs j
 WHERE j.batch_id = :batch AND j.id <> :batch AND j.status = 'failed'
   AND j.error ->> 'code' <> 'suppressed'
   AND NOT EXISTS (SELECT FROM ferryman.interventions i
                    WHERE i.job_id = j.id AND i.action = 'late proof')
 ORDER BY j.id FOR UPDATE OF j
""")
# Into which part of its own each goes that failed by itself, as `tasks/_plan.py` cuts them.
_FAILED = """
  SELECT id, dense_rank() OVER (ORDER BY nth / :size, before / :bytes) AS nth
    FROM (SELECT m.id, row_number() OVER by_id - 1 AS nth, sum(needs) OVER by_id - needs AS before
            FROM ferryman.mails m JOIN ferryman.batches b ON b.id = m.batch_id
           CROSS JOIN LATERAL (
                 SELECT 400 + octet_length(concat(m.data, b.letter ->> 'data'))) AS n(needs)
           WHERE m.batch_id = :batch AND m.status = 'failed' AND m.id BETWEEN :first AND :until
          WINDOW by_id AS (ORDER BY m.id)) AS m
"""
NEW_PARTS = text(f"SELECT coalesce(max(nth), 0) FROM ({_FAILED}) AS f")
REGROUP = text(f"""
WITH failed AS ({_FAILED}), moved AS (
  UPDATE ferryman.mails m
     SET status = NULL, reason = NULL, job_id = (CAST(:jobs AS uuid[]))[f.nth]
    FROM failed f WHERE m.id = f.id
), parts AS (
  INSERT INTO ferryman.parts (job_id, batch_id, part, size)
  SELECT (CAST(:jobs AS uuid[]))[f.nth], :batch,
         f.nth + (SELECT max(p.part) FROM ferryman.parts p WHERE p.batch_id = :batch), count(*)
    FROM failed f GROUP BY f.nth
  RETURNING job_id, part, size
), jobs AS (
  INSERT INTO ferryman.jobs (id, kind, vendor, args, priority, batch_id)
  SELECT p.job_id, 'bulk_email_part', j.vendor,
         jsonb_build_object('batch', j.id, 'part', p.part), 'low', j.id
    FROM ferryman.jobs j, parts p WHERE j.id = :batch
)
UPDATE ferryman.batches SET failed = failed - (SELECT count(*) FROM failed) WHERE id = :batch
""")

# Those whose rate of bad news within the window is above what they were given.
BAD = text(f"""
SELECT b.id, k.bounced, k.complained, k.told, b.max_bounce_rate, b.max_complaint_rate
  FROM ferryman.batches b
 CROSS JOIN LATERAL (
       SELECT sum(m.bounced)::int AS bounced, sum(m.complained)::int AS complained,
              sum(m.delivered + m.bounced)::int AS told
         FROM ferryman.batch_minutes m
        WHERE m.batch_id = b.id AND m.minute > now() - interval '{WINDOW}') AS k
 WHERE b.id = ANY(CAST(:ids AS uuid[])) AND b.status = 'running' AND k.told >= {LEAST_TOLD}
   AND (k.bounced > b.max_bounce_rate * k.told OR k.complained > b.max_complaint_rate * k.told)
 ORDER BY b.id
""")


async def one(connection: AsyncConnection, batch: UUID) -> Row | None:
    """A batch as the API shows it."""
    found: Row | None = await connection.scalar(BATCH, {"batch": batch})
    return found


async def lock(connection: AsyncConnection, batch: UUID) -> Row | None:
    """The same, held until the transaction ends."""
    await connection.execute(LOCK, {"batch": batch})
    return await one(connection, batch)


async def pause(connection: AsyncConnection, batch: UUID, reason: str) -> None:
    """Let nothing more of it start. Held by `lock`."""
    await connection.execute(PAUSE, {"batch": batch, "reason": reason})
    for statement in (HOLD, REST, REST_MESSAGES):
        await connection.execute(statement, {"batch": batch})


async def resume(connection: AsyncConnection, batch: UUID) -> None:
    await connection.execute(RESUME, {"batch": batch})
    await release(connection, batch)


async def hold(connection: AsyncConnection, batch: UUID) -> None:
    """Keep its jobs as they are, but for those that are over, until the transaction ends."""
    await connection.execute(HOLD_ALL, {"batch": batch})


async def cancel(connection: AsyncConnection, batch: UUID, reason: str) -> list[Row]:
    """End what waits, and ask what runs to stop; `{"id", "kind"}` of the jobs that are over."""
    await connection.execute(CANCEL, {"batch": batch, "reason": reason})
    over = await connection.execute(CANCEL_WAITING, {"batch": batch})
    rows = [dict(row) for row in over.mappings()]
    await connection.execute(ASK_TO_CANCEL, {"batch": batch})
    return rows


async def failed_jobs(connection: AsyncConnection, batch: UUID) -> list[Row]:
    """The children that failed, locked: `{"id", "kind"}` of each."""
    found = await connection.execute(FAILED_JOBS, {"batch": batch})
    return [dict(row) for row in found.mappings()]


async def regroup(connection: AsyncConnection, shown: Row, *, size: int, most_bytes: int) -> bool:
    """Give those that failed by themselves, and not with their whole part, parts of their own;
    whether there are any."""
    first, until = batch_recipients.ids(shown)
    most = {"size": size, "bytes": most_bytes}
    values = {"batch": shown["id"], "first": first, "until": until, **most}
    jobs = [uuid7() for _ in range(await connection.scalar(NEW_PARTS, values))]
    if jobs:
        await connection.execute(REGROUP, {**values, "jobs": jobs})
    return bool(jobs)


async def release(connection: AsyncConnection, batch: UUID) -> None:
    """What waits is due at once, or one behind the other where there is a rate."""
    await connection.execute(RELEASE, {"batch": batch})


async def pause_the_bad(connection: AsyncConnection, batches: Sequence[UUID]) -> list[UUID]:
    """Pause those of these batches of which too many mails bounce, or are complained about."""
    bad = (await connection.execute(BAD, {"ids": list(batches)})).all()
    for row in bad:
        await lock(connection, row.id)
        await pause(connection, row.id, AUTO_PAUSED + _why(row))
    return [row.id for row in bad]


def _why(row: Any) -> str:
    if row.bounced > row.max_bounce_rate * row.told:
        return f"of {row.told} mails {row.bounced} have bounced within an hour"
    return f"of {row.told} mails {row.complained} were reported as spam within an hour"
