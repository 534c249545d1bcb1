"""What a vendor tells of many mails at once. Each mail's row moves forward, and the counts of its
batch with it. Locks are taken in this order: mails, batches, batch_minutes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from models.engine import dumps

Row = dict[str, Any]

_DELIVERIES = ("processed", "deferred", "delivered", "bounced", "dropped")
_DEEDS = ("opened", "clicked", "complained", "unsubscribed")
# What is final outranks what is on the way; of two that are final the later one holds (a mail may
# come back after it was taken).
_RANK = """CASE {0} WHEN 'processed' THEN 1 WHEN 'deferred' THEN 2
                    WHEN 'delivered' THEN 3 WHEN 'bounced' THEN 3 WHEN 'dropped' THEN 3 END"""
_FIRST = ", ".join(f"min(r.at) FILTER (WHERE r.what = '{deed}') AS {deed}_at" for deed in _DEEDS)
_BEFORE = ", ".join(f"m.{deed}_at AS {deed}_was" for deed in _DEEDS)
_EARLIEST = ", ".join(f"{deed}_at = least(m.{deed}_at, l.{deed}_at)" for deed in _DEEDS)
_MOVES = ", ".join(
    [
        f"count(*) FILTER (WHERE moves AND delivery = '{one}')"
        f" - count(*) FILTER (WHERE moves AND was = '{one}') AS {one}"
        for one in _DELIVERIES
    ]
    + [
        f"count(*) FILTER (WHERE {deed}_was IS NULL AND {deed}_at IS NOT NULL) AS {deed}"
        for deed in _DEEDS
    ]
)
_COUNTS = ", ".join(f"{one} = b.{one} + s.{one}" for one in (*_DELIVERIES, *_DEEDS))
HEAR = text(f"""
WITH r AS (
  SELECT g.*, {_RANK.format("g.what")} AS rank
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
      AS g(email uuid, vendor text, what text, at timestamptz, reason text)
), folded AS (
  SELECT r.email AS id, r.vendor,
         (array_agg(r.what ORDER BY r.rank DESC, r.at DESC) FILTER (WHERE r.rank > 0))[1]
           AS delivery,
         (array_agg(r.at ORDER BY r.rank DESC, r.at DESC) FILTER (WHERE r.rank > 0))[1]
           AS delivery_at,
         (array_agg(r.reason ORDER BY r.rank DESC, r.at DESC) FILTER (WHERE r.rank > 0))[1]
           AS delivery_reason,
         {_FIRST}
    FROM r GROUP BY r.email, r.vendor
), locked AS (
  SELECT f.*, m.batch_id, m.delivery AS was, {_BEFORE},
         f.delivery IS NOT NULL AND
           ({_RANK.format("f.delivery")}, f.delivery_at) >
           (coalesce({_RANK.format("m.delivery")}, 0), coalesce(m.delivery_at, '-infinity'))
           AS moves
    FROM ferryman.mails m JOIN folded f ON f.id = m.id AND f.vendor = m.vendor
   ORDER BY m.id FOR UPDATE OF m
), moved AS (
  UPDATE ferryman.mails m
     SET delivery = CASE WHEN l.moves THEN l.delivery ELSE m.delivery END,
         delivery_at = CASE WHEN l.moves THEN l.delivery_at ELSE m.delivery_at END,
         delivery_reason = CASE WHEN l.moves THEN l.delivery_reason ELSE m.delivery_reason END,
         {_EARLIEST}
    FROM locked l WHERE m.id = l.id
), sums AS (
  SELECT batch_id, {_MOVES} FROM locked WHERE batch_id IS NOT NULL GROUP BY batch_id
), minutes AS (
  INSERT INTO ferryman.batch_minutes AS k (batch_id, minute, delivered, bounced, complained)
  SELECT batch_id, date_trunc('minute', now()), greatest(delivered, 0), greatest(bounced, 0),
         complained
    FROM sums WHERE delivered > 0 OR bounced > 0 OR complained > 0 ORDER BY batch_id
      ON CONFLICT (batch_id, minute) DO UPDATE
     SET delivered = k.delivered + excluded.delivered, bounced = k.bounced + excluded.bounced,
         complained = k.complained + excluded.complained
), ordered AS (
  SELECT b.id FROM ferryman.batches b WHERE b.id IN (SELECT batch_id FROM sums)
   ORDER BY b.id FOR UPDATE
), counted AS (
  UPDATE ferryman.batches b SET {_COUNTS}
    FROM sums s JOIN ordered o ON o.id = s.batch_id WHERE b.id = s.batch_id
)
SELECT batch_id FROM sums WHERE bounced > 0 OR complained > 0
""")

# By the address that we sent to, not by the one in the event.
TO_SUPPRESS = text("""
SELECT r.reason, r.source, lower(m.recipient) AS address
  FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(email uuid, reason text, source text)
  JOIN ferryman.mails m ON m.id = r.email AND m.vendor = r.source
""")

# An event proves that its job's request was accepted. What it names was written by whoever sent
# the mail, and so may be anything.
UNSETTLED = text("""
SELECT id, kind, vendor, args, status FROM ferryman.jobs
 WHERE id = ANY(CAST(:ids AS uuid[])) AND status <> 'succeeded'
   AND kind IN ('send_email', 'bulk_email_part')
""")


async def hear(connection: AsyncConnection, rows: Sequence[Row]) -> list[UUID]:
    """Move mails by what was told: `{"email", "vendor", "what", "at", "reason"}`. Returns the
    batches of which some mails bounced or were complained about."""
    return list((await connection.execute(HEAR, {"rows": dumps(rows)})).scalars())


async def to_suppress(connection: AsyncConnection, rows: Sequence[Row]) -> list[Row]:
    """The suppressions that follow from `{"email", "reason", "source"}`."""
    found = (await connection.execute(TO_SUPPRESS, {"rows": dumps(rows)})).mappings()
    return [{"channel": "email", **row} for row in found]


async def unsettled(connection: AsyncConnection, ids: Sequence[UUID]) -> list[Row]:
    """Those of these jobs of mails that have not succeeded."""
    return [
        dict(row) for row in (await connection.execute(UNSETTLED, {"ids": list(ids)})).mappings()
    ]
