"""What all workers share about a vendor: breaker, cool-down, pause. PostgreSQL decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

Row = dict[str, Any]


@dataclass(frozen=True)
class State:
    """A vendor's row, with the times told as seconds from now (0: not, or over)."""

    vendor: str
    breaker: str = "closed"
    failures: int = 0
    generation: int = 0
    probe_in: float = 0.0
    probing_for: float = 0.0
    cool_for: float = 0.0
    paused: bool = False
    pause_note: str | None = None
    pause_fingerprint: str | None = None
    unavailable_since: str | None = None
    next_probe: str | None = None
    draining: bool = False
    workers: int = 1
    day_ends: str | None = None  # of the day whose limit is reached: `00:00` in UTC

    def pauses(self, fingerprint: str) -> bool:
        """Whether who holds these credentials is paused: a person's pause binds everybody."""
        return self.paused and self.pause_fingerprint in (None, fingerprint)


STATE_COLUMNS = """
  vendor, breaker, failures, generation,
  greatest(0, coalesce(extract(epoch FROM probe_at - now()), 0))::float8 AS probe_in,
  greatest(0, coalesce(extract(epoch FROM probe_until - now()), 0))::float8 AS probing_for,
  greatest(0, coalesce(extract(epoch FROM cooldown_until - now()), 0))::float8 AS cool_for,
  paused_at IS NOT NULL AS paused, pause_note, pause_fingerprint,
  to_char(opened_at AT TIME ZONE 'UTC', 'HH24:MI:SS') AS unavailable_since,
  to_char(probe_at AT TIME ZONE 'UTC', 'HH24:MI:SS') AS next_probe, draining,
  (SELECT greatest(1, count(*)) FROM ferryman.workers WHERE lease_until > now()) AS workers,
  CASE WHEN cooldown_until > now() AND daily_remaining = 0 AND daily_reset_at > now()
       THEN to_char(daily_reset_at AT TIME ZONE 'UTC', 'HH24:MI') END AS day_ends
"""

ENSURE = text(
    "INSERT INTO ferryman.vendor_states (vendor) SELECT unnest(CAST(:vendors AS text[]))"
    " ON CONFLICT DO NOTHING"
)

STATES = text(f"SELECT {STATE_COLUMNS} FROM ferryman.vendor_states WHERE account = 'default'")

# A late outcome of an earlier period names an older generation and changes nothing. Between a
# probe's success and the end of the drain one failure is enough.
FAILED = text(f"""
WITH judged AS (
  SELECT vendor, account,
         breaker = 'half-open' OR draining OR failures + 1 >= :fail_max AS opens
    FROM ferryman.vendor_states
   WHERE vendor = :vendor AND account = 'default' AND generation = :generation
     AND breaker <> 'open'
     FOR UPDATE
), changed AS (
  UPDATE ferryman.vendor_states s
     SET failures = failures + 1, probe_until = NULL,
         breaker = CASE WHEN opens THEN 'open' ELSE breaker END,
         generation = generation + opens::int, draining = draining AND NOT opens,
         opened_at = CASE WHEN opens AND breaker = 'closed' THEN now() ELSE opened_at END,
         probe_at = CASE WHEN opens THEN now() + make_interval(secs => :reset_seconds)
                         ELSE probe_at END
    FROM judged j WHERE s.vendor = j.vendor AND s.account = j.account
  RETURNING s.*
), told AS (
  INSERT INTO ferryman.breaker_changes (vendor, state)
  SELECT vendor, breaker FROM changed WHERE breaker = 'open'
)
SELECT {STATE_COLUMNS} FROM changed
""")

# A probe may outlive its permit (a large sync): its success then still shows the vendor to be well.
SUCCEEDED = text(f"""
WITH changed AS (
  UPDATE ferryman.vendor_states
     SET failures = 0, breaker = 'closed', generation = generation + (breaker <> 'closed')::int,
         draining = draining OR breaker <> 'closed',
         opened_at = NULL, probe_at = NULL, probe_until = NULL
   WHERE vendor = :vendor AND account = 'default'
     AND ((generation = :generation AND breaker <> 'open') OR (:probe AND breaker = 'half-open'))
  RETURNING *
), told AS (
  INSERT INTO ferryman.breaker_changes (vendor, state)
  SELECT vendor, 'closed' FROM changed WHERE :probe
)
SELECT {STATE_COLUMNS} FROM changed
""")

# One permit in the whole cluster; it has a lifetime, since its holder may die.
PROBE = text(f"""
WITH changed AS (
  UPDATE ferryman.vendor_states
     SET breaker = 'half-open', generation = generation + 1,
         probe_until = now() + make_interval(secs => :lifetime)
   WHERE vendor = :vendor AND account = 'default'
     AND ((breaker = 'open' AND probe_at <= now())
          OR (breaker = 'half-open' AND coalesce(probe_until, now()) <= now()))
  RETURNING *
), told AS (
  INSERT INTO ferryman.breaker_changes (vendor, state) SELECT vendor, 'half-open' FROM changed
)
SELECT {STATE_COLUMNS} FROM changed
""")

