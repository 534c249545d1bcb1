"""How a load ends: its riders as the vendor's answer says, or disbanded. Statements only.

Each locks the load's job first, then the riders in order of id: one by one by their key, whatever
the planner believes of how many run (`IS TRUE` keeps it from the index of statuses).
"""

from __future__ import annotations

from sqlalchemy import text

# The answer counts while the load holds its job; what was exchanged is kept in any case. Only what
# did not simply succeed is told by name. A rider in its first load has no earlier doubt.
SETTLE = text("""
WITH held AS MATERIALIZED (
  SELECT id FROM ferryman.jobs
   WHERE id = :load AND fence = :fence AND status = 'running' FOR UPDATE
), r AS (
  SELECT * FROM jsonb_to_recordset(CAST(:odd AS jsonb))
      AS r(id uuid, status text, error jsonb, result jsonb, delay float8)
), locked AS (
  SELECT j.*
    FROM (SELECT u.id, l.job_id AS load
            FROM held h JOIN ferryman.loads l ON l.job_id = h.id
           CROSS JOIN unnest(l.riders) AS u(id) ORDER BY u.id) AS o
   CROSS JOIN LATERAL (
         SELECT id, fence, cancel_at FROM ferryman.jobs
          WHERE id = o.id AND load = o.load AND (status = 'running') IS TRUE FOR UPDATE) AS j
), fated AS MATERIALIZED (
  SELECT k.id, k.fence, r.error, r.result, r.delay,
         CASE WHEN r.id IS NULL THEN 'succeeded'
              WHEN r.status = 'waiting' AND k.cancel_at IS NOT NULL
               AND NOT EXISTS (SELECT FROM ferryman.sends s
                                WHERE s.job_id = k.id AND s.answered_at IS NULL)
              THEN 'cancelled' ELSE r.status END AS fate
    FROM locked k LEFT JOIN r ON r.id = k.id
), answered AS (
  UPDATE ferryman.sends s SET answered_at = now()
    FROM fated f
   WHERE f.fence > 1 AND f.fate IN ('succeeded', 'failed')
     AND s.job_id = f.id AND s.answered_at IS NULL
), own AS (
  UPDATE ferryman.sends s SET answered_at = now()
    FROM held h
   WHERE s.job_id = h.id AND s.answered_at IS NULL AND s.step = ANY(CAST(:answered AS text[]))
), kept AS (
  INSERT INTO ferryman.interactions
  SELECT i.* FROM jsonb_populate_recordset(NULL::ferryman.interactions,
                                           CAST(:interactions AS jsonb)) AS i
  ON CONFLICT DO NOTHING
), ended AS (
  UPDATE ferryman.loads l
     SET ended_at = now(),
         requests = greatest(1, jsonb_array_length(CAST(:interactions AS jsonb)))
    FROM held h WHERE l.job_id = h.id
  RETURNING cardinality(l.riders) AS riders
), told AS (
  UPDATE ferryman.jobs j
     SET status = f.fate, crashes = 0, throttled_since = NULL,
         reason = CASE WHEN f.fate IN ('waiting', 'unknown') THEN f.error ->> 'message' END,
         result = CASE WHEN f.fate = 'succeeded' AND f.result IS NULL
                       THEN jsonb_build_object('id', j.id) || CAST(:result AS jsonb)
                       ELSE f.result END,
         error = CASE WHEN f.fate IN ('failed', 'unknown') THEN f.error END,
         run_at = CASE WHEN f.fate = 'waiting' THEN now() + make_interval(secs => f.delay)
                       ELSE j.run_at END,
         finished_at = CASE WHEN f.fate NOT IN ('waiting', 'unknown') THEN now() END
    FROM fated f WHERE j.id = f.id
)
SELECT coalesce((SELECT riders FROM ended), 0) AS riders
""")

