"""The statements by which a sync is planned, waits and is counted; `models/sync_plan.py` runs them.

Locks are taken in this order: jobs by id, parts and their objects, batches.
"""

from __future__ import annotations

from sqlalchemy import text

# What a clash is called in the row of each object that it concerns.
CLASH = "its name and another's differ only in case or in the form of their letters"

HOLD = text("""
SELECT FROM ferryman.jobs WHERE id = :job AND fence = :fence AND status = 'running'
   FOR NO KEY UPDATE
""")
# Children with it, in order of id, as a person's step takes them.
HOLD_HELD = text("""
SELECT j.id = :job AND j.fence = :fence AND j.status = 'running' AS ours
  FROM ferryman.jobs j LEFT JOIN ferryman.parts p ON p.job_id = j.id
 WHERE j.batch_id = :job AND (j.id = :job OR (j.status = 'waiting' AND p.held))
 ORDER BY j.id FOR NO KEY UPDATE OF j
""")
HOLD_OPEN = text("""
SELECT j.id = :job AND j.fence = :fence AND j.status = 'running' AS ours
  FROM ferryman.jobs j
 WHERE j.batch_id = :job AND (j.id = :job OR j.status IN ('waiting', 'running'))
 ORDER BY j.id FOR NO KEY UPDATE
""")
# Whoever gets a segment on record is no poison, however often its worker is killed.
CALM = text("""
UPDATE ferryman.jobs SET crashes = 0
 WHERE id = :job AND fence = :fence AND status = 'running' RETURNING id
""")
LOCK = text("SELECT FROM ferryman.batches WHERE id = :job FOR UPDATE")
# Without a lock: whoever changes these holds the sync's job. A segment takes a tenth of a second,
# and the parts that close meanwhile must not wait for it.
SEEN = text("SELECT status, cursor, planned_at FROM ferryman.batches WHERE id = :job")

# One of an earlier version has no batch yet, and rows that say nothing of a plan.
ADOPT = text("""
WITH batch AS (
  INSERT INTO ferryman.batches (id, job_id) VALUES (:job, :job) ON CONFLICT DO NOTHING
)
UPDATE ferryman.jobs SET batch_id = id WHERE id = :job AND batch_id IS NULL
""")
FORGET = text("""
DELETE FROM ferryman.objects o USING ferryman.batches b
 WHERE o.job_id = :job AND b.id = :job AND b.cursor IS NULL AND b.planned_at IS NULL
""")
BEGIN = text("""
UPDATE ferryman.batches SET bandwidth = :bandwidth, awaits = false WHERE id = :job
""")

LOOK = text("""
SELECT b.status, j.cancel_at IS NOT NULL AS cancel_asked, b.planned_at IS NOT NULL AS planned,
       coalesce(b.cursor, '') AS cursor, b.total, b.targets,
       b.surplus, b.kept + n.kept AS kept, b.invalid AS refused,
       n.parts, n.failed, n.cancelled, n.open_copies, n.held_copies, n.open_deletes,
       n.held_deletes
  FROM ferryman.batches b JOIN ferryman.jobs j ON j.id = b.id
 CROSS JOIN LATERAL (
       SELECT coalesce(max(p.part), 0) AS parts, coalesce(sum(p.kept), 0)::bigint AS kept,
              coalesce(sum(p.failed + CASE WHEN p.status IN ('failed', 'unknown')
                           THEN p.size - p.done - p.kept - p.failed ELSE 0 END), 0)::bigint
                AS failed,
              coalesce(sum(p.size - p.done - p.kept - p.failed)
                       FILTER (WHERE p.status = 'cancelled'), 0)::bigint AS cancelled,
              count(*) FILTER (WHERE o.open AND p.action = 'copy') AS open_copies,
              count(*) FILTER (WHERE o.open AND p.action = 'copy' AND p.held) AS held_copies,
              count(*) FILTER (WHERE o.open AND p.action = 'delete') AS open_deletes,
              count(*) FILTER (WHERE o.open AND p.action = 'delete' AND p.held) AS held_deletes
         FROM ferryman.parts p CROSS JOIN LATERAL (
              SELECT p.status IN ('waiting', 'sending') AS open) AS o
        WHERE p.batch_id = b.id) AS n
 WHERE b.id = :job
""")