DRAINED = text(f"""
WITH changed AS (
  UPDATE ferryman.vendor_states SET draining = false
   WHERE vendor = :vendor AND account = 'default' AND generation = :generation AND draining
  RETURNING *
)
SELECT {STATE_COLUMNS} FROM changed
""")

RELEASE = text("""
UPDATE ferryman.vendor_states SET probe_until = NULL
 WHERE vendor = :vendor AND account = 'default' AND generation = :generation
""")

COOL_DOWN = text(f"""
WITH changed AS (
  UPDATE ferryman.vendor_states
     SET cooldown_until = greatest(cooldown_until, now() + make_interval(secs => :seconds))
   WHERE vendor = :vendor AND account = 'default'
  RETURNING *
)
SELECT {STATE_COLUMNS} FROM changed
""")

QUOTA = text("""
UPDATE ferryman.vendor_states
   SET quota_limit = :limit, quota_remaining = :remaining,
       quota_reset_at = now() + make_interval(secs => :reset_seconds)
 WHERE vendor = :vendor AND account = 'default'
""")

PAUSE = text(f"""
WITH changed AS (
  UPDATE ferryman.vendor_states
     SET paused_at = now(), paused_by = :who, pause_note = :note, pause_fingerprint = :fingerprint
   WHERE vendor = :vendor AND account = 'default'
     AND (paused_at IS NULL OR pause_fingerprint IS NOT NULL)
  RETURNING *
)
SELECT {STATE_COLUMNS} FROM changed
""")

RESUME = text("""
UPDATE ferryman.vendor_states
   SET paused_at = NULL, paused_by = NULL, pause_note = NULL, pause_fingerprint = NULL
 WHERE vendor = :vendor AND account = 'default'
""")


async def ensure(connection: AsyncConnection, vendors: Sequence[str]) -> None:
    """A row for each vendor."""
    await connection.execute(ENSURE, {"vendors": list(vendors)})


async def states(connection: AsyncConnection) -> dict[str, State]:
    rows = (await connection.execute(STATES)).mappings()
    return {row["vendor"]: State(**row) for row in rows}


async def failed(
    connection: AsyncConnection,
    vendor: str,
    generation: int,
    *,
    fail_max: int,
    reset_seconds: float,
) -> State | None:
    """Count a failure; opens the breaker at `fail_max`, or at once when half-open or draining.
    None: of an earlier period, it changed nothing."""
    values = {"fail_max": fail_max, "reset_seconds": reset_seconds}
    return await _changed(connection, FAILED, vendor, generation=generation, **values)


async def succeeded(
    connection: AsyncConnection, vendor: str, generation: int, *, probe: bool
) -> State | None:
    """Forget the failures; closes a half-open breaker, whose drain begins."""
    return await _changed(connection, SUCCEEDED, vendor, generation=generation, probe=probe)


async def drained(connection: AsyncConnection, vendor: str, generation: int) -> State | None:
    """End the drain for all processes."""
    return await _changed(connection, DRAINED, vendor, generation=generation)


async def probe(connection: AsyncConnection, vendor: str, *, lifetime: float) -> State | None:
    """Take the one permit of a breaker that is due for a probe. None: somebody else has it."""
    return await _changed(connection, PROBE, vendor, lifetime=lifetime)


async def release(connection: AsyncConnection, vendor: str, generation: int) -> None:
    """Give a probe's permit back unused."""
    await connection.execute(RELEASE, {"vendor": vendor, "generation": generation})


async def cool_down(connection: AsyncConnection, vendor: str, seconds: float) -> State | None:
    """Nobody calls this vendor for so long."""
    return await _changed(connection, COOL_DOWN, vendor, seconds=seconds)


async def quota(
    connection: AsyncConnection,
    vendor: str,
    *,
    limit: int | None,
    remaining: int,
    reset_seconds: float | None,
) -> None:
    """Keep what the vendor says is left, for people to see."""
    values = {"limit": limit, "remaining": remaining, "reset_seconds": reset_seconds}
    await connection.execute(QUOTA, {"vendor": vendor, **values})


async def pause(
    connection: AsyncConnection, vendor: str, *, who: str, note: str, fingerprint: str | None
) -> State | None:
    """Stop calling a vendor: everybody, or those with the credentials of that fingerprint. None:
    a person had paused it already."""
    return await _changed(connection, PAUSE, vendor, who=who, note=note, fingerprint=fingerprint)


async def resume(connection: AsyncConnection, vendor: str) -> None:
    await connection.execute(RESUME, {"vendor": vendor})


async def _changed(
    connection: AsyncConnection, statement: Any, vendor: str, **values: Any
) -> State | None:
    found = await connection.execute(statement, {"vendor": vendor, **values})
    row = found.mappings().one_or_none()
    return State(**row) if row else None
