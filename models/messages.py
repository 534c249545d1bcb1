"""Text messages: one row each, alone or out of a batch. Its id is that of its job; one that was set
aside when its batch was planned has no job, and moves no more.

Locks are taken in this order: jobs, messages, batches, suppressions.
"""

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

# What was sent stays so, whoever runs its job again.
SENDING = text("""
INSERT INTO ferryman.messages AS m
       (id, job_id, vendor, recipient, sender, body, segments, status)
VALUES (:id, :id, :vendor, :recipient, :sender, :body, :segments, 'sending')
    ON CONFLICT (id) DO UPDATE SET status = 'sending', reason = NULL, sender = excluded.sender
 WHERE m.status <> 'sent'
""")

# `stopped`: why nothing is sent to this number; `batch`: whether its batch goes on.
GATE = text("""
SELECT (SELECT s.reason FROM ferryman.suppressions s
         WHERE s.channel = 'sms' AND s.address = :recipient) AS stopped,
       (SELECT b.status FROM ferryman.batches b WHERE b.id = CAST(:batch AS uuid)) AS batch
""")

SENDER = text("SELECT sender FROM ferryman.messages WHERE id = :id")

WAITS_AGAIN = text("""
UPDATE ferryman.messages SET status = 'waiting', reason = NULL
 WHERE id = :id AND status IN ('sending', 'unknown')
""")

# One statement, so that it sees one moment: a message that gets its reference while we look must
# be seen as its owner, or as one under way. `left_at`: when its request left last.
EQUAL = text("""
SELECT m.id, m.status, m.vendor_reference,
       j.status = 'running' AND NOT j.looking AS under_way,
       s.left_at, s.doubtful
  FROM ferryman.messages m
  LEFT JOIN ferryman.jobs j ON j.id = m.id
 CROSS JOIN LATERAL (
         SELECT max(n.sent_at) AS left_at,
                coalesce(bool_or(n.answered_at IS NULL), false) AS doubtful
           FROM ferryman.sends n WHERE n.job_id = m.id) AS s
 WHERE m.id <> :id AND m.vendor = :vendor
   AND (m.vendor_reference = ANY(CAST(:references AS text[]))
        OR (m.recipient = :recipient AND m.body = :body AND m.vendor_reference IS NULL
            AND m.status IN ('sending', 'unknown', 'sent')))
 ORDER BY m.id
""")

# What has ended moves only when a person sends it again, or when it turns out to have been sent.
# Whom the vendor itself refuses to send to has told it so: that is kept for the next message.
WRITE_MESSAGES = text("""
WITH r AS (
  SELECT g.job_id, g.vendor_reference, g.sender, g.segments,
         j.error ->> 'code' = 'suppressed' AND j.error ->> 'type' = 'Refused' AS opted_out,
         CASE WHEN g.status = 'failed' AND j.error ->> 'code' = 'suppressed'
              THEN 'suppressed' ELSE g.status END AS status,
         CASE WHEN g.status NOT IN ('sent', 'waiting') THEN j.error ->> 'message' END AS reason
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
      AS g(job_id uuid, status text, vendor_reference text, sender text, segments bigint)
    JOIN ferryman.jobs j ON j.id = g.job_id
), locked AS (
  SELECT m.id FROM ferryman.messages m JOIN r ON r.job_id = m.id
   WHERE (r.status <> 'waiting' AND m.status IN ('waiting', 'sending', 'unknown'))
      OR (r.status IN ('waiting', 'sent')
          AND m.status IN ('failed', 'unknown', 'cancelled', 'suppressed'))
   ORDER BY m.id FOR UPDATE OF m
), moved AS (
  UPDATE ferryman.messages m
     SET status = r.status, reason = r.reason,
         vendor_reference = coalesce(r.vendor_reference, m.vendor_reference),
         sender = coalesce(r.sender, m.sender), segments = coalesce(r.segments, m.segments),
         sent_at = CASE WHEN r.status = 'sent' THEN now() END
    FROM r JOIN locked l ON l.id = r.job_id WHERE m.id = r.job_id
  RETURNING m.recipient, m.vendor, r.opted_out
)
INSERT INTO ferryman.suppressions (channel, address, reason, source)
SELECT DISTINCT 'sms', recipient, 'unsubscribe', vendor FROM moved WHERE opted_out
 ORDER BY recipient
    ON CONFLICT DO NOTHING
""")

# By the vendor's own id first: of two equal messages that were both in doubt, nobody can tell
# which is which.
HEARD_OF = text("""
SELECT m.id, m.vendor, m.vendor_reference, m.status, m.recipient, m.segments, m.batch_id,
       m.delivery, m.delivery_at, j.status AS job
  FROM ferryman.messages m LEFT JOIN ferryman.jobs j ON j.id = m.id
 WHERE (m.vendor = ANY(CAST(:vendors AS text[]))
        AND m.vendor_reference = ANY(CAST(:references AS text[])))
    OR m.id = ANY(CAST(:ids AS uuid[]))
""")

