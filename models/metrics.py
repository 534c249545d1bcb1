"""The figures of `/metrics`: how many jobs, how long the oldest waits, what attempts came to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from models.tables import RIDE, RIDING

Row = dict[str, Any]

# Those that change and are watched, apart from those that only grow in number.
OPEN = ("waiting", "running", "unknown", "failed")
ENDED = ("succeeded", "cancelled")

JOBS = text("""
SELECT status, kind, vendor, count(*) AS n
  FROM ferryman.jobs WHERE status IN :statuses GROUP BY status, kind, vendor
""").bindparams(bindparam("statuses", expanding=True))

# Through the relay's own indexes: their first entries, and the few that are published.
OLDEST = text(f"""
SELECT v.vendor, extract(epoch FROM now() - least(u.run_at, p.run_at, r.run_at))::float8 AS seconds
  FROM unnest(CAST(:vendors AS text[])) AS v(vendor)
 CROSS JOIN LATERAL (
       SELECT min(first.run_at) AS run_at
         FROM unnest(ARRAY['high', 'normal', 'low']::ferryman.priority[]) AS o(priority)
        CROSS JOIN LATERAL (
              SELECT j.run_at FROM ferryman.jobs j
               WHERE j.vendor = v.vendor AND j.priority = o.priority AND j.status = 'waiting'
                 AND j.published_at IS NULL AND NOT (j.{RIDE}) AND j.run_at <= now()
               ORDER BY j.run_at LIMIT 1) AS first) AS u
 CROSS JOIN LATERAL (
       SELECT min(first.run_at) AS run_at
         FROM unnest(enum_range(NULL::ferryman.priority)) AS o(priority)
        CROSS JOIN unnest(CAST(:riding AS text[])) AS k(kind)
        CROSS JOIN LATERAL (
              SELECT j.run_at FROM ferryman.jobs j
               WHERE j.vendor = v.vendor AND j.kind = k.kind AND j.{RIDE}
                 AND j.priority = o.priority AND j.status = 'waiting' AND j.run_at <= now()
               ORDER BY j.run_at LIMIT 1) AS first) AS r
 CROSS JOIN LATERAL (
       SELECT min(j.run_at) AS run_at FROM ferryman.jobs j
        WHERE j.vendor = v.vendor AND j.status = 'waiting' AND j.published_at IS NOT NULL
          AND j.run_at <= now()) AS p
""")

STATES = text("""
SELECT vendor, breaker,
       coalesce(CASE WHEN quota_reset_at > now() THEN quota_remaining END,
                CASE WHEN (daily_reset_at <= now()) IS NOT TRUE THEN daily_remaining END)
         AS quota_remaining
  FROM ferryman.vendor_states WHERE account = 'default'
""")

# Attempts are added some seconds after their end: the end's time is that of the beginning of its
# transaction, which may be committed a little later. Ten minutes at a time keep each step short,
# however long nobody has asked.
ADD_UP = text("""
WITH mark AS (
  SELECT at AS was, least(now() - interval '5 seconds', at + interval '10 minutes') AS becomes
    FROM ferryman.metric_mark
   WHERE name = 'attempts' AND at < now() - interval '15 seconds' FOR UPDATE SKIP LOCKED
), added AS (
  INSERT INTO ferryman.metric_totals AS t (metric, vendor, label, n, seconds)
  SELECT c.* FROM mark CROSS JOIN LATERAL ferryman.metric_counts(mark.was, mark.becomes) AS c
  ON CONFLICT ON CONSTRAINT metric_totals_pkey
     DO UPDATE SET n = t.n + excluded.n, seconds = t.seconds + excluded.seconds
)
UPDATE ferryman.metric_mark m SET at = mark.becomes FROM mark WHERE m.name = 'attempts'
RETURNING m.at < now() - interval '15 seconds' AS behind
""")

# One statement, so one snapshot: what is in the totals and what is not yet are told apart.
TOTALS = text("""
SELECT metric, vendor, label, sum(n)::bigint AS n, sum(seconds)::float8 AS seconds
  FROM (SELECT metric, vendor, label, n, seconds FROM ferryman.metric_totals
        UNION ALL
        SELECT c.* FROM ferryman.metric_mark m
         CROSS JOIN LATERAL ferryman.metric_counts(m.at, now()) AS c
         WHERE m.name = 'attempts' AND m.at > now() - interval '10 minutes') AS all_of_them
 GROUP BY metric, vendor, label ORDER BY metric, vendor, label
""")


async def jobs(connection: AsyncConnection, statuses: Sequence[str]) -> list[Row]:
    """`status, kind, vendor, n` for all jobs of these statuses."""
    rows = await connection.execute(JOBS, {"statuses": list(statuses)})
    return [dict(row) for row in rows.mappings()]


async def oldest(connection: AsyncConnection, vendors: Sequence[str]) -> dict[str, float]:
    """By vendor: for how many seconds its oldest due job has waited; 0 where none waits."""
    values = {"vendors": list(vendors), "riding": list(RIDING)}
    rows = await connection.execute(OLDEST, values)
    return {row.vendor: row.seconds or 0.0 for row in rows}


async def states(connection: AsyncConnection) -> dict[str, Row]:
    """By vendor: `breaker`, and `quota_remaining` where the vendor's headers told it."""
    rows = (await connection.execute(STATES)).mappings()
    return {row["vendor"]: dict(row) for row in rows}


async def add_up(connection: AsyncConnection) -> bool:
    """Add ended attempts to the totals. True: there are more to add."""
    return bool(await connection.scalar(ADD_UP))


async def totals(connection: AsyncConnection) -> list[Row]:
    """`metric, vendor, label, n, seconds`: attempts by outcome, calls by class of latency."""
    rows = (await connection.execute(TOTALS)).mappings()
    return [dict(row) for row in rows]
