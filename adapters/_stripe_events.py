"""Stripe's events: whether they are Stripe's, and what they say. Facts:
https://docs.stripe.com/webhooks/signature and https://docs.stripe.com/api/events/types"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from adapters import _stripe as words
from adapters._base import Delivery, Event, Forged, News, NoEvent
from adapters._news import DisputeNews, PaymentNews, RefundNews
from adapters._payments import Payment
from adapters._signatures import equal, event_id, seconds, timely
from adapters._stripe_fields import Row, Unreadable, amount_of, currency_of, inner, moment, text

HEADER = "stripe-signature"
# `v0` is the scheme of test events, and proves nothing.
SCHEME = "v1"
TOLERANCE_SECONDS = 300.0
# A vendor key of ours, with which Stripe names the request that an event comes from.
VENDOR_KEY = re.compile(r"([0-9a-f-]{36}):([a-z_]{1,32})(?::[0-9]{1,9})?")
CHARGE_STATUSES = {"succeeded": "succeeded", "pending": "processing", "failed": "failed"}


def verify(delivery: Delivery, secrets: Sequence[str]) -> None:
    """Whether one of the secrets has signed these bytes just now. Raises Forged."""
    at, given = _parts(delivery.headers.get(HEADER, ""))
    timely(seconds(at), TOLERANCE_SECONDS)
    signed = at.encode() + b"." + delivery.body
    for secret in secrets:
        ours = hmac.digest(secret.encode("utf-8", "surrogateescape"), signed, "sha256").hex()
        if any(equal(one, ours) for one in given):
            return
    raise Forged("no signature is one of STRIPE_WEBHOOK_SECRET")


def _parts(header: str) -> tuple[str, list[str]]:
    """The time, and the signatures of our scheme."""
    parts = [part.partition("=") for part in header.split(",")]
    times = [value for name, _, value in parts if name == "t"]
    return times[0] if times else "", [value for name, _, value in parts if name == SCHEME]


def read(found: Any) -> Event:
    """An event, of a webhook or of the list. Raises NoEvent."""
    if not isinstance(found, dict):
        raise NoEvent("the event is no object")
    try:
        return Event(event_id(found.get("id")), text(found, "type"), moment(found), found)
    except Unreadable as error:
        raise NoEvent(f"the event has no usable {error}") from None


def news(event: Event) -> Sequence[News]:
    """What it says about payments and refunds of ours; nothing where it cannot be read."""
    reader = READERS.get(event.type)
    found = inner(inner(event.payload, "data"), "object")
    try:
        return reader(event, found) if reader else ()
    except Unreadable:
        return ()


def _intent(event: Event, intent: Row) -> Sequence[News]:
    return (_payment(event, intent, words.payment(intent)),)


def _charge(event: Event, charge: Row) -> Sequence[News]:
    """A charge is one try of an intent to pay."""
    status = CHARGE_STATUSES.get(text(charge, "status"))
    if status is None:
        raise Unreadable("status")
    taken = charge.get("captured") is True
    if status == "succeeded" and not taken:
        status = "authorized"
    outcome = inner(charge, "outcome").get("reason")
    why = {"decline_code": outcome, "code": charge.get("failure_code")}
    told = Payment(
        vendor_reference=text(charge, "payment_intent"),
        status=status,
        amount=amount_of(charge, "amount_captured" if taken else "amount"),
        currency=currency_of(charge),
        created_at=moment(charge),
        code=words.failure(why) if status == "failed" else None,
    )
    return (_payment(event, charge, told),)


def _refunded(event: Event, charge: Row) -> Sequence[News]:
    """How much was given back is told by the refunds' own events. Before version 2025-03-31 Stripe
    says so also of what was held and let go."""
    return _charge(event, charge) if charge.get("captured") is True else ()


def _payment(event: Event, found: Row, told: Payment) -> PaymentNews:
    key, step, job = _request(event)
    made_by = job if step == "charge" else None
    return PaymentNews(event.at, told, words.job_of(found) or made_by, key)


def _refund(event: Event, refund: Row) -> Sequence[News]:
    told = words.refund_answer(refund)
    _, step, job = _request(event)
    if told.job is None and step == "refund":
        told = replace(told, job=job)
    return (RefundNews(event.at, text(refund, "payment_intent"), told),)


def _dispute(event: Event, dispute: Row) -> Sequence[News]:
    payment = text(dispute, "payment_intent")
    return (DisputeNews(event.at, payment, words.disputed(dispute)),)


def _request(event: Event) -> tuple[str | None, str | None, UUID | None]:
    """The vendor key of the request that the event comes from, its step and its job."""
    key = inner(event.payload, "request").get("idempotency_key")
    parts = VENDOR_KEY.fullmatch(key) if isinstance(key, str) else None
    job = words.job_id(parts[1]) if parts else None
    return (parts[0], parts[2], job) if parts and job else (None, None, None)


Reader = Callable[[Event, Row], Sequence[News]]
# Stripe's list of events takes twenty types at the most.
READERS: dict[str, Reader] = {
    "charge.captured": _charge,
    "charge.dispute.closed": _dispute,
    "charge.dispute.created": _dispute,
    "charge.dispute.updated": _dispute,
    "charge.failed": _charge,
    "charge.refund.updated": _refund,
    "charge.refunded": _refunded,
    "charge.succeeded": _charge,
    "payment_intent.amount_capturable_updated": _intent,
    "payment_intent.canceled": _intent,
    "payment_intent.payment_failed": _intent,
    "payment_intent.processing": _intent,
    "payment_intent.requires_action": _intent,
    "payment_intent.succeeded": _intent,
    "refund.created": _refund,
    "refund.failed": _refund,
    "refund.updated": _refund,
}
