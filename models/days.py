"""A vendor's limit of a day, apart from those of a second or a minute: what is left of it, and that
nothing is, until when nobody calls."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from models.vendors import STATE_COLUMNS, State

# An answer to an earlier request, which comes when the limit is reached already, is no news.
LEFT = text("""
UPDATE ferryman.vendor_states
   SET daily_limit = coalesce(:limit, daily_limit), daily_remaining = :remaining,
       daily_reset_at = now() + make_interval(secs => :reset_seconds)
 WHERE vendor = :vendor AND account = 'default'
   AND (cooldown_until > now() AND daily_remaining = 0 AND daily_reset_at > now()) IS NOT TRUE
""")

# To the second: by a clock that is a little late, midnight would be 23:59.
REACHED = text(f"""
WITH changed AS (
  UPDATE ferryman.vendor_states
     SET cooldown_until = greatest(cooldown_until, now() + make_interval(secs => :seconds)),
         daily_remaining = 0,
         daily_reset_at = date_trunc('second', now() + make_interval(secs => :seconds + 0.5))
   WHERE vendor = :vendor AND account = 'default'
  RETURNING *
)
SELECT {STATE_COLUMNS} FROM changed
""")

# What waits for it has nothing of its own to wait for.
OVER = text("""
UPDATE ferryman.vendor_states
   SET cooldown_until = NULL, daily_remaining = NULL, daily_reset_at = NULL
 WHERE vendor = :vendor AND account = 'default'
   AND cooldown_until > now() AND daily_remaining = 0 AND daily_reset_at > now()
""")


async def left(
    connection: AsyncConnection,
    vendor: str,
    *,
    limit: int | None,
    remaining: int,
    reset_seconds: float | None,
) -> None:
    """Keep what the vendor says is left of its day, for people to see. `reset_seconds`: until the
    day ends, where that is known."""
    values = {"limit": limit, "remaining": remaining, "reset_seconds": reset_seconds}
    await connection.execute(LEFT, {"vendor": vendor, **values})


async def reached(connection: AsyncConnection, vendor: str, seconds: float) -> State | None:
    """Nobody calls this vendor for so long, and the jobs that wait say why."""
    found = await connection.execute(REACHED, {"vendor": vendor, "seconds": seconds})
    row = found.mappings().one_or_none()
    return State(**row) if row else None


async def over(connection: AsyncConnection, vendor: str) -> None:
    """A person knows that the vendor takes requests again: go on before the day ends."""
    await connection.execute(OVER, {"vendor": vendor})
