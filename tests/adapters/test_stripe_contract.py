"""Stripe: every request is one that its published contract takes, and the same that its official
SDK makes for the same call."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest
import stripe

from adapters._base import Request
from adapters._http import Client, HttpCall
from adapters._payments import ChargeOrder, Known
from adapters._stripe_events import READERS
from adapters.stripe import Adapter
from ferryman.policies import policy
from ferryman.testing import Sandbox
from tests.adapters import doubles
from tests.adapters.stripe_double import (
    CREATED,
    INTENT,
    KEY,
    KNOWN,
    METADATA,
    ORDER,
    REFUND,
    REFUND_ORDER,
    answer,
    calling,
    kept_nothing,
    sent,
)

SINCE = datetime.fromtimestamp(CREATED, UTC)
RETURN = "https://shop.example/paid?order=42&lang=de"
ODD = {"order": "no-42", "größe": "ä & ö = +", "number": "12"}
PLAIN = {
    "amount": 1250,
    "currency": "usd",
    "customer": "cus_1",
    "payment_method": "pm_card_visa",
    "confirm": True,
    "metadata": METADATA,
}
STAYS = {
    "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
    "error_on_requires_action": True,
}
LEAVES = {"automatic_payment_methods": {"enabled": True}, "return_url": RETURN}
LISTED = {"created": {"gte": CREATED - 600}, "limit": 100}
Do = Callable[[Adapter, HttpCall], Awaitable[object]]
Official = Callable[[Any, Any], object]


@dataclass(frozen=True)
class Case:
    """A call of ours, the same one of the SDK's, its path in the contract, and its step."""

    name: str
    path: str
    do: Do
    official: Official
    step: str | None = None
    row: Mapping[str, Any] = field(default_factory=lambda: INTENT)

    def __str__(self) -> str:
        return self.name


def _charge(name: str, changes: dict[str, Any], params: dict[str, Any]) -> Case:
    order = replace(ORDER, **{"description": None, "metadata": {}, **changes})
    return Case(
        f"charge {name}",
        "/v1/payment_intents",
        lambda ours, call: ours.charge(call, order, kept_nothing),
        lambda v1, options: v1.payment_intents.create({**PLAIN, **params}, options),
        "charge",
    )


def _capture(amount: int) -> Case:
    return Case(
        f"capture {amount}",
        "/v1/payment_intents/{intent}/capture",
        lambda ours, call: ours.capture(call, KNOWN, amount, "usd"),
        lambda v1, options: v1.payment_intents.capture(
            "pi_1", {"amount_to_capture": amount}, options
        ),
        "capture",
    )


def _refund(name: str, changes: dict[str, Any], params: dict[str, Any]) -> Case:
    order = replace(REFUND_ORDER, **{"reason": None, **changes})
    theirs = {"payment_intent": "pi_1", "amount": 500, "metadata": METADATA, **params}
    return Case(
        f"refund {name}",
        "/v1/refunds",
        lambda ours, call: ours.refund(call, order),
        lambda v1, options: v1.refunds.create(theirs, options),
        "refund",
        REFUND,
    )


async def _events(ours: Adapter, call: HttpCall) -> object:
    until = SINCE + timedelta(minutes=5, microseconds=1)
    return [event async for event in ours.events(call, SINCE, until)]


