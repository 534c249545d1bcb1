"""Addresses that nothing is sent to: told by vendors' events, by their own lists, and by people.

An address is compared in lower case, as PostgreSQL writes it, here as well as where recipients are
looked up: two ways to write lower case would differ beyond ASCII.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from models.engine import dumps

Row = dict[str, Any]

CHANNELS = ("email", "sms")

# The strongest first. An `unsubscribe` lets a single mail through (a password, a receipt), so any
# other takes its place; a complaint is what a sender must be able to show.
STRENGTH = ("complaint", "bounce", "invalid", "manual", "unsubscribe")
_RANK = f"array_position(ARRAY[{', '.join(repr(one) for one in STRENGTH)}], {{}})"

# In the order of addresses, so that two that add the same do not lock each other out. The first to
# say the same thing stays: since when nothing is sent is what people ask.
ADD = text(f"""
WITH added AS (
  INSERT INTO ferryman.suppressions AS s (channel, address, reason, source, at)
  SELECT DISTINCT ON (channel, lower(address))
         channel, lower(address), reason, source, coalesce(at, now())
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
      AS r(channel text, address text, reason text, source text, at timestamptz)
   ORDER BY channel, lower(address), {_RANK.format("reason")}, at
      ON CONFLICT (channel, address) DO UPDATE
     SET reason = excluded.reason, source = excluded.source, at = excluded.at
   WHERE {_RANK.format("excluded.reason")} < {_RANK.format("s.reason")}
  RETURNING xmax = 0 AS new
)
SELECT count(*) FILTER (WHERE new) FROM added
""")

REMOVE = text("""
DELETE FROM ferryman.suppressions WHERE channel = :channel AND address = lower(:address)
""")

_COLUMNS = "SELECT channel, address, reason, source, at FROM ferryman.suppressions"

ONE = text(f"{_COLUMNS} WHERE channel = :channel AND address = lower(:address)")

PAGE = text(f"""
{_COLUMNS}
 WHERE channel = ANY(:channels)
   AND (CAST(:address AS text) IS NULL OR address = lower(:address))
   AND (CAST(:reason AS text) IS NULL OR reason = :reason)
   AND (CAST(:after_channel AS text) IS NULL
        OR (channel, address) > (:after_channel, :after_address))
 ORDER BY channel, address LIMIT :limit
""")


async def add(connection: AsyncConnection, rows: Sequence[Row]) -> int:
    """Send nothing to these any more; returns how many were not suppressed before.

    Each is `{"channel", "address", "reason", "source", "at"?}`: `channel` one of CHANNELS, the
    address an e-mail address or a number in E.164, `reason` one of STRENGTH. Of two reasons for one
    address the stronger stays. A call takes some thousands; it locks in the order of addresses, so
    one transaction makes one call.
    """
    if not rows:
        return 0
    new: int = await connection.scalar(ADD, {"rows": dumps(rows)})
    return new


async def remove(connection: AsyncConnection, channel: str, address: str) -> bool:
    """Send to this address again; whether it was suppressed."""
    removed = await connection.execute(REMOVE, {"channel": channel, "address": address})
    return removed.rowcount > 0


async def one(connection: AsyncConnection, channel: str, address: str) -> Row | None:
    """`{"channel", "address", "reason", "source", "at"}`, or None: it may be sent to."""
    found = await connection.execute(ONE, {"channel": channel, "address": address})
    row = found.mappings().one_or_none()
    return dict(row) if row else None


async def page(
    connection: AsyncConnection,
    *,
    channel: str | None,
    address: str | None,
    reason: str | None,
    after: tuple[str, str] | None,
    limit: int,
) -> list[Row]:
    """Those that meet all conditions, by channel and address; `after` is both of the last seen."""
    after_channel, after_address = after or (None, None)
    values = {
        "channels": [channel] if channel else list(CHANNELS),
        "address": address,
        "reason": reason,
        "after_channel": after_channel,
        "after_address": after_address,
        "limit": limit,
    }
    return [dict(row) for row in (await connection.execute(PAGE, values)).mappings()]
