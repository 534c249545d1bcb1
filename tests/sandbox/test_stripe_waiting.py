"""Payments that wait: for a payer on a page, for a bank, for their capture, and how they end."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.state import State
from sandbox.vendor import UnknownAction
from tests.sandbox.conftest import Direct, payment

INTENTS = "/v1/payment_intents"
ASKING = "pm_card_threeDSecure2Required"
BACK = "https://shop.example/back?order=7"
BY_REDIRECT = {"automatic_payment_methods[allow_redirects]": None, "return_url": BACK}


def made(direct: Direct, **changes: Any) -> dict[str, Any]:
    status, document = direct.form("POST", INTENTS, payment(**changes), idempotency_key="k-1")
    assert status == 200, document
    return dict(document)


def now(direct: Direct, intent: dict[str, Any]) -> dict[str, Any]:
    query = {"expand[]": "latest_charge"}
    return dict(direct.form("GET", f"{INTENTS}/{intent['id']}", query)[1])


def told(direct: Direct) -> list[str]:
    """The types of all events, oldest first."""
    data = direct.form("GET", "/v1/events", {"limit": 100})[1]["data"]
    return [event["type"] for event in reversed(data)]


@pytest.mark.parametrize("result", ["succeeded", "failed"])
def test_a_payer_is_sent_to_a_page_and_back(direct: Direct, state: State, result: str) -> None:
    asked = made(direct, payment_method=ASKING, **BY_REDIRECT)
    url = asked["next_action"]["redirect_to_url"]["url"]
    assert (asked["status"], asked["latest_charge"]) == ("requires_action", None)
    path = url.removeprefix("https://hooks.stripe.com")

    visited = Direct(direct.vendor).ask("GET", path, f"result={result}")  # he has no key

    assert visited.status == 303
    location = visited.headers["Location"]
    assert location.startswith(f"{BACK}&payment_intent={asked['id']}&")
    assert location.endswith(f"redirect_status={result}")
    expected = {"succeeded": "succeeded", "failed": "requires_payment_method"}[result]
    after = now(direct, asked)
    assert after["status"] == expected
    if result == "failed":
        assert after["last_payment_error"]["code"] == "payment_intent_authentication_failure"
        assert after["latest_charge"] is None
    assert ("stripe" in state.effects.totals()) == (result == "succeeded")
    assert Direct(direct.vendor).ask("GET", path).status == 400  # once only


def test_the_page_is_where_the_caller_has_found_the_sandbox(direct: Direct) -> None:
    given = payment(payment_method=ASKING, **BY_REDIRECT)

    _, asked = direct.form("POST", INTENTS, given, host="127.0.0.1:8090")

    url = asked["next_action"]["redirect_to_url"]["url"]
    assert url == f"http://127.0.0.1:8090/stripe/redirect/authenticate/{asked['id']}"


def test_a_payer_may_have_to_act_before_the_money_is_held(direct: Direct) -> None:
    asked = made(direct, payment_method=ASKING, capture_method="manual", **BY_REDIRECT)
    direct.vendor.dashboard("authenticate", {"payment_intent": asked["id"]})

    assert now(direct, asked)["status"] == "requires_capture"
    with pytest.raises(UnknownAction, match="status of requires_capture"):
        direct.vendor.dashboard("authenticate", {"payment_intent": asked["id"]})


BANK = "pm_usBankAccount_"


def test_a_debit_is_processing_until_the_bank_has_decided(direct: Direct, state: State) -> None:
    waiting = made(direct, payment_method=f"{BANK}processing")
    charge = now(direct, waiting)["latest_charge"]

    assert (waiting["status"], waiting["amount_received"]) == ("processing", 0)
    assert (charge["status"], charge["paid"], charge["captured"]) == ("pending", False, False)
    assert (charge["id"][:3], charge["payment_method_details"]["type"]) == (
        "py_",
        "us_bank_account",
    )
    assert state.effects.totals() == {}

    direct.vendor.dashboard("settle", {"payment_intent": waiting["id"]})

    settled = now(direct, waiting)
    assert (settled["status"], settled["amount_received"]) == ("succeeded", 1250)
    assert settled["latest_charge"]["id"] == charge["id"]
    assert state.effects.totals() == {"stripe": {"charge": 1}}
    assert told(direct) == [
        "payment_intent.created",
        "charge.pending",
        "payment_intent.processing",
        "charge.succeeded",
        "payment_intent.succeeded",
    ]


@pytest.mark.parametrize(
    ("account", "arguments", "code"),
    [
        ("accountClosed", {}, "account_closed"),
        ("insufficientFunds", {}, "insufficient_funds"),
        ("success", {"succeeds": False}, "debit_not_authorized"),
    ],
)
def test_a_bank_may_say_no(
    direct: Direct, state: State, account: str, arguments: dict[str, Any], code: str
) -> None:
    waiting = made(direct, payment_method=BANK + account)
    direct.vendor.dashboard("settle", {"payment_intent": waiting["id"], **arguments})

    failed = now(direct, waiting)

    assert failed["status"] == "requires_payment_method"
    assert (failed["last_payment_error"]["code"], failed["latest_charge"]["status"]) == (
        code,
        "failed",
    )
    assert told(direct)[-2:] == ["charge.failed", "payment_intent.payment_failed"]
    assert state.effects.totals() == {}
    with pytest.raises(UnknownAction):
        direct.vendor.dashboard("settle", {"payment_intent": waiting["id"]})


@pytest.mark.parametrize("changes", [{"currency": "eur"}, {"capture_method": "manual"}])
def test_what_no_debit_can_be(direct: Direct, changes: dict[str, Any]) -> None:
    given = payment(payment_method=f"{BANK}success", **changes)

    status, document = direct.form("POST", INTENTS, given)

    assert status == 400
    assert document["error"]["code"] == "payment_intent_incompatible_payment_method"


WAITING: dict[str, dict[str, Any]] = {
    "requires_payment_method": {"payment_method": None, "confirm": None},
    "requires_confirmation": {"confirm": None},
    "requires_action": {"payment_method": ASKING, **BY_REDIRECT},
    "processing": {"payment_method": f"{BANK}processing"},
    "requires_capture": {"capture_method": "manual"},
}


@pytest.mark.parametrize("by", ["request", "person"])
@pytest.mark.parametrize("status", WAITING)
def test_whatever_waits_can_be_cancelled_once(
    direct: Direct, state: State, status: str, by: str
) -> None:
    waiting = made(direct, **WAITING[status])
    assert waiting["status"] == status

    if by == "person":
        direct.vendor.dashboard("cancel", {"payment_intent": waiting["id"]})
    else:
        direct.form("POST", f"{INTENTS}/{waiting['id']}/cancel", {})

    cancelled = now(direct, waiting)
    assert (cancelled["status"], cancelled["amount_capturable"]) == ("canceled", 0)
    assert told(direct)[-1] == "payment_intent.canceled"
    assert direct.form("GET", "/v1/refunds", {})[1]["data"] == []
    assert "charge" not in state.effects.totals()["stripe"]
    for verb in ("cancel", "capture", "confirm"):
        again, document = direct.form("POST", f"{INTENTS}/{waiting['id']}/{verb}", {})
        assert again == 400
        if verb != "confirm":
            assert document["error"]["payment_intent"]["status"] == "canceled"


def test_what_is_held_expires(direct: Direct) -> None:
    held = made(direct, capture_method="manual")
    direct.vendor.dashboard("expire", {"payment_intent": held["id"]})

    expired = now(direct, held)

    assert (expired["status"], expired["cancellation_reason"]) == ("canceled", "expired")
    charge = expired["latest_charge"]
    assert (charge["captured"], charge["refunded"], charge["amount_refunded"]) == (False, False, 0)
    assert told(direct)[-2:] == ["charge.expired", "payment_intent.canceled"]
    with pytest.raises(UnknownAction):
        direct.vendor.dashboard("expire", {"payment_intent": held["id"]})


def test_what_is_captured_in_part_is_given_back_up_to_that(direct: Direct) -> None:
    held = made(direct, capture_method="manual")
    path = f"{INTENTS}/{held['id']}/capture"
    direct.form("POST", path, {"amount_to_capture": 1000})

    charge = now(direct, held)["latest_charge"]
    given = {"payment_intent": held["id"]}
    too_much, _ = direct.form("POST", "/v1/refunds", given | {"amount": 1001})
    _, rest = direct.form("POST", "/v1/refunds", given)

    assert (charge["amount"], charge["amount_captured"], charge["amount_refunded"]) == (
        1250,
        1000,
        0,
    )
    assert (too_much, rest["amount"]) == (400, 1000)
