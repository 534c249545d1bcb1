"""The statements of one job's walk: claim, leave, close, park. Each takes a group of jobs.

Every one locks its jobs first, in order of id: unordered updates by several processes deadlock.
All times are PostgreSQL's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause

from models import mail, objects, payments
from models.engine import driver_sql, dumps
from models.group import Connection

Row = dict[str, Any]


@dataclass(frozen=True)
class Claim:
    """A wish to run a job. `token` makes the claim safe to repeat after a lost connection."""

    id: UUID
    kind: str
    vendor: str
    token: UUID
    worker: UUID
    deadline_seconds: float


@dataclass(frozen=True)
class Claimed:
    """A job that is ours while the lease holds. `fence` is also the attempt's number."""

    id: UUID
    kind: str
    vendor: str
    args: Row
    fence: int
    attempts: int
    batch_id: UUID | None
    expired: bool
    throttled_seconds: float
    age_seconds: float
    sends: Sequence[Row]


@dataclass(frozen=True)
class Leaving:
    """The mark that a request may have left, committed before its first byte does."""

    job_id: UUID
    attempt: int
    step: str
    vendor_key: str
    repeat: str
    repeat_seconds: float | None
    request: Row


@dataclass
class Close:
    """The end of an attempt: what becomes of the job, and all that is to be remembered."""

    job_id: UUID
    fence: int
    status: str
    outcome: str
    reason: str | None = None
    delay_seconds: float = 0.0
    counts: bool = True
    throttled: bool = False
    result: Row | None = None
    error: Row | None = None
    trace: Row | None = None
    answered: Sequence[str] = ()
    interactions: Sequence[Row] = ()
    writes: dict[str, list[Row]] = field(default_factory=dict)


@dataclass(frozen=True)
class NoEffect:
    """The request sent by that attempt is known to have done nothing."""

    job_id: UUID
    step: str
    attempt: int


@dataclass(frozen=True)
class Park:
    """A job that is not admitted now: it waits without an attempt."""

    job_id: UUID
    vendor: str
    reason: str
    delay_seconds: float


# A job that was running when its worker died is a suspect, and a worker runs one suspect at a
# time: so the next crash tells the poisonous one from its innocent neighbours. One that has run
# for a minute is not about to kill its worker, and holds up no other.
CLAIM = driver_sql("""
WITH r AS (
  SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb))
      AS r(id uuid, kind text, vendor text, token uuid, worker uuid, deadline_seconds float8)
), locked AS (
  SELECT j.id, r.token, r.worker, r.deadline_seconds, j.status = 'running' AS mine,
         j.crashes > 0 AS suspect
    FROM ferryman.jobs j JOIN r USING (id, kind, vendor)
   WHERE ((j.status = 'waiting' AND j.run_at <= now())
          OR (j.status = 'running' AND j.claim = r.token))
     AND EXISTS (SELECT FROM ferryman.workers w WHERE w.id = r.worker AND w.lease_until > now())
   ORDER BY j.id FOR UPDATE OF j SKIP LOCKED
), chosen AS (
  SELECT id, token, worker, deadline_seconds, mine
    FROM (SELECT l.*, row_number() OVER (PARTITION BY suspect AND NOT mine ORDER BY id) AS nth
            FROM locked l) AS l
   WHERE NOT suspect OR mine
      OR (nth = 1 AND NOT EXISTS (
            SELECT FROM ferryman.jobs s
              JOIN ferryman.attempts a ON a.job_id = s.id AND a.number = s.fence
             WHERE s.worker_id = l.worker AND s.status = 'running' AND s.crashes > 0
               AND a.started_at > now() - interval '1 minute'))
), postponed AS (
  UPDATE ferryman.jobs j SET run_at = now() + interval '200 ms', published_at = NULL
    FROM locked l WHERE j.id = l.id AND l.id NOT IN (SELECT id FROM chosen)
), claimed AS (
  UPDATE ferryman.jobs j
     SET status = 'running', reason = NULL, worker_id = c.worker, claim = c.token,
         fence = j.fence + (NOT c.mine)::int, attempts = j.attempts + (NOT c.mine)::int,
         deadline_at = now() + make_interval(secs => c.deadline_seconds),
         published_at = NULL, publishes = 0
    FROM chosen c WHERE j.id = c.id
  RETURNING j.*
), opened AS (
  INSERT INTO ferryman.attempts (job_id, number, worker)
  SELECT id, fence, worker_id FROM claimed ON CONFLICT DO NOTHING
)
SELECT id, kind, vendor, args, fence, attempts, batch_id, claim,
       coalesce(expires_at, 'infinity') < now()
         OR due_at < now() - make_interval(secs => :max_wait) AS expired,
       coalesce(extract(epoch FROM now() - throttled_since), 0)::float8 AS throttled_seconds,
       greatest(0, extract(epoch FROM now() - due_at))::float8 AS age_seconds,
       (SELECT coalesce(jsonb_agg(to_jsonb(s)
                 || jsonb_build_object('repeatable', coalesce(s.repeat_until > now(), false))
                 ORDER BY s.sent_at), '[]')
          FROM ferryman.sends s WHERE s.job_id = claimed.id) AS sends
  FROM claimed
""")

