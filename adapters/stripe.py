"""Stripe: payments. The official SDK builds the requests; our transport carries them. Facts:
Stripe's API reference, version 2026-10-28.endive."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

from adapters import _base
from adapters import _stripe as words
from adapters import _stripe_events as hooks
from adapters._base import CANCEL, Call, Delivery, Event, News, NoEvent, Refused, Unknown
from adapters._payments import (
    ChargeOrder,
    Keep,
    Known,
    Payment,
    RefundAnswer,
    RefundOrder,
    Since,
)
from adapters._signatures import document
from adapters._stripe_client import Client
from adapters._stripe_fields import Row, text, theirs

# The clocks of two hosts, and the time a request may have been on its way.
LOOK_BACK_SECONDS = 600
PAGE = 100
WEBHOOK_SECRET = "STRIPE_WEBHOOK_SECRET"  # noqa: S105 - its variable's name
# What no request can change any more, so that one in doubt is over.
NOT_HELD = ("succeeded", "processing", "cancelled")

Found = TypeVar("Found", Payment, RefundAnswer)


class Adapter(_base.Adapter):
    vendor = "stripe"
    base_url = "https://api.stripe.com"
    base_url_variable = "STRIPE_BASE_URL"
    secrets = ("STRIPE_SECRET_KEY",)
    live_prefixes = ("sk_live_", "rk_live_")
    trial_prefixes = ("sk_test_", "rk_test_")
    look_ups = frozenset({"charge", "refund", "capture_charge", "cancel_charge"})
    webhook_secrets = (WEBHOOK_SECRET,)
    lists_events = True
    has_customers = True

    def prepare(self) -> None:
        _ = self._stripe.v1

    async def create_customer(self, call: Call, *, key: str) -> str:
        # Nothing of the job may stand in this body: the next job must send the same bytes.
        params = {"metadata": {"ref": key}}
        return await self._stripe.write(
            call,
            "customer",
            key,
            lambda v1: v1.customers.create_async(params, _options(key)),
            lambda customer: text(customer, "id"),
        )

    async def charge(self, call: Call, order: ChargeOrder, keep: Keep) -> Payment:
        # Nothing to keep: one request makes and takes it, and its key leads back to it.
        key, params = call.key("charge"), words.intent_params(order)
        payment = await self._stripe.write(
            call,
            "charge",
            key,
            lambda v1: v1.payment_intents.create_async(params, _options(key)),
            words.payment,
        )
        if payment.status == "requires_action" and not order.return_url:
            raise Refused("the payment needs a step by its payer", code="authentication_required")
        if payment.status == "failed":
            code = payment.code or "refused"
            raise Refused(words.message(code), code=code)
        return payment

    async def resume(self, call: Call, order: ChargeOrder, known: Known) -> Payment:
        return await self._look(call, known)

    async def read_payment(self, call: Call, known: Known) -> Payment:
        reference, wish = _reference(known), {"expand": ["latest_charge"]}
        payment, disputed = await self._stripe.read(
            call,
            lambda v1: v1.payment_intents.retrieve_async(reference, wish),
            lambda intent: (words.payment(intent), words.was_disputed(intent)),
        )
        if payment.status != "succeeded":
            return payment  # nothing was taken that could have been given back
        whose = {"payment_intent": reference, "limit": PAGE}
        refunds = self._stripe.listed(call, lambda v1: v1.refunds, whose, words.refund_answer)
        payment = replace(payment, refunds=tuple([refund async for refund in refunds]))
        if not disputed:
            return payment
        disputes = self._stripe.listed(call, lambda v1: v1.disputes, whose, words.disputed)
        return replace(payment, disputed=any([one async for one in disputes]))

    async def find_charge(self, call: Call, known: Known, since: Since) -> Payment | None:
        # By list, since Stripe's search lags behind by up to a minute.
        asked: Row = {"created": {"gte": _back(since)}, "limit": PAGE}
        if known.customer:
            asked["customer"] = known.customer
        listed = self._stripe.listed(
            call,
            lambda v1: v1.payment_intents,
            asked,
            lambda intent: words.payment(intent) if _is_of(intent, call) else None,
        )
        return _only([one async for one in listed if one.status not in ("failed", "cancelled")])

    async def capture(self, call: Call, known: Known, amount: int, currency: str) -> Payment:
        key, reference = call.key("capture"), _reference(known)
        params = {"amount_to_capture": theirs(amount, currency)}
        try:
            return await self._stripe.write(
                call,
                "capture",
                key,
                lambda v1: v1.payment_intents.capture_async(reference, params, _options(key)),
                words.payment,
            )
        except (Refused, Unknown) as refused:
            payment = await self._what_became(call, "capture", known, refused)
        if payment.status == "cancelled":
            raise Refused("the payment is cancelled", code="charge_cancelled")
        return payment

    async def cancel_payment(self, call: Call, known: Known) -> Payment:
        key, reference = call.key(CANCEL), _reference(known)
        try:
            return await self._stripe.write(
                call,
                CANCEL,
                key,
                lambda v1: v1.payment_intents.cancel_async(reference, {}, _options(key)),
                words.payment,
            )
        except (Refused, Unknown) as refused:
            return await self._what_became(call, CANCEL, known, refused)

    async def refund(self, call: Call, order: RefundOrder) -> RefundAnswer:
        key, params = call.key("refund"), words.refund_params(order)
        return await self._stripe.write(
            call,
            "refund",
            key,
            lambda v1: v1.refunds.create_async(params, _options(key)),
            words.refund_answer,
        )

    async def find_refund(self, call: Call, known: Known, since: Since) -> RefundAnswer | None:
        asked = {
            "payment_intent": _reference(known),
            "created": {"gte": _back(since)},
            "limit": PAGE,
        }
        listed = self._stripe.listed(
            call,
            lambda v1: v1.refunds,
            asked,
            lambda refund: words.refund_answer(refund) if _is_of(refund, call) else None,
        )
        return _only([one async for one in listed if one.status != "failed"])

    async def receive(self, delivery: Delivery) -> Sequence[Event]:
        hooks.verify(delivery, self.webhook_secret(WEBHOOK_SECRET))
        return (hooks.read(document(delivery.body)),)

    async def events(self, call: Call, since: datetime, until: datetime) -> AsyncIterator[Event]:
        created = {"gte": int(since.timestamp()), "lte": math.ceil(until.timestamp())}
        asked = {"created": created, "types": list(hooks.READERS), "limit": PAGE}
        async for event in self._stripe.listed(call, lambda v1: v1.events, asked, _event):
            yield event

    async def read_event(self, call: Call, id: str) -> Event | None:
        try:
            return await self._stripe.read(call, lambda v1: v1.events.retrieve_async(id), _event)
        except Refused:
            return None

    def news(self, event: Event) -> Sequence[News]:
        return hooks.news(event)

    async def _look(self, call: Call, known: Known) -> Payment:
        reference = _reference(known)
        return await self._stripe.read(
            call, lambda v1: v1.payment_intents.retrieve_async(reference), words.payment
        )

    async def _what_became(
        self, call: Call, step: str, known: Known, refused: Refused | Unknown
    ) -> Payment:
        """Of a payment that can be neither taken nor given up any more. Most often an earlier
        request of ours did it, of which the answer was lost."""
        late = refused.code == words.WRONG_STATE or getattr(refused, "look_up", False)
        payment = await self._look(call, known) if late else None
        if payment is None or payment.status not in NOT_HELD:
            raise refused
        call.answered(step)
        return payment

    @cached_property
    def _stripe(self) -> Client:
        return Client(self)


def _reference(known: Known) -> str:
    if known.payment is None:
        raise Refused("the vendor has made no such payment", code="not_found")
    return known.payment


def _options(key: str) -> Any:
    return {"idempotency_key": key}


def _event(found: Row) -> Event | None:
    try:
        return hooks.read(found)
    except NoEvent:
        return None


def _is_of(found: Row, call: Call) -> bool:
    return words.job_of(found) == call.job_id


def _back(since: Since) -> int:
    return int(since.timestamp()) - LOOK_BACK_SECONDS


def _only(found: Sequence[Found]) -> Found | None:
    """The one effect of a job. Two are for a person, whatever made them."""
    if len(found) > 1:
        raise Unknown(
            "the vendor shows more than one effect of this job",
            code="several_effects",
            for_person=True,
        )
    return found[0] if found else None
