"""How a sync and its parts end, begin once more, and wake one another: what is written with the
close of a job, and with a person's step. Statements of rows `{"job_id", "status", …}`.

Locks are taken in this order: jobs, parts and their objects, batches. Whoever closes holds a job
already, so that of others it takes only those that are free; what it misses so is made good by
`models/sync_parts.py`'s `wake`.
"""

from __future__ import annotations

from sqlalchemy import text

# The rows of a statement, and the batch of each where it is about a part.
_SYNCS = """
WITH r AS (
  SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb))
      AS r(job_id uuid, status text, action text, reason text)
)
"""
_BATCHES = """
SELECT p.batch_id FROM ferryman.parts p
  JOIN jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(job_id uuid) USING (job_id)
"""
_OPEN = "status IN ('waiting', 'sending')"
# From the beginning, with all its attempts, as `models/settle.py` says it for one job.
_AGAIN = """
status = 'waiting', reason = 'sent again by a person', error = NULL, result = NULL,
         attempts = 0, crashes = 0, throttled_since = NULL, round = j.round + 1,
         expires_at = CASE WHEN j.expires_at > now() THEN j.expires_at END,
         look_at = NULL, looks = 0, cancel_at = NULL, published_at = NULL, publishes = 0,
         finished_at = NULL
"""
# What failed, and a person sends again, is looked at anew, and may replace whatever stands at the
# destination by then. What was only given up goes on as it was planned, and so does each delete.
_AS_PLANNED = "o.outcome = 'cancelled' OR o.action = 'delete'"
_PLANNED_AGAIN = f"""
action = CASE WHEN {_AS_PLANNED} THEN o.action ELSE 'compare' END,
         target_etag = CASE WHEN {_AS_PLANNED} THEN o.target_etag END,
         target_version = CASE WHEN {_AS_PLANNED} THEN o.target_version END,
         target_digests = CASE WHEN {_AS_PLANNED} THEN o.target_digests END,
         outcome = 'planned', reason = NULL, at = now()
"""
_UNDONE = "outcome IN ('failed', 'refused', 'cancelled')"

# A part has ended, or a person sends it again. What was not decided of it shares its end.
WRITE_SYNC_PARTS = text(f"""
WITH r AS (
  SELECT g.job_id, g.status, coalesce(j.error ->> 'message', 'its part was cancelled') AS reason
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(job_id uuid, status text)
    JOIN ferryman.jobs j ON j.id = g.job_id WHERE g.status <> 'rests'
), p AS (
  SELECT p.job_id, p.batch_id, p.part, p.first_key, p.last_key, r.status, r.reason
    FROM ferryman.parts p JOIN r USING (job_id)
   WHERE (r.status <> 'waiting' AND p.status IN ('waiting', 'sending', 'unknown'))
      OR (r.status IN ('waiting', 'sent') AND p.status IN ('failed', 'unknown', 'cancelled'))
   ORDER BY p.job_id FOR UPDATE OF p
), undone AS (
  UPDATE ferryman.objects o
     SET outcome = CASE p.status WHEN 'cancelled' THEN 'cancelled' ELSE 'failed' END,
         reason = p.reason, at = now()
    FROM p
   WHERE o.job_id = p.batch_id AND o.key BETWEEN p.first_key AND p.last_key AND o.part = p.part
     AND p.status IN ('failed', 'cancelled', 'unknown') AND o.outcome = 'planned'
  RETURNING p.job_id, o.outcome
), again AS (
  UPDATE ferryman.objects o SET {_PLANNED_AGAIN}
    FROM p
   WHERE o.job_id = p.batch_id AND o.key BETWEEN p.first_key AND p.last_key AND o.part = p.part
     AND p.status = 'waiting' AND o.{_UNDONE}
)
UPDATE ferryman.parts e
   SET status = p.status, reason = CASE WHEN p.status NOT IN ('sent', 'waiting') THEN p.reason END,
       failed = CASE p.status WHEN 'waiting' THEN 0 ELSE e.failed + (
         SELECT count(*) FROM undone u WHERE u.job_id = e.job_id AND u.outcome = 'failed') END,
       ended_at = CASE WHEN p.status <> 'waiting' THEN now() END
  FROM p WHERE e.job_id = p.job_id
""")

