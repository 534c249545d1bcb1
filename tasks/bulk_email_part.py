"""`bulk_email_part`: one request of a batch, to as many recipients as the vendor takes at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast
from uuid import UUID

from adapters._mail import Acceptance, Letter, Mailer, MailOrder, Recipient, RefusedSome
from ferryman import requests
from ferryman.requests._mail import NEEDS_TEMPLATE
from models import mail as ledger
from tasks._base import Attempt, Done, Job, Refusal, Stopped, Wait, timestamp
from tasks._unsubscribe import Unsubscribe

Row = dict[str, Any]

# Resumed, its jobs are woken; this is for one that comes back from the vendor meanwhile.
PAUSED_SECONDS = 300.0


class BulkEmailPart(Job[requests.BulkEmailPart]):
    request = requests.BulkEmailPart

    async def run(self, attempt: Attempt[requests.BulkEmailPart]) -> Done:
        vendor = cast(Mailer, attempt.adapter)
        shared, rows = await _take(attempt, vendor)
        if shared.get("template") is None and any(row["data"] for row in rows):
            # Planned by an earlier version, which filled it in by itself.
            raise Refusal("invalid_arguments", f"data: {NEEDS_TEMPLATE}")
        order = MailOrder(attempt.id, Letter.of(shared), _recipients(shared, rows))
        accepted: Acceptance | None = None
        if order.recipients:
            order, accepted = await _sent(attempt, vendor, order)
        reference = accepted.vendor_reference if accepted else None
        result = {
            "batch_id": attempt.args.batch,
            "part": attempt.args.part,
            "vendor": attempt.vendor,
            "vendor_reference": reference,
            "status": "sent",
            "count": len(order.recipients),
            "created_at": timestamp(accepted.created_at) if accepted else None,
        }
        row = {"status": "sent", "vendor_reference": reference}
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
        gate = await ledger.gate(connection, attempt.id)
        if gate is None:
            raise Refusal("nothing_to_send", "nobody is left to send this part of the batch to")
        if not (gate.paused or gate.cancelled or gate.seconds):
            vendor.check(Letter.of(gate.letter))
            return gate.letter, await ledger.sending_part(connection, attempt.id)
    if gate.cancelled:
        raise Stopped
    if gate.paused:
        raise Wait("its batch is paused", PAUSED_SECONDS)
    raise Wait("waits for its batch's turn in the minute", gate.seconds)


def _recipients(shared: Row, rows: list[Row]) -> list[Recipient]:
    data = shared.get("data") or {}
    unsubscribe = Unsubscribe(shared.get("unsubscribe_url"), data)
    return [
        Recipient(
            row["id"],
            row["recipient"],
            {**data, **(row["data"] or {})},
            unsubscribe.url(row["id"], row["recipient"], row["data"] or {}),
        )
        for row in rows
    ]


async def _sent(
    attempt: Attempt[requests.BulkEmailPart], vendor: Mailer, order: MailOrder
) -> tuple[MailOrder, Acceptance | None]:
    """What was sent. Of the recipients that the vendor refuses each fails by himself, and the
    others are sent to once more. Those whom it was not even asked about do not count for that."""
    try:
        return order, await vendor.send_mail(attempt.call, order)
    except RefusedSome as refused:
        reasons, asked = dict(refused.recipients), refused.status is not None
    async with attempt.held() as connection:
        left = {row["id"] for row in await ledger.fail_some(connection, attempt.id, reasons)}
    rest = replace(order, recipients=[one for one in order.recipients if one.email_id in left])
    if not rest.recipients:
        return rest, None
    if not asked:
        return await _sent(attempt, vendor, rest)
    return rest, await vendor.send_mail(attempt.call, rest)
