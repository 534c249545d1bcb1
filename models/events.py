"""Events of the vendors: stored once, read into the ledger in batches."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from models.engine import driver_sql, dumps
from models.group import Connection

Row = dict[str, Any]

# A unique index holds what is shorter than some 2,700 bytes.
LONGEST = 255
# Beyond these, one time zone or another leaves what Python can read back.
FIRST_YEAR, LAST_YEAR = 1970, 9998

_log = logging.getLogger("ferryman.events")


@dataclass(frozen=True)
class Received:
    """A verified event. `id`: its row's, a new one each time; `event_id`: the vendor's."""

    id: UUID
    vendor: str
    event_id: str
    type: str
    at: datetime
    payload: Row
    via: str = "webhook"


@dataclass(frozen=True)
class Packed:
    """An event as it is written: checked, and as JSON."""

    id: UUID
    json: str


Delivery = Sequence[Packed]
"""What a vendor sent at once, and hears one answer about."""


class Unfit(ValueError):
    """An event that the ledger cannot keep. The message says why, and quotes nothing of it."""


# In order, so that two groups with the same events wait for each other, and never in a ring.
# Nearly always all are new: their ids need not be told.
STORE = text("""
WITH stored AS (
  INSERT INTO ferryman.events (id, vendor, event_id, type, at, payload, via)
  SELECT r.id, r.vendor, r.event_id, r.type, r.at, r.payload, r.via
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
      AS r(id uuid, vendor text, event_id text, type text, at timestamptz, payload jsonb, via text)
   ORDER BY r.vendor COLLATE "C", r.event_id COLLATE "C"
      ON CONFLICT (vendor, account, event_id) DO NOTHING
  RETURNING id
)
SELECT count(*) AS n, CASE WHEN count(*) < :total THEN array_agg(id) END AS ids FROM stored
""")
_STORE = driver_sql(STORE)


def pack(event: Received) -> Packed:
    """Make an event ready to be written. Raises Unfit."""
    if not 0 < len(event.event_id) <= LONGEST or len(event.type) > LONGEST:
        raise Unfit("its id or its type is missing or too long")
    if not FIRST_YEAR <= event.at.year <= LAST_YEAR:
        raise Unfit("its time is absurd")
    try:
        return Packed(event.id, dumps(event))
    except TypeError:
        # Half a surrogate pair, or a number without an end.
        raise Unfit("it holds what cannot be kept as JSON") from None


def size_of(delivery: Delivery) -> int:
    """About how many bytes it takes in a statement."""
    return sum(len(event.json) for event in delivery)


async def receive(connection: Connection, deliveries: Sequence[Delivery]) -> list[int]:
    """Store what vendors sent, in a group commit; for each, how many of its events are new."""
    found = await connection.execute(_STORE, _written([one for all_ in deliveries for one in all_]))
    row = await found.fetchone()
    assert row is not None
    if row["ids"] is None and row["n"]:
        return [len(delivery) for delivery in deliveries]
    new = set(row["ids"] or ())
    return [sum(event.id in new for event in delivery) for delivery in deliveries]


async def store(connection: AsyncConnection, events: Sequence[Received]) -> int:
    """Store events in the caller's transaction; how many are new. One that the ledger cannot keep
    is left out, and must not keep the others from being stored."""
    packed = []
    for event in events:
        try:
            packed.append(pack(event))
        except Unfit as error:
            _log.warning("an event of %s is left out: %s", event.vendor, error)
    return int((await connection.execute(STORE, _written(packed))).one().n)


def _written(events: Sequence[Packed]) -> Row:
    """The parameters of STORE."""
    return {"rows": f"[{','.join(event.json for event in events)}]", "total": len(events)}