LEAVE = driver_sql("""
WITH r AS (
  SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb))
      AS r(job_id uuid, attempt bigint, step text, vendor_key text, repeat text,
           repeat_seconds float8, request jsonb)
), held AS (
  SELECT j.id, j.fence FROM ferryman.jobs j
    JOIN (SELECT DISTINCT job_id, attempt FROM r) AS r ON j.id = r.job_id AND j.fence = r.attempt
   WHERE j.status = 'running' ORDER BY j.id FOR UPDATE OF j
)
INSERT INTO ferryman.sends AS s
       (job_id, step, attempt, vendor_key, repeat, repeat_until, request)
SELECT r.job_id, r.step, r.attempt, r.vendor_key, r.repeat,
       coalesce((SELECT min(p.repeat_until) FROM ferryman.sends p
                  WHERE p.job_id = r.job_id AND p.vendor_key = r.vendor_key),
                now() + make_interval(secs => r.repeat_seconds)),
       r.request
  FROM r JOIN held h ON h.id = r.job_id AND h.fence = r.attempt
    ON CONFLICT (job_id, step, attempt) DO UPDATE SET sent_at = now(), answered_at = NULL
RETURNING s.job_id, s.attempt
""")

# `attempts` shows whether this very close was committed already, before a connection was lost.
CLOSE = driver_sql("""
WITH r AS (
  SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb))
      AS r(job_id uuid, fence bigint, status text, outcome text, reason text,
           delay_seconds float8, counts boolean, throttled boolean, result jsonb, error jsonb,
           trace jsonb, answered jsonb, interactions jsonb)
), held AS (
  SELECT j.id, j.fence FROM ferryman.jobs j JOIN r ON j.id = r.job_id
   WHERE j.fence = r.fence AND j.status = 'running' ORDER BY j.id FOR UPDATE OF j
), jobs AS (
  UPDATE ferryman.jobs j
     SET status = r.status, reason = r.reason, result = coalesce(r.result, j.result),
         error = r.error,
         run_at = CASE WHEN r.status = 'waiting'
                       THEN now() + make_interval(secs => r.delay_seconds) ELSE j.run_at END,
         attempts = j.attempts - (NOT r.counts)::int,
         throttled_since = CASE WHEN r.throttled THEN coalesce(j.throttled_since, now()) END,
         crashes = 0, worker_id = NULL, deadline_at = NULL,
         finished_at = CASE WHEN r.status IN ('succeeded', 'failed', 'cancelled') THEN now() END
    FROM r JOIN held h ON h.id = r.job_id AND h.fence = r.fence
   WHERE j.id = r.job_id
), closed AS (
  UPDATE ferryman.attempts a SET finished_at = now(), outcome = r.outcome, error = r.trace
    FROM r JOIN held h ON h.id = r.job_id AND h.fence = r.fence
   WHERE a.job_id = r.job_id AND a.number = r.fence AND a.finished_at IS NULL
), answered AS (
  UPDATE ferryman.sends s SET answered_at = now()
    FROM r JOIN held h ON h.id = r.job_id AND h.fence = r.fence
   WHERE s.job_id = r.job_id AND r.answered ? s.step AND s.answered_at IS NULL
), kept AS (
  INSERT INTO ferryman.interactions
  SELECT i.* FROM r, jsonb_populate_recordset(NULL::ferryman.interactions, r.interactions) AS i
  ON CONFLICT DO NOTHING
)
SELECT r.job_id, r.fence,
       EXISTS (SELECT FROM held h WHERE h.id = r.job_id AND h.fence = r.fence) AS held,
       EXISTS (SELECT FROM ferryman.attempts a
                WHERE a.job_id = r.job_id AND a.number = r.fence
                  AND a.outcome = r.outcome) AS repeated
  FROM r
""")

