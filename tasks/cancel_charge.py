"""`cancel_charge`: let go of a payment that is held."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from adapters._base import Refused
from adapters._payments import Payment, Payments
from ferryman import requests
from tasks._base import Attempt, Done, Job
from tasks._money import ending_done, hold, known, look_at

Row = dict[str, Any]


class CancelCharge(Job[requests.CancelCharge]):
    request = requests.CancelCharge

    async def run(self, attempt: Attempt[requests.CancelCharge]) -> Done:
        charge = await hold(attempt, None)
        vendor = cast(Payments, attempt.adapter)
        payment = await vendor.cancel_payment(attempt.call, known(charge))
        return _done(attempt.id, charge, payment)

    async def look_up(self, attempt: Attempt[requests.CancelCharge]) -> Done | None:
        charge, payment = await look_at(attempt)
        if payment.status == "authorized":
            return None
        return _done(attempt.id, charge, payment)

    def resolved(self, id: UUID, vendor: str, args: requests.CancelCharge) -> Done:
        result = {"id": str(id), "charge": args.charge, "vendor": vendor, "status": "cancelled"}
        return Done(result, writes={"charge_moves": [{"id": args.charge, "status": "cancelled"}]})

    def refused(self, id: UUID) -> dict[str, list[Row]]:
        return {"charge_releases": [{"job": str(id)}]}


def _done(id: UUID, charge: Row, payment: Payment) -> Done:
    if payment.status != "cancelled":
        raise Refused(f"the payment is {payment.status}", code=f"charge_{payment.status}")
    return ending_done(id, charge, payment)
