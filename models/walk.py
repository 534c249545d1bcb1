"""The statements of one job's walk: claim, leave, close, park. Each takes a group of jobs.

Every one locks its jobs first, in order of id: unordered updates by several processes deadlock.
All times are PostgreSQL's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause
from sqlalchemy.ext.asyncio import AsyncConnection

from models import load_ends, mail, messages, payments, refunds, sync_ends
from models.engine import driver_sql, dumps
from models.group import Connection
from models.tables import RIDE

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
    """A job that is ours while the lease holds. `fence` is also the attempt's number.

    `looking`: it was `unknown`, and runs for a look-up that must send nothing. `pending`: its
    effect is under way at the vendor. `cancel_asked`: somebody wants it stopped. `expires_in`:
    seconds until it expires, by its own `expires_at`.
    """

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
    looking: bool
    looks: int
    round: int
    pending: bool
    cancel_asked: bool
    expires_in: float | None
    sends: Sequence[Row]


class Left(Enum):
    """Whether a request may leave."""

    YES = "yes"
    LEASE_LOST = "lease lost"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Leaving:
    """The mark that a request may have left, committed before its first byte does. `stops`: it
    stops what was begun, and leaves also when a cancel was asked."""

    job_id: UUID
    attempt: int
    step: str
    vendor_key: str
    repeat: str
    repeat_seconds: float | None
    request: Row
    stops: bool = False


@dataclass
class Close:
    """The end of an attempt: what becomes of the job, and all that is to be remembered.

    `look_seconds`: if it becomes `unknown`, it is looked up after so long (None: it cannot be).
    `absent`: nothing that was sent had an effect; what is sent from now on has new vendor keys.
    `pending`: the effect is under way at the vendor, so that a cancel has to stop it there first.
    `if_cancelled`, `if_doubtful`: rows to write where a cancel that was asked meanwhile ends the
    job, or has it looked up first.
    """

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
    look_seconds: float | None = None
    absent: bool = False
    pending: bool = False
    answered: Sequence[str] = ()
    interactions: Sequence[Row] = ()
    writes: dict[str, list[Row]] = field(default_factory=dict)
    if_cancelled: dict[str, list[Row]] = field(default_factory=dict)
    if_doubtful: dict[str, list[Row]] = field(default_factory=dict)


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
# for a minute is not about to kill its worker, and holds up no other. A job that rides is taken by
# its load, and by no message of its own.
CLAIM = driver_sql(f"""
WITH r AS (
  SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb))
      AS r(id uuid, kind text, vendor text, token uuid, worker uuid, deadline_seconds float8)
), locked AS (
  SELECT j.id, r.token, r.worker, r.deadline_seconds, j.status = 'running' AS mine,
         CASE j.status WHEN 'unknown' THEN true WHEN 'running' THEN j.looking ELSE false
              END AS looking,
         j.crashes > 0 AS suspect
    FROM ferryman.jobs j JOIN r USING (id, kind, vendor)
   WHERE ((j.status = 'waiting' AND j.run_at <= now())
          OR (j.status = 'unknown' AND j.look_at <= now())
          OR (j.status = 'running' AND j.claim = r.token))
     AND NOT (j.{RIDE})
     AND EXISTS (SELECT FROM ferryman.workers w WHERE w.id = r.worker AND w.lease_until > now())
   ORDER BY j.id FOR UPDATE OF j SKIP LOCKED
), chosen AS (
  SELECT id, token, worker, deadline_seconds, mine, looking
    FROM (SELECT l.*, row_number() OVER (PARTITION BY suspect AND NOT mine ORDER BY id) AS nth
            FROM locked l) AS l
   WHERE NOT suspect OR mine
      OR (nth = 1 AND NOT EXISTS (
            SELECT FROM ferryman.jobs s
              JOIN ferryman.attempts a ON a.job_id = s.id AND a.number = s.fence
             WHERE s.worker_id = l.worker AND s.status = 'running' AND s.crashes > 0
               AND a.started_at > now() - interval '1 minute'))
), postponed AS (
  UPDATE ferryman.jobs j
     SET run_at = now() + interval '200 ms', published_at = NULL,
         look_at = CASE WHEN l.looking THEN now() + interval '200 ms' END
    FROM locked l WHERE j.id = l.id AND l.id NOT IN (SELECT id FROM chosen)
), claimed AS (
  UPDATE ferryman.jobs j
     SET status = 'running', reason = NULL, worker_id = c.worker, claim = c.token,
         fence = j.fence + (NOT c.mine)::int,
         attempts = j.attempts + (NOT c.mine AND NOT c.looking)::int, looking = c.looking,
         deadline_at = now() + make_interval(secs => c.deadline_seconds),
         published_at = NULL, publishes = 0
    FROM chosen c WHERE j.id = c.id
  RETURNING j.*
), opened AS (
  INSERT INTO ferryman.attempts (job_id, number, worker)
  SELECT id, fence, worker_id FROM claimed ON CONFLICT DO NOTHING
)
SELECT id, kind, vendor, args, fence, attempts, batch_id, claim, looking, looks, round,
       pending, cancel_at IS NOT NULL AS cancel_asked,
       extract(epoch FROM expires_at - now())::float8 AS expires_in,
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