NO_EFFECT = driver_sql("""
UPDATE ferryman.sends s SET answered_at = now()
  FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(job_id uuid, step text, attempt bigint)
 WHERE s.job_id = r.job_id AND s.step = r.step AND s.attempt = r.attempt
""")

PARK = driver_sql("""
WITH r AS (
  SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb))
      AS r(job_id uuid, vendor text, reason text, delay_seconds float8)
), held AS (
  SELECT j.id FROM ferryman.jobs j JOIN r ON j.id = r.job_id AND j.vendor = r.vendor
   WHERE j.status = 'waiting' ORDER BY j.id FOR UPDATE OF j
)
UPDATE ferryman.jobs j
   SET reason = r.reason, published_at = NULL, publishes = 0,
       run_at = greatest(j.run_at, now() + make_interval(secs => r.delay_seconds))
  FROM r WHERE j.id = r.job_id AND j.id IN (SELECT id FROM held)
RETURNING j.id
""")

# Locks are taken in this order everywhere: jobs, then these.
WRITERS: dict[str, TextClause] = {
    "charges": payments.WRITE_CHARGES,
    "refunds": payments.WRITE_REFUNDS,
    "emails": mail.WRITE_EMAILS,
    "objects": objects.WRITE_OBJECTS,
}
_WRITERS = {table: driver_sql(statement) for table, statement in WRITERS.items()}


async def claim(
    connection: Connection, claims: Sequence[Claim], *, max_wait_seconds: float
) -> list[Claimed | None]:
    """Take the jobs that are waiting and due. None: somebody else's, not due, or finished."""
    found = await connection.execute(CLAIM, {"rows": dumps(claims), "max_wait": max_wait_seconds})
    by_token = {row.pop("claim"): Claimed(**row) for row in await found.fetchall()}
    return [by_token.get(claim.token) for claim in claims]


async def leave(connection: Connection, marks: Sequence[Leaving]) -> list[bool]:
    """Record that requests are about to leave. False: the lease was lost, nothing may leave."""
    found = await connection.execute(LEAVE, {"rows": dumps(marks)})
    held = {(row["job_id"], row["attempt"]) for row in await found.fetchall()}
    return [(mark.job_id, mark.attempt) in held for mark in marks]


async def close(connection: Connection, closes: Sequence[Close]) -> list[bool]:
    """End attempts. False: the lease was lost, so only the interactions were kept."""
    async with connection.transaction():
        found = await connection.execute(CLOSE, {"rows": dumps([_head(c) for c in closes])})
        rows = {(row["job_id"], row["fence"]): row for row in await found.fetchall()}
        held = [c for c in closes if rows[c.job_id, c.fence]["held"]]
        for table, write in _WRITERS.items():
            if lines := [line for c in held for line in c.writes.get(table, ())]:
                await connection.execute(write, {"rows": dumps(lines)})
    ends = [rows[c.job_id, c.fence] for c in closes]
    return [end["held"] or end["repeated"] for end in ends]


async def park(connection: Connection, parks: Sequence[Park]) -> list[bool]:
    """Let waiting jobs wait on, with a reason. False: the job was not waiting any more."""
    found = await connection.execute(PARK, {"rows": dumps(parks)})
    held = {row["id"] for row in await found.fetchall()}
    return [one.job_id in held for one in parks]


async def no_effect(connection: Connection, sends: Sequence[NoEffect]) -> list[bool]:
    """One request each is known to have had no effect (429, 401 …); earlier ones stay in doubt."""
    await connection.execute(NO_EFFECT, {"rows": dumps(sends)})
    return [True] * len(sends)


def _head(close: Close) -> Row:
    """The close as one row, without what other tables are to hold."""
    return {f.name: getattr(close, f.name) for f in fields(close) if f.name != "writes"}
