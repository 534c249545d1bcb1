"""Who is in a batch, and what became of each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from models.contact_plan import id_of

Row = dict[str, Any]

_MAILS = """
SELECT m.id, m.place, m.recipient AS "to", coalesce(m.status, p.status) AS status,
       CASE WHEN m.status IS NULL THEN p.reason ELSE m.reason END AS reason, m.data,
       CASE WHEN m.status IS NULL THEN p.vendor_reference ELSE m.vendor_reference END
         AS vendor_reference,
       CASE WHEN m.status IS NULL THEN p.sent_at ELSE m.sent_at END AS sent_at,
       m.delivery, m.delivery_at, m.delivery_reason, m.opened_at, m.clicked_at, m.complained_at,
       m.unsubscribed_at
  FROM ferryman.mails m LEFT JOIN ferryman.parts p ON m.status IS NULL AND p.job_id = m.job_id
"""
_MESSAGES = """
SELECT m.id, m.place, m.recipient AS "to", m.status, m.reason, NULL::jsonb AS data,
       m.vendor_reference, m.sent_at, m.delivery, m.delivery_at, m.delivery_reason,
       NULL::timestamptz AS opened_at, NULL::timestamptz AS clicked_at,
       NULL::timestamptz AS complained_at, NULL::timestamptz AS unsubscribed_at
  FROM ferryman.messages m
"""
_PAGE = """
 WHERE m.batch_id = :batch AND m.id > :after AND m.id < :until
   AND (CAST(:statuses AS text[]) IS NULL OR {0} = ANY(CAST(:statuses AS text[])))
 ORDER BY m.id LIMIT :limit
"""
# The ids of an import's lines are made of its own and their places (models/contact_plan.py), also
# of those that have no job.
_CONTACTS = """
SELECT m.*, NULL AS delivery, NULL::timestamptz AS delivery_at, NULL AS delivery_reason,
       NULL::timestamptz AS opened_at, NULL::timestamptz AS clicked_at,
       NULL::timestamptz AS complained_at, NULL::timestamptz AS unsubscribed_at
  FROM (SELECT j.id, ('x' || right(j.id::text, 10))::bit(40)::bigint AS place,
               j.args ->> 'email' AS "to",
               CASE j.status WHEN 'running' THEN 'sending' WHEN 'succeeded' THEN 'sent'
                    ELSE j.status END AS status,
               coalesce(j.reason, j.error ->> 'message') AS reason,
               nullif(j.args - 'email', '{}') AS data,
               j.result ->> 'vendor_reference' AS vendor_reference,
               CASE j.status WHEN 'succeeded' THEN j.finished_at END AS sent_at
          FROM ferryman.jobs j WHERE j.batch_id = :batch AND j.kind = 'upsert_contact'
         UNION ALL
        SELECT CAST(overlay(CAST(:first AS text) placing lpad(to_hex(s.place), 10, '0') from 27)
                    AS uuid), s.place, s.given ->> 'email', s.status, s.reason,
               nullif(s.given - 'email', '{}'), NULL, NULL
          FROM ferryman.set_aside s WHERE s.batch_id = :batch) AS m
 WHERE m.id > :after
   AND (CAST(:statuses AS text[]) IS NULL OR m.status = ANY(CAST(:statuses AS text[])))
 ORDER BY m.id LIMIT :limit
"""
# Not the batch as it is shown: to add up a million messages for each page takes minutes.
OF = text("""
SELECT jsonb_build_object('kind', j.kind, 'created_at', b.created_at, 'planned_at', b.planned_at)
  FROM ferryman.batches b JOIN ferryman.jobs j ON j.id = b.id WHERE b.id = :batch
""")
MAILS = text(_MAILS + _PAGE.format("coalesce(m.status, p.status)"))
MESSAGES = text(_MESSAGES + _PAGE.format("m.status"))
CONTACTS = text(_CONTACTS)
# Clocks of workers may differ by so much from the database's.
CLOCKS_DIFFER = timedelta(minutes=10)


def ids(shown: Row) -> tuple[UUID, UUID]:
    """Between which ids those of a planned batch's recipients lie. They grow with time, so that no
    index by batch has to be kept for a million rows."""
    begin, end = (datetime.fromisoformat(shown[name]) for name in ("created_at", "planned_at"))
    return _id_at(begin - CLOCKS_DIFFER), _id_at(end + CLOCKS_DIFFER)


def _id_at(moment: datetime) -> UUID:
    """The lowest id of that millisecond."""
    return UUID(int=(int(moment.timestamp() * 1000) << 80) | (7 << 76))


async def recipients(
    connection: AsyncConnection,
    batch: UUID,
    *,
    statuses: Sequence[str] | None,
    after: UUID | None,
    limit: int,
) -> list[Row]:
    """Who is in a batch, in the order of the list; `after`: the last id of the page before."""
    about: Row | None = await connection.scalar(OF, {"batch": batch})
    if about is None or about["planned_at"] is None:
        return []
    named = {"batch": batch, "statuses": list(statuses) if statuses else None, "limit": limit}
    if about["kind"] == "bulk_contacts":
        first = id_of(batch, 0)
        query, values = CONTACTS, {**named, "first": str(first), "after": after or first}
    else:
        first, until = ids(about)
        query = MESSAGES if about["kind"] == "bulk_sms" else MAILS
        values = {**named, "after": after or first, "until": until}
    return [dict(row) for row in (await connection.execute(query, values)).mappings()]