# A cancel that was asked stops what has not left yet. A step in doubt goes on: only its repeat can
# tell what the first request did.
LEAVE = driver_sql("""
WITH r AS (
  SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb))
      AS r(job_id uuid, attempt bigint, step text, vendor_key text, repeat text,
           repeat_seconds float8, request jsonb, stops boolean)
), held AS (
  SELECT j.id, j.fence, j.cancel_at IS NOT NULL AS cancelled FROM ferryman.jobs j
    JOIN (SELECT DISTINCT job_id, attempt FROM r) AS r ON j.id = r.job_id AND j.fence = r.attempt
   WHERE j.status = 'running' AND NOT j.looking ORDER BY j.id FOR UPDATE OF j
), stopped AS (
  SELECT r.job_id, r.attempt, r.step
    FROM r JOIN held h ON h.id = r.job_id AND h.fence = r.attempt AND h.cancelled
   WHERE NOT r.stops
     AND NOT EXISTS (SELECT FROM ferryman.sends p WHERE p.job_id = r.job_id AND p.step = r.step
                        AND p.answered_at IS NULL)
), marked AS (
  INSERT INTO ferryman.sends AS s
         (job_id, step, attempt, vendor_key, repeat, repeat_until, request)
  SELECT r.job_id, r.step, r.attempt, r.vendor_key, r.repeat,
         coalesce((SELECT min(p.repeat_until) FROM ferryman.sends p
                    WHERE p.job_id = r.job_id AND p.vendor_key = r.vendor_key),
                  now() + make_interval(secs => r.repeat_seconds)),
         r.request
    FROM r JOIN held h ON h.id = r.job_id AND h.fence = r.attempt
   WHERE (r.job_id, r.attempt, r.step) NOT IN (SELECT job_id, attempt, step FROM stopped)
      ON CONFLICT (job_id, step, attempt) DO UPDATE SET sent_at = now(), answered_at = NULL
  RETURNING s.job_id, s.attempt, s.step
)
SELECT job_id, attempt, step, 'yes' AS may FROM marked
 UNION ALL
SELECT job_id, attempt, step, 'cancelled' FROM stopped
""")

