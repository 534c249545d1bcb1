"""Stripe's words and numbers, and ours. Facts: Stripe's API reference, version
2026-10-28.endive."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import stripe

from adapters._payments import ChargeOrder, Payment, RefundAnswer, RefundOrder

# Where Stripe counts otherwise than ISO 4217: https://docs.stripe.com/currencies#special-cases
TWO_DECIMALS_AT_STRIPE = {"isk": 0, "ugx": 0}

# Stripe's decline codes (https://docs.stripe.com/declines/codes) in our words.
CODES = {
    "card_declined": "card_declined",
    "generic_decline": "card_declined",
    "insufficient_funds": "insufficient_funds",
    "expired_card": "card_expired",
    "incorrect_cvc": "card_invalid",
    "incorrect_number": "card_invalid",
    "processing_error": "card_declined",
    "authentication_required": "authentication_required",
    "fraudulent": "card_declined",
    "lost_card": "card_declined",
    "stolen_card": "card_declined",
    "charge_already_refunded": "already_refunded",
    "charge_disputed": "charge_disputed",
    "resource_missing": "not_found",
    "amount_too_small": "amount_too_small",
    "amount_too_large": "amount_too_large",
    "parameter_invalid_integer": "invalid_amount",
}
PAYMENT_STATUSES = {"succeeded": "succeeded", "processing": "processing"}
REFUND_STATUSES = {
    "succeeded": "succeeded",
    "pending": "pending",
    "requires_action": "pending",
    "failed": "failed",
    "canceled": "failed",
}
REASONS = {"duplicate", "fraudulent", "requested_by_customer"}


def payment(intent: Any, status: str) -> Payment:
    return Payment(
        vendor_reference=intent.id,
        status=status,
        amount=_ours(intent.amount, intent.currency),
        currency=intent.currency,
        created_at=datetime.fromtimestamp(intent.created, UTC),
    )


def refund_answer(refund: Any) -> RefundAnswer:
    return RefundAnswer(
        vendor_reference=refund.id,
        status=REFUND_STATUSES.get(refund.status, "pending"),
        amount=_ours(refund.amount, refund.currency),
        currency=refund.currency,
        created_at=datetime.fromtimestamp(refund.created, UTC),
    )


def intent_params(order: ChargeOrder) -> Any:
    params: dict[str, Any] = {
        "amount": _theirs(order.amount, order.currency),
        "currency": order.currency,
        "customer": order.customer,
        "payment_method": order.payment_method,
        "confirm": True,
        "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        # A worker has no payer at hand: a payment that needs one is refused, not left half done.
        "error_on_requires_action": True,
        "metadata": {**order.metadata, "job": str(order.job_id)},
    }
    return params | ({"description": order.description} if order.description else {})


def refund_params(order: RefundOrder) -> Any:
    params: dict[str, Any] = {
        "payment_intent": order.payment,
        "amount": _theirs(order.amount, order.currency),
        "metadata": {"job": str(order.job_id)},
    }
    return params | ({"reason": order.reason} if order.reason in REASONS else {})


def _theirs(amount: int, currency: str) -> int:
    return amount * 100 if currency in TWO_DECIMALS_AT_STRIPE else amount


def _ours(amount: int, currency: str) -> int:
    return amount // 100 if currency in TWO_DECIMALS_AT_STRIPE else amount


def decline_code(error: stripe.StripeError) -> str | None:
    body = error.json_body if isinstance(error.json_body, Mapping) else {}
    inner = body.get("error")
    return inner.get("decline_code") if isinstance(inner, Mapping) else None


def message(word: str) -> str:
    return f"the vendor refused: {word.replace('_', ' ')}"