# Parts are never late by themselves: the sync has begun, and answers for them. A constant payload,
# told once a transaction, as in ferryman.enqueue().
PLAN_PARTS = text("""
WITH given AS (
  SELECT r.*, CASE WHEN r.held OR :paused THEN timestamptz '9000-01-01' ELSE now() END AS run_at
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
      AS r(id uuid, part bigint, action text, held boolean, size bigint, bytes bigint,
           first_key text, last_key text)
), parts AS (
  INSERT INTO ferryman.parts
         (job_id, batch_id, part, action, held, size, bytes, first_key, last_key)
  SELECT id, :job, part, action, held, size, bytes, first_key, last_key FROM given
), jobs AS (
  INSERT INTO ferryman.jobs
         (id, kind, vendor, args, priority, run_at, due_at, batch_id, reason)
  SELECT g.id, 'sync_objects_part', b.vendor, jsonb_build_object('sync', b.id, 'part', g.part),
         'low', g.run_at, '9000-01-01', b.id,
         CASE WHEN g.held THEN 'waits until its sync lets it begin'
              WHEN :paused THEN 'its batch is paused' END
    FROM ferryman.jobs b, given g WHERE b.id = :job
  RETURNING id
)
SELECT pg_notify('ferryman', '') FROM (SELECT count(*) FROM jobs) AS all_of_them
 WHERE current_setting('ferryman.notify', true) IS DISTINCT FROM 'off'
""")
ADD = text("""
UPDATE ferryman.batches
   SET cursor = :cursor, total = total + :total, kept = kept + :kept, invalid = invalid + :refused,
       targets = targets + :targets, surplus = surplus + :surplus, bytes = bytes + :bytes
 WHERE id = :job
""")
PLANNED = text("""
UPDATE ferryman.batches SET planned_at = clock_timestamp(), cursor = NULL
 WHERE id = :job AND planned_at IS NULL
""")
AWAIT = text("UPDATE ferryman.batches SET awaits = true WHERE id = :job AND NOT awaits")

CLASHES = text("""
WITH clash AS MATERIALIZED (
  SELECT row, part, action, size
    FROM (SELECT o.ctid AS row, o.part, o.action, o.size, o.outcome,
                 count(*) OVER (PARTITION BY fold) AS n
            FROM ferryman.objects o
           WHERE o.job_id = :job AND o.fold IS NOT NULL AND o.action <> 'delete') AS o
   WHERE n > 1 AND (outcome = 'planned' OR part IS NULL AND action = 'keep')
), refused AS (
  UPDATE ferryman.objects o
     SET action = 'refuse', outcome = 'refused', part = NULL, reason = :reason, at = now()
    FROM clash c WHERE o.job_id = :job AND o.ctid = c.row
), less AS (
  UPDATE ferryman.parts p SET size = p.size - c.n, bytes = p.bytes - c.bytes
    FROM (SELECT part, count(*) AS n, coalesce(sum(size), 0) AS bytes
            FROM clash WHERE part IS NOT NULL GROUP BY part) AS c
   WHERE p.batch_id = :job AND p.part = c.part
)
UPDATE ferryman.batches b
   SET invalid = b.invalid + c.n, kept = b.kept - c.kept, bytes = b.bytes - c.bytes
  FROM (SELECT count(*) AS n, count(*) FILTER (WHERE part IS NULL AND action = 'keep') AS kept,
               coalesce(sum(size) FILTER (WHERE part IS NULL AND action <> 'keep'), 0) AS bytes
          FROM clash) AS c
 WHERE b.id = :job AND c.n > 0
""")

RELEASE = text("""
WITH freed AS (
  UPDATE ferryman.parts p SET held = false
    FROM ferryman.jobs j
   WHERE p.batch_id = :job AND p.held AND p.action = :action AND j.id = p.job_id
     AND j.status = 'waiting'
  RETURNING p.job_id
), due AS (
  UPDATE ferryman.jobs j
     SET run_at = f.at, published_at = NULL, publishes = 0, reason = f.reason
    FROM (SELECT f.job_id,
                 CASE b.status WHEN 'running' THEN now() ELSE timestamptz '9000-01-01' END AS at,
                 CASE b.status WHEN 'paused' THEN 'its batch is paused' END AS reason
            FROM freed f, ferryman.batches b WHERE b.id = :job) AS f
   WHERE j.id = f.job_id
  RETURNING j.id
)
SELECT pg_notify('ferryman', '') FROM (SELECT count(*) FROM due) AS all_of_them
 WHERE current_setting('ferryman.notify', true) IS DISTINCT FROM 'off'
""")

COUNTS = text("""
SELECT count(*) FILTER (WHERE done AND action = 'copy') AS copied,
       count(*) FILTER (WHERE action = 'keep') AS kept,
       count(*) FILTER (WHERE done AND action = 'delete') AS deleted,
       count(*) FILTER (WHERE action = 'refuse') AS refused,
       count(*) FILTER (WHERE outcome = 'failed') AS failed,
       coalesce(sum(size) FILTER (WHERE done AND action = 'copy'), 0)::bigint AS bytes
  FROM (SELECT action, outcome, size, outcome IN ('done', 'planned') AS done
          FROM ferryman.objects WHERE job_id = :job) AS o
""")
LEFT_OUT = text("""
SELECT key, reason FROM ferryman.objects
 WHERE job_id = :job AND outcome IN ('refused', 'failed') ORDER BY key LIMIT :limit
""")