# `attempts` shows whether this very close was committed already, before a connection was lost.
CLOSE = driver_sql("""
WITH r AS (
  SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb))
      AS r(job_id uuid, fence bigint, status text, outcome text, reason text,
           delay_seconds float8, counts boolean, throttled boolean, result jsonb, error jsonb,
           trace jsonb, look_seconds float8, absent boolean, pending boolean, answered jsonb,
           interactions jsonb)
), held AS (
  SELECT j.id, j.fence,
         CASE WHEN r.status <> 'waiting' OR j.cancel_at IS NULL OR r.pending THEN r.status
              WHEN r.absent OR NOT EXISTS (
                     SELECT FROM ferryman.sends s WHERE s.job_id = j.id
                        AND s.answered_at IS NULL AND NOT r.answered ? s.step) THEN 'cancelled'
              WHEN r.look_seconds IS NOT NULL THEN 'unknown' ELSE 'waiting' END AS status
    FROM ferryman.jobs j JOIN r ON j.id = r.job_id
   WHERE j.fence = r.fence AND j.status = 'running' ORDER BY j.id FOR UPDATE OF j
), jobs AS (
  UPDATE ferryman.jobs j
     SET status = h.status,
         reason = CASE WHEN h.status = r.status THEN r.reason WHEN h.status = 'unknown'
                       THEN 'a cancel was asked; looks up whether it took effect' END,
         result = CASE WHEN h.status IN ('failed', 'cancelled') THEN r.result
                       ELSE coalesce(r.result, j.result) END,
         error = r.error,
         run_at = CASE WHEN h.status = 'waiting'
                       THEN now() + make_interval(secs => CASE WHEN j.cancel_at IS NULL
                         THEN r.delay_seconds ELSE least(r.delay_seconds, 5) END)
                       ELSE j.run_at END,
         pending = r.pending,
         look_at = CASE WHEN h.status = 'unknown'
                        THEN now() + make_interval(secs => r.look_seconds) END,
         looks = j.looks + (j.looking AND r.counts)::int, looking = false,
         round = j.round + r.absent::int,
         attempts = j.attempts - (NOT r.counts AND NOT j.looking)::int,
         throttled_since = CASE WHEN r.throttled THEN coalesce(j.throttled_since, now()) END,
         crashes = 0, worker_id = NULL, deadline_at = NULL,
         finished_at = CASE WHEN h.status IN ('succeeded', 'failed', 'cancelled') THEN now() END
    FROM r JOIN held h ON h.id = r.job_id AND h.fence = r.fence
   WHERE j.id = r.job_id
), closed AS (
  UPDATE ferryman.attempts a SET finished_at = now(), outcome = r.outcome, error = r.trace
    FROM r JOIN held h ON h.id = r.job_id AND h.fence = r.fence
   WHERE a.job_id = r.job_id AND a.number = r.fence AND a.finished_at IS NULL
), answered AS (
  UPDATE ferryman.sends s SET answered_at = now()
    FROM r JOIN held h ON h.id = r.job_id AND h.fence = r.fence
   WHERE s.job_id = r.job_id AND s.answered_at IS NULL
     AND (r.absent OR r.status = 'succeeded' OR r.answered ? s.step)
), kept AS (
  INSERT INTO ferryman.interactions
  SELECT i.* FROM r, jsonb_populate_recordset(NULL::ferryman.interactions, r.interactions) AS i
  ON CONFLICT DO NOTHING
)
SELECT r.job_id, r.fence,
       (SELECT h.status FROM held h WHERE h.id = r.job_id AND h.fence = r.fence) AS held,
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
   WHERE j.status = 'waiting' OR (j.status = 'unknown' AND j.look_at IS NOT NULL)
   ORDER BY j.id FOR UPDATE OF j
)
UPDATE ferryman.jobs j
   SET reason = CASE j.status WHEN 'waiting' THEN r.reason ELSE j.reason END,
       published_at = NULL, publishes = 0,
       run_at = CASE j.status WHEN 'waiting'
                     THEN greatest(j.run_at, now() + make_interval(secs => r.delay_seconds))
                     ELSE j.run_at END,
       look_at = CASE WHEN j.look_at IS NOT NULL
                      THEN greatest(j.look_at, now() + make_interval(secs => r.delay_seconds)) END
  FROM r WHERE j.id = r.job_id AND j.id IN (SELECT id FROM held)
RETURNING j.id
""")

