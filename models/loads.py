"""Loads: jobs of one kind and vendor that travel in one request, each with an outcome of its own.

A rider is a job that waits for a load. It is `running` in exactly one, and has no worker of its
own: a load that is over, however it ended, leaves none behind. Locks: the load's job first, then
its riders by id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from models.engine import dumps, loads_any
from models.load_ends import DEAD_LOADS, DISBAND, SETTLE
from models.tables import LOADS, RIDE
from models.workers import DEAD

Row = dict[str, Any]

PRIORITIES = ("high", "normal", "low")
# With each crash the load that a suspect travels in is so much smaller.
APART = 8
# Of the arguments of all who are looked at, as they are stored: a job may have a MiB of them, and
# two thousand of those would be more than a worker has.
MOST_BYTES = 16 * 1024 * 1024
# So long before a vendor forgets an id, nothing is repeated by it any more.
MARGIN_SECONDS = 60.0

# Ids first, since arguments may be large. One priority at a time: jobs that are planned for later
# stand in the index between those of this priority that are due and the next one's.
LOOK = text(f"""
SELECT id, crashes, pg_column_size(args) AS size FROM ferryman.jobs
 WHERE vendor = :vendor AND kind = :kind AND {RIDE} AND status = 'waiting'
   AND priority = CAST(:priority AS ferryman.priority) AND run_at <= now()
   AND (NOT :innocent OR crashes = 0)
 ORDER BY run_at LIMIT :most FOR UPDATE SKIP LOCKED
""")

# Locked by now. One that was never in a load cannot be in doubt.
READ = text("""
SELECT j.id, j.args::text AS args, j.created_at, j.attempts, j.crashes,
       coalesce(j.expires_at < now(), false) AS expired, j.cancel_at IS NOT NULL AS cancelled,
       EXISTS (SELECT FROM ferryman.batches b
                WHERE b.id = j.batch_id AND b.status = 'paused') AS paused,
       CASE WHEN j.fence > 0 THEN (
         SELECT CASE WHEN bool_and(s.repeat = 'natural') THEN 'natural'
                     WHEN bool_and(s.repeat = 'natural' OR (s.repeat = 'key' AND s.repeat_until
                                     > now() + make_interval(secs => :margin))) THEN 'key'
                     WHEN count(*) > 0 THEN 'late' END
           FROM ferryman.sends s WHERE s.job_id = j.id AND s.answered_at IS NULL) END AS doubt
  FROM ferryman.jobs j WHERE j.id = ANY(CAST(:ids AS uuid[]))
""")

# One load of suspects at a time: else it is not known which of them killed the worker.
SUSPECTS_LOCK = text(
    "SELECT pg_try_advisory_xact_lock(727104, hashtext(:vendor || CAST(:kind AS text)))"
)
SUSPECTS_RUN = text(f"""
SELECT EXISTS (SELECT FROM ferryman.jobs
                WHERE status = 'running' AND worker_id IS NOT NULL AND crashes > 0
                  AND vendor = :vendor AND {LOADS} AND kind = CAST(:kind AS text) || '_load')
""")

# A load of suspects is one itself: its worker takes no other meanwhile.
TAKE = text("""
WITH opened AS (
  INSERT INTO ferryman.loads (job_id, vendor, kind, riders, records, bytes)
  SELECT :load, vendor, kind, CAST(:ids AS uuid[]), :records, :bytes
    FROM ferryman.jobs WHERE id = (CAST(:ids AS uuid[]))[1]
), suspect AS (
  UPDATE ferryman.jobs SET crashes = :crashes WHERE id = :load AND :crashes > 0
)
UPDATE ferryman.jobs
   SET status = 'running', load = :load, fence = fence + 1, attempts = attempts + 1, reason = NULL
 WHERE id = ANY(CAST(:ids AS uuid[])) AND status = 'waiting'
""")

END = text("""
UPDATE ferryman.jobs j
   SET status = r.status, error = CASE WHEN r.status IN ('failed', 'unknown') THEN r.error END,
       result = r.result,
       reason = CASE WHEN r.status IN ('waiting', 'unknown') THEN r.error ->> 'message' END,
       run_at = CASE WHEN r.status = 'waiting' THEN now() + make_interval(secs => r.delay)
                     ELSE j.run_at END,
       -- What is put off for good is not late, however long that takes.
       due_at = CASE WHEN r.delay > 1e9 THEN now() + make_interval(secs => r.delay)
                     ELSE j.due_at END,
       finished_at = CASE WHEN r.status NOT IN ('waiting', 'unknown') THEN now() END
  FROM jsonb_to_recordset(CAST(:rows AS jsonb))
    AS r(id uuid, status text, error jsonb, result jsonb, delay float8)
 WHERE j.id = r.id AND j.status = 'waiting'