CASES = [
    _charge("plain", {}, STAYS),
    _charge("held", {"capture": False}, STAYS | {"capture_method": "manual"}),
    _charge("with a payer", {"return_url": RETURN}, LEAVES),
    _charge(
        "held, with a payer",
        {"return_url": RETURN, "capture": False},
        LEAVES | {"capture_method": "manual"},
    ),
    _charge(
        "described",
        {"description": "Tea & cake, 2 à 5 €", "metadata": ODD},
        STAYS | {"description": "Tea & cake, 2 à 5 €", "metadata": ODD | METADATA},
    ),
    _charge(
        "in whole units",
        {"amount": 7, "currency": "isk"},
        STAYS | {"amount": 700, "currency": "isk"},
    ),
    Case(
        "customer",
        "/v1/customers",
        lambda ours, call: ours.create_customer(call, key=call.key("customer")),
        lambda v1, options: v1.customers.create(
            {"metadata": {"ref": f"{doubles.JOB}:customer"}}, options
        ),
        "customer",
    ),
    Case(
        "resume",
        "/v1/payment_intents/{intent}",
        lambda ours, call: ours.resume(call, ORDER, KNOWN),
        lambda v1, options: v1.payment_intents.retrieve("pi_1", None, options),
    ),
    Case(
        "read",
        "/v1/payment_intents/{intent}",
        lambda ours, call: ours.read_payment(call, KNOWN),
        lambda v1, options: v1.payment_intents.retrieve(
            "pi_1", {"expand": ["latest_charge"]}, options
        ),
        row=INTENT | {"status": "processing"},
    ),
    Case(
        "find a charge",
        "/v1/payment_intents",
        lambda ours, call: ours.find_charge(call, KNOWN, SINCE),
        lambda v1, options: v1.payment_intents.list({**LISTED, "customer": "cus_1"}, options),
    ),
    _capture(1250),
    _capture(1000),
    Case(
        "cancel",
        "/v1/payment_intents/{intent}/cancel",
        lambda ours, call: ours.cancel_payment(call, KNOWN),
        lambda v1, options: v1.payment_intents.cancel("pi_1", None, options),
        "cancel",
    ),
    _refund("whole", {"amount": 1250}, {"amount": 1250}),
    _refund("in part", {}, {}),
    _refund("with a reason", {"reason": "duplicate"}, {"reason": "duplicate"}),
    Case(
        "find a refund",
        "/v1/refunds",
        lambda ours, call: ours.find_refund(call, KNOWN, SINCE),
        lambda v1, options: v1.refunds.list({"payment_intent": "pi_1", **LISTED}, options),
    ),
    Case(
        "events",
        "/v1/events",
        _events,
        lambda v1, options: v1.events.list(
            {
                "created": {"gte": CREATED, "lte": CREATED + 301},
                "types": list(READERS),
                "limit": 100,
            },
            options,
        ),
    ),
    Case(
        "event",
        "/v1/events/{id}",
        lambda ours, call: ours.read_event(call, "evt_1"),
        lambda v1, options: v1.events.retrieve("evt_1", None, options),
    ),
]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_SECRET_KEY", KEY)
    monkeypatch.delenv("STRIPE_BASE_URL", raising=False)


async def made(case: Case) -> tuple[Request, Mapping[str, str]]:
    """The one request that the adapter makes."""
    call, vendor, notes = calling(answer(200, **{**case.row, "data": [], "has_more": False}))
    await case.do(Adapter(), call)
    ((request, credentials),) = vendor.requests
    assert [step for step, *_ in notes.left] == ([case.step] if case.step else [])
    return request, credentials


class Recorder(stripe.HTTPClient):
    """In the place of the SDK's own HTTP client."""

    name = "recorder"

    def request(self, method: str, url: str, headers: Any, post_data: Any = None) -> Any:
        self.seen = Request(method.upper(), url, dict(headers), (post_data or "").encode())
        return '{"id": "x", "object": "list", "data": []}', 200, {}


def official(case: Case) -> Request:
    recorder = Recorder()
    client = stripe.StripeClient(KEY, http_client=recorder, max_network_retries=0)
    key = {"idempotency_key": f"{doubles.JOB}:{case.step}"} if case.step else None
    case.official(client.v1, key)
    return recorder.seen


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_request_is_that_of_the_official_sdk(case: Case) -> None:
    ours, credentials = await made(case)
    theirs = official(case)

    assert (ours.method, ours.url, ours.body) == (theirs.method, theirs.url, theirs.body)
    for name in ("Stripe-Version", "Content-Type", "Idempotency-Key"):
        assert ours.headers.get(name) == theirs.headers.get(name)
    assert credentials["Authorization"] == theirs.headers["Authorization"]
    assert ("Idempotency-Key" in ours.headers) == (case.step is not None)
    assert "Authorization" not in ours.headers


