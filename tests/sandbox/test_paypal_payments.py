"""What becomes of money that is held or taken: captures, voids, refunds, disputes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from sandbox.state import State
from sandbox.vendor import UnknownAction
from tests.sandbox.paypal import (
    JOB,
    ORDERS,
    PAYMENTS,
    PayPal,
    connected,
    issue,
    linked,
    source,
    unit,
)


@pytest.fixture
def paypal(state: State) -> PayPal:
    return connected(state)


def money(value: str, currency: str = "USD") -> dict[str, Any]:
    return {"amount": {"currency_code": currency, "value": value}}


def refund(paypal: PayPal, capture: str, body: Any = None, key: str | None = None) -> Any:
    return paypal.post(f"{PAYMENTS}/captures/{capture}/refund", body, key)


def take(paypal: PayPal, authorization: str, body: Any = None) -> Any:
    return paypal.post(f"{PAYMENTS}/authorizations/{authorization}/capture", body)


def void(paypal: PayPal, authorization: str, prefer: str = "return=representation") -> Any:
    path = f"{PAYMENTS}/authorizations/{authorization}/void"
    return paypal.call("POST", path, prefer=prefer)


def refund_entries(state: State) -> bytes:
    return state.effects.document("paypal", "refund")


def test_held_money_is_taken_once(paypal: PayPal, state: State) -> None:
    held = paypal.held()
    status, taken = take(paypal, held["id"])
    again, document = take(paypal, held["id"])

    assert (held["status"], status, taken["status"]) == ("CREATED", 201, "COMPLETED")
    assert (taken["custom_id"], taken["final_capture"]) == (JOB, True)
    assert (again, issue(document)[0]) == (422, "AUTHORIZATION_ALREADY_CAPTURED")
    assert paypal.get(f"{PAYMENTS}/authorizations/{held['id']}")["status"] == "CAPTURED"
    assert str(linked(taken, "up")).endswith(held["id"])
    assert state.effects.totals() == {"paypal": {"authorization": 1, "charge": 1}}
    related = paypal.get(f"{PAYMENTS}/captures/{taken['id']}")["supplementary_data"]["related_ids"]
    payments = paypal.get(f"{ORDERS}/{related['order_id']}")["purchase_units"][0]["payments"]
    assert [one["id"] for one in payments["captures"]] == [taken["id"]]
    assert [one["status"] for one in payments["authorizations"]] == ["CAPTURED"]


def test_in_parts_until_all_is_taken(paypal: PayPal) -> None:
    held = paypal.held()
    path = f"{PAYMENTS}/authorizations/{held['id']}"

    too_much = take(paypal, held["id"], money("12.51"))
    _, part = take(paypal, held["id"], money("2.50"))
    between = paypal.get(path)["status"]
    over = take(paypal, held["id"], money("10.01"))
    _, rest = take(paypal, held["id"], money("10.00"))

    assert issue(too_much[1]) == issue(over[1]) == ("MAX_CAPTURE_AMOUNT_EXCEEDED", "/amount/value")
    assert (part["final_capture"], between, rest["final_capture"]) == (
        False,
        "PARTIALLY_CAPTURED",
        True,
    )
    assert paypal.get(path)["status"] == "CAPTURED"
    assert paypal.do("balance") == {"usd": 1250}


def test_a_final_part_lets_the_rest_go(paypal: PayPal) -> None:
    held = paypal.held()
    status, taken = take(paypal, held["id"], money("5.00") | {"final_capture": True})

    assert (status, taken["amount"]["value"]) == (201, "5.00")
    assert issue(take(paypal, held["id"])[1])[0] == "AUTHORIZATION_ALREADY_CAPTURED"
    assert paypal.do("balance") == {"usd": 500}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (money("1.00", "EUR"), (422, "AUTH_CAPTURE_CURRENCY_MISMATCH")),
        (money("1.005"), (422, "DECIMAL_PRECISION")),
        (money("0"), (422, "CANNOT_BE_ZERO_OR_NEGATIVE")),
        ({"final_capture": "yes"}, (400, "INVALID_PARAMETER_SYNTAX")),
        ({"invoice_id": ""}, (400, "INVALID_STRING_LENGTH")),
        ({"custom_id": JOB}, (400, "NOT_SUPPORTED")),
    ],
)
def test_bad_captures(
    paypal: PayPal, state: State, body: dict[str, Any], expected: tuple[int, str]
) -> None:
    held = paypal.held()
    status, document = take(paypal, held["id"], body)

    assert (status, issue(document)[0]) == expected
    assert state.effects.totals() == {"paypal": {"authorization": 1}}


def test_held_money_is_let_go_once(paypal: PayPal, state: State) -> None:
    held, other = paypal.held(), paypal.held()

    whole, document = void(paypal, held["id"])
    again = void(paypal, held["id"])
    quiet = paypal.ask(
        "POST", f"{PAYMENTS}/authorizations/{other['id']}/void", prefer="return=minimal"
    )

    assert (whole, document["status"]) == (200, "VOIDED")
    assert (again[0], issue(again[1])[0]) == (422, "PREVIOUSLY_VOIDED")
    assert (quiet.status, quiet.body) == (204, b"")
    assert issue(take(paypal, held["id"])[1])[0] == "AUTHORIZATION_VOIDED"
    assert state.effects.totals() == {"paypal": {"authorization": 2, "cancellation": 2}}
    assert f'"job":"{JOB}"'.encode() in state.effects.document("paypal", "cancellation")


def test_what_is_taken_cannot_be_let_go_but_its_rest_can(paypal: PayPal) -> None:
    taken, part = paypal.held(), paypal.held()
    take(paypal, taken["id"])
    take(paypal, part["id"], money("1.00"))

    assert issue(void(paypal, taken["id"])[1])[0] == "PREVIOUSLY_CAPTURED"
    assert void(paypal, part["id"])[1]["status"] == "VOIDED"
    assert paypal.do("balance") == {"usd": 1350}


@pytest.mark.parametrize(
    ("token", "status"), [("vault_pending", "PENDING"), ("vault_bounces", "DENIED")]
)
def test_what_is_not_held_yet_cannot_be_taken(
    paypal: PayPal, state: State, token: str, status: str
) -> None:
    held = paypal.held(**source(token))

    assert held["status"] == status
    assert take(paypal, held["id"])[0] == 422
    assert state.effects.totals() == {}
    if status == "PENDING":
        paypal.do("settle", id=held["id"])
        assert take(paypal, held["id"])[0] == 201
        assert state.effects.totals() == {"paypal": {"authorization": 1, "charge": 1}}


def test_without_an_amount_all_that_is_left_is_refunded(paypal: PayPal, state: State) -> None:
    made = paypal.paid()
    path = f"{PAYMENTS}/captures/{made['id']}"

    status, part = refund(paypal, made["id"], money("2.50") | {"custom_id": "r-1"})
    between = paypal.get(path)["status"]
    _, rest = refund(paypal, made["id"])
    again, document = refund(paypal, made["id"])

    assert (status, part["status"], part["amount"]["value"]) == (201, "COMPLETED", "2.50")
    assert (part["custom_id"], between) == ("r-1", "PARTIALLY_REFUNDED")
    assert rest["amount"]["value"] == "10.00"
    assert rest["seller_payable_breakdown"]["total_refunded_amount"]["value"] == "12.50"
    assert (again, issue(document)[0]) == (422, "CAPTURE_FULLY_REFUNDED")
    assert paypal.get(path)["status"] == "REFUNDED"
    assert paypal.get(f"{PAYMENTS}/refunds/{part['id']}")["custom_id"] == "r-1"
    assert str(linked(part, "up")).endswith(path)
    assert paypal.do("balance") == {"usd": 0}
    assert state.effects.totals() == {"paypal": {"charge": 1, "refund": 2}}
    assert b'"job":"r-1"' in refund_entries(state)
    assert b'"job":null' in refund_entries(state)


@pytest.mark.parametrize("amounts", list(itertools.permutations(["6.00", "5.00", "4.00"])))
def test_the_sum_never_exceeds_the_capture(paypal: PayPal, amounts: tuple[str, ...]) -> None:
    made = paypal.paid(purchase_units=[unit("10.00")])
    answers = [refund(paypal, made["id"], money(amount)) for amount in amounts]

    refused = [document for status, document in answers if status == 422]
    assert {issue(document) for document in refused} <= {
        ("REFUND_AMOUNT_EXCEEDED", "/amount/value"),
        ("CAPTURE_FULLY_REFUNDED", None),
    }
    assert len(refused) >= 1
    assert paypal.do("balance")["usd"] >= 0


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (money("1.00", "EUR"), (422, "REFUND_CAPTURE_CURRENCY_MISMATCH")),
        (money("1.00", "XYZ"), (422, "INVALID_CURRENCY_CODE")),
        (money("1.005"), (422, "DECIMAL_PRECISION")),
        (money("-1.00"), (422, "CANNOT_BE_ZERO_OR_NEGATIVE")),
        (money("12.51"), (422, "REFUND_AMOUNT_EXCEEDED")),
        ({"amount": "1.00"}, (400, "INVALID_PARAMETER_SYNTAX")),
        ({"amount": {"value": "1.00"}}, (400, "MISSING_REQUIRED_PARAMETER")),
        ({"custom_id": "x" * 128}, (400, "INVALID_STRING_LENGTH")),
        ({"note_to_payer": "x" * 256}, (400, "INVALID_STRING_LENGTH")),
        ({"note_to_payer": "a\nb"}, (400, "INVALID_PARAMETER_SYNTAX")),
        ({"reason": "bored"}, (400, "NOT_SUPPORTED")),
    ],
)
def test_bad_refunds(
    paypal: PayPal, state: State, body: dict[str, Any], expected: tuple[int, str]
) -> None:
    status, document = refund(paypal, paypal.paid()["id"], body)

    assert (status, issue(document)[0]) == expected
    assert state.effects.totals() == {"paypal": {"charge": 1}}


@pytest.mark.parametrize(
    ("token", "expected"),
    [("vault_pending", "PENDING_CAPTURE"), ("vault_bounces", "REFUND_NOT_ALLOWED")],
)
def test_what_was_not_taken_cannot_be_refunded(paypal: PayPal, token: str, expected: str) -> None:
    made = paypal.paid(**source(token))

    assert issue(refund(paypal, made["id"])[1])[0] == expected


def test_an_invoice_is_refunded_once(paypal: PayPal) -> None:
    first, second = paypal.paid(), paypal.paid()
    given = money("1.00") | {"invoice_id": "r-1"}

    assert refund(paypal, first["id"], given)[0] == 201
    assert issue(refund(paypal, second["id"], given)[1]) == ("DUPLICATE_INVOICE_ID", "/invoice_id")


@pytest.mark.parametrize("succeeds", [True, False])
def test_a_pending_refund_reserves_its_money_until_it_is_settled(
    paypal: PayPal, state: State, succeeds: bool
) -> None:
    made = paypal.paid()
    paypal.do("settings", pending_refunds=True)
    _, waiting = refund(paypal, made["id"], money("10.00") | {"custom_id": "r-1"})
    over, document = refund(paypal, made["id"], money("2.51"))

    assert (waiting["status"], waiting["status_details"]) == ("PENDING", {"reason": "ECHECK"})
    assert (over, issue(document)[0]) == (422, "REFUND_AMOUNT_EXCEEDED")
    assert (paypal.do("balance"), state.effects.totals()) == (
        {"usd": 1250},
        {"paypal": {"charge": 1}},
    )

    paypal.do("settle", id=waiting["id"], succeeds=succeeds)

    end = paypal.get(f"{PAYMENTS}/refunds/{waiting['id']}")["status"]
    assert end == ("COMPLETED" if succeeds else "FAILED")
    assert paypal.do("balance") == ({"usd": 250} if succeeds else {"usd": 1250})
    assert (b'"job":"r-1"' in refund_entries(state)) is succeeds
    paypal.do("settings", pending_refunds=False)
    assert refund(paypal, made["id"], money("2.51"))[0] == (422 if succeeds else 201)


def test_a_refund_in_the_dashboard_leaves_less(paypal: PayPal, state: State) -> None:
    made = paypal.paid()
    paypal.do("refund", capture=made["id"], amount=1000)

    assert refund(paypal, made["id"], money("2.51"))[0] == 422
    assert refund(paypal, made["id"], money("2.50"))[0] == 201
    assert state.effects.totals() == {"paypal": {"charge": 1, "refund": 2}}
    assert refund_entries(state).count(b'"job":null') == 2


def test_a_disputed_capture_is_refunded_as_a_whole_or_not(paypal: PayPal) -> None:
    made = paypal.paid()
    opened = paypal.do("dispute", capture=made["id"])

    assert issue(refund(paypal, made["id"], money("1.00"))[1])[0] == "TRANSACTION_DISPUTED"
    with pytest.raises(UnknownAction, match="TRANSACTION_DISPUTED"):
        paypal.do("dispute", capture=made["id"])
    listed = paypal.get(f"/v1/customer/disputes?disputed_transaction_id={made['id']}")
    assert [one["dispute_id"] for one in listed["items"]] == [opened["dispute_id"]]
    assert paypal.get("/v1/customer/disputes?disputed_transaction_id=NONE")["items"] == []
    assert refund(paypal, made["id"])[0] == 201


@pytest.mark.parametrize(
    ("favour", "outcome"),
    [("SELLER", "RESOLVED_SELLER_FAVOUR"), ("BUYER", "RESOLVED_BUYER_FAVOUR")],
)
def test_a_dispute_ends(paypal: PayPal, favour: str, outcome: str) -> None:
    made = paypal.paid()
    opened = paypal.do("dispute", capture=made["id"])
    path = f"/v1/customer/disputes/{opened['dispute_id']}"
    before = paypal.get(path)["status"]

    paypal.do("resolve", capture=made["id"], favour=favour)

    after = paypal.get(path)
    assert (before, after["status"]) == ("OPEN", "RESOLVED")
    assert after["dispute_outcome"] == {"outcome_code": outcome}
    assert after["disputed_transactions"] == [{"seller_transaction_id": made["id"], "custom": JOB}]
    assert refund(paypal, made["id"], money("1.00"))[0] == 201


def test_the_order_tells_all(paypal: PayPal) -> None:
    made = paypal.paid()
    for value in ("1.00", "2.00"):
        refund(paypal, made["id"], money(value) | {"custom_id": f"r-{value}"})
    order = paypal.get(f"{PAYMENTS}/captures/{made['id']}")["supplementary_data"]["related_ids"]

    payments = paypal.get(f"{ORDERS}/{order['order_id']}")["purchase_units"][0]["payments"]

    assert [one["status"] for one in payments["captures"]] == ["PARTIALLY_REFUNDED"]
    assert [(one["custom_id"], one["amount"]["value"]) for one in payments["refunds"]] == [
        ("r-1.00", "1.00"),
        ("r-2.00", "2.00"),
    ]


@pytest.mark.parametrize(
    "path",
    [
        f"GET {PAYMENTS}/captures/NONE",
        f"GET {PAYMENTS}/authorizations/NONE",
        f"GET {PAYMENTS}/refunds/NONE",
        f"POST {PAYMENTS}/captures/NONE/refund",
        f"POST {PAYMENTS}/authorizations/NONE/capture",
        f"POST {PAYMENTS}/authorizations/NONE/void",
        "GET /v1/customer/disputes/NONE",
    ],
)
def test_the_unknown_is_not_found(paypal: PayPal, path: str) -> None:
    status, document = paypal.call(*path.split())

    assert (status, document["name"]) == (404, "RESOURCE_NOT_FOUND")