# What a load may have sent is in doubt for each of its riders, under the rider's own id: so each is
# repeated, resolved or given up by itself. Those that go again by a delay go together, lest a
# thousand small loads follow. Who crashed a worker goes again where it stood, at the head.
#
# A crash (or a defect of ours) is blamed on all in the load; they go apart, in ever smaller loads,
# until the one that does it is alone. `max_crashes` is 0 for a defect: alone, there is no doubt.
DISBAND = text("""
WITH r AS (
  SELECT job_id, reason, error, outcome, max_attempts,
         coalesce(delay, 0) AS delay, coalesce(max_delay, 300) AS max_delay,
         coalesce(counts, true) AS counts, coalesce(fails, false) AS fails,
         coalesce(crashed, false) AS crashed, coalesce(max_crashes, 0) AS max_crashes
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
      AS r(job_id uuid, reason text, error jsonb, outcome text, delay float8, max_delay float8,
           counts boolean, fails boolean, crashed boolean, max_crashes int, max_attempts int)
), held AS MATERIALIZED (
  SELECT r.*, l.riders, l.taken_at, d.sent_at, d.repeat_until, d.repeat,
         (SELECT a.worker FROM ferryman.attempts a
            JOIN ferryman.jobs o ON a.job_id = o.id AND a.number = o.fence
           WHERE o.id = r.job_id) AS worker
    FROM r JOIN ferryman.loads l USING (job_id)
   CROSS JOIN LATERAL (
         SELECT max(sent_at) AS sent_at, min(repeat_until) AS repeat_until,
                CASE WHEN bool_and(repeat = 'natural') THEN 'natural'
                     WHEN bool_and(repeat IN ('natural', 'key')) THEN 'key'
                     WHEN count(*) > 0 THEN 'never' END AS repeat
           FROM ferryman.sends WHERE job_id = r.job_id AND answered_at IS NULL) AS d
), locked AS (
  SELECT j.*
    FROM (SELECT u.id, h.job_id AS load
            FROM held h CROSS JOIN unnest(h.riders) AS u(id) ORDER BY u.id) AS o
   CROSS JOIN LATERAL (
         SELECT id, kind, fence, attempts, crashes, cancel_at, load FROM ferryman.jobs
          WHERE id = o.id AND load = o.load AND (status = 'running') IS TRUE FOR UPDATE) AS j
), judged AS MATERIALIZED (
  SELECT k.id, k.fence, k.attempts, k.cancel_at, k.load, k.crashes + h.crashed::int AS crashes,
         h.reason, h.error, h.outcome, h.counts, h.crashed, h.delay, h.max_delay, h.taken_at,
         h.worker, h.repeat, h.repeat_until, h.sent_at,
         h.crashed AND cardinality(h.riders) = 1 AND k.crashes + 1 >= h.max_crashes AS poison,
         h.fails OR (h.counts AND k.attempts >= h.max_attempts) IS TRUE AS fails,
         h.repeat IS NOT NULL OR EXISTS (
           SELECT FROM ferryman.sends s WHERE s.job_id = k.id AND s.answered_at IS NULL) AS doubtful
    FROM locked k JOIN held h ON h.job_id = k.load
), fated AS MATERIALIZED (
  SELECT *, CASE WHEN cancel_at IS NOT NULL AND NOT doubtful THEN 'cancelled'
                 WHEN NOT (poison OR fails) THEN 'waiting'
                 WHEN doubtful THEN 'unknown' ELSE 'failed' END AS fate
    FROM judged
), doubted AS (
  INSERT INTO ferryman.sends
         (job_id, step, attempt, vendor_key, repeat, repeat_until, request, sent_at)
  SELECT id, 'load', fence, id::text, repeat, repeat_until, '{}', sent_at
    FROM fated WHERE repeat IS NOT NULL
  ON CONFLICT DO NOTHING
), moved AS (
  UPDATE ferryman.sends s SET answered_at = now()
    FROM r WHERE s.job_id = r.job_id AND s.answered_at IS NULL
), tried AS (
  INSERT INTO ferryman.attempts
         (job_id, number, worker, started_at, finished_at, outcome, error, load)
  SELECT id, fence, worker, taken_at, now(), coalesce(outcome, 'disbanded'), error, load
    FROM fated WHERE worker IS NOT NULL
  ON CONFLICT DO NOTHING
), ended AS (
  UPDATE ferryman.loads l SET ended_at = coalesce(l.ended_at, now())
    FROM r WHERE l.job_id = r.job_id
)
UPDATE ferryman.jobs j
   SET status = f.fate, attempts = j.attempts - (NOT f.counts)::int,
       crashes = CASE WHEN f.crashed THEN f.crashes ELSE 0 END,
       run_at = CASE WHEN f.fate <> 'waiting' OR f.delay = 0 THEN j.run_at
                     ELSE now() + make_interval(secs => CASE WHEN f.counts
                       THEN least(f.max_delay, f.delay * 2.0 ^ least(f.attempts - 1, 20))
                       ELSE f.delay END) END,
       reason = CASE f.fate WHEN 'waiting' THEN f.reason
                            WHEN 'unknown' THEN 'a request may have had its effect' END,
       error = CASE WHEN f.fate IN ('failed', 'unknown') THEN coalesce(f.error,
         jsonb_build_object(
           'code', CASE f.fate WHEN 'failed' THEN 'poison' ELSE 'outcome_unknown' END,
           'message', CASE f.fate WHEN 'failed' THEN 'every worker that ran it died'
                      ELSE 'the worker was lost after a request may have left' END,
           'type', 'WorkerLost')) END,
       finished_at = CASE WHEN f.fate IN ('failed', 'cancelled') THEN now() END
  FROM fated f WHERE j.id = f.id
RETURNING j.id, j.kind, j.status
""")

# Loads that have not ended though nobody runs them, however that came. A worker that held suspects
# died of one of these: only those are blamed. One without a row has ended in order.
DEAD_LOADS = text("""
SELECT l.job_id,
       EXISTS (SELECT FROM ferryman.workers w WHERE w.id = j.worker_id)
         AND (j.crashes > 0 OR NOT EXISTS (
               SELECT FROM ferryman.jobs s
                WHERE s.worker_id = j.worker_id AND s.status = 'running' AND s.crashes > 0))
         AS crashed
  FROM ferryman.loads l JOIN ferryman.jobs j ON j.id = l.job_id
 WHERE l.ended_at IS NULL
   AND (j.status <> 'running' OR j.deadline_at < now() - make_interval(secs => :overdue)
        OR NOT EXISTS (SELECT FROM ferryman.workers w
                        WHERE w.id = j.worker_id AND w.lease_until > now()))
 ORDER BY j.id FOR UPDATE OF j SKIP LOCKED
""")
