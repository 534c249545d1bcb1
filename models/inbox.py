"""Stored events, on their way into the ledger: taken in batches, each read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from models.engine import dumps

Row = dict[str, Any]

# What a worker that dies has taken is due again after so long.
LEASE_SECONDS = 10.0

# Of each vendor what is due first, so that a million mails' events keep no payment's waiting;
# several workers take different ones.
TAKE = text("""
UPDATE ferryman.events e
   SET due_at = now() + make_interval(secs => :seconds), tries = tries + 1
 WHERE id = ANY(ARRAY(
         SELECT d.id FROM unnest(CAST(:vendors AS text[])) AS v(vendor)
          CROSS JOIN LATERAL (
            SELECT id FROM ferryman.events WHERE vendor = v.vendor AND due_at <= now()
             ORDER BY due_at LIMIT :most FOR UPDATE SKIP LOCKED) AS d))
RETURNING id, vendor, event_id, type, at, payload, tries,
          extract(epoch FROM now() - received_at)::float8 AS age_seconds
""")

HANDLED = text("""
UPDATE ferryman.events e SET due_at = NULL, handled_at = now(), outcome = r.outcome
  FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id uuid, outcome text) WHERE e.id = r.id
""")

LATER = text("""
UPDATE ferryman.events SET due_at = now() + make_interval(secs => :seconds), outcome = :outcome
 WHERE id = :id
""")

POLLED_UNTIL = text("""
SELECT polled_until FROM ferryman.vendor_states WHERE vendor = :vendor AND account = 'default'
""")

# Only by a look that leaves no gap behind it.
POLLED = text("""
UPDATE ferryman.vendor_states SET polled_until = greatest(polled_until, :until)
 WHERE vendor = :vendor AND account = 'default'
   AND coalesce(polled_until, CAST(:first AS timestamptz)) >= :since
""")


@dataclass(frozen=True)
class Taken:
    """A stored event that is to be read now, for the `tries`-th time, so long after it came."""

    id: UUID
    vendor: str
    event_id: str
    type: str
    at: datetime
    payload: Row
    tries: int
    age_seconds: float


async def take(connection: AsyncConnection, vendors: Sequence[str], most: int) -> list[Taken]:
    """Events that are due, `most` of each vendor; the earliest by the vendor's time first."""
    values = {"vendors": list(vendors), "most": most, "seconds": LEASE_SECONDS}
    found = await connection.execute(TAKE, values)
    return sorted((Taken(**row) for row in found.mappings()), key=lambda one: one.at)


async def handled(connection: AsyncConnection, outcomes: dict[UUID, str]) -> None:
    """These events are in the ledger; in words, what came of each."""
    rows = [{"id": event, "outcome": outcome} for event, outcome in outcomes.items()]
    await connection.execute(HANDLED, {"rows": dumps(rows)})


async def later(connection: AsyncConnection, id: UUID, seconds: float, outcome: str) -> None:
    """An event that cannot be read now."""
    await connection.execute(LATER, {"id": id, "seconds": seconds, "outcome": outcome})


async def polled_until(connection: AsyncConnection, vendor: str) -> datetime | None:
    """Up to when the vendor's own list of events was read."""
    found: datetime | None = await connection.scalar(POLLED_UNTIL, {"vendor": vendor})
    return found


async def polled(
    connection: AsyncConnection, vendor: str, *, first: datetime, since: datetime, until: datetime
) -> None:
    """The vendor's own list was read between two times; the very first look is to reach back to
    `first`."""
    values = {"vendor": vendor, "first": first, "since": since, "until": until}
    await connection.execute(POLLED, values)
