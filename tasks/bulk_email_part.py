"""`bulk_email_part`: one request of a batch, to as many recipients as the vendor takes at once."""

from __future__ import annotations

import asyncio
from typing import Any, cast
from uuid import UUID

from adapters._mail import Letter, Mailer, MailOrder
from ferryman import requests
from models import mail as ledger
from tasks._base import Attempt, Done, Job, Refusal, timestamp
from tasks._merge import Merge

Row = dict[str, Any]


class BulkEmailPart(Job[requests.BulkEmailPart]):
    request = requests.BulkEmailPart

    async def run(self, attempt: Attempt[requests.BulkEmailPart]) -> Done:
        vendor = cast(Mailer, attempt.adapter)
        shared, rows = await _take(attempt, vendor)
        order = await asyncio.to_thread(_order, attempt.id, vendor, shared, rows)
        accepted = await vendor.send_mail(attempt.call, order)
        result = {
            "batch_id": attempt.args.batch,
            "part": attempt.args.part,
            "vendor": attempt.vendor,
            "vendor_reference": accepted.vendor_reference,
            "status": "sent",
            "count": len(rows),
            "created_at": timestamp(accepted.created_at),
        }
        row = {"status": "sent", "vendor_reference": accepted.vendor_reference}
        return Done(result, writes={"emails": [{"job_id": str(attempt.id), **row}]})

    def refused(self, id: UUID) -> dict[str, list[Row]]:
        return {"emails": [{"job_id": str(id), "status": "failed"}]}

    def cancelled(self, id: UUID) -> dict[str, list[Row]]:
        return {"emails": [{"job_id": str(id), "status": "cancelled"}]}

    def again(self, id: UUID) -> dict[str, list[Row]]:
        return {"emails": [{"job_id": str(id), "status": "waiting"}]}

    def resolved(self, id: UUID, vendor: str, args: requests.BulkEmailPart) -> Done:
        result = {"id": str(id), "vendor": vendor, "status": "sent", "vendor_reference": None}
        return Done(result, writes={"emails": [{"job_id": str(id), "status": "sent"}]})

    def in_doubt(self, id: UUID) -> dict[str, list[Row]]:
        return {"emails": [{"job_id": str(id), "status": "unknown"}]}


async def _take(attempt: Attempt[requests.BulkEmailPart], vendor: Mailer) -> tuple[Row, list[Row]]:
    """What all have in common, and the recipients of this part, who are sent to from now on."""
    async with attempt.held() as connection:
        shared = await ledger.letter(connection, UUID(attempt.args.batch))
        if shared is not None:
            vendor.check(Letter.of(shared))
            rows = await ledger.sending_part(connection, attempt.id)
    if shared is None or not rows:
        raise Refusal("nothing_to_send", "nobody is left to send this part of the batch to")
    return shared, rows


def _order(job_id: UUID, vendor: Mailer, shared: Row, rows: list[Row]) -> MailOrder:
    merge = Merge(Letter.of(shared), most_fill_bytes=vendor.most_fill_bytes)
    data = shared.get("data") or {}
    recipients = [
        merge.recipient(row["id"], row["recipient"], {**data, **(row["data"] or {})})
        for row in rows
    ]
    return MailOrder(job_id, merge.letter, recipients)
