"""`charge`: take a payment from an application's user."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from uuid_utils.compat import uuid7

from adapters._base import Unknown
from adapters._payments import ChargeOrder, Payment, Payments
from ferryman import requests
from models import payments as ledger
from tasks._base import Attempt, Done, Job, timestamp

# Who waits for another job to create the same customer looks again after so long.
LOOK_AGAIN_SECONDS = 0.1
MOST_KNOWN = 10_000


class Charge(Job[requests.Charge]):
    request = requests.Charge

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], str] = OrderedDict()

    async def run(self, attempt: Attempt[requests.Charge]) -> Done:
        vendor = cast(Payments, attempt.adapter)
        order = _order(attempt, await self._customer(attempt, vendor))
        payment = await vendor.charge(attempt.call, order)
        _compare(order, payment)
        row = _row(attempt, order, payment)
        return Done(result=_result(row), writes={"charges": [row]})

    async def look_up(self, attempt: Attempt[requests.Charge]) -> Done | None:
        asked = (attempt.vendor, attempt.args.customer)
        async with attempt.ledger.transaction() as connection:
            customer = await ledger.known_customer(connection, *asked)
        if customer is None or attempt.since is None:
            return None  # without a customer no payment was asked for
        vendor = cast(Payments, attempt.adapter)
        payment = await vendor.find_charge(attempt.call, customer, attempt.since)
        if payment is None:
            return None
        _compare(_order(attempt, customer), payment)
        row = _row(attempt, _order(attempt, customer), payment)
        return Done(result=_result(row), writes={"charges": [row]})

    def resolved(self, id: UUID, vendor: str, args: requests.Charge) -> Done:
        row = {
            "id": str(id),
            "vendor": vendor,
            # A person has seen the payment, not ferryman: it is refunded at the vendor's.
            "vendor_reference": None,
            "customer": args.customer,
            "status": "succeeded",
            "amount": args.amount,
            "currency": args.currency.lower(),
            "metadata": dict(args.metadata or {}),
            "created_at": timestamp(datetime.now(UTC)),
        }
        return Done(result=_result(row), writes={"charges": [row]})

    async def _customer(self, attempt: Attempt[requests.Charge], vendor: Payments) -> str:
        """The vendor's id of the app's user, created there by exactly one of all jobs."""
        asked = (attempt.vendor, attempt.args.customer)
        if (known := self._known.get(asked)) is None:
            known = self._known[asked] = await _customer(attempt, vendor)
            if len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
        return known


async def _customer(attempt: Attempt[requests.Charge], vendor: Payments) -> str:
    while True:
        async with attempt.ledger.transaction() as connection:
            row = await ledger.customer(connection, attempt.vendor, attempt.args.customer, uuid7())
        if row.vendor_reference:
            return row.vendor_reference
        if row.ours:
            return await _create(attempt, vendor, row)
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def _create(attempt: Attempt[requests.Charge], vendor: Payments, row: ledger.Customer) -> str:
    try:
        created = await vendor.create_customer(attempt.call, key=f"{row.id}:customer")
    except BaseException as error:
        kept = isinstance(error, Unknown) and error.look_up
        async with attempt.ledger.transaction() as connection:
            await ledger.customer_let_go(connection, row.id, uuid7() if kept else None)
        raise
    asked = (attempt.vendor, attempt.args.customer)
    async with attempt.ledger.transaction() as connection:
        return await ledger.customer_created(connection, *asked, created)


def _order(attempt: Attempt[requests.Charge], customer: str) -> ChargeOrder:
    return ChargeOrder(
        job_id=attempt.id,
        customer=customer,
        amount=attempt.args.amount,
        currency=attempt.args.currency.lower(),
        payment_method=attempt.args.payment_method,
        description=attempt.args.description,
        metadata=dict(attempt.args.metadata or {}),
    )


def _compare(order: ChargeOrder, payment: Payment) -> None:
    if payment.status != "succeeded":
        # Under the same key the vendor would tell the same for ever.
        raise Unknown("the vendor is still processing the payment", code="processing", look_up=True)
    if (payment.amount, payment.currency.lower()) != (order.amount, order.currency):
        raise Unknown(
            "the vendor confirms another amount than was asked for",
            code="amount_mismatch",
            for_person=True,
        )


def _row(attempt: Attempt[requests.Charge], order: ChargeOrder, payment: Payment) -> dict[str, Any]:
    return {
        "id": str(attempt.id),
        "vendor": attempt.vendor,
        "vendor_reference": payment.vendor_reference,
        "customer": attempt.args.customer,
        "status": payment.status,
        "amount": payment.amount,
        "currency": order.currency,
        "metadata": order.metadata,
        "created_at": timestamp(payment.created_at),
    }


RESULT = (
    "id",
    "vendor",
    "vendor_reference",
    "status",
    "amount",
    "currency",
    "customer",
    "metadata",
    "created_at",
)


def _result(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in RESULT}
