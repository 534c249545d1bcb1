"""`charge`: take a payment from an application's user, or hold it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection
from uuid_utils.compat import uuid7

from adapters._base import Unknown
from adapters._payments import OPEN, ChargeOrder, Keep, Known, Payment, Payments
from ferryman import requests
from models import customers
from models import payments as ledger
from tasks import _hear_payment
from tasks._base import Attempt, Done, Heard, Job, Refusal, Stopped
from tasks._money import charge_done, charge_row, judge, known, order_of

Row = dict[str, Any]

# Who waits for another job to create the same customer looks again after so long.
LOOK_AGAIN_SECONDS = 0.1
MOST_KNOWN = 10_000
# Of these a new payment may be asked for.
OVER = ("failed", "cancelled")


class Charge(Job[requests.Charge]):
    request = requests.Charge

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], str] = OrderedDict()

    async def run(self, attempt: Attempt[requests.Charge]) -> Done:
        vendor = cast(Payments, attempt.adapter)
        # A first attempt has begun nothing.
        begun = await _begun(attempt) if attempt.fence > 1 else None
        order = order_of(attempt.id, attempt.args)
        if begun is not None and (attempt.pending or begun["vendor_reference"]):
            return await _go_on(attempt, vendor, order, begun)
        if vendor.has_customers:
            order = replace(order, customer=await self._customer(attempt, vendor))
            # Whoever made it: an earlier request of this job's for it is in doubt no more.
            attempt.call.answered("customer")
        if begun is not None:
            order = replace(order, session=begun["vendor_session"])
        payment = await vendor.charge(attempt.call, order, _keep(attempt, order))
        return _judge(attempt, order, payment)

    async def look_up(self, attempt: Attempt[requests.Charge]) -> Done | None:
        asked = (attempt.vendor, attempt.args.customer)
        begun = await _begun(attempt)
        async with attempt.ledger.transaction() as connection:
            customer = await customers.known_customer(connection, *asked)
        session = begun["vendor_session"] if begun else None
        if (customer is None and session is None) or attempt.since is None:
            return None  # without one of them no payment was asked for
        vendor = cast(Payments, attempt.adapter)
        whose = Known(session=session, customer=customer)
        payment = await vendor.find_charge(attempt.call, whose, attempt.since)
        if payment is None:
            return None
        return _judge(attempt, order_of(attempt.id, attempt.args), payment)

    async def known(
        self, connection: AsyncConnection, vendor: str, news: Sequence[Any]
    ) -> list[bool]:
        return await _hear_payment.known(connection, vendor, news)

    async def hear(self, connection: AsyncConnection, heard: Heard) -> str:
        return await _hear_payment.hear(connection, heard)

    def resolved(self, id: UUID, vendor: str, args: requests.Charge) -> Done:
        order = order_of(id, args)
        # A person has seen the payment, not ferryman: it is refunded at the vendor's.
        status = "succeeded" if order.capture else "authorized"
        seen = Payment(None, status, order.amount, order.currency, datetime.now(UTC))
        return charge_done(charge_row(id, vendor, args.customer, order, seen))

    def refused(self, id: UUID) -> dict[str, list[Row]]:
        return {"charge_moves": [{"id": str(id), "status": "failed"}]}

    def cancelled(self, id: UUID) -> dict[str, list[Row]]:
        return {"charge_moves": [{"id": str(id), "status": "cancelled"}]}

    async def _customer(self, attempt: Attempt[requests.Charge], vendor: Payments) -> str:
        """The vendor's id of the app's user, created there by exactly one of all jobs."""
        asked = (attempt.vendor, attempt.args.customer)
        if (found := self._known.get(asked)) is None:
            found = self._known[asked] = await _customer(attempt, vendor)
            if len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
        return found


async def _begun(attempt: Attempt[requests.Charge]) -> Row | None:
    """The payment that an earlier attempt has begun. Raises Unknown where it is not to be asked for
    again, whoever sent the job again."""
    async with attempt.ledger.transaction() as connection:
        row = await ledger.charge(connection, attempt.id)
    if attempt.pending:
        if row is None:
            raise Unknown("the payment that it waits for is not known", for_person=True)
        return row
    if row is None or row["status"] in OVER:
        return None
    if row["status"] not in OPEN:
        raise Unknown("its payment was taken already", code="already_captured", for_person=True)
    return row


def _keep(attempt: Attempt[requests.Charge], order: ChargeOrder) -> Keep:
    """Commits what the payment will be made by, before it is."""

    async def keep(session: str) -> None:
        begun = Payment(
            None, "processing", order.amount, order.currency, datetime.now(UTC), session
        )
        row = charge_row(attempt.id, attempt.vendor, attempt.args.customer, order, begun)
        async with attempt.held() as connection:
            await ledger.begin(connection, row)

    return keep


async def _go_on(
    attempt: Attempt[requests.Charge], vendor: Payments, order: ChargeOrder, begun: Row
) -> Done:
    """Look at a payment that waits; one that nobody wants any more is cancelled at the vendor."""
    waited = begun["status"] == "requires_action" and begun["age_seconds"]
    late = attempt.expired or (waited or 0) > attempt.policy.action_seconds
    if not attempt.cancel_asked and not late:
        payment = await vendor.resume(attempt.call, order, known(begun))
        return _judge(attempt, order, payment, begun["age_seconds"])
    payment = await vendor.cancel_payment(attempt.call, known(begun))
    if payment.status == "cancelled" and attempt.cancel_asked:
        raise Stopped
    if payment.status == "cancelled":
        raise Refusal("expired", "its payer has not agreed to it in time")
    return _judge(attempt, order, payment, begun["age_seconds"])


def _judge(
    attempt: Attempt[requests.Charge],
    order: ChargeOrder,
    payment: Payment,
    age_seconds: float = 0.0,
) -> Done:
    row = charge_row(attempt.id, attempt.vendor, attempt.args.customer, order, payment)
    return judge(row, order, payment, age_seconds)


async def _customer(attempt: Attempt[requests.Charge], vendor: Payments) -> str:
    while True:
        asked = (attempt.vendor, attempt.args.customer)
        async with attempt.ledger.transaction() as connection:
            row = await customers.customer(connection, *asked, uuid7())
        if row.vendor_reference:
            return row.vendor_reference
        if row.ours:
            return await _create(attempt, vendor, row)
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def _create(
    attempt: Attempt[requests.Charge], vendor: Payments, row: customers.Customer
) -> str:
    try:
        created = await vendor.create_customer(attempt.call, key=f"{row.id}:customer")
    except BaseException as error:
        kept = isinstance(error, Unknown) and error.look_up
        async with attempt.ledger.transaction() as connection:
            await customers.customer_let_go(connection, row.id, uuid7() if kept else None)
        raise
    asked = (attempt.vendor, attempt.args.customer)
    async with attempt.ledger.transaction() as connection:
        return await customers.customer_created(connection, *asked, created)
