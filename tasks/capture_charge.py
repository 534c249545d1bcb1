"""`capture_charge`: take a payment that is held."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from adapters._base import Refused, Unknown
from adapters._payments import Payment, Payments
from ferryman import requests
from tasks._base import Attempt, Done, Job
from tasks._money import ending_done, hold, known, look_at, other_amount

Row = dict[str, Any]


class CaptureCharge(Job[requests.CaptureCharge]):
    request = requests.CaptureCharge

    async def run(self, attempt: Attempt[requests.CaptureCharge]) -> Done:
        charge = await hold(attempt, attempt.args.amount)
        amount = attempt.args.amount or charge["amount"]
        vendor = cast(Payments, attempt.adapter)
        payment = await vendor.capture(attempt.call, known(charge), amount, charge["currency"])
        return _done(attempt, charge, payment)

    async def look_up(self, attempt: Attempt[requests.CaptureCharge]) -> Done | None:
        charge, payment = await look_at(attempt)
        return None if payment.status == "authorized" else _done(attempt, charge, payment)

    def resolved(self, id: UUID, vendor: str, args: requests.CaptureCharge) -> Done:
        move = {"id": args.charge, "status": "succeeded", "amount": args.amount}
        result = {"id": str(id), "charge": args.charge, "vendor": vendor, "status": "succeeded"}
        return Done(result, writes={"charge_moves": [move]})

    def refused(self, id: UUID) -> dict[str, list[Row]]:
        return {"charge_releases": [{"job": str(id)}]}


def _done(attempt: Attempt[requests.CaptureCharge], charge: Row, payment: Payment) -> Done:
    if payment.status == "processing":
        raise Unknown("the vendor is still taking the payment", code="processing", look_up=True)
    if payment.status != "succeeded":
        raise Refused(f"the payment is {payment.status}", code=f"charge_{payment.status}")
    asked = attempt.args.amount or charge["amount"]
    if (payment.amount, payment.currency.lower()) != (asked, charge["currency"]):
        raise other_amount()
    return ending_done(attempt.id, charge, payment)
