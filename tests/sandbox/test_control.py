"""The sandbox's own interface: what it tells, and what it refuses."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from ferryman.testing import Sandbox
from tests.sandbox.conftest import payment


def test_health_and_environment(sandbox: Sandbox, http: httpx.Client) -> None:
    assert sandbox.health()["vendors"] == [
        "hubspot",
        "mixpanel",
        "paypal",
        "salesforce",
        "segment",
        "sendgrid",
        "stripe",
        "twilio",
    ]

    environment = sandbox.environment()

    assert environment["STRIPE_BASE_URL"] == sandbox.base_url("stripe")
    key = environment["STRIPE_SECRET_KEY"]
    answer = http.get("/v1/balance", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200


def test_effects_by_vendor_kind_and_place(sandbox: Sandbox, http: httpx.Client) -> None:
    http.post("/v1/customers", data={"email": "a@example.com", "metadata[job]": "j-1"})
    for _ in range(2):
        http.post("/v1/payment_intents", data=payment(), headers={"Idempotency-Key": "k-1"})

    assert [effect["kind"] for effect in sandbox.effects()] == ["customer", "charge"]
    assert sandbox.effects(vendor="sendgrid") == []
    assert sandbox.totals() == {"stripe": {"customer": 1, "charge": 1}}
    (charge,) = sandbox.effects(after=1)
    assert (charge["seq"], charge["key"], charge["amount"]) == (2, "k-1", 1250)
    assert sandbox.effects(kind="customer")[0]["metadata"] == {"job": "j-1"}


def test_an_effect_names_its_job_where_the_vendor_has_a_place_for_it(
    sandbox: Sandbox, http: httpx.Client, mail: httpx.Client
) -> None:
    made = http.post("/v1/payment_intents", data=payment(**{"metadata[job]": "j-1"})).json()
    refund = {"payment_intent": made["id"], "amount": 10, "metadata[job]": "j-2"}
    http.post("/v1/refunds", data=refund)
    sandbox.dashboard("stripe", "refund", payment_intent=made["id"])
    letter = {
        "from": {"email": "a@example.com"},
        "personalizations": [
            {"to": [{"email": "b@example.com"}], "custom_args": {"ferryman_job": "j-3"}}
        ],
        "subject": "s",
        "content": [{"type": "text/plain", "value": "t"}],
    }
    mail.post("/v3/mail/send", json=letter)

    assert [(effect["kind"], effect["job"]) for effect in sandbox.effects()] == [
        ("charge", "j-1"),
        ("refund", "j-2"),
        ("refund", None),
        ("mail", "j-3"),
    ]


def test_a_client_may_begin_anew_while_the_vendors_go_on(
    sandbox: Sandbox, http: httpx.Client
) -> None:
    made = http.post("/v1/payment_intents", data=payment()).json()
    sandbox.script([{"do": "throttle"}])
    sandbox.limit("stripe", 1)

    sandbox.begin()
    answers = [http.get(f"/v1/payment_intents/{made['id']}").status_code for _ in range(2)]
    http.post("/v1/payment_intents", data=payment())

    assert answers == [200, 200]
    assert [effect["seq"] for effect in sandbox.effects()] == [2]
    assert len(sandbox.effects(after=0)) == 2


def test_requests_are_seen_with_key_status_and_digest(sandbox: Sandbox, http: httpx.Client) -> None:
    for amount in (1250, 1250, 1251):
        http.post(
            "/v1/payment_intents", data=payment(amount=amount), headers={"Idempotency-Key": "k-1"}
        )

    first, same, other = sandbox.requests("stripe")

    assert [seen["status"] for seen in (first, same, other)] == [200, 200, 400]
    assert first["body"] == same["body"] != other["body"]
    assert {first["key"], same["key"], other["key"]} == {"k-1"}
    assert sandbox.requests("sendgrid") == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/faults", b"{"),
        ("POST", "/faults", b"[]"),
        ("POST", "/faults", b'{"rules": 5}'),
        ("POST", "/faults", b'{"rules": [{"do": "explode"}]}'),
        ("POST", "/limits", b'{"vendor": "nobody", "per_second": 1}'),
        ("POST", "/limits", b'{"vendor": "stripe", "per_second": "1"}'),
        ("GET", "/effects?after=x", b""),
        ("POST", "/nobody/dashboard/refund", b"{}"),
        ("POST", "/sendgrid/dashboard/refund", b"{}"),
        ("POST", "/stripe/dashboard/explode", b"{}"),
        ("POST", "/stripe/dashboard/refund", b'{"colour": 1}'),
        ("POST", "/stripe/dashboard/refund", b'{"charge": "ch_none"}'),
        ("POST", "/stripe/dashboard/card", b'{"payment_method": "pm_none"}'),
        ("POST", "/stripe/dashboard/authenticate", b'{"payment_intent": "pi_none"}'),
    ],
)
def test_what_cannot_be_understood_is_refused_with_a_reason(
    sandbox: Sandbox, method: str, path: str, body: bytes
) -> None:
    answer = httpx.request(method, f"{sandbox.url}/_sandbox{path}", content=body, trust_env=False)

    assert answer.status_code == 400
    assert answer.json()["error"]


def test_the_client_raises_the_reason(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="rule 1: do: one of drop_after"):
        sandbox.script([{"do": "explode"}])


def test_no_vendor_of_that_name(sandbox: Sandbox) -> None:
    answer = httpx.get(f"{sandbox.url}/nobody/v1", trust_env=False)

    assert answer.status_code == 404
    assert "/stripe/" in answer.json()["error"]


def test_faults_are_counted_and_removed(sandbox: Sandbox, http: httpx.Client) -> None:
    rule: dict[str, Any] = {"do": "status", "status": 503, "when": {"nth": [2]}}
    sandbox.script([rule])

    statuses = [http.get("/v1/balance").status_code for _ in range(3)]

    assert statuses == [200, 503, 200]
    assert sandbox.faults() == [rule | {"matched": 3, "fired": 1}]
    assert [seen["fault"] for seen in sandbox.requests()] == [None, "status", None]
    assert sandbox.script([]) == []