# Nothing goes again but what failed or was given up; where nothing was, the sync plans anew. What
# was held before waits for all copies once more.
_REOPENED = f"""
, back AS (
  UPDATE ferryman.jobs j SET {_AGAIN},
         run_at = CASE WHEN g.held OR g.paused THEN timestamptz '9000-01-01' ELSE now() END,
         due_at = '9000-01-01'
    FROM gone g WHERE j.id = g.job_id
), waived AS (
  UPDATE ferryman.sends s SET answered_at = now()
    FROM gone g WHERE s.job_id = g.job_id AND s.answered_at IS NULL
), rows AS (
  UPDATE ferryman.objects o SET {_PLANNED_AGAIN}
    FROM gone g
   WHERE o.job_id = g.batch_id AND o.key BETWEEN g.first_key AND g.last_key AND o.part = g.part
     AND o.{_UNDONE}
)
UPDATE ferryman.parts p SET status = 'waiting', reason = NULL, failed = 0, ended_at = NULL,
       held = g.held
  FROM gone g WHERE p.job_id = g.job_id
"""
_GONE = """
  SELECT p.job_id, p.batch_id, p.part, p.first_key, p.last_key, b.status = 'paused' AS paused,
         p.held
    FROM ferryman.jobs j
    JOIN ferryman.parts p ON p.job_id = j.id
    JOIN ferryman.batches b ON b.id = p.batch_id
"""
REOPEN_GIVEN_UP = text(f"""
WITH gone AS ({_GONE}
    JOIN ferryman.jobs s ON s.id = p.batch_id AND s.status = 'failed'
   WHERE j.status = 'cancelled' AND p.batch_id IN ({_BATCHES} WHERE p.status = 'waiting')
   ORDER BY j.id FOR UPDATE OF j
){_REOPENED}
""")
# A sync that failed for a part goes on when that part does; what was given up with it as well.
REOPEN_PARENTS = text(f"""
UPDATE ferryman.jobs j SET {_AGAIN}, run_at = now(), due_at = now()
 WHERE j.id IN ({_BATCHES} WHERE p.status = 'waiting') AND j.status IN ('failed', 'unknown')
""")
REOPEN_PARTS = text(f"""{_SYNCS}
, gone AS ({_GONE}
   WHERE j.status IN ('failed', 'unknown', 'cancelled')
     AND p.batch_id IN (SELECT r.job_id FROM r WHERE r.status = 'again')
     AND (b.planned_at IS NULL OR EXISTS (
           SELECT FROM ferryman.parts q
            WHERE q.batch_id = b.id AND (q.{_OPEN} OR q.status IN ('failed', 'unknown')
                                         OR (q.status = 'cancelled' AND q.action = 'copy'))))
   ORDER BY j.id FOR UPDATE OF j
){_REOPENED}
""")
PLAN_ANEW = text(f"""{_SYNCS}
, anew AS (
  UPDATE ferryman.batches b
     SET planned_at = NULL, cursor = NULL, awaits = false,
         total = 0, invalid = 0, kept = 0, targets = 0, surplus = 0, bytes = 0
    FROM r WHERE b.id = r.job_id AND r.status = 'again' AND b.planned_at IS NOT NULL
     AND NOT EXISTS (SELECT FROM ferryman.parts p WHERE p.batch_id = b.id AND p.{_OPEN})
  RETURNING b.id
), objects AS (
  DELETE FROM ferryman.objects o USING anew a WHERE o.job_id = a.id
)
DELETE FROM ferryman.parts p USING anew a WHERE p.batch_id = a.id
""")

