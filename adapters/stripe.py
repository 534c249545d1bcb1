"""Stripe: payments. The official SDK builds the requests and reads the answers; our transport
carries them. Facts: Stripe's API reference, version 2026-10-28.endive."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import stripe

from adapters import _base
from adapters._base import (
    Call,
    Misconfigured,
    Refused,
    Repeat,
    Request,
    Unavailable,
    Unknown,
)
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

# Another request, with the same key or on the same object, still runs.
CONFLICT = 409
# Half a minute in all, the longest that one of our requests may take.
LOCKED_LOOKS = 60
LOCKED_LOOK_SECONDS = 0.5

_step: ContextVar[tuple[Call, str, str]] = ContextVar("stripe_step")


class Adapter(_base.Adapter):
    vendor = "stripe"
    base_url = "https://api.stripe.com"
    base_url_variable = "STRIPE_BASE_URL"
    secrets = ("STRIPE_SECRET_KEY",)
    live_prefixes = ("sk_live_", "rk_live_")

    async def create_customer(self, call: Call, *, key: str) -> str:
        # Nothing of the job may stand in this body: the next job must send the same bytes.
        customer = await self._send(
            call,
            "customer",
            key,
            lambda: self._v1.customers.create_async({"metadata": {"ref": key}}, _options(key)),
        )
        return str(customer.id)

    async def charge(self, call: Call, order: ChargeOrder) -> Payment:
        key = f"{order.job_id}:charge"
        intent = await self._send(
            call,
            "charge",
            key,
            lambda: self._v1.payment_intents.create_async(_intent(order), _options(key)),
        )
        if (status := PAYMENT_STATUSES.get(intent.status)) is None:
            raise Refused("the payment needs a step by its payer", code="authentication_required")
        return Payment(
            vendor_reference=intent.id,
            status=status,
            amount=_ours(intent.amount, intent.currency),
            currency=intent.currency,
            created_at=datetime.fromtimestamp(intent.created, UTC),
        )

    async def refund(self, call: Call, order: RefundOrder) -> RefundAnswer:
        key = f"{order.job_id}:refund"
        refund = await self._send(
            call,
            "refund",
            key,
            lambda: self._v1.refunds.create_async(_refund(order), _options(key)),
        )
        return RefundAnswer(
            vendor_reference=refund.id,
            status=REFUND_STATUSES.get(refund.status, "pending"),
            amount=_ours(refund.amount, refund.currency),
            currency=refund.currency,
            created_at=datetime.fromtimestamp(refund.created, UTC),
        )

    @cached_property
    def _v1(self) -> Any:
        # Its key is a placeholder: the real one is added on the way out, so that a rotated one
        # is used at once and none is ever stored with a request.
        client = stripe.StripeClient(
            "sk_test_placeholder",
            http_client=_Bridge(),
            base_addresses={"api": "https://stripe.invalid"},
            max_network_retries=0,
        )
        return client.v1

    async def _send(self, call: Call, step: str, key: str, make: Any) -> Any:
        token = _step.set((call, step, key))
        try:
            answer = await _once_free(make, call, step)
        except stripe.StripeError as error:
            raise await _translate(error, call, step) from error
        finally:
            _step.reset(token)
        call.answered(step)
        return answer


class _Bridge(stripe.HTTPClient):
    """Hands the SDK's request to the call at hand."""

    name = "ferryman"

    async def request_async(  # type: ignore[override]
        self, method: str, url: str, headers: Mapping[str, str], post_data: str | None = None
    ) -> tuple[str, int, Mapping[str, str]]:
        call, step, key = _step.get()
        adapter = Adapter()
        request = Request(
            method.upper(),
            url.replace("https://stripe.invalid", adapter.address(), 1),
            {k: v for k, v in headers.items() if k in SENT_HEADERS},
            (post_data or "").encode(),
        )
        credentials = {"Authorization": f"Bearer {adapter.secret('STRIPE_SECRET_KEY')}"}
        answer = await call.write(
            step, request, key=key, repeat=Repeat.KEY, credentials=credentials
        )
        return answer.body.decode("utf-8", "replace"), answer.status, answer.headers


SENT_HEADERS = ("Idempotency-Key", "Content-Type", "Stripe-Version", "User-Agent")


async def _once_free(make: Any, call: Call, step: str) -> Any:
    """A request of a worker that died may still run at Stripe: its key is locked until it ends."""
    for _ in range(LOCKED_LOOKS):
        try:
            return await make()
        except stripe.StripeError as error:
            if error.http_status != CONFLICT:
                raise
        await call.no_effect(step)
        await asyncio.sleep(LOCKED_LOOK_SECONDS)
    return await make()


def _options(key: str) -> Any:
    return {"idempotency_key": key}


def _intent(order: ChargeOrder) -> Any:
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


def _refund(order: RefundOrder) -> Any:
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


async def _translate(error: stripe.StripeError, call: Call, step: str) -> Exception:
    """Stripe's word into ours. Only a refusal of the request itself tells about its effect."""
    code = getattr(error, "code", None) or ""
    status = error.http_status
    if isinstance(error, stripe.IdempotencyError):
        await call.no_effect(step)
        return Unknown(
            "the vendor key is known with other parameters", status=status, for_person=True
        )
    if status == CONFLICT:
        await call.no_effect(step)
        return Unavailable("an earlier request still runs", status=status, retry_after=1.0)
    if isinstance(error, stripe.InvalidRequestError) and call.doubtful(step):
        # Stripe did not get as far as the key: this says nothing of what the earlier one did.
        await call.no_effect(step)
        return Unknown(
            "refused, while an earlier request may have had its effect",
            status=status,
            for_person=True,
        )
    if isinstance(error, stripe.CardError | stripe.InvalidRequestError) and status:
        call.answered(step)
        decline = getattr(error, "decline_code", None) or _decline_code(error)
        word = CODES.get(decline or "") or CODES.get(code, "refused")
        return Refused(_message(word), code=word, status=status)
    if isinstance(error, stripe.AuthenticationError | stripe.PermissionError):
        return Misconfigured("STRIPE_SECRET_KEY is not accepted", status=status)
    return Unknown("the vendor's answer cannot be read", status=status)


def _decline_code(error: stripe.StripeError) -> str | None:
    body = error.json_body if isinstance(error.json_body, Mapping) else {}
    inner = body.get("error")
    return inner.get("decline_code") if isinstance(inner, Mapping) else None


def _message(word: str) -> str:
    return f"the vendor refused: {word.replace('_', ' ')}"
