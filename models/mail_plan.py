"""Planning a batch: its mails by COPY, those that are set aside, and the jobs that send the rest.

All in one transaction, so that a batch is planned whole or not at all. Locks are taken in this
order: jobs, batches, and then rows that nobody else can see yet.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from models.engine import dumps

Row = dict[str, Any]

COPY = """
COPY ferryman.mails (id, job_id, batch_id, vendor, place, recipient, data, status, reason)
FROM STDIN
"""

# The job is locked with it: one that a rescuer has ended in the meantime plans nothing any more.
UNPLANNED = text("""
SELECT b.status FROM ferryman.jobs j JOIN ferryman.batches b ON b.job_id = j.id
 WHERE j.id = :batch AND j.status = 'running' AND b.planned_at IS NULL
   FOR SHARE OF j FOR UPDATE OF b
""")

# In the memory that this takes a million addresses are sorted; more go by way of the disk.
SORT_MEMORY = text("SET LOCAL work_mem = '128MB'")
# A table of its own, since a plan for the update must not depend on how many those are.
FIND_ASIDE = text("""
CREATE TEMPORARY TABLE ferryman_aside ON COMMIT DROP AS
SELECT f.id, f.job_id, CASE WHEN f.nth > 1 THEN 'duplicate' ELSE 'suppressed' END AS status,
       CASE WHEN f.nth > 1 THEN 'to: it stands in the list already'
            ELSE 'to: is suppressed (' || s.reason || ')' END AS reason
  FROM (SELECT m.id, m.job_id, lower(m.recipient) COLLATE "C" AS address,
               row_number() OVER (PARTITION BY lower(m.recipient) COLLATE "C"
                                  ORDER BY m.place) AS nth
          FROM ferryman.mails m
         WHERE m.id BETWEEN :first AND :last AND m.batch_id = :batch AND m.status IS NULL) AS f
  LEFT JOIN ferryman.suppressions s ON s.channel = 'email' AND s.address = f.address
 WHERE f.nth > 1 OR s.address IS NOT NULL
""")
SET_ASIDE_FOUND = text("""
UPDATE ferryman.mails m SET status = a.status, reason = a.reason
  FROM ferryman_aside a WHERE m.id = a.id
""")
COUNT_ASIDE = text("""
SELECT job_id, count(*) AS n, count(*) FILTER (WHERE status = 'duplicate') AS duplicate
  FROM ferryman_aside GROUP BY job_id
""")

# Children of a paused batch are due when it is resumed; of one that was cancelled meanwhile there
# are none. A constant payload, told once a transaction, as in ferryman.enqueue().
PLAN_PARTS = text("""
WITH given AS (
  SELECT r.id, r.part, r.size, CASE WHEN :paused THEN timestamptz '9000-01-01'
         ELSE now() + make_interval(secs => r.seconds) END AS run_at
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
      AS r(id uuid, part int, size int, seconds float8)
), parts AS (
  INSERT INTO ferryman.parts (job_id, batch_id, part, size, status, ended_at)
  SELECT id, :batch, part, size, CASE WHEN :cancelled THEN 'cancelled' ELSE 'waiting' END,
         CASE WHEN :cancelled THEN now() END
    FROM given
), jobs AS (
  INSERT INTO ferryman.jobs
         (id, kind, vendor, args, priority, run_at, due_at, expires_at, batch_id)
  SELECT g.id, 'bulk_email_part', b.vendor, jsonb_build_object('batch', b.id, 'part', g.part),
         'low', g.run_at, g.run_at, b.expires_at, b.id
    FROM ferryman.jobs b, given g WHERE b.id = :batch AND NOT :cancelled
  RETURNING id
)
SELECT pg_notify('ferryman', '') FROM (SELECT count(*) FROM jobs) AS all_of_them
 WHERE current_setting('ferryman.notify', true) IS DISTINCT FROM 'off'
""")

PLANNED = text("""
UPDATE ferryman.batches
   SET letter = CAST(:letter AS jsonb), planned_at = clock_timestamp(), total = :total,
       invalid = :invalid, duplicate = :duplicate, suppressed = :suppressed,
       per_minute = :per_minute,
       max_bounce_rate = :max_bounce_rate, max_complaint_rate = :max_complaint_rate
 WHERE id = :batch
""")

BATCH = text("SELECT ferryman.batch(:batch)")


@dataclass(frozen=True)
class Part:
    """One request's worth of recipients; `id` is that of its job."""

    id: UUID
    part: int
    size: int


@dataclass(frozen=True)
class Plan:
    """A batch whose mails are copied: what they have in common, who was invalid, the parts.

    `first`, `last`: the lowest and the highest id of its mails. `per_minute` and the rates as in
    the request.
    """

    batch: UUID
    letter: Row
    invalid: int
    parts: Sequence[Part]
    first: UUID
    last: UUID
    per_minute: int | None
    max_bounce_rate: float
    max_complaint_rate: float


async def copy(connection: AsyncConnection, lines: AsyncIterator[bytes]) -> None:
    """Store the mails of a batch: lines as COPY takes them, in pieces."""
    driver: Any = (await connection.get_raw_connection()).driver_connection
    async with driver.cursor() as cursor, cursor.copy(COPY) as into:
        async for piece in lines:
            await into.write(piece)


async def plan(connection: AsyncConnection, made: Plan) -> Row | None:
    """Set duplicates and suppressed ones aside, and store the jobs that send the others. Returns
    the batch as it is now; None where it was planned before, and what was copied is too much."""
    batch = {"batch": made.batch}
    status = await connection.scalar(UNPLANNED, batch)
    if status is None:
        return None
    await connection.execute(SORT_MEMORY)
    await connection.execute(FIND_ASIDE, {**batch, "first": made.first, "last": made.last})
    await connection.execute(SET_ASIDE_FOUND)
    aside = {row.job_id: row for row in await connection.execute(COUNT_ASIDE)}
    parts = _less(made, {job: row.n for job, row in aside.items()})
    if parts:
        stopped = {"paused": status == "paused", "cancelled": status == "cancelled"}
        await connection.execute(PLAN_PARTS, {**batch, **stopped, "rows": dumps(parts)})
    duplicate = sum(row.duplicate for row in aside.values())
    counts = {
        "total": made.invalid + sum(part.size for part in made.parts),
        "invalid": made.invalid,
        "duplicate": duplicate,
        "suppressed": sum(row.n for row in aside.values()) - duplicate,
    }
    limits = ("per_minute", "max_bounce_rate", "max_complaint_rate")
    limited = {name: getattr(made, name) for name in limits}
    letter = {"letter": dumps(made.letter)}
    await connection.execute(PLANNED, {**batch, **letter, **counts, **limited})
    return await shown(connection, made.batch)


def _less(made: Plan, aside: dict[UUID, int]) -> list[Row]:
    """The parts in which somebody is left, one behind the other where there is a rate."""
    parts: list[Row] = []
    before = 0
    for part in made.parts:
        if size := part.size - aside.get(part.id, 0):
            seconds = 60.0 * before / made.per_minute if made.per_minute else 0.0
            row = {"id": part.id, "part": len(parts) + 1, "size": size, "seconds": seconds}
            parts.append(row)
            before += size
    return parts


async def shown(connection: AsyncConnection, batch: UUID) -> Row:
    """The batch as the API shows it."""
    now: Row = await connection.scalar(BATCH, {"batch": batch})
    return now
