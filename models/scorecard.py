"""How each vendor does: its breaker, what waits for it, its answers of the last hour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from models.tables import LOADS

Row = dict[str, Any]

MOST_CHANGES = 20

STATES = text("""
SELECT vendor, breaker, failures, opened_at, probe_at, paused_at, paused_by, pause_note,
       quota_limit, quota_remaining, quota_reset_at, daily_limit,
       CASE WHEN daily_reset_at <= now() THEN NULL ELSE daily_remaining END AS daily_remaining,
       CASE WHEN daily_reset_at > now() THEN daily_reset_at END AS daily_resets_at,
       CASE WHEN cooldown_until > now() THEN cooldown_until END AS cooldown_until
  FROM ferryman.vendor_states WHERE account = 'default'
""")

# A load is not what anybody waits for: its riders are. In flight is the load, not each of them.
QUEUES = text(f"""
SELECT vendor,
       count(*) FILTER (WHERE status = 'waiting' AND NOT {LOADS}) AS waiting,
       count(*) FILTER (WHERE status = 'running' AND worker_id IS NOT NULL) AS in_flight,
       count(*) FILTER (WHERE status = 'unknown') AS unknown,
       min(run_at) FILTER (WHERE status = 'waiting' AND run_at <= now()) AS oldest_due_at
  FROM ferryman.jobs WHERE status IN ('waiting', 'running', 'unknown') GROUP BY vendor
""")

# The ids of interactions are UUIDv7: the hour is found by the primary key, however many there are.
# Workers' clocks made them, so an hour's margin is left and `at` decides.
CALLS = text("""
SELECT vendor, count(*) AS calls,
       count(*) FILTER (WHERE status_code IS NULL OR status_code >= 500) AS errors,
       count(*) FILTER (WHERE status_code = 429) AS throttled,
       percentile_disc(0.5) WITHIN GROUP (ORDER BY latency_ms) AS latency_p50_ms,
       percentile_disc(0.95) WITHIN GROUP (ORDER BY latency_ms) AS latency_p95_ms
  FROM ferryman.interactions
 WHERE id >= (lpad(to_hex((extract(epoch FROM now() - interval '2 hours') * 1000)::bigint),
                   12, '0') || repeat('0', 20))::uuid
   AND at > now() - interval '1 hour'
 GROUP BY vendor
""")

CHANGES = text("""
SELECT vendor, at, state
  FROM (SELECT *, row_number() OVER (PARTITION BY vendor ORDER BY id DESC) AS nth
          FROM ferryman.breaker_changes WHERE account = 'default') AS c
 WHERE nth <= :most ORDER BY id
""")

# A vendor that nobody has called yet has no row.
NEW: Row = {"breaker": "closed", "failures": 0} | dict.fromkeys(
    (
        *("opened_at", "probe_at", "cooldown_until", "paused_at", "paused_by", "pause_note"),
        *("quota_limit", "quota_remaining", "quota_reset_at"),
        *("daily_limit", "daily_remaining", "daily_resets_at"),
    )
)
EMPTY: Row = {"waiting": 0, "in_flight": 0, "unknown": 0, "oldest_due_at": None}
SILENT: Row = {"calls": 0, "errors": 0, "throttled": 0} | dict.fromkeys(
    ("latency_p50_ms", "latency_p95_ms")
)


async def read(connection: AsyncConnection, vendors: Sequence[str]) -> dict[str, Row]:
    """By vendor: `state`, `queue`, `calls` (of the last hour) and `changes` of its breaker."""
    states = await _by_vendor(connection, STATES)
    queues = await _by_vendor(connection, QUEUES)
    calls = await _by_vendor(connection, CALLS)
    changes = (await connection.execute(CHANGES, {"most": MOST_CHANGES})).mappings().all()
    return {
        vendor: {
            "state": NEW | states.get(vendor, {}),
            "queue": EMPTY | queues.get(vendor, {}),
            "calls": SILENT | calls.get(vendor, {}),
            "changes": [dict(row) for row in changes if row["vendor"] == vendor],
        }
        for vendor in vendors
    }


async def _by_vendor(connection: AsyncConnection, statement: Any) -> dict[str, Row]:
    rows = (await connection.execute(statement)).mappings()
    return {row["vendor"]: dict(row) for row in rows}
