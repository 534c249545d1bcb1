"""Refunds: whole, in parts, never above the rest, never of what was not taken."""

from __future__ import annotations

import itertools

import pytest

from sandbox.state import State
from tests.sandbox.conftest import Direct, payment

REFUNDS = "/v1/refunds"


def paid(direct: Direct, **changes: object) -> str:
    return str(direct.form("POST", "/v1/payment_intents", payment(**changes))[1]["id"])


def test_without_an_amount_all_that_is_left(direct: Direct, state: State) -> None:
    intent = paid(direct)
    _, part = direct.form("POST", REFUNDS, {"payment_intent": intent, "amount": 250})
    _, rest = direct.form("POST", REFUNDS, {"charge": part["charge"]})

    assert (part["amount"], rest["amount"]) == (250, 1000)
    status, document = direct.form("POST", REFUNDS, {"payment_intent": intent})
    assert (status, document["error"]["code"]) == (400, "charge_already_refunded")
    assert direct.form("GET", f"/v1/charges/{part['charge']}", {})[1]["refunded"] is True
    assert state.effects.totals() == {"stripe": {"charge": 1, "refund": 2}}


@pytest.mark.parametrize("amounts", list(itertools.permutations([600, 500, 400])))
def test_the_sum_never_exceeds_the_charge(direct: Direct, amounts: tuple[int, ...]) -> None:
    intent = paid(direct, amount=1000)

    statuses = [
        direct.form("POST", REFUNDS, {"payment_intent": intent, "amount": amount})[0]
        for amount in amounts
    ]

    _, made = direct.form("GET", REFUNDS, {"payment_intent": intent})
    assert sum(one["amount"] for one in made["data"]) <= 1000
    assert statuses.count(400) >= 1


def test_too_much_says_how_much_is_left(direct: Direct) -> None:
    intent = paid(direct)
    direct.form("POST", REFUNDS, {"payment_intent": intent, "amount": 250})

    status, document = direct.form("POST", REFUNDS, {"payment_intent": intent, "amount": 1001})

    assert status == 400
    assert document["error"]["param"] == "amount"
    assert "($10.01) is greater than unrefunded amount on charge ($10.00)" in str(document)


def test_a_part_that_was_not_captured_is_not_refunded(direct: Direct) -> None:
    intent = paid(direct, capture_method="manual")
    held, _ = direct.form("POST", REFUNDS, {"payment_intent": intent})
    direct.form("POST", f"/v1/payment_intents/{intent}/capture", {"amount_to_capture": 1000})

    over, _ = direct.form("POST", REFUNDS, {"payment_intent": intent, "amount": 1001})
    whole, _ = direct.form("POST", REFUNDS, {"payment_intent": intent, "amount": 1000})

    assert (held, over, whole) == (400, 400, 200)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({}, "parameter_missing"),
        ({"charge": "ch_none"}, "resource_missing"),
        ({"payment_intent": "pi_none"}, "resource_missing"),
        ({"payment_intent": "pi_none", "amount": "1.5"}, "parameter_invalid_integer"),
        ({"payment_intent": "pi_none", "note": "x"}, "parameter_unknown"),
        ({"payment_intent": "pi_none", "reason": "bored"}, None),
    ],
)
def test_bad_refunds(direct: Direct, given: dict[str, str], code: str | None) -> None:
    status, document = direct.form("POST", REFUNDS, given)

    assert (status, document["error"].get("code")) == (400, code)


def test_a_declined_payment_has_nothing_to_refund(direct: Direct) -> None:
    _, declined = direct.form(
        "POST", "/v1/payment_intents", payment(payment_method="pm_card_chargeDeclined")
    )
    intent = declined["error"]["payment_intent"]["id"]

    status, document = direct.form("POST", REFUNDS, {"payment_intent": intent})

    assert status == 400
    assert "does not have a successful charge" in document["error"]["message"]


def test_a_refund_in_the_dashboard_leaves_less(direct: Direct, state: State) -> None:
    intent = paid(direct)
    direct.vendor.dashboard("refund", {"payment_intent": intent, "amount": 1000})

    over, _ = direct.form("POST", REFUNDS, {"payment_intent": intent, "amount": 251})
    rest, _ = direct.form("POST", REFUNDS, {"payment_intent": intent, "amount": 250})

    assert (over, rest) == (400, 200)
    assert state.effects.totals()["stripe"]["refund"] == 2


def test_a_disputed_charge_is_not_refunded(direct: Direct) -> None:
    intent = paid(direct)
    direct.vendor.dashboard("dispute", {"payment_intent": intent})

    status, document = direct.form("POST", REFUNDS, {"payment_intent": intent})

    assert (status, document["error"]["code"]) == (400, "charge_disputed")
