"""Stripe's words and numbers, and ours. Facts: Stripe's API reference, version
2026-10-28.endive."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from adapters._payments import ChargeOrder, Payment, RefundAnswer, RefundOrder
from adapters._stripe_fields import (
    Unreadable,
    amount_of,
    currency_of,
    inner,
    moment,
    text,
    theirs,
)

Row = dict[str, Any]

# Stripe's decline and error codes (https://docs.stripe.com/declines/codes, /error-codes) in ours.
CODES = {
    "amount_too_large": "amount_too_large",
    "amount_too_small": "amount_too_small",
    "authentication_required": "authentication_required",
    "capture_charge_authorization_expired": "authorization_expired",
    "card_declined": "card_declined",
    "charge_already_refunded": "already_refunded",
    "charge_disputed": "charge_disputed",
    "charge_expired_for_capture": "authorization_expired",
    "expired_card": "card_expired",
    "fraudulent": "card_declined",
    "generic_decline": "card_declined",
    "incorrect_cvc": "card_invalid",
    "incorrect_number": "card_invalid",
    "insufficient_funds": "insufficient_funds",
    "invalid_charge_amount": "invalid_amount",
    "invalid_cvc": "card_invalid",
    "invalid_expiry_month": "card_invalid",
    "invalid_expiry_year": "card_invalid",
    "invalid_number": "card_invalid",
    "lost_card": "card_declined",
    "parameter_invalid_integer": "invalid_amount",
    "payment_intent_authentication_failure": "authentication_failed",
    "payment_intent_unexpected_state": "wrong_state",
    "payment_method_customer_decline": "payment_declined",
    "payment_method_provider_decline": "payment_declined",
    "processing_error": "card_declined",
    "resource_missing": "not_found",
    "stolen_card": "card_declined",
}
# https://docs.stripe.com/payments/paymentintents/lifecycle. Ours are confirmed as they are made:
# one that lacks a payment method has lost it by a refusal.
PAYMENT_STATUSES = {
    "requires_payment_method": "failed",
    "requires_confirmation": "requires_action",
    "requires_action": "requires_action",
    "processing": "processing",
    "requires_capture": "authorized",
    "succeeded": "succeeded",
    "canceled": "cancelled",
}
# Where an intent says how much is held or taken; until then it is what was asked for.
AMOUNTS = {"authorized": "amount_capturable", "succeeded": "amount_received"}
# Names of the page that a payer is sent to, in the various kinds of `next_action`.
PAGES = ("url", "hosted_instructions_url", "hosted_voucher_url", "hosted_verification_url")
REFUND_STATUSES = {
    "succeeded": "succeeded",
    "pending": "pending",
    "requires_action": "pending",
    "failed": "failed",
    "canceled": "failed",
}
# Disputes that are won, or that are no more than a question of the bank so far:
# https://docs.stripe.com/disputes/how-disputes-work
HARMLESS = re.compile(r"won|prevented|warning_.*")
WRONG_STATE = "wrong_state"
REASONS = {"duplicate", "fraudulent", "requested_by_customer"}


def payment(intent: Row) -> Payment:
    """A PaymentIntent. Raises Unreadable."""
    status = PAYMENT_STATUSES.get(text(intent, "status"))
    if status is None:
        raise Unreadable("status")
    return Payment(
        vendor_reference=text(intent, "id"),
        status=status,
        amount=amount_of(intent, AMOUNTS.get(status, "amount")),
        currency=currency_of(intent),
        created_at=moment(intent),
        action_url=_page(intent) if status == "requires_action" else None,
        code=failure(intent.get("last_payment_error")) if status == "failed" else None,
        job=job_of(intent),
    )


def refund_answer(refund: Row) -> RefundAnswer:
    """A Refund. Raises Unreadable."""
    return RefundAnswer(
        vendor_reference=text(refund, "id"),
        status=REFUND_STATUSES.get(text(refund, "status"), "pending"),
        amount=amount_of(refund, "amount"),
        currency=currency_of(refund),
        created_at=moment(refund),
        job=job_of(refund),
    )


def was_disputed(intent: Row) -> bool:
    """Whether its payer ever went to his bank, of an intent with `latest_charge` expanded."""
    return inner(intent, "latest_charge").get("disputed") is True


def disputed(dispute: Row) -> bool:
    """Whether money is gone, or may go, by a Dispute. Raises Unreadable."""
    return not HARMLESS.fullmatch(text(dispute, "status"))


def job_of(found: Row) -> UUID | None:
    """Which of our jobs made the object."""
    return job_id(inner(found, "metadata").get("job"))


def job_id(found: object) -> UUID | None:
    """A job's id, only as we write it ourselves."""
    try:
        made = UUID(found) if isinstance(found, str) else None
    except ValueError:
        return None
    return made if str(made) == found else None


def intent_params(order: ChargeOrder) -> Row:
    """What a PaymentIntent is made with. Raises Refused for an amount that cannot be said."""
    params: Row = {
        "amount": theirs(order.amount, order.currency),
        "currency": order.currency,
        "customer": order.customer,
        "payment_method": order.payment_method,
        "confirm": True,
        "metadata": {**order.metadata, "job": str(order.job_id)},
    }
    if order.return_url:
        params |= {"automatic_payment_methods": {"enabled": True}, "return_url": order.return_url}
    else:
        # Nobody knows where the payer is: what needs him is refused, not left half done.
        params["automatic_payment_methods"] = {"enabled": True, "allow_redirects": "never"}
        params["error_on_requires_action"] = True
    if not order.capture:
        params["capture_method"] = "manual"
    return params | ({"description": order.description} if order.description else {})


def refund_params(order: RefundOrder) -> Row:
    """What a Refund is made with. Raises Refused for an amount that cannot be said."""
    params: Row = {
        "payment_intent": order.payment,
        "amount": theirs(order.amount, order.currency),
        "metadata": {"job": str(order.job_id)},
    }
    return params | ({"reason": order.reason} if order.reason in REASONS else {})


def failure(error: object) -> str:
    """Why it was refused, in our words, of any object with a `decline_code` and a `code`."""
    told = error if isinstance(error, Mapping) else {}
    words = [told.get(name) for name in ("decline_code", "code")]
    known = [CODES[word] for word in words if isinstance(word, str) and word in CODES]
    return known[0] if known else "refused"


def message(word: str) -> str:
    return f"the vendor refused: {word.replace('_', ' ')}"


def _page(intent: Row) -> str | None:
    action = inner(intent, "next_action")
    kind = action.get("type")
    told = inner(action, kind) if isinstance(kind, str) else {}
    pages = [told.get(name) for name in PAGES]
    return next((page for page in pages if isinstance(page, str)), None)
