"""`refund`: give back a charge, whole or in part, never more than is left of it."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from adapters._base import Refused, Unknown
from adapters._payments import Payments, RefundAnswer, RefundOrder
from ferryman import requests
from models import jobs
from models import payments as ledger
from tasks._base import Attempt, Done, Job, Refusal, Wait, timestamp

WAIT_FOR_CHARGE_SECONDS = 2.0


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
            reserved = await ledger.reservation(connection, attempt.id)
        if reserved is None or reserved.payment is None or attempt.since is None:
            return None  # nothing was set aside, so nothing was asked for
        vendor = cast(Payments, attempt.adapter)
        answer = await vendor.find_refund(attempt.call, reserved.payment, attempt.since)
        return None if answer is None else _done(attempt, reserved, answer)

    def resolved(self, id: UUID, vendor: str, args: requests.Refund) -> Done:
        row = {"id": str(id), "status": "succeeded", "vendor_reference": None}
        result = {"id": str(id), "charge": args.charge, "vendor": vendor, "status": "succeeded"}
        return Done(result, writes={"refunds": [row]})

    def refused(self, id: UUID) -> dict[str, list[dict[str, Any]]]:
        return {"refunds": [{"id": str(id), "status": "failed", "vendor_reference": None}]}


async def _reserve(attempt: Attempt[requests.Refund]) -> ledger.Reservation:
    """Set the amount aside, once a job, before anything is sent."""
    charge_id = _charge_id(attempt.args.charge)
    wish = (attempt.id, charge_id, attempt.args.amount, attempt.args.reason)
    async with attempt.held() as connection:
        reserved = await ledger.reserve(connection, *wish)
        if reserved is None:
            # In this order: a charge that is made in the meantime is found by the last.
            status = await jobs.status(connection, charge_id)
            charge = await ledger.charge(connection, charge_id)
            reserved = await ledger.reserve(connection, *wish)
    if reserved is None:
        raise _why_not(charge, status)
    return reserved


def _charge_id(given: str) -> UUID:
    try:
        return UUID(given)
    except ValueError:
        raise Refusal("charge_not_found", "charge: there is no charge with that id") from None


def _why_not(charge: dict[str, Any] | None, job_status: str | None) -> Exception:
    if charge is None and job_status in ("waiting", "running", "unknown"):
        return Wait("waits for the charge that it refunds", WAIT_FOR_CHARGE_SECONDS)
    if charge is None and job_status in ("failed", "cancelled"):
        return Refusal(f"charge_{job_status}", f"charge: it is {job_status}, nothing was taken")
    if charge is None:
        return Refusal("charge_not_found", "charge: there is no charge with that id")
    if charge["status"] not in ("succeeded", "partially_refunded"):
        return Refusal(f"charge_{charge['status']}", f"charge: it is {charge['status']}")
    return Refusal("amount_exceeds_rest", "amount: more than is left of the charge")


def _compare(reserved: ledger.Reservation, answer: RefundAnswer) -> None:
    if answer.status == "failed":
        raise Refused("the vendor could not give the money back", code="refund_failed")
    if (answer.amount, answer.currency.lower()) != (reserved.amount, reserved.currency):
        raise Unknown(
            "the vendor confirms another amount than was asked for",
            code="amount_mismatch",
            for_person=True,
        )


def _done(
    attempt: Attempt[requests.Refund], reserved: ledger.Reservation, answer: RefundAnswer
) -> Done:
    _compare(reserved, answer)
    row = {
        "id": str(attempt.id),
        "status": answer.status,
        "vendor_reference": answer.vendor_reference,
    }
    return Done(result=_result(attempt, reserved, answer), writes={"refunds": [row]})


def _result(
    attempt: Attempt[requests.Refund], reserved: ledger.Reservation, answer: RefundAnswer
) -> dict[str, Any]:
    return {
        "id": str(attempt.id),
        "charge": str(reserved.charge_id),
        "vendor": attempt.vendor,
        "vendor_reference": answer.vendor_reference,
        "status": answer.status,
        "amount": answer.amount,
        "currency": reserved.currency,
        "created_at": timestamp(answer.created_at),
    }