@pytest.mark.skipif(
    not os.environ.get("FERRYMAN_CONTRACTS"),
    reason="FERRYMAN_CONTRACTS names no folder with the vendors' contracts",
)
@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_request_fits_the_published_contract(case: Case) -> None:
    request, _ = await made(case)
    operation = contract()["paths"][case.path][request.method.lower()]
    schema = schema_of(operation)

    path = re.sub(r"\{\w+\}", "[a-z]+_1", case.path)
    assert re.fullmatch(path, urlsplit(request.url).path)
    jsonschema.validate(typed(sent(request), schema), schema)


async def test_the_lists_of_one_payment_are_those_of_the_official_sdk() -> None:
    """The published contract has no disputes: it was cut to what was needed when it was made."""
    found = {**INTENT, "latest_charge": {"disputed": True}, "data": [], "has_more": False}
    call, vendor, _ = calling(answer(200, **found))
    await Adapter().read_payment(call, KNOWN)
    whose = {"payment_intent": "pi_1", "limit": 100}

    for request, of in zip(vendor.requests[1:], ("refunds", "disputes"), strict=True):
        recorder = Recorder()
        client = stripe.StripeClient(KEY, http_client=recorder, max_network_retries=0)
        getattr(client.v1, of).list(whose)
        assert request[0].url == recorder.seen.url


@pytest.mark.skipif(
    not os.environ.get("FERRYMAN_CONTRACTS"),
    reason="FERRYMAN_CONTRACTS names no folder with the vendors' contracts",
)
@pytest.mark.parametrize("given", [{"surprise": "1"}, {"amount": "1.5"}, {"confirm": "yes"}])
async def test_the_contract_refuses_others(given: dict[str, Any]) -> None:
    request, _ = await made(CASES[0])
    schema = schema_of(contract()["paths"]["/v1/payment_intents"]["post"])

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(typed(sent(request) | given, schema), schema)


@lru_cache
def contract() -> Any:
    return json.loads(Path(os.environ["FERRYMAN_CONTRACTS"], "stripe.json").read_text())


def schema_of(operation: Any) -> Any:
    if "requestBody" not in operation:
        return operation["x-query"]
    return operation["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]


def typed(value: Any, schema: Any) -> Any:
    """A form's words as the types that the contract has for them."""
    for one in schema.get("anyOf", ()):
        found = typed(value, one)
        if jsonschema.Draft202012Validator(one).is_valid(found):
            return found
    match schema.get("type"):
        case "object" if isinstance(value, dict):
            known, others = schema.get("properties", {}), schema.get("additionalProperties")
            rest = others if isinstance(others, dict) else {}
            return {name: typed(one, known.get(name, rest)) for name, one in value.items()}
        case "array" if isinstance(value, dict):
            return [typed(value[index], schema["items"]) for index in sorted(value, key=int)]
        case "integer" if isinstance(value, str) and value.isdigit():
            return int(value)
        case "boolean" if value in ("true", "false"):
            return value == "true"
    return value


async def test_the_official_sdk_repeats_a_charge_of_ours(
    monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox
) -> None:
    """To the vendor, the same request by the SDK's own client and key is a repeat of ours."""
    monkeypatch.setenv("STRIPE_BASE_URL", sandbox.base_url("stripe"))
    client = Client(policy("stripe"))
    call = HttpCall("stripe", client, policy("stripe"), doubles.Notes())
    customer = await Adapter().create_customer(call, key="row:customer")
    order = ChargeOrder(doubles.JOB, customer, 1250, "usd", "pm_card_visa")
    payment = await Adapter().charge(call, order, kept_nothing)
    known = Known(payment=payment.vendor_reference)
    read = await Adapter().resume(call, order, known)
    await client.close()
    theirs = stripe.StripeClient(
        KEY, base_addresses={"api": sandbox.base_url("stripe")}, max_network_retries=0
    )

    same = theirs.v1.payment_intents.create(
        {**PLAIN, **STAYS, "customer": customer},  # type: ignore[typeddict-item]
        {"idempotency_key": f"{doubles.JOB}:charge"},
    )

    assert same.id == payment.vendor_reference == read.vendor_reference
    assert len(sandbox.effects(vendor="stripe", kind="charge")) == 1
