"""What is told of users, in its order: who waits for a repeat is not overtaken."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from models.tables import RIDE

# Those that were in a load, and go again soon. One priority at a time: so the index leads to them
# past all that are due.
BEFORE = text(f"""
SELECT DISTINCT ON (j.who) j.who, j.created_at, j.seconds
  FROM unnest(enum_range(NULL::ferryman.priority)) AS p(priority)
 CROSS JOIN LATERAL (
       SELECT args ->> 'user' AS who, created_at,
              extract(epoch FROM run_at - now())::float8 AS seconds
         FROM ferryman.jobs
        WHERE vendor = :vendor AND kind = 'identify_user' AND {RIDE} AND status = 'waiting'
          AND priority = p.priority AND run_at > now() AND run_at < now() + interval '1 day'
          AND fence > 0 AND args ->> 'user' = ANY(CAST(:users AS text[]))) AS j
 ORDER BY j.who, j.created_at
""")


@dataclass(frozen=True)
class Before:
    """The first job of a user that goes again after so many seconds."""

    created_at: datetime
    seconds: float


async def before(
    connection: AsyncConnection, vendor: str, users: Collection[str]
) -> dict[str, Before]:
    """Of which of these users something waits for its repeat."""
    found = await connection.execute(BEFORE, {"vendor": vendor, "users": list(users)})
    return {row.who: Before(row.created_at, row.seconds) for row in found}
