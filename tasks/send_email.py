"""`send_email`: one mail to one address."""

from __future__ import annotations

import asyncio
from typing import Any, cast
from uuid import UUID

from adapters._mail import Letter, Mailer, MailOrder, Recipient
from ferryman import requests
from models import mail as ledger
from tasks import _template
from tasks._base import Attempt, Done, Job, timestamp


class SendEmail(Job[requests.SendEmail]):
    request = requests.SendEmail

    async def run(self, attempt: Attempt[requests.SendEmail]) -> Done:
        vendor = cast(Mailer, attempt.adapter)
        data = attempt.args.data or {}
        letter = Letter.of(attempt.args.model_dump(exclude={"to", "data"}))
        vendor.check(letter)
        if letter.template is None:
            letter = await asyncio.to_thread(_template.fill, letter, data)
        await _record(attempt)
        recipient = Recipient(attempt.id, attempt.args.to, data=data)
        accepted = await vendor.send_mail(
            attempt.call, MailOrder(attempt.id, letter, recipients=(recipient,))
        )
        result = {
            "id": str(attempt.id),
            "vendor": attempt.vendor,
            "vendor_reference": accepted.vendor_reference,
            "status": "sent",
            "created_at": timestamp(accepted.created_at),
        }
        row = {"status": "sent", "vendor_reference": accepted.vendor_reference}
        return Done(result, writes={"emails": [{"job_id": str(attempt.id), **row}]})

    def refused(self, id: UUID) -> dict[str, list[dict[str, Any]]]:
        return {"emails": [{"job_id": str(id), "status": "failed"}]}

    def cancelled(self, id: UUID) -> dict[str, list[dict[str, Any]]]:
        return {"emails": [{"job_id": str(id), "status": "cancelled"}]}

    def again(self, id: UUID) -> dict[str, list[dict[str, Any]]]:
        return {"emails": [{"job_id": str(id), "status": "waiting"}]}

    def resolved(self, id: UUID, vendor: str, args: requests.SendEmail) -> Done:
        result = {"id": str(id), "vendor": vendor, "status": "sent", "vendor_reference": None}
        return Done(result, writes={"emails": [{"job_id": str(id), "status": "sent"}]})

    def in_doubt(self, id: UUID) -> dict[str, list[dict[str, Any]]]:
        return {"emails": [{"job_id": str(id), "status": "unknown"}]}


async def _record(attempt: Attempt[requests.SendEmail]) -> None:
    async with attempt.held() as connection:
        await ledger.sending_one(
            connection,
            attempt.id,
            vendor=attempt.vendor,
            recipient=attempt.args.to,
            data=attempt.args.data,
            template=attempt.args.template,
        )
