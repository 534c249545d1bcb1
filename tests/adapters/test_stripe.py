"""Stripe: what is sent, what its answers mean, and what survives of both."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from dataclasses import replace
from typing import Any

import pytest
import stripe

from adapters import _stripe_client as module
from adapters._base import (
    Delivery,
    Misconfigured,
    Refused,
    Repeat,
    Response,
    Throttled,
    Unavailable,
    Unknown,
    VendorError,
)
from adapters._http import HttpCall
from adapters._payments import ChargeOrder, Known, RefundOrder
from adapters.stripe import Adapter
from tests.adapters import doubles
from tests.adapters.stripe_double import (
    INTENT,
    KEY,
    ORDER,
    answer,
    form,
    kept_nothing,
    refusal,
)
from tests.contract.operations import METHOD, Operation, Secret, Webhooks

PLANTED = Known(payment="pi_planted")


async def _customer(call: HttpCall) -> object:
    return await Adapter().create_customer(call, key=call.key("customer"))


async def _charge(call: HttpCall) -> object:
    order = ChargeOrder(doubles.JOB, "cus_1", 1250, "usd", METHOD)
    return await Adapter().charge(call, order, kept_nothing)


async def _capture(call: HttpCall) -> object:
    return await Adapter().capture(call, PLANTED, 1250, "usd")


async def _cancel(call: HttpCall) -> object:
    return await Adapter().cancel_payment(call, PLANTED)


async def _refund(call: HttpCall) -> object:
    return await Adapter().refund(call, RefundOrder(doubles.JOB, "pi_planted", 100, "usd"))


OPERATIONS = [
    Operation("customer", _customer, Repeat.KEY),
    Operation("charge", _charge, Repeat.KEY),
    Operation("capture", _capture, Repeat.KEY),
    Operation("cancel", _cancel, Repeat.KEY),
    Operation("refund", _refund, Repeat.KEY),
]


def _secret() -> Secret:
    value = "_".join(("whsec", secrets.token_hex(16)))

    def sign(body: bytes, *, age: float = 0) -> Delivery:
        stamp = str(int(time.time() - age))
        signature = hmac.new(value.encode(), f"{stamp}.".encode() + body, hashlib.sha256)
        return Delivery({"stripe-signature": f"t={stamp},v1={signature.hexdigest()}"}, body)

    return Secret(value=value, sign=sign, hidden=value)


EVENT = {"id": "evt_1", "object": "event", "type": "charge.succeeded", "created": 1795556943}
WEBHOOKS = Webhooks(
    secret=_secret,
    body=json.dumps(EVENT | {"data": {"object": {}}}).encode(),
    ids=("evt_1",),
    needs=("stripe-signature",),
    tolerance=300,
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_SECRET_KEY", KEY)
    monkeypatch.delenv("STRIPE_BASE_URL", raising=False)
    monkeypatch.setattr(module, "LOCKED_LOOK_SECONDS", 0.0)


async def charged(given: Response) -> tuple[Any, doubles.Vendor, doubles.Notes]:
    call, vendor, notes = doubles.call("stripe", given)
    return await Adapter().charge(call, ORDER, kept_nothing), vendor, notes


async def failed(given: Response) -> tuple[VendorError, doubles.Notes]:
    call, _, notes = doubles.call("stripe", given)
    with pytest.raises(VendorError) as raised:
        await Adapter().charge(call, ORDER, kept_nothing)
    return raised.value, notes


async def test_the_request_of_a_charge() -> None:
    payment, vendor, notes = await charged(answer(200, **INTENT))

    ((request, credentials),) = vendor.requests
    assert (request.method, request.url) == ("POST", "https://api.stripe.com/v1/payment_intents")
    assert form(request.body) == {
        "amount": "1250",
        "currency": "usd",
        "customer": "cus_1",
        "payment_method": "pm_card_visa",
        "description": "Tea",
        "confirm": "true",
        "automatic_payment_methods": {"enabled": "true", "allow_redirects": "never"},
        "error_on_requires_action": "true",
        "metadata": {"order": "no-42", "job": str(doubles.JOB)},
    }
    assert request.headers["Idempotency-Key"] == f"{doubles.JOB}:charge"
    assert request.headers["Stripe-Version"] == stripe.api_version
    assert credentials == {"Authorization": f"Bearer {KEY}"}
    ((step, key, repeat, _),) = notes.left
    assert (step, key, repeat) == ("charge", f"{doubles.JOB}:charge", Repeat.KEY)
    assert notes.answers == ["charge"]
    assert (payment.vendor_reference, payment.amount, payment.currency) == ("pi_1", 1250, "usd")


@pytest.mark.parametrize(
    ("given", "error", "code"),
    [
        (refusal(402, "card_error", code="card_declined", decline_code="generic_decline"),
         Refused, "card_declined"),
        (refusal(402, "card_error", code="card_declined", decline_code="insufficient_funds"),
         Refused, "insufficient_funds"),
        (refusal(402, "card_error", code="expired_card"), Refused, "card_expired"),
        (refusal(402, "card_error", code="authentication_required"),
         Refused, "authentication_required"),
        (refusal(402, "card_error", code="card_declined", decline_code="never_heard_of"),
         Refused, "card_declined"),
        (refusal(400, "invalid_request_error", code="charge_already_refunded"),
         Refused, "already_refunded"),
        (refusal(400, "invalid_request_error", code="amount_too_small"),
         Refused, "amount_too_small"),
        (refusal(404, "invalid_request_error", code="resource_missing"), Refused, "not_found"),
        (refusal(400, "invalid_request_error"), Refused, "refused"),
        (refusal(429, "invalid_request_error"), Throttled, "rate_limited"),
        (refusal(401, "invalid_request_error"), Misconfigured, "misconfigured"),
        (refusal(500, "api_error"), Unavailable, "vendor_unavailable"),
        (Response(200, {"content-type": "application/json"}, b'{"id": "pi_'), Unknown,
         "outcome_unknown"),
    ],
)  # fmt: skip
async def test_answers_in_our_words(given: Response, error: type[VendorError], code: str) -> None:
    raised, notes = await failed(given)

    assert (type(raised), raised.code) == (error, code)
    # Only a refusal of the request itself tells about its effect.
    assert notes.answers == (["charge"] if error is Refused else [])
    assert "in their words" not in str(raised)


async def test_a_key_known_with_other_parameters_is_looked_up() -> None:
    raised, notes = await failed(refusal(400, "idempotency_error"))

    assert isinstance(raised, Unknown)
    assert raised.look_up
    assert notes.answers == []


async def test_a_key_that_is_in_use_is_waited_for() -> None:
    answers = iter(
        [refusal(409, "idempotency_error", code="idempotency_key_in_use")] * 3
        + [answer(200, **INTENT)]
    )
    call, vendor, notes = doubles.call("stripe", answer(500))
    vendor._answer = lambda _: next(answers)

    payment = await Adapter().charge(call, ORDER, kept_nothing)

    assert payment.vendor_reference == "pi_1"
    assert len(vendor.requests) == 4
    assert notes.without_effect == ["charge"] * 3


async def test_a_key_that_stays_in_use_is_asked_again_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LOCKED_LOOKS", 2)
    raised, notes = await failed(refusal(409, "invalid_request_error"))

    assert (type(raised), raised.status) == (Unavailable, 409)
    assert notes.without_effect == ["charge"] * 3
    assert notes.answers == []


async def test_a_failure_that_is_kept_under_the_key_is_looked_up() -> None:
    kept = refusal(500, "api_error")
    raised, notes = await failed(replace(kept, headers={"idempotent-replayed": "true"}))

    assert isinstance(raised, Unknown)
    assert raised.look_up
    assert (notes.answers, notes.without_effect) == ([], [])


async def test_a_refusal_while_an_earlier_request_is_in_doubt_is_looked_up() -> None:
    call, _, notes = doubles.call("stripe", refusal(400, "invalid_request_error"))
    notes.in_doubt.add("charge")

    with pytest.raises(Unknown) as raised:
        await Adapter().charge(call, ORDER, kept_nothing)

    assert raised.value.look_up
    assert (notes.answers, notes.without_effect) == ([], ["charge"])


async def test_a_decline_tells_also_of_earlier_requests_under_its_key() -> None:
    call, _, notes = doubles.call("stripe", refusal(402, "card_error", code="card_declined"))
    notes.in_doubt.add("charge")

    with pytest.raises(Refused, match="card declined"):
        await Adapter().charge(call, ORDER, kept_nothing)

    assert notes.answers == ["charge"]


NO_PAYMENTS = [
    b"",
    b"[]",
    b"null",
    b'{"id": "pi_1"}',
    json.dumps(INTENT | {"status": "of a later version"}).encode(),
    json.dumps(INTENT | {"amount_received": "1250"}).encode(),
    json.dumps(INTENT | {"amount_received": -1}).encode(),
    json.dumps(INTENT | {"amount_received": 10**40}).encode(),
    json.dumps(INTENT | {"amount_received": 2**62}).encode(),
    json.dumps(INTENT | {"currency": "xxx"}).encode(),
    json.dumps(INTENT | {"created": 10**17}).encode(),
    json.dumps(INTENT | {"created": True}).encode(),
    json.dumps(INTENT | {"id": "pi_\0"}).encode(),
    json.dumps(INTENT | {"id": ""}).encode(),
]


@pytest.mark.parametrize("body", NO_PAYMENTS)
async def test_a_good_answer_that_cannot_be_read_leaves_the_doubt(body: bytes) -> None:
    raised, notes = await failed(Response(200, {}, body))

    assert type(raised) is Unknown
    assert notes.answers == []


@pytest.mark.parametrize(
    "body", [b"", b"no", b"[]", b'{"error": "no"}', b'{"error": []}', b'{"error": null}']
)
@pytest.mark.parametrize("status", [302, 400, 402, 404, 418])
async def test_a_refusal_that_cannot_be_read_leaves_the_doubt(status: int, body: bytes) -> None:
    raised, notes = await failed(Response(status, {}, body))

    assert (type(raised), raised.status) == (Unknown, status)
    assert notes.answers == []


async def test_odd_words_in_a_refusal_are_a_refusal() -> None:
    raised, _ = await failed(refusal(402, "card_error", code={}, decline_code=["x"]))

    assert (type(raised), raised.code) == (Refused, "refused")


async def test_no_secret_survives_in_a_transcript() -> None:
    _, _, notes = await charged(answer(200, **INTENT))
    raised, failed_notes = await failed(
        refusal(
            402,
            "card_error",
            code="card_declined",
            payment_method={"card": {"last4": "4242", "fingerprint": "planted"}},
        )
    )

    kept = json.dumps([notes.interactions, failed_notes.interactions], default=str)
    kept += json.dumps(raised.as_error())
    for secret in (KEY, "planted", "pm_card_visa", "4242"):
        assert secret not in kept
    assert "req_1" in kept


async def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRIPE_SECRET_KEY")
    call, vendor, _ = doubles.call("stripe", answer(200, **INTENT))

    with pytest.raises(Misconfigured, match="STRIPE_SECRET_KEY is not set"):
        await Adapter().charge(call, ORDER, kept_nothing)

    assert vendor.requests == []
