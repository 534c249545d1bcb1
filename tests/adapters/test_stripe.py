"""Stripe: what is sent, what its answers mean, and what survives of both."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import jsonschema
import pytest
import stripe

from adapters import stripe as module
from adapters._base import (
    Misconfigured,
    Refused,
    Repeat,
    Request,
    Response,
    Throttled,
    Unavailable,
    Unknown,
    VendorError,
)
from adapters._http import Client, HttpCall
from adapters._payments import ChargeOrder, RefundOrder
from adapters.stripe import Adapter
from ferryman.policies import policy
from ferryman.testing import Sandbox
from tests.adapters import doubles

# Joined, so that no key-shaped string stands in the tree.
KEY = "_".join(("sk", "test", "planted" * 3))
ORDER = ChargeOrder(doubles.JOB, "cus_1", 1250, "usd", "pm_card_visa", "Tea", {"order": "no-42"})
REFUND = RefundOrder(doubles.JOB, "pi_1", 500, "usd", "duplicate")
INTENT = {
    "id": "pi_1",
    "object": "payment_intent",
    "status": "succeeded",
    "amount": 1250,
    "currency": "usd",
    "created": 1795556943,
    "client_secret": "pi_1_secret_planted",
    "receipt_email": "someone.planted@example.com",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_SECRET_KEY", KEY)
    monkeypatch.delenv("STRIPE_BASE_URL", raising=False)
    monkeypatch.setattr(module, "LOCKED_LOOK_SECONDS", 0.0)


def answer(http_status: int, /, **body: Any) -> Response:
    headers = {"content-type": "application/json", "request-id": "req_1"}
    return Response(http_status, headers, json.dumps(body).encode())


def refusal(http_status: int, type_: str, /, **error: Any) -> Response:
    return answer(http_status, error={"type": type_, "message": "in their words", **error})


async def charged(given: Response) -> tuple[Any, doubles.Vendor, doubles.Notes]:
    call, vendor, notes = doubles.call("stripe", given)
    return await Adapter().charge(call, ORDER), vendor, notes


async def failed(given: Response) -> tuple[VendorError, doubles.Notes]:
    call, _, notes = doubles.call("stripe", given)
    with pytest.raises(VendorError) as raised:
        await Adapter().charge(call, ORDER)
    return raised.value, notes


def form(body: bytes) -> Any:
    """A form body with brackets as the object it stands for."""
    made: dict[str, Any] = {}
    for name, value in parse_qsl(body.decode()):
        *path, last = name.replace("]", "").split("[")
        place = made
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return made


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


async def test_requests_are_those_of_the_official_sdk(
    monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox
) -> None:
    monkeypatch.setenv("STRIPE_BASE_URL", sandbox.base_url("stripe"))
    client = Client(policy("stripe"))
    notes = doubles.Notes()
    call = HttpCall("stripe", client, policy("stripe"), notes)
    customer = await Adapter().create_customer(call, key="row:customer")
    order = ChargeOrder(doubles.JOB, customer, 1250, "usd", "pm_card_visa")
    payment = await Adapter().charge(call, order)
    await client.close()
    official = stripe.StripeClient(
        KEY, base_addresses={"api": sandbox.base_url("stripe")}, max_network_retries=0
    )

    # The same request by the SDK's own client and key is, to the vendor, a repeat of ours.
    same = official.v1.payment_intents.create(
        {
            "amount": 1250,
            "currency": "usd",
            "customer": customer,
            "payment_method": "pm_card_visa",
            "confirm": True,
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "error_on_requires_action": True,
            "metadata": {"job": str(doubles.JOB)},
        },
        {"idempotency_key": f"{doubles.JOB}:charge"},
    )

    assert same.id == payment.vendor_reference
    assert len(sandbox.effects(vendor="stripe", kind="charge")) == 1


@pytest.mark.skipif(
    "FERRYMAN_CONTRACTS" not in os.environ, reason="FERRYMAN_CONTRACTS names no folder"
)
@pytest.mark.parametrize("path", ["/v1/payment_intents", "/v1/refunds", "/v1/customers"])
async def test_requests_fit_the_published_contract(path: str) -> None:
    contract = _contract()
    content = contract["paths"][path]["post"]["requestBody"]["content"]
    schema = content["application/x-www-form-urlencoded"]["schema"]
    refund = {
        "id": "re_1",
        "object": "refund",
        "status": "succeeded",
        "amount": 500,
        "currency": "usd",
        "created": 1,
    }
    call, vendor, _ = doubles.call("stripe", answer(200, **(INTENT | refund)))
    match path:
        case "/v1/refunds":
            await Adapter().refund(call, REFUND)
        case "/v1/customers":
            await Adapter().create_customer(call, key="row:customer")
        case _:
            call, vendor, _ = doubles.call("stripe", answer(200, **INTENT))
            await Adapter().charge(call, ORDER)
    ((request, _),) = vendor.requests

    sent = form(request.body)
    typed = {name: _typed(value) for name, value in sent.items()}
    jsonschema.validate(typed, schema | {"components": contract["components"]})
    assert sent


def _contract() -> Any:
    return json.loads(Path(os.environ["FERRYMAN_CONTRACTS"], "stripe.json").read_text())


def _typed(value: Any) -> Any:
    """A form's text as the contract's types."""
    if isinstance(value, dict):
        return {name: _typed(inner) for name, inner in value.items()}
    if value in ("true", "false"):
        return value == "true"
    return int(value) if value.isdigit() else value


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

    payment = await Adapter().charge(call, ORDER)

    assert payment.vendor_reference == "pi_1"
    assert len(vendor.requests) == 4
    assert notes.without_effect == ["charge"] * 3


@pytest.mark.parametrize(
    ("currency", "ours", "theirs"),
    [("usd", 1250, 1250), ("jpy", 500, 500), ("isk", 7, 700), ("ugx", 7, 700)],
)
async def test_amounts_are_converted_where_stripe_counts_otherwise(
    currency: str, ours: int, theirs: int
) -> None:
    call, vendor, _ = doubles.call(
        "stripe", answer(200, **(INTENT | {"amount": theirs, "currency": currency}))
    )

    payment = await Adapter().charge(
        call, ChargeOrder(doubles.JOB, "cus_1", ours, currency, "pm_card_visa")
    )

    assert form(vendor.requests[0][0].body)["amount"] == str(theirs)
    assert payment.amount == ours


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
        await Adapter().charge(call, ORDER)

    assert vendor.requests == []


@pytest.fixture
def localstripe() -> Iterator[str]:
    """The fake that others wrote: no proof of idempotency, but a second opinion on requests."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [Path(sys.executable).with_name("localstripe"), "--port", str(port), "--from-scratch"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            assert process.poll() is None
            try:
                httpx.get(f"{url}/v1/customers", auth=(KEY, ""))
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield url
    finally:
        process.kill()
        process.wait()


