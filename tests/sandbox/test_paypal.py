"""The door of the fake PayPal: tokens, headers, bodies, and how it says no."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import httpx
import pytest

from ferryman.testing import Sandbox
from sandbox.state import State
from tests.sandbox.paypal import (
    FORM,
    ORDERS,
    PAYMENTS,
    TOKEN,
    PayPal,
    basic,
    client,
    connected,
    issue,
    order,
    vaulted,
)

GRANT = b"grant_type=client_credentials"


@pytest.fixture
def paypal(state: State) -> PayPal:
    return connected(state)


def test_a_token_lives_nine_hours(paypal: PayPal, state: State) -> None:
    authorization = basic(paypal.vendor)
    status, granted = paypal.call(
        "POST", TOKEN, GRANT, authorization=authorization, content_type=FORM
    )

    assert (status, granted["token_type"], granted["expires_in"]) == (200, "Bearer", 32_400)
    assert granted["access_token"] not in paypal.headers["authorization"]
    assert state.effects.totals() == {}


@pytest.mark.parametrize(
    ("authorization", "body", "expected"),
    [
        (f"Basic {base64.b64encode(b'sandbox_client:wrong').decode()}", GRANT, "invalid_client"),
        ("Basic %%%", GRANT, "invalid_client"),
        ("Bearer x", GRANT, "invalid_client"),
        (None, GRANT, "invalid_client"),
        ("right", b"grant_type=password", "unsupported_grant_type"),
        ("right", b"", "unsupported_grant_type"),
        ("right", b"\xff", "unsupported_grant_type"),
    ],
)
def test_no_token_without_credentials_and_grant_type(
    paypal: PayPal, authorization: str | None, body: bytes, expected: str
) -> None:
    right = basic(paypal.vendor) if authorization == "right" else authorization
    status, document = paypal.call("POST", TOKEN, body, authorization=right, content_type=FORM)

    assert status == (401 if expected == "invalid_client" else 400)
    assert document["error"] == expected
    assert "error_description" in document


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", ORDERS),
        ("GET", f"{ORDERS}/X"),
        ("POST", f"{PAYMENTS}/captures/X/refund"),
        ("GET", "/v1/notifications/webhooks-events"),
        ("POST", "/v1/notifications/verify-webhook-signature"),
        ("GET", "/v1/customer/disputes"),
        ("GET", "/v9/teapots"),
    ],
)
def test_all_else_needs_a_token(paypal: PayPal, method: str, path: str) -> None:
    absent = paypal.call(method, path, {}, authorization=None)
    other = paypal.call(method, path, {}, authorization="Bearer A21AAother")

    assert (absent[0], absent[1]["name"]) == (401, "AUTHENTICATION_FAILURE")
    assert (other[0], other[1]["error"]) == (401, "invalid_token")


def test_tokens_expire(paypal: PayPal, state: State) -> None:
    paypal.do("settings", token_seconds=0)
    dead = connected(state)
    assert dead.call("GET", f"{ORDERS}/X")[0] == 401
    assert paypal.call("GET", f"{ORDERS}/X")[0] == 404

    assert paypal.do("expire_tokens") == {"expired": 2}

    assert paypal.call("GET", f"{ORDERS}/X")[0] == 401


def test_every_answer_has_a_debug_id(paypal: PayPal) -> None:
    good = paypal.ask("POST", ORDERS, order())
    bad = paypal.ask("POST", ORDERS, {})
    fault = paypal.vendor.refusal(503)

    ids = {answer.headers["PayPal-Debug-Id"] for answer in (good, bad, fault)}
    assert len(ids) == 3
    for answer in (bad, fault):
        assert json.loads(answer.body)["debug_id"] == answer.headers["PayPal-Debug-Id"]


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "INVALID_REQUEST"),
        (403, "NOT_AUTHORIZED"),
        (409, "RESOURCE_CONFLICT"),
        (418, "INVALID_REQUEST"),
        (429, "RATE_LIMIT_REACHED"),
        (500, "INTERNAL_SERVER_ERROR"),
        (502, "INTERNAL_SERVER_ERROR"),
        (503, "SERVICE_UNAVAILABLE"),
    ],
)
def test_faults_in_paypals_words(paypal: PayPal, status: int, name: str) -> None:
    answer = paypal.vendor.refusal(status)

    assert (answer.status, json.loads(answer.body)["name"]) == (status, name)


@pytest.mark.parametrize("kind", [None, FORM, "text/plain"])
@pytest.mark.parametrize("path", [ORDERS, f"{ORDERS}/X/capture", f"{PAYMENTS}/captures/X/refund"])
def test_bodies_are_json_also_where_they_are_empty(
    paypal: PayPal, path: str, kind: str | None
) -> None:
    status, document = paypal.call("POST", path, content_type=kind)

    assert (status, document["name"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("body", [b"{", b"[]", b'"text"', b"\xff", b"null"])
def test_what_is_no_object_is_refused(paypal: PayPal, body: bytes) -> None:
    status, document = paypal.call("POST", ORDERS, body)

    assert (status, issue(document)[0]) == (400, "MALFORMED_REQUEST_JSON")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", f"{ORDERS}/X"),
        ("POST", f"{ORDERS}/X/confirm-payment-source"),
        ("POST", f"{PAYMENTS}/authorizations/X/reauthorize"),
        ("DELETE", f"{PAYMENTS}/captures/X"),
        ("GET", "/v1/notifications/webhooks"),
    ],
)
def test_what_is_not_faked_says_so(paypal: PayPal, method: str, path: str) -> None:
    status, document = paypal.call(method, path, {})

    assert status == 404
    assert f"This sandbox has no {method} {path}" in document["message"]


def test_without_a_wish_the_answer_is_minimal(paypal: PayPal) -> None:
    for prefer in (None, "return=minimal"):
        _, made = paypal.call("POST", ORDERS, order(), prefer=prefer)
        assert set(made) == {"id", "status", "links"}

    status, document = paypal.call("POST", ORDERS, order(), prefer="return=all")
    assert (status, issue(document)) == (400, ("INVALID_PARAMETER_VALUE", "Prefer"))
    assert "purchase_units" in paypal.call("GET", f"{ORDERS}/{made['id']}", prefer=None)[1]


def test_rows_tokens_and_keys_outlive_a_process(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    before = State(1, file)
    old = connected(before)
    given = vaulted(purchase_units=[{"amount": {"currency_code": "USD", "value": "10"}}])
    _, made = old.post(ORDERS, given, key="k-1")
    capture = made["purchase_units"][0]["payments"]["captures"][0]["id"]
    path = f"{PAYMENTS}/captures/{capture}/refund"
    amount = {"currency_code": "USD", "value": "9.99"}
    old.post(path, {"amount": amount, "invoice_id": "i-1"}, key="k-2")
    before.journal.flush()

    after = State(1, file)
    new = PayPal(after.vendors["paypal"], old.headers)

    assert new.post(ORDERS, vaulted(), key="k-1")[1]["id"] == made["id"]
    assert new.post(path, {"amount": amount}, key="k-2")[0] == 200
    assert issue(new.post(path, {"amount": amount})[1])[0] == "REFUND_AMOUNT_EXCEEDED"
    again = {"amount": amount | {"value": "0.01"}, "invoice_id": "i-1"}
    assert issue(new.post(path, again)[1])[0] == "DUPLICATE_INVOICE_ID"
    assert new.post(path)[0] == 201
    assert after.effects.totals() == {"paypal": {"charge": 1, "refund": 2}}


def test_throttling_names_no_time(sandbox: Sandbox) -> None:
    with client(sandbox) as http:
        sandbox.limit("paypal", 1)
        answers = [http.get(f"{ORDERS}/X") for _ in range(2)]

    assert answers[1].status_code == 429
    assert answers[1].json()["name"] == "RATE_LIMIT_REACHED"
    assert "retry-after" not in answers[1].headers


@pytest.mark.parametrize("do", ["error_before", "error_after", "drop_after"])
def test_faults_meet_tokens_too(sandbox: Sandbox, do: str) -> None:
    sandbox.script([{"do": do, "vendor": "paypal", "path": TOKEN}])
    known = sandbox.environment()
    credentials = (known["PAYPAL_CLIENT_ID"], known["PAYPAL_CLIENT_SECRET"])
    with httpx.Client(base_url=sandbox.base_url("paypal"), trust_env=False) as http:
        try:
            grant = {"grant_type": "client_credentials"}
            status = http.post(TOKEN, data=grant, auth=credentials).status_code
        except httpx.TransportError:
            status = 0

    assert status == (0 if do == "drop_after" else 500)