""")


@dataclass(frozen=True)
class Rider:
    """A job that may be taken now. `doubt`: an earlier request that carried it may have had its
    effect, and it may be repeated by its own id ('natural', or 'key' within the vendor's window),
    or not any more ('late'); None: nothing is in doubt."""

    id: UUID
    args: Row
    created_at: datetime
    attempts: int
    crashes: int
    expired: bool
    cancelled: bool
    paused: bool
    doubt: str | None


@dataclass(frozen=True)
class Odd:
    """What became of a rider that did not simply succeed; of a succeeded one, its own `result`.
    `status`: 'succeeded', 'failed', 'unknown', 'cancelled', or 'waiting' again after `delay`
    seconds."""

    id: UUID
    status: str
    error: Row | None = None
    result: Row | None = None
    delay: float = 0.0


@dataclass(frozen=True)
class Disband:
    """A load that ends without an answer for each rider: they wait again (`walk.WRITERS`).

    `delay`: seconds until then; where the attempt `counts`, doubled by each rider's own attempts,
    up to `max_delay`, and those that have used up `max_attempts` end. `fails`: all of them do, by
    `error`. `crashed`: by a defect of ours, or with its worker (`max_crashes` > 0): they go apart,
    and one that was alone, so many times, ends. In doubt none ends but as `unknown`."""

    job_id: UUID
    reason: str | None = None
    error: Row | None = None
    outcome: str = "disbanded"
    delay: float = 0.0
    max_delay: float = 300.0
    counts: bool = True
    max_attempts: int | None = None
    fails: bool = False
    crashed: bool = False
    max_crashes: int = 0


async def look(connection: AsyncConnection, vendor: str, kind: str, most: int) -> list[Rider]:
    """Riders that are due, best first, locked until the transaction ends. Those that were in a
    load that crashed come without others, few at a time, and not while such a load runs."""
    lane = {"vendor": vendor, "kind": kind}
    found = await _due(connection, lane, most, innocent=False)
    crashes = max((row.crashes for row in found), default=0)
    if crashes and not await _may_suspect(connection, lane):
        crashes, found = 0, await _due(connection, lane, most, innocent=True)
    most = max(1, most // APART**crashes)
    ids = [row.id for row in found if row.crashes == crashes][:most]
    values = {"ids": ids, "margin": MARGIN_SECONDS}
    rows = {row["id"]: row for row in (await connection.execute(READ, values)).mappings()}
    return [Rider(**{**rows[one], "args": loads_any(rows[one]["args"])}) for one in ids]


async def take(
    connection: AsyncConnection,
    load: UUID,
    riders: Sequence[Rider],
    ended: Sequence[Odd],
    *,
    records: int,
    bytes: int,
) -> None:
    """These go, in this order; those of `ended` end at once. In the transaction of `look`, which
    also holds the load."""
    if ended:
        await connection.execute(END, {"rows": dumps(ended)})
    if riders:
        values = {"load": load, "ids": [rider.id for rider in riders]}
        values |= {"crashes": max(rider.crashes for rider in riders)}
        await connection.execute(TAKE, {**values, "records": records, "bytes": bytes})


async def settle(
    connection: AsyncConnection,
    load: UUID,
    fence: int,
    result: Row,
    odd: Sequence[Odd],
    answered: Sequence[str],
    interactions: Sequence[Row],
) -> int:
    """Write down what the vendor said of each: all riders but the odd ones have succeeded, with
    `result` and their own id in it. `answered`: the load's steps whose effect is known by it.
    How many riders it had; 0 where the load is lost, and only the interactions were kept."""
    values = {"load": load, "fence": fence, "result": dumps(result), "odd": dumps(odd)}
    values |= {"answered": list(answered), "interactions": dumps(interactions)}
    riders: int = await connection.scalar(SETTLE, values)
    return riders


async def mind(
    connection: AsyncConnection, *, max_crashes: int, overdue_seconds: float
) -> list[Row]:
    """Disband the loads of dead workers: `{"id", "kind", "status"}` of riders that ended by it. The
    loads themselves are the rescue's, in the same transaction."""
    await connection.execute(DEAD)
    found = await connection.execute(DEAD_LOADS, {"overdue": overdue_seconds})
    lost = [
        Disband(
            row.job_id,
            reason="its load was lost; it goes in another",
            outcome="lease_lost",
            counts=False,
            crashed=row.crashed,
            max_crashes=max_crashes,
        )
        for row in found
    ]
    if not lost:
        return []
    fates = (await connection.execute(DISBAND, {"rows": dumps(lost)})).mappings()
    return [dict(row) for row in fates if row["status"] != "waiting"]


async def _due(connection: AsyncConnection, lane: Row, most: int, *, innocent: bool) -> list[Any]:
    """The first that are due, no more than their arguments allow; at least one."""
    found: list[Any] = []
    size = 0
    for priority in PRIORITIES:
        values = {"priority": priority, "most": most - len(found), "innocent": innocent}
        for row in await connection.execute(LOOK, {**lane, **values}):
            size += row.size
            if found and size > MOST_BYTES:
                return found
            found.append(row)
        if len(found) == most:
            break
    return found


async def _may_suspect(connection: AsyncConnection, lane: Row) -> bool:
    """Whether no other load of suspects is under way in this lane, nor begins now."""
    if not await connection.scalar(SUSPECTS_LOCK, lane):
        return False
    return not await connection.scalar(SUSPECTS_RUN, lane)
