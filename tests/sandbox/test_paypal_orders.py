"""Orders: what is refused, what waits for its payer, what is paid at once, and what is not."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.state import State
from sandbox.vendor import UnknownAction
from tests.sandbox.paypal import (
    ASKING,
    JOB,
    ORDERS,
    PayPal,
    connected,
    issue,
    order,
    source,
    unit,
    vaulted,
)


@pytest.fixture
def paypal(state: State) -> PayPal:
    return connected(state)


def capture(paypal: PayPal, id: str, body: Any = None, key: str | None = None) -> Any:
    return paypal.post(f"{ORDERS}/{id}/capture", body, key)


UNIT = "/purchase_units/0"


@pytest.mark.parametrize(
    ("changes", "issue_", "field"),
    [
        ({"intent": None}, "MISSING_REQUIRED_PARAMETER", "/intent"),
        ({"intent": "SALE"}, "INVALID_PARAMETER_VALUE", "/intent"),
        ({"intent": 1}, "INVALID_PARAMETER_SYNTAX", "/intent"),
        ({"purchase_units": None}, "MISSING_REQUIRED_PARAMETER", "/purchase_units"),
        ({"purchase_units": []}, "INVALID_ARRAY_MIN_ITEMS", "/purchase_units"),
        ({"purchase_units": [unit()] * 11}, "INVALID_ARRAY_MAX_ITEMS", "/purchase_units"),
        ({"purchase_units": unit()}, "INVALID_PARAMETER_SYNTAX", "/purchase_units"),
        ({"purchase_units": ["x"]}, "INVALID_PARAMETER_SYNTAX", UNIT),
        ({"purchase_units": [{}]}, "MISSING_REQUIRED_PARAMETER", f"{UNIT}/amount"),
        (
            {"purchase_units": [{"amount": {"value": "1.00"}}]},
            "MISSING_REQUIRED_PARAMETER",
            f"{UNIT}/amount/currency_code",
        ),
        ({"purchase_units": [unit("1,00")]}, "INVALID_PARAMETER_SYNTAX", f"{UNIT}/amount/value"),
        ({"purchase_units": [unit("1.00\n")]}, "INVALID_PARAMETER_SYNTAX", f"{UNIT}/amount/value"),
        ({"purchase_units": [unit("1.")]}, "INVALID_PARAMETER_SYNTAX", f"{UNIT}/amount/value"),
        ({"purchase_units": [unit("9" * 33)]}, "INVALID_STRING_LENGTH", f"{UNIT}/amount/value"),
        ({"purchase_units": [unit(custom_id="x" * 128)]}, "INVALID_STRING_LENGTH", None),
        ({"purchase_units": [unit(custom_id="")]}, "INVALID_STRING_LENGTH", f"{UNIT}/custom_id"),
        ({"purchase_units": [unit(description="x" * 128)]}, "INVALID_STRING_LENGTH", None),
        ({"purchase_units": [unit(soft_descriptor="x" * 23)]}, "INVALID_STRING_LENGTH", None),
        ({"purchase_units": [unit(invoice_id="x" * 128)]}, "INVALID_STRING_LENGTH", None),
        ({"purchase_units": [unit(colour="red")]}, "NOT_SUPPORTED", f"{UNIT}/colour"),
        ({"payment_source": {"card": {}}}, "NOT_SUPPORTED", "/payment_source/card"),
        ({"payment_source": {}}, "INVALID_PARAMETER_VALUE", "/payment_source"),
        (source("a b"), "INVALID_PARAMETER_SYNTAX", "/payment_source/paypal/vault_id"),
        (
            {"payment_source": {"paypal": {"experience_context": {"return_url": "back"}}}},
            "INVALID_PARAMETER_SYNTAX",
            "/payment_source/paypal/experience_context/return_url",
        ),
    ],
)
def test_an_order_of_the_wrong_form(
    paypal: PayPal, state: State, changes: dict[str, Any], issue_: str, field: str | None
) -> None:
    status, document = paypal.post(ORDERS, order(**changes), key="k-1")

    assert (status, document["name"]) == (400, "INVALID_REQUEST")
    assert issue(document)[0] == issue_
    assert field is None or issue(document)[1] == field
    assert state.effects.totals() == {}


def breakdown(**parts: str) -> dict[str, Any]:
    money = {name: {"currency_code": "USD", "value": value} for name, value in parts.items()}
    return {"amount": {"currency_code": "USD", "value": "12.50", "breakdown": money}}


ITEM = {"name": "n", "quantity": "2", "unit_amount": {"currency_code": "USD", "value": "6.25"}}


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ([unit(currency="XYZ")], "INVALID_CURRENCY_CODE"),
        ([unit(currency="usd")], "INVALID_CURRENCY_CODE"),
        ([unit(currency="KWD")], "INVALID_CURRENCY_CODE"),
        ([unit("1.005")], "DECIMAL_PRECISION"),
        ([unit("1.00", "JPY")], "DECIMALS_NOT_SUPPORTED"),
        ([unit("1.50", "HUF")], "DECIMALS_NOT_SUPPORTED"),
        ([unit("1.5", "TWD")], "DECIMALS_NOT_SUPPORTED"),
        ([unit("0.00")], "CANNOT_BE_ZERO_OR_NEGATIVE"),
        ([unit("-1.00")], "CANNOT_BE_ZERO_OR_NEGATIVE"),
        ([unit("-.01")], "CANNOT_BE_ZERO_OR_NEGATIVE"),
        ([unit("1000000000000000.00")], "MAX_VALUE_EXCEEDED"),
        ([unit(reference_id="a"), unit(currency="EUR", reference_id="b")], "MULTI_CURRENCY_ORDER"),
        ([unit(reference_id="a"), unit(reference_id="a")], "DUPLICATE_REFERENCE_ID"),
        ([unit(), unit()], "REFERENCE_ID_REQUIRED"),
        ([unit(**breakdown(item_total="12.00", shipping="0.49"))], "AMOUNT_MISMATCH"),
        ([unit(**breakdown(item_total="12.50", discount="-1.00"))], "CANNOT_BE_NEGATIVE"),
        ([unit(items=[ITEM])], "ITEM_TOTAL_REQUIRED"),
        (
            [unit(items=[ITEM, ITEM], **breakdown(item_total="12.50"))],
            "ITEM_TOTAL_MISMATCH",
        ),
    ],
)
def test_an_order_that_cannot_be_paid(
    paypal: PayPal, state: State, units: list[Any], expected: str
) -> None:
    status, document = paypal.post(ORDERS, vaulted(purchase_units=units), key="k-1")

    assert (status, document["name"]) == (422, "UNPROCESSABLE_ENTITY")
    assert issue(document)[0] == expected
    assert str(issue(document)[1]).startswith("/purchase_units/")
    assert state.effects.totals() == {}


@pytest.mark.parametrize(
    ("value", "currency", "shown", "amount"),
    [
        ("12.50", "USD", "12.50", 1250),
        ("12.5", "EUR", "12.50", 1250),
        (".5", "EUR", "0.50", 50),
        ("7", "USD", "7.00", 700),
        ("1250", "JPY", "1250", 1250),
        ("1", "HUF", "1", 1),
        ("0.01", "USD", "0.01", 1),
        ("999999999999999.99", "USD", "999999999999999.99", 99_999_999_999_999_999),
    ],
)
def test_amounts_in_the_currencys_own_units(
    paypal: PayPal, state: State, value: str, currency: str, shown: str, amount: int
) -> None:
    made = paypal.paid(purchase_units=[unit(value, currency)])

    assert made["amount"] == {"currency_code": currency, "value": shown}
    assert b'"amount":%d,"currency":"%b"' % (amount, currency.encode()) in effects(state)
    assert paypal.do("balance") == {currency.lower(): amount}


def effects(state: State) -> bytes:
    return state.effects.document("paypal", None)


def test_parts_and_items_that_add_up(paypal: PayPal) -> None:
    parts = breakdown(item_total="12.50", shipping="1.00", shipping_discount="1.00")

    assert paypal.post(ORDERS, order(purchase_units=[unit(items=[ITEM], **parts)]))[0] == 201


def test_a_payment_source_needs_a_request_id(paypal: PayPal, state: State) -> None:
    for given in (vaulted(), order(**ASKING)):
        status, document = paypal.post(ORDERS, given)
        assert (status, issue(document)[0]) == (400, "PAYPAL_REQUEST_ID_REQUIRED")

    assert paypal.post(ORDERS, order())[0] == 201
    assert state.effects.totals() == {}


def test_a_vaulted_token_pays_at_once(paypal: PayPal, state: State) -> None:
    status, made = paypal.post(ORDERS, vaulted("vault_ok-7"), key="k-1")

    (capture,) = made["purchase_units"][0]["payments"]["captures"]
    assert (status, made["status"], capture["status"]) == (201, "COMPLETED", "COMPLETED")
    assert (capture["custom_id"], capture["final_capture"]) == (JOB, True)
    assert paypal.get(f"{ORDERS}/{made['id']}") == made
    entry = effects(state)
    assert state.effects.totals() == {"paypal": {"charge": 1}}
    assert f'"reference":"{capture["id"]}","job":"{JOB}","key":"k-1"'.encode() in entry


@pytest.mark.parametrize(
    "given",
    [
        {"payment_source": {"token": {"id": "vault_ok", "type": "BILLING_AGREEMENT"}}},
        {"payment_source": {"paypal": {"billing_agreement_id": "vault-ok"}}},
    ],
)
def test_older_tokens_pay_too(paypal: PayPal, given: dict[str, Any]) -> None:
    assert paypal.post(ORDERS, order(**given), key="k-1")[1]["status"] == "COMPLETED"


@pytest.mark.parametrize("where", ["order", "capture"])
@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("vault_declined", "INSTRUMENT_DECLINED"),
        ("vault_declined_twice", "INSTRUMENT_DECLINED"),
        ("vault_cannot_pay", "PAYER_CANNOT_PAY"),
        ("vault_locked", "PAYER_ACCOUNT_LOCKED_OR_CLOSED"),
        ("vault_refused", "TRANSACTION_REFUSED"),
        ("vault_okay", "TOKEN_ID_NOT_FOUND"),
        ("nonsense", "TOKEN_ID_NOT_FOUND"),
    ],
)
def test_a_token_that_does_not_pay(
    paypal: PayPal, state: State, where: str, token: str, expected: str
) -> None:
    if where == "order":
        status, document = paypal.post(ORDERS, vaulted(token), key="k-1")
    else:
        _, made = paypal.post(ORDERS, order())
        status, document = capture(paypal, made["id"], source(token), "k-1")
        assert paypal.get(f"{ORDERS}/{made['id']}")["status"] == "CREATED"

    assert (status, issue(document)[0]) == (422, expected)
    assert state.effects.totals() == {}


def test_a_wallet_can_be_mended(paypal: PayPal) -> None:
    given = vaulted("vault_declined_7")
    declined, _ = paypal.post(ORDERS, given, key="k-1")

    paypal.do("wallet", token="vault_declined_7")

    assert (declined, paypal.post(ORDERS, given, key="k-1")[0]) == (422, 201)
    assert paypal.post(ORDERS, vaulted("vault_declined"), key="k-2")[0] == 422


def test_an_order_may_be_completed_and_its_capture_declined(paypal: PayPal, state: State) -> None:
    status, made = paypal.post(ORDERS, vaulted("vault_bounces"), key="k-1")

    assert (status, made["status"]) == (201, "COMPLETED")
    assert made["purchase_units"][0]["payments"]["captures"][0]["status"] == "DECLINED"
    assert state.effects.totals() == {}
    assert paypal.do("balance") == {}


@pytest.mark.parametrize("succeeds", [True, False])
def test_a_pending_capture_is_settled_later(paypal: PayPal, state: State, succeeds: bool) -> None:
    made = paypal.paid(**source("vault_pending"))
    assert (made["status"], made["status_details"]) == ("PENDING", {"reason": "PENDING_REVIEW"})
    assert state.effects.totals() == {}

    settled = paypal.do("settle", id=made["id"], succeeds=succeeds)

    assert settled["status"] == ("COMPLETED" if succeeds else "DECLINED")
    assert state.effects.totals() == ({"paypal": {"charge": 1}} if succeeds else {})
    assert paypal.do("balance") == ({"usd": 1250} if succeeds else {})
    with pytest.raises(UnknownAction, match="nothing that is pending"):
        paypal.do("settle", id=made["id"])


def test_any_capture_can_be_pending_at_first(paypal: PayPal) -> None:
    paypal.do("settings", pending_captures=True)

    assert paypal.paid()["status"] == "PENDING"


def test_several_units_are_as_many_captures(paypal: PayPal, state: State) -> None:
    units = [unit("1.00", reference_id="a"), unit("2.00", reference_id="b")]
    _, made = paypal.post(ORDERS, vaulted(purchase_units=units), key="k-1")

    values = [one["payments"]["captures"][0]["amount"]["value"] for one in made["purchase_units"]]
    assert values == ["1.00", "2.00"]
    assert state.effects.totals() == {"paypal": {"charge": 2}}
    given = order(intent="AUTHORIZE", purchase_units=units)
    assert issue(paypal.post(ORDERS, given)[1]) == ("UNSUPPORTED_INTENT", "/intent")


def test_an_invoice_is_paid_once(paypal: PayPal, state: State) -> None:
    units = [unit(invoice_id="i-1")]
    bounced, _ = paypal.post(ORDERS, vaulted("vault_bounces", purchase_units=units), key="k-0")
    first, _ = paypal.post(ORDERS, vaulted(purchase_units=units), key="k-1")
    second, document = paypal.post(ORDERS, vaulted(purchase_units=units), key="k-2")

    assert (bounced, first, second) == (201, 201, 422)
    assert issue(document) == ("DUPLICATE_INVOICE_ID", f"{UNIT}/invoice_id")
    assert state.effects.totals() == {"paypal": {"charge": 1}}


def test_an_invoice_is_free_again_when_its_payment_came_to_nothing(paypal: PayPal) -> None:
    units = [unit(invoice_id="i-1")]
    waiting = paypal.paid(purchase_units=units, **source("vault_pending"))
    assert paypal.post(ORDERS, vaulted(purchase_units=units), key="k-1")[0] == 422

    paypal.do("settle", id=waiting["id"], succeeds=False)

    assert paypal.post(ORDERS, vaulted(purchase_units=units), key="k-1")[0] == 201


@pytest.mark.parametrize("path", [ORDERS, f"{ORDERS}/NONE/capture", f"{ORDERS}/NONE/authorize"])
def test_an_unknown_order_is_not_found(paypal: PayPal, path: str) -> None:
    method = "GET" if path == ORDERS else "POST"
    status, document = paypal.call(method, f"{ORDERS}/NONE" if method == "GET" else path, None)

    assert (status, document["name"]) == (404, "RESOURCE_NOT_FOUND")
    assert issue(document)[0] == "INVALID_RESOURCE_ID"
