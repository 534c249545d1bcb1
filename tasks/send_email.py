"""`send_email`: one mail to one address."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters._mail import Letter, Mailer, MailOrder, Recipient
from ferryman import requests
from models import mail as ledger
from tasks import _hear_mail
from tasks._base import Attempt, Done, Heard, Job, NotNow, Refusal, timestamp
from tasks._unsubscribe import Unfit, Unsubscribe

Row = dict[str, Any]


class SendEmail(Job[requests.SendEmail]):
    request = requests.SendEmail
    hears_many = True

    async def run(self, attempt: Attempt[requests.SendEmail]) -> Done:
        vendor = cast(Mailer, attempt.adapter)
        letter = Letter.of(attempt.args.model_dump())
        vendor.check(letter)
        data = await _record(attempt)
        recipient = Recipient(attempt.id, attempt.args.to, data, _unsubscribe_url(attempt, data))
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

    async def hear_all(
        self, connection: AsyncConnection, told: Sequence[Heard]
    ) -> list[str | NotNow]:
        return await _hear_mail.hear_all(connection, told)

    def refused(self, id: UUID) -> dict[str, list[Row]]:
        return {"emails": [{"job_id": str(id), "status": "failed"}]}

    def cancelled(self, id: UUID) -> dict[str, list[Row]]:
        return {"emails": [{"job_id": str(id), "status": "cancelled"}]}

    def again(self, id: UUID) -> dict[str, list[Row]]:
        return {"emails": [{"job_id": str(id), "status": "waiting"}]}

    def resolved(self, id: UUID, vendor: str, args: requests.SendEmail) -> Done:
        result = {"id": str(id), "vendor": vendor, "status": "sent", "vendor_reference": None}
        return Done(result, writes={"emails": [{"job_id": str(id), "status": "sent"}]})

    def in_doubt(self, id: UUID) -> dict[str, list[Row]]:
        return {"emails": [{"job_id": str(id), "status": "unknown"}]}


async def _record(attempt: Attempt[requests.SendEmail]) -> Row:
    """The mail's row, before anything leaves; its data as every attempt is to send it. Raises
    Refusal for an address that nothing may be sent to."""
    args = attempt.args
    data = args.data
    if args.template is not None:
        data = {"timestamp": timestamp(datetime.now(UTC)), **(data or {})}
    async with attempt.held() as connection:
        kept = await ledger.sending_one(
            connection,
            attempt.id,
            vendor=attempt.vendor,
            recipient=args.to,
            data=data,
            template=args.template,
        )
        whom = _whom(args)
        stopped = await ledger.suppressed(connection, list(whom.values()))
    if stopped is not None:
        place, reason = stopped
        raise Refusal("suppressed", f"{list(whom)[place]}: is suppressed ({reason})")
    return kept or {}


def _whom(args: requests.SendEmail) -> dict[str, str]:
    """All who get it, by the argument that names them."""
    copies = {"cc": args.cc or (), "bcc": args.bcc or ()}
    return {"to": args.to} | {
        f"{field}.{place}": address
        for field, given in copies.items()
        for place, address in enumerate(given)
    }


def _unsubscribe_url(attempt: Attempt[requests.SendEmail], data: Row) -> str | None:
    unsubscribe = Unsubscribe(attempt.args.unsubscribe_url, None)
    try:
        return unsubscribe.url(attempt.id, attempt.args.to, data)
    except Unfit as error:
        raise Refusal("invalid_arguments", str(error)) from None