# A sync has ended: so have its parts. `drop`: it goes on, without those of this action.
_ENDING = "r.status IN ('failed', 'cancelled', 'succeeded', 'drop')"
_END_WAITING = text(f"""{_SYNCS}
, due AS (
  SELECT p.job_id, p.batch_id, p.part, p.first_key, p.last_key,
         coalesce(r.reason, s.error ->> 'message', 'its sync has ended') AS reason
    FROM r JOIN ferryman.parts p ON p.batch_id = r.job_id
    JOIN ferryman.jobs j ON j.id = p.job_id
    JOIN ferryman.jobs s ON s.id = r.job_id
   WHERE {_ENDING} AND (r.action IS NULL OR p.action = r.action) AND j.status = 'waiting'
     AND NOT EXISTS (SELECT FROM ferryman.sends n
                      WHERE n.job_id = j.id AND n.answered_at IS NULL)
   ORDER BY j.id FOR UPDATE OF j SKIP LOCKED
), over AS (
  UPDATE ferryman.jobs j
     SET status = 'cancelled', cancel_at = now(), reason = NULL, finished_at = now(),
         published_at = NULL
    FROM due d WHERE j.id = d.job_id
), objects AS (
  UPDATE ferryman.objects o SET outcome = 'cancelled', reason = d.reason, at = now()
    FROM due d
   WHERE o.job_id = d.batch_id AND o.key BETWEEN d.first_key AND d.last_key AND o.part = d.part
     AND o.outcome = 'planned'
)
UPDATE ferryman.parts p SET status = 'cancelled', reason = d.reason, ended_at = now()
  FROM due d WHERE p.job_id = d.job_id
""")
# What runs, or was left in the middle, stops by itself.
_ASK = text(f"""{_SYNCS}
, open AS (
  SELECT j.id FROM r JOIN ferryman.parts p ON p.batch_id = r.job_id
    JOIN ferryman.jobs j ON j.id = p.job_id
   WHERE {_ENDING} AND (r.action IS NULL OR p.action = r.action)
     AND j.status IN ('running', 'waiting')
   ORDER BY j.id FOR UPDATE OF j SKIP LOCKED
)
UPDATE ferryman.jobs j
   SET cancel_at = coalesce(j.cancel_at, now()),
       run_at = CASE j.status WHEN 'waiting' THEN least(j.run_at, now()) ELSE j.run_at END,
       published_at = NULL, publishes = 0
  FROM open o WHERE j.id = o.id AND (j.cancel_at IS NULL OR j.run_at > now())
""")
_LOCK_SYNCS = text(f"""{_SYNCS}
SELECT FROM ferryman.batches WHERE id IN (SELECT r.job_id FROM r) ORDER BY id FOR NO KEY UPDATE
""")
# As long as a part of an ended sync is open, it is looked after.
_ENDED = text(f"""{_SYNCS}
UPDATE ferryman.batches b
   SET status = CASE r.status WHEN 'cancelled' THEN r.status ELSE b.status END,
       awaits = EXISTS (SELECT FROM ferryman.parts p WHERE p.batch_id = b.id AND p.{_OPEN})
  FROM r WHERE b.id = r.job_id AND {_ENDING} AND r.status <> 'drop'
""")
END_PARTS = (_END_WAITING, _ASK, _LOCK_SYNCS, _ENDED)

# Before it the batch's row is locked: of two parts that close together the second sees the first.
_LOCK_BATCHES = text(f"""
SELECT FROM ferryman.batches WHERE id IN ({_BATCHES}) ORDER BY id FOR NO KEY UPDATE
""")
# Told once: what keeps the sync from going on then, such as an open breaker, is not its parts.
_WAKE = f"""
WITH done AS (
  SELECT b.id FROM ferryman.batches b
   WHERE b.awaits AND {{0}}
     AND NOT EXISTS (SELECT FROM ferryman.parts p
                      WHERE p.batch_id = b.id AND p.{_OPEN} AND NOT p.held)
), parents AS (
  SELECT j.id FROM ferryman.jobs j JOIN done d ON d.id = j.id
   WHERE j.status = 'waiting' AND j.run_at > now() ORDER BY j.id FOR UPDATE OF j SKIP LOCKED
), woken AS (
  UPDATE ferryman.jobs j SET run_at = now(), published_at = NULL, publishes = 0
    FROM parents p WHERE j.id = p.id
  RETURNING j.id
), told AS (
  UPDATE ferryman.batches b SET awaits = false FROM woken w WHERE b.id = w.id
)
SELECT id, CASE WHEN current_setting('ferryman.notify', true) IS DISTINCT FROM 'off'
                THEN pg_notify('ferryman', '') END AS told
  FROM woken
"""
_WAKE_OF_PARTS = text(_WAKE.format(f"b.id IN ({_BATCHES})"))
_WAKE_SYNCS = text(
    _WAKE.format("""b.id IN (
     SELECT r.job_id FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(job_id uuid, status text)
      WHERE r.status = 'waits')""")
)
WAKE_ALL = text(_WAKE.format("true"))

# Of a part that waits for its next attempt nothing is on its way.
_REST = text("""
UPDATE ferryman.parts p SET status = 'waiting'
  FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(job_id uuid, status text)
 WHERE p.job_id = r.job_id AND r.status = 'rests' AND p.status = 'sending'
""")

# By the table that a job names at its end, one after the other.
SYNC_PARTS = (
    _REST,
    WRITE_SYNC_PARTS,
    REOPEN_GIVEN_UP,
    REOPEN_PARENTS,
    _LOCK_BATCHES,
    _WAKE_OF_PARTS,
)
SYNCS = (REOPEN_PARTS, PLAN_ANEW, *END_PARTS, _WAKE_SYNCS)