_RANK = "array_position(ARRAY['processed', 'deferred'], {})"
_DELIVERIES = ("processed", "deferred", "delivered", "bounced", "dropped")
_DELTAS = ", ".join(
    f"count(*) FILTER (WHERE delivery = '{one}') - count(*) FILTER (WHERE was = '{one}') AS {one}"
    for one in _DELIVERIES
)
# Forward only: vendors tell in any order, and what is final is followed by nothing that is not.
TOLD = text(f"""
WITH r AS (
  SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb))
      AS r(id uuid, vendor_reference text, delivery text, at timestamptz, reason text)
), locked AS (
  SELECT m.batch_id, m.delivery AS was, r.*
    FROM ferryman.messages m JOIN r USING (id)
   WHERE m.delivery IS NULL
      OR (coalesce({_RANK.format("r.delivery")}, 3), r.at)
         > (coalesce({_RANK.format("m.delivery")}, 3), m.delivery_at)
   ORDER BY m.id FOR UPDATE OF m
), moved AS (
  UPDATE ferryman.messages m
     SET delivery = l.delivery, delivery_at = l.at, delivery_reason = l.reason,
         vendor_reference = coalesce(m.vendor_reference, l.vendor_reference)
    FROM locked l WHERE m.id = l.id
), sums AS (
  SELECT batch_id AS id, {_DELTAS} FROM locked WHERE batch_id IS NOT NULL GROUP BY batch_id
), counted AS (
  SELECT b.id FROM ferryman.batches b WHERE b.id IN (SELECT id FROM sums)
   ORDER BY b.id FOR UPDATE
), batches AS (
  UPDATE ferryman.batches b SET {", ".join(f"{one} = b.{one} + s.{one}" for one in _DELIVERIES)}
    FROM sums s JOIN counted USING (id) WHERE b.id = s.id
)
SELECT id FROM locked
""")


@dataclass(frozen=True)
class Gate:
    """Whether a message may be sent now. `stopped`: why nothing is sent to its number. `batch`: the
    status of its batch, None where it is alone."""

    stopped: str | None
    batch: str | None


@dataclass(frozen=True)
class Equal:
    """Another message of the same vendor: one that is known to be one of those asked about, or one
    to the same number with the same text whose reference is not known. `under_way`: its job runs
    and may be sending it; `doubtful`: it may have been sent without our knowing."""

    id: UUID
    status: str
    vendor_reference: str | None
    under_way: bool | None
    left_at: datetime | None
    doubtful: bool


async def sending(connection: AsyncConnection, row: Row) -> None:
    """A message is about to be handed over: `{"id", "vendor", "recipient", "sender", "body",
    "segments"}`."""
    await connection.execute(SENDING, row)


async def gate(connection: AsyncConnection, recipient: str, batch: UUID | None) -> Gate:
    """Whether the message may be sent now."""
    found = await connection.execute(GATE, {"recipient": recipient, "batch": batch})
    return Gate(**found.mappings().one())


async def sender(connection: AsyncConnection, id: UUID) -> str | None:
    """Whom the message was to come from when it was handed over."""
    found: str | None = await connection.scalar(SENDER, {"id": id})
    return found


async def waits_again(connection: AsyncConnection, id: UUID) -> None:
    """The message was not sent, and will be."""
    await connection.execute(WAITS_AGAIN, {"id": id})


async def equal(
    connection: AsyncConnection,
    id: UUID,
    *,
    vendor: str,
    recipient: str,
    body: str,
    references: Sequence[str],
) -> list[Equal]:
    """The other messages that these references of the vendor's are, or may be; by id."""
    about = {"id": id, "vendor": vendor, "recipient": recipient, "body": body}
    found = await connection.execute(EQUAL, {**about, "references": list(references)})
    return [Equal(**row) for row in found.mappings()]


async def heard_of(
    connection: AsyncConnection,
    *,
    vendors: Sequence[str],
    references: Sequence[str],
    ids: Sequence[UUID],
) -> list[Row]:
    """The messages that have these references at these vendors, or these ids; `job` is the status
    of its job, None where that is gone."""
    asked = {"vendors": list(vendors), "references": list(references), "ids": list(ids)}
    return [dict(row) for row in (await connection.execute(HEARD_OF, asked)).mappings()]


async def told(connection: AsyncConnection, rows: Sequence[Row]) -> set[UUID]:
    """What a vendor says became of messages: `{"id", "vendor_reference", "delivery", "at",
    "reason"}`, one a message. Returns those of which the ledger did not know it yet, nor anything
    later."""
    return set((await connection.execute(TOLD, {"rows": dumps(rows)})).scalars())
