"""Payment intents: what is refused, what waits, what is captured, cancelled and refunded."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.state import State
from tests.sandbox.conftest import Direct, payment

INTENTS = "/v1/payment_intents"


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"amount": None}, "parameter_missing", "amount"),
        ({"currency": None}, "parameter_missing", "currency"),
        ({"amount": "12.5"}, "parameter_invalid_integer", "amount"),
        ({"amount": "-5"}, "parameter_invalid_integer", "amount"),
        ({"amount": "0"}, "parameter_invalid_integer", "amount"),
        ({"amount": ""}, "parameter_invalid_empty", "amount"),
        ({"amount": 49}, "amount_too_small", "amount"),
        ({"amount": 100_000_000}, "amount_too_large", "amount"),
        ({"currency": "xyz"}, None, "currency"),
        ({"currency": "kwd", "amount": 1255}, "parameter_invalid_integer", "amount"),
        ({"currency": "isk", "amount": 1250}, "parameter_invalid_integer", "amount"),
        ({"colour": "red"}, "parameter_unknown", "colour"),
        (
            {"automatic_payment_methods[x]": "1"},
            "parameter_unknown",
            "automatic_payment_methods[x]",
        ),
        ({"confirm": "yes"}, None, "confirm"),
        ({"capture_method": "later"}, None, "capture_method"),
        ({"customer": "cus_none"}, "resource_missing", "customer"),
        ({"payment_method": "pm_none"}, "resource_missing", "payment_method"),
        ({"metadata": "x"}, None, "metadata"),
        ({"metadata[a]": "x" * 501}, None, "metadata[a]"),
        ({"metadata[" + "a" * 41 + "]": "x"}, None, "metadata[" + "a" * 41 + "]"),
        ({"description": "x" * 1001}, None, "description"),
        ({"allowed_payment_method_types[]": "card"}, "parameters_exclusive", None),
        ({"confirm": None, "off_session": "true"}, None, "off_session"),
        ({"automatic_payment_methods[allow_redirects]": None}, None, None),
        ({"expand[]": "colour"}, None, "expand"),
        ({"payment_method_types[]": "card"}, "payment_method_types_no_longer_supported", None),
    ],
)
def test_a_bad_payment_is_refused_and_does_nothing(
    direct: Direct, state: State, changes: dict[str, Any], code: str | None, param: str | None
) -> None:
    status, document = direct.form("POST", INTENTS, payment(**changes))

    assert status == 400
    assert document["error"]["type"] == "invalid_request_error"
    assert document["error"].get("code") == code
    assert param is None or document["error"]["param"] == param
    assert state.effects.totals() == {}
    assert direct.form("GET", INTENTS, {})[1]["data"] == []


@pytest.mark.parametrize(
    ("currency", "amount"), [("jpy", 50), ("kwd", 1250), ("isk", 1300), ("USD", 99_999_999)]
)
def test_currencies_have_their_own_units(direct: Direct, currency: str, amount: int) -> None:
    status, document = direct.form("POST", INTENTS, payment(currency=currency, amount=amount))

    assert (status, document["amount_received"]) == (200, amount)
    assert document["currency"] == currency.lower()


def test_payment_method_types_are_taken_by_older_versions_only(direct: Direct) -> None:
    given = payment(**{"payment_method_types[]": "card"})
    given = {n: v for n, v in given.items() if not n.startswith("automatic")}

    old, _ = direct.form("POST", INTENTS, given, stripe_version="2025-03-31.basil")
    new, document = direct.form("POST", INTENTS, given, stripe_version="2026-09-30.endive")

    assert (old, new) == (200, 400)
    assert document["error"]["code"] == "payment_method_types_no_longer_supported"


def test_json_is_refused(direct: Direct) -> None:
    answer = direct.ask("POST", INTENTS, '{"amount": 5}', content_type="application/json")

    assert answer.status == 400
    assert b"x-www-form-urlencoded" in answer.body


@pytest.mark.parametrize("path", ["/v1/teapots", "/v1/payment_intents/pi_1/brew", "/v2/refunds"])
def test_other_paths_are_unrecognized(direct: Direct, path: str) -> None:
    status, document = direct.form("POST", path, {})

    assert status == 404
    assert "Unrecognized request URL" in document["error"]["message"]


def test_authorize_then_capture_a_part(direct: Direct, state: State) -> None:
    _, held = direct.form("POST", INTENTS, payment(capture_method="manual"))
    path = f"{INTENTS}/{held['id']}/capture"

    too_much, _ = direct.form("POST", path, {"amount_to_capture": 1251})
    _, taken = direct.form("POST", path, {"amount_to_capture": 1000})
    again, document = direct.form("POST", path, {})

    assert (held["status"], held["amount_capturable"]) == ("requires_capture", 1250)
    assert (taken["status"], taken["amount_received"]) == ("succeeded", 1000)
    assert (too_much, again) == (400, 400)
    assert document["error"]["code"] == "payment_intent_unexpected_state"
    assert state.effects.totals() == {"stripe": {"authorization": 1, "charge": 1}}


def test_a_held_payment_can_be_cancelled_a_made_one_cannot(direct: Direct) -> None:
    _, held = direct.form("POST", INTENTS, payment(capture_method="manual"))
    _, made = direct.form("POST", INTENTS, payment())

    _, cancelled = direct.form("POST", f"{INTENTS}/{held['id']}/cancel", {})
    status, document = direct.form("POST", f"{INTENTS}/{made['id']}/cancel", {})

    assert (cancelled["status"], cancelled["amount_capturable"]) == ("canceled", 0)
    assert status == 400
    assert document["error"]["payment_intent"]["status"] == "succeeded"


def test_create_then_confirm(direct: Direct) -> None:
    _, made = direct.form("POST", INTENTS, payment(confirm=None, payment_method=None))
    path = f"{INTENTS}/{made['id']}/confirm"

    bare, _ = direct.form("POST", path, {})
    _, paid = direct.form("POST", path, {"payment_method": "pm_card_visa"})
    again, _ = direct.form("POST", path, {})

    assert made["status"] == "requires_payment_method"
    assert paid["status"] == "succeeded"
    assert (bare, again) == (400, 400)


ASKING = "pm_card_authenticationRequired"


def test_a_payer_may_have_to_act(direct: Direct, state: State) -> None:
    given = payment(payment_method=ASKING, return_url="https://shop.example/back")
    _, asked = direct.form("POST", INTENTS, given)

    assert asked["status"] == "requires_action"
    assert asked["next_action"]["redirect_to_url"]["return_url"] == "https://shop.example/back"
    assert state.effects.totals() == {}

    direct.vendor.dashboard("authenticate", {"payment_intent": asked["id"]})

    assert direct.form("GET", f"{INTENTS}/{asked['id']}", {})[1]["status"] == "succeeded"
    assert state.effects.totals() == {"stripe": {"charge": 1}}


@pytest.mark.parametrize("alone", ["error_on_requires_action", "off_session"])
def test_without_a_payer_at_hand_that_is_a_decline(direct: Direct, alone: str) -> None:
    status, document = direct.form(
        "POST", INTENTS, payment(payment_method=ASKING, **{alone: "true"})
    )

    assert status == 402
    assert document["error"]["code"] == "authentication_required"


def test_a_card_can_be_mended(direct: Direct) -> None:
    given = payment(payment_method="pm_card_chargeDeclined")
    declined, _ = direct.form("POST", INTENTS, given)

    direct.vendor.dashboard("card", {"payment_method": "pm_card_chargeDeclined"})
    paid, _ = direct.form("POST", INTENTS, given)

    assert (declined, paid) == (402, 200)


def test_expand_puts_objects_for_ids(direct: Direct) -> None:
    _, customer = direct.form("POST", "/v1/customers", {"email": "a@example.com"})
    given = payment(customer=customer["id"], **{"expand[0]": "latest_charge.customer"})

    _, paid = direct.form("POST", INTENTS, given)

    assert paid["latest_charge"]["payment_intent"] == paid["id"]
    assert paid["latest_charge"]["customer"]["email"] == "a@example.com"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("metadata['job']:'1'", 1),
        ('metadata["job"]:"1" AND currency:"usd"', 1),
        ("metadata['job']:'1' AND currency:'eur'", 0),
        ("amount>=1250", 2),
        ("amount>1250 OR metadata['job']:'2'", 1),
        ("-metadata['job']:'1'", 1),
        ("status:'succeeded'", 2),
    ],
)
def test_search_queries(direct: Direct, query: str, found: int) -> None:
    for job in ("1", "2"):
        direct.form("POST", INTENTS, payment(**{"metadata[job]": job}))

    _, document = direct.form("GET", f"{INTENTS}/search", {"query": query})

    assert document["object"] == "search_result"
    assert len(document["data"]) == found


@pytest.mark.parametrize(
    "query", ["", "colour:'red'", "metadata:'x'", "status", "a:'1' AND b:'2' OR c:'3'"]
)
def test_unreadable_queries_are_refused(direct: Direct, query: str) -> None:
    status, document = direct.form("GET", f"{INTENTS}/search", {"query": query})

    assert status == 400
    assert document["error"]["param"] == "query"


def test_search_may_lag_behind(direct: Direct) -> None:
    direct.form("POST", INTENTS, payment())
    direct.vendor.dashboard("settings", {"search_lag": 60})

    _, document = direct.form("GET", f"{INTENTS}/search", {"query": "status:'succeeded'"})

    assert document["data"] == []
