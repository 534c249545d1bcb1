"""PayPal: payments, by plain HTTP. Facts: https://developer.paypal.com/api/orders/v2/ and
https://developer.paypal.com/api/payments/v2/

An order is made first, which moves no money; its id is the payment's `session`. Money moves when
the order is captured, or is held when it is authorized, once its payer has agreed: on PayPal's
page (`payment_method` is `paypal`), or before (a vaulted token). A payment's `vendor_reference` is
the id of its authorization while it is held, and of its capture once it is taken.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar
from urllib.parse import quote, urlsplit

from adapters import _paypal as words
from adapters import _paypal_asks as asks
from adapters import _paypal_news, _paypal_webhooks
from adapters._base import CANCEL, Call, Delivery, Event, News, Refused, Response, Row, Unknown
from adapters._payments import ChargeOrder, Keep, Known, Payment, RefundAnswer, RefundOrder
from adapters._paypal_issues import NEEDS_PAYER, SETTLED
from adapters._paypal_looks import ORDERS, PAYMENTS, Looks, payment_of

PAYPAL, TRIALS = ".paypal.com", ".sandbox.paypal.com"


class Adapter(Looks):
    vendor = "paypal"
    base_url = "https://api-m.paypal.com"
    base_url_variable = "PAYPAL_BASE_URL"
    secrets = ("PAYPAL_CLIENT_ID", "PAYPAL_CLIENT_SECRET")
    live_advice = "set PAYPAL_BASE_URL=https://api-m.sandbox.paypal.com"
    renews_credentials = True
    look_ups = frozenset({"charge", "refund", "capture_charge", "cancel_charge"})
    webhook_secrets = ("PAYPAL_WEBHOOK_ID",)
    lists_events = True
    has_customers: ClassVar[bool] = False

    def live_secret(self) -> str | None:
        """A PayPal credential does not show whether it is live, so the address decides: outside
        production set PAYPAL_BASE_URL=https://api-m.sandbox.paypal.com, or a fake's address."""
        return self._credential() if self._is_at(PAYPAL) and not self._is_at(TRIALS) else None

    def trial_secret(self) -> str | None:
        return self._credential() if self._is_at(TRIALS) else None

    def _credential(self) -> str | None:
        return "PAYPAL_CLIENT_ID" if os.environ.get("PAYPAL_CLIENT_ID") else None

    def _is_at(self, domain: str) -> bool:
        return f".{urlsplit(self.address()).hostname or ''}".rstrip(".").endswith(domain)

    async def create_customer(self, call: Call, *, key: str) -> str:
        raise NotImplementedError("PayPal keeps no customers")

    async def charge(self, call: Call, order: ChargeOrder, keep: Keep) -> Payment:
        asks.check(order)
        if order.session is None:
            return await self._begin(call, order, keep, call.key("order"))
        go_on = self._go_on if order.payment_method == asks.APPROVAL else self._take
        try:
            payment = await go_on(call, order, order.session)
        except Refused as error:
            if error.code != "not_found":
                call.answered("order")
                raise
            # PayPal forgets an order after hours if nothing was taken or held by it. Under the
            # first key it would tell of that one again.
            return await self._begin(call, order, keep, f"{call.key('order')}:{order.session}")
        # That it was kept proves the step, whatever became of the step's own answer.
        call.answered("order")
        return payment

    async def resume(self, call: Call, order: ChargeOrder, known: Known) -> Payment:
        call.answered("order")
        try:
            if known.session is None or known.payment is not None:
                return await self.read_payment(call, known)
            return await self._go_on(call, order, known.session)
        except Refused as error:
            if known.payment is not None:
                raise Unknown("the vendor does not show the payment", for_person=True) from None
            return _came_to_nothing(order, known.session, error.code)

    async def capture(self, call: Call, known: Known, amount: int, currency: str) -> Payment:
        body = asks.capture_body(amount, currency)
        path = f"{PAYMENTS}/authorizations/{quote(known.payment or '', safe='')}/capture"
        answer = await self.post(call, "capture", path, body)
        if (settled := await self._settled(call, "capture", known, answer)) is None:
            settled = await self.understood(
                call,
                "capture",
                answer,
                lambda told: words.payment(words.as_order("captures", told, known.session)),
            )
        return _taken(settled)

    async def cancel_payment(self, call: Call, known: Known) -> Payment:
        """An order by which nothing was taken or held needs no call: nothing will be, unless we
        capture it. One that PayPal has forgotten is told with no amount."""
        try:
            payment = await self.read_payment(call, known)
        except Refused:
            if known.payment is not None:
                raise
            return Payment(None, "cancelled", 0, "xxx", datetime.now(UTC), known.session)
        if payment.vendor_reference is None:
            return replace(payment, status="cancelled", action_url=None)
        if payment.status == "authorized":
            return await self._let_go(call, known, payment, payment.vendor_reference)
        call.answered(CANCEL)
        return payment

    async def refund(self, call: Call, order: RefundOrder) -> RefundAnswer:
        body = asks.refund_body(order)
        path = f"{PAYMENTS}/captures/{quote(order.payment, safe='')}/refund"
        answer = await self.post(call, "refund", path, body)
        return await self.understood(call, "refund", answer, words.refund_answer)

    async def receive(self, delivery: Delivery) -> Sequence[Event]:
        ids = self.webhook_secret("PAYPAL_WEBHOOK_ID")
        return [await _paypal_webhooks.receive(delivery, ids, self.address())]

    def news(self, event: Event) -> Sequence[News]:
        return _paypal_news.news(event)

    async def _begin(self, call: Call, order: ChargeOrder, keep: Keep, key: str) -> Payment:
        answer = await self.post(call, "order", ORDERS, asks.order_body(order), key)
        made = await self.understood(call, "order", answer, words.made)
        await keep(made["id"])
        if order.payment_method == asks.APPROVAL:
            return await self._agreed(call, order, made)
        return await self._take(call, order, made["id"])

    async def _go_on(self, call: Call, order: ChargeOrder, session: str) -> Payment:
        return await self._agreed(call, order, await self.order(call, session))

    async def _agreed(self, call: Call, order: ChargeOrder, told: Row) -> Payment:
        """Take the payment of an order once its payer has agreed to it. Raises Refused."""
        payment = payment_of(told)
        untaken = payment.vendor_reference is None or payment.status == "failed"
        if untaken and told.get("status") == words.APPROVED:
            return await self._take(call, order, told["id"])
        if not untaken:
            call.answered("charge")
        return payment

    async def _take(self, call: Call, order: ChargeOrder, session: str) -> Payment:
        """The step by which money moves. Raises Refused."""
        path = f"{ORDERS}/{quote(session, safe='')}/{'capture' if order.capture else 'authorize'}"
        answer = await self.post(call, "charge", path, asks.taking_body(order))
        if (payment := await self._without(call, session, answer)) is not None:
            call.answered("charge")
        else:
            payment = await self.understood(call, "charge", answer, words.taken)
        if payment.status == "failed":
            raise words.refused(payment.code)
        return payment

    async def _without(self, call: Call, session: str, answer: Response) -> Payment | None:
        """What the order shows, where PayPal takes nothing by it: since that was done before (often
        by an earlier request of our own), or since its payer has to agree first."""
        code = words.code(answer) if answer.status >= 400 else ""
        needs_payer = words.issue(answer) in NEEDS_PAYER and not call.doubtful("charge")
        if code == "not_found" or not (needs_payer or code in SETTLED):
            return None
        await call.no_effect("charge")
        payment = payment_of(await self.order(call, session))
        if payment.vendor_reference is not None:
            return payment
        url = words.action_url(words.document(answer) or {}) or payment.action_url
        if needs_payer and url:
            return replace(payment, status="requires_action", action_url=url)
        return None

    async def _let_go(self, call: Call, known: Known, payment: Payment, held: str) -> Payment:
        path = f"{PAYMENTS}/authorizations/{quote(held, safe='')}/void"
        answer = await self.post(call, CANCEL, path, None)
        if answer.status == 204:
            call.answered(CANCEL)
            return replace(payment, status="cancelled")
        if (settled := await self._settled(call, CANCEL, known, answer)) is not None:
            return settled
        return await self.understood(
            call,
            CANCEL,
            answer,
            lambda told: words.payment(words.as_order("authorizations", told, known.session)),
        )

    async def _settled(
        self, call: Call, step: str, known: Known, answer: Response
    ) -> Payment | None:
        """Where a step is refused since the payment is no longer held: what has become of it."""
        if answer.status < 400 or words.code(answer) not in SETTLED:
            return None
        await call.no_effect(step)
        try:
            payment = await self.read_payment(call, known)
        except Refused:
            return None
        if payment.status == "authorized":
            return None
        call.answered(step)
        return payment


def _taken(payment: Payment) -> Payment:
    """A held payment after its capture. Raises Refused where nothing was taken."""
    if payment.status in ("succeeded", "processing"):
        return payment
    raise words.refused(payment.code or "payment_cancelled")


def _came_to_nothing(order: ChargeOrder, session: str | None, code: str) -> Payment:
    """A payment that was begun, and that PayPal has refused, or forgotten untaken."""
    status = "cancelled" if code == "not_found" else "failed"
    amounts = (order.amount, order.currency)
    return Payment(None, status, *amounts, datetime.now(UTC), session, code=code)