# Locks are taken in this order everywhere: jobs, then these. (Those of a load's riders are taken
# after its own; whoever holds a rider's waits for no load's.)
WRITERS: dict[str, Sequence[TextClause]] = {
    "loads": (load_ends.DISBAND,),
    "charges": (payments.WRITE_CHARGES,),
    "charge_moves": (payments.MOVE_CHARGES,),
    "charge_names": (payments.NAME_CHARGES,),
    "charge_releases": (payments.RELEASE_CHARGES,),
    "refunds": (refunds.WRITE_REFUNDS,),
    "emails": (mail.WRITE_EMAILS,),
    "messages": (messages.WRITE_MESSAGES,),
    "sync_parts": sync_ends.SYNC_PARTS,
    "syncs": sync_ends.SYNCS,
}
REST = ("writes", "if_cancelled", "if_doubtful")
_WRITERS = {table: [driver_sql(one) for one in several] for table, several in WRITERS.items()}


async def claim(
    connection: Connection, claims: Sequence[Claim], *, max_wait_seconds: float
) -> list[Claimed | None]:
    """Take the jobs that are waiting and due. None: somebody else's, not due, or finished."""
    found = await connection.execute(CLAIM, {"rows": dumps(claims), "max_wait": max_wait_seconds})
    by_token = {row.pop("claim"): Claimed(**row) for row in await found.fetchall()}
    return [by_token.get(claim.token) for claim in claims]


def size_of(mark: Leaving) -> int:
    """About how many bytes the mark takes in a statement."""
    return len(mark.request.get("body") or mark.request.get("base64") or "")


async def leave(connection: Connection, marks: Sequence[Leaving]) -> list[Left]:
    """Record that requests are about to leave; only where the answer is YES may they."""
    found = await connection.execute(LEAVE, {"rows": dumps(marks)})
    may = {(r["job_id"], r["attempt"], r["step"]): r["may"] for r in await found.fetchall()}
    asked = [(mark.job_id, mark.attempt, mark.step) for mark in marks]
    return [Left(may.get(one, Left.LEASE_LOST.value)) for one in asked]


async def close(connection: Connection, closes: Sequence[Close]) -> list[str | None]:
    """End attempts; the status of each job now. None: the lease was lost, so only the
    interactions were kept."""
    async with connection.transaction():
        found = await connection.execute(CLOSE, {"rows": dumps([_head(c) for c in closes])})
        rows = {(row["job_id"], row["fence"]): row for row in await found.fetchall()}
        written = [_writes(c, rows[c.job_id, c.fence]["held"]) for c in closes]
        for table, statements in _WRITERS.items():
            if lines := [line for writes in written for line in writes.get(table, ())]:
                given = {"rows": dumps(lines)}
                for statement in statements:
                    await connection.execute(statement, given)
    ends = [rows[c.job_id, c.fence] for c in closes]
    return [
        end["held"] or (c.status if end["repeated"] else None)
        for c, end in zip(closes, ends, strict=True)
    ]


async def park(connection: Connection, parks: Sequence[Park]) -> list[bool]:
    """Let jobs wait on, with a reason. False: the job does not wait any more."""
    found = await connection.execute(PARK, {"rows": dumps(parks)})
    held = {row["id"] for row in await found.fetchall()}
    return [one.job_id in held for one in parks]


async def no_effect(connection: Connection, sends: Sequence[NoEffect]) -> list[bool]:
    """One request each is known to have had no effect (429, 401 …); earlier ones stay in doubt."""
    await connection.execute(NO_EFFECT, {"rows": dumps(sends)})
    return [True] * len(sends)


async def write(connection: AsyncConnection, writes: Iterable[dict[str, list[Row]]]) -> None:
    """Rows by table, as jobs give them at their end, in the order in which tables are locked."""
    rows = list(writes)
    for table, statements in WRITERS.items():
        if lines := [line for by_table in rows for line in by_table.get(table, ())]:
            given = {"rows": dumps(lines)}
            for statement in statements:
                await connection.execute(statement, given)


def _head(close: Close) -> Row:
    """The close as one row, without what other tables are to hold."""
    return {f.name: getattr(close, f.name) for f in fields(close) if f.name not in REST}


def _writes(close: Close, status: str | None) -> dict[str, list[Row]]:
    if status is None:
        return {}
    if status == close.status:
        return close.writes
    return close.if_cancelled if status == "cancelled" else close.if_doubtful