class Older(Client):
    """localstripe is older than these two parameters, and refuses what it does not know."""

    async def send(self, request: Request, credentials: Mapping[str, str]) -> Response:
        kept = [
            part
            for part in request.body.split(b"&")
            if not part.startswith((b"automatic_payment_methods", b"error_on_requires_action"))
        ]
        return await super().send(replace(request, body=b"&".join(kept)), credentials)


async def test_charge_and_refund_against_localstripe(
    localstripe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRIPE_BASE_URL", localstripe)
    client = Older(policy("stripe"))
    call = HttpCall("stripe", client, policy("stripe"), doubles.Notes())
    customer = await Adapter().create_customer(call, key="row:customer")
    card = {
        "type": "card",
        "card[number]": "4242" * 4,
        "card[exp_month]": "12",
        "card[exp_year]": "2040",
        "card[cvc]": "123",
    }
    async with httpx.AsyncClient(auth=(KEY, "")) as web:
        made = await web.post(f"{localstripe}/v1/payment_methods", data=card)
        method = made.raise_for_status().json()["id"]
        await web.post(
            f"{localstripe}/v1/payment_methods/{method}/attach", data={"customer": customer}
        )

    payment = await Adapter().charge(call, ChargeOrder(doubles.JOB, customer, 1250, "usd", method))
    refund = await Adapter().refund(
        call, RefundOrder(doubles.JOB, payment.vendor_reference, 500, "usd")
    )
    await client.close()

    assert (payment.status, payment.amount) == ("succeeded", 1250)
    assert (refund.status, refund.amount) == ("succeeded", 500)
