"""`refund`: give back a charge, whole or in part, never more than is left of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters._base import Refused, Unknown
from adapters._payments import Known, Payments, RefundAnswer, RefundOrder
from ferryman import requests
from models import jobs, refunds
from models import payments as charges
from tasks import _hear_refund
from tasks._base import Attempt, Done, Heard, Job, Refusal
from tasks._money import charge_id, other_amount, refund_done, why_not

Row = dict[str, Any]


class Refund(Job[requests.Refund]):
    request = requests.Refund

    async def run(self, attempt: Attempt[requests.Refund]) -> Done:
        reserved = await _reserve(attempt)
        if reserved.payment is None:
            raise Refusal(
                "payment_not_known", "charge: it was resolved by a person; refund it at the vendor"
            )
        answer = await cast(Payments, attempt.adapter).refund(
            attempt.call,
            RefundOrder(
                job_id=attempt.id,
                payment=reserved.payment,
                amount=reserved.amount,
                currency=reserved.currency,
                reason=attempt.args.reason,
            ),
        )
        return _done(attempt, reserved, answer)

    async def look_up(self, attempt: Attempt[requests.Refund]) -> Done | None:
        async with attempt.ledger.transaction() as connection:
            reserved = await refunds.reservation(connection, attempt.id)
        if reserved is None or reserved.payment is None or attempt.since is None:
            return None  # nothing was set aside, so nothing was asked for
        vendor = cast(Payments, attempt.adapter)
        whose = Known(payment=reserved.payment, session=reserved.session)
        answer = await vendor.find_refund(attempt.call, whose, attempt.since)
        return None if answer is None else _done(attempt, reserved, answer)

    async def known(
        self, connection: AsyncConnection, vendor: str, news: Sequence[Any]
    ) -> list[bool]:
        return await _hear_refund.known(connection, vendor, news)

    async def hear(self, connection: AsyncConnection, heard: Heard) -> str:
        return await _hear_refund.hear(connection, heard)

    def resolved(self, id: UUID, vendor: str, args: requests.Refund) -> Done:
        row = {"id": str(id), "status": "succeeded", "vendor_reference": None}
        result = {"id": str(id), "charge": args.charge, "vendor": vendor, "status": "succeeded"}
        return Done(result, writes={"refunds": [row]})

    def refused(self, id: UUID) -> dict[str, list[Row]]:
        return {"refunds": [{"id": str(id), "status": "failed", "vendor_reference": None}]}


async def _reserve(attempt: Attempt[requests.Refund]) -> refunds.Reservation:
    """Set the amount aside, once a job, before anything is sent."""
    charge = charge_id(attempt.args.charge)
    wish = (attempt.id, charge, attempt.args.amount, attempt.args.reason)
    async with attempt.held() as connection:
        reserved = await refunds.reserve(connection, *wish)
        if reserved is None:
            # In this order: a charge that is made in the meantime is found by the last.
            status = await jobs.status(connection, charge)
            row = await charges.charge(connection, charge)
            reserved = await refunds.reserve(connection, *wish)
    if reserved is None:
        raise _why_not(row, status)
    if reserved.status != "reserved":
        # Whoever sent the job again: the money was given back, or is on its way.
        raise Unknown("it was refunded already", code="already_refunded", for_person=True)
    return reserved


def _why_not(charge: Row | None, job_status: str | None) -> Exception:
    if charge is None or charge["status"] not in ("succeeded", "partially_refunded"):
        return why_not(charge, job_status)
    return Refusal("amount_exceeds_rest", "amount: more than is left of the charge")


def _done(
    attempt: Attempt[requests.Refund], reserved: refunds.Reservation, answer: RefundAnswer
) -> Done:
    if answer.status == "failed":
        raise Refused("the vendor could not give the money back", code="refund_failed")
    if (answer.amount, answer.currency.lower()) != (reserved.amount, reserved.currency):
        raise other_amount()
    return refund_done(attempt.id, attempt.vendor, reserved, answer)
