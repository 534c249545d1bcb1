"""Orders that wait: for their payer, who approves, denies or forgets, and for the capture."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from ferryman.testing import Sandbox
from sandbox.state import State
from sandbox.vendor import UnknownAction
from tests.sandbox.paypal import (
    ASKING,
    ORDERS,
    PayPal,
    client,
    connected,
    issue,
    linked,
    order,
    source,
    vaulted,
)


@pytest.fixture
def paypal(state: State) -> PayPal:
    return connected(state)


def capture(paypal: PayPal, id: str, body: Any = None, key: str | None = None) -> Any:
    return paypal.post(f"{ORDERS}/{id}/capture", body, key)


def test_the_payer_approves_and_then_it_is_captured(paypal: PayPal, state: State) -> None:
    _, made = paypal.post(ORDERS, order(**ASKING), key="k-1")
    early, document = capture(paypal, made["id"])

    assert (made["status"], linked(made, "approve")) == ("PAYER_ACTION_REQUIRED", None)
    assert str(linked(made, "payer-action")).endswith(f"checkoutnow?token={made['id']}")
    assert (early, issue(document)[0]) == (422, "ORDER_NOT_APPROVED")

    approved = paypal.do("approve", order=made["id"])
    taken, done = capture(paypal, made["id"], key="k-2")
    again, document = capture(paypal, made["id"], key="k-3")

    assert (approved["status"], taken, done["status"]) == ("APPROVED", 201, "COMPLETED")
    assert done["payer"]["email_address"] == "payer@example.com"
    assert (again, issue(document)[0]) == (422, "ORDER_ALREADY_CAPTURED")
    assert state.effects.totals() == {"paypal": {"charge": 1}}


def test_the_payers_page_is_the_sandboxs_own_and_sends_him_back(sandbox: Sandbox) -> None:
    with client(sandbox) as http, httpx.Client(trust_env=False) as browser:
        headers = {"PayPal-Request-Id": "k-1"}
        made = http.post(ORDERS, json=order(**ASKING), headers=headers).json()
        page = str(linked(made, "payer-action"))
        visits = [browser.get(page) for _ in range(2)]
        after = http.get(f"{ORDERS}/{made['id']}").json()

    assert page == f"{sandbox.base_url('paypal')}/checkoutnow?token={made['id']}"
    back = f"https://shop.example/back?token={made['id']}&PayerID=SANDBXPAYER22"
    assert [(one.status_code, one.headers["location"]) for one in visits] == [(303, back)] * 2
    assert after["status"] == "APPROVED"


@pytest.mark.parametrize(
    ("given", "query", "status", "location", "end"),
    [
        (ASKING, "&result=failed", 303, "https://shop.example/no?token=", "VOIDED"),
        (
            {"application_context": {"return_url": "https://shop.example/a?b=c"}},
            "",
            303,
            "https://shop.example/a?b=c&token=",
            "APPROVED",
        ),
        ({}, "", 200, "", "APPROVED"),
    ],
)
def test_other_ways_off_the_page(
    paypal: PayPal, given: dict[str, Any], query: str, status: int, location: str, end: str
) -> None:
    _, made = paypal.post(ORDERS, order(**given), key="k-1")

    answer = paypal.ask("GET", f"/checkoutnow?token={made['id']}{query}", authorization=None)

    assert answer.status == status
    assert answer.headers.get("Location", "").startswith(location)
    assert paypal.get(f"{ORDERS}/{made['id']}")["status"] == end


def test_a_page_of_no_order(paypal: PayPal) -> None:
    assert paypal.ask("GET", "/checkoutnow?token=NONE", authorization=None).status == 400
    assert paypal.ask("GET", "/checkoutnow", authorization=None).status == 400


def test_without_a_source_the_link_is_called_approve(paypal: PayPal) -> None:
    _, made = paypal.post(ORDERS, order())

    assert (made["status"], linked(made, "payer-action")) == ("CREATED", None)
    assert linked(made, "approve") is not None
    assert str(linked(made, "capture")).endswith(f"{ORDERS}/{made['id']}/capture")


def test_a_token_in_the_capture_pays_an_order_that_nobody_approved(
    paypal: PayPal, state: State
) -> None:
    _, made = paypal.post(ORDERS, order())

    status, done = capture(paypal, made["id"], source(), "k-1")

    assert (status, done["status"]) == (201, "COMPLETED")
    assert state.effects.totals() == {"paypal": {"charge": 1}}


def test_an_approved_payment_may_still_be_declined(paypal: PayPal) -> None:
    _, made = paypal.post(ORDERS, order())
    paypal.do("approve", order=made["id"], behaves_as="vault_declined")

    status, document = capture(paypal, made["id"])

    assert (status, issue(document)[0]) == (422, "INSTRUMENT_DECLINED")


def test_a_token_may_ask_for_its_payer(paypal: PayPal, state: State) -> None:
    _, direct = paypal.post(ORDERS, vaulted("vault_asks"), key="k-1")
    _, made = paypal.post(ORDERS, order())
    status, document = capture(paypal, made["id"], source("vault_asks"), "k-2")

    assert direct["status"] == "PAYER_ACTION_REQUIRED"
    assert (status, issue(document)[0]) == (422, "PAYER_ACTION_REQUIRED")
    assert linked(document, "payer-action") == linked(
        paypal.get(f"{ORDERS}/{made['id']}"), "payer-action"
    )
    paypal.do("approve", order=made["id"])
    assert capture(paypal, made["id"], key="k-2")[0] == 201
    assert state.effects.totals() == {"paypal": {"charge": 1}}


def test_a_payer_who_is_asked_again_has_to_approve_again(paypal: PayPal) -> None:
    _, made = paypal.post(ORDERS, order())
    paypal.do("approve", order=made["id"], behaves_as="vault_asks")

    issues = [issue(capture(paypal, made["id"])[1])[0] for _ in range(2)]

    assert issues == ["PAYER_ACTION_REQUIRED", "ORDER_NOT_APPROVED"]


def test_what_a_payer_denied_or_forgot_cannot_be_captured(paypal: PayPal) -> None:
    _, denied = paypal.post(ORDERS, order())
    _, forgotten = paypal.post(ORDERS, order())
    paypal.do("deny", order=denied["id"])
    paypal.do("expire", order=forgotten["id"])

    status, document = capture(paypal, denied["id"], source())
    gone, missing = capture(paypal, forgotten["id"], source())

    assert paypal.get(f"{ORDERS}/{denied['id']}")["status"] == "VOIDED"
    assert (status, issue(document)[0]) == (422, "ORDER_COMPLETED_OR_VOIDED")
    assert (gone, issue(missing)[0]) == (404, "INVALID_RESOURCE_ID")
    for action in ("approve", "deny"):
        with pytest.raises(UnknownAction):
            paypal.do(action, order=denied["id"])


def test_the_intent_says_what_can_be_done(paypal: PayPal) -> None:
    _, captured = paypal.post(ORDERS, order())
    _, held = paypal.post(ORDERS, order(intent="AUTHORIZE"))

    for made, action in ((captured, "authorize"), (held, "capture")):
        status, document = paypal.post(f"{ORDERS}/{made['id']}/{action}", source())
        assert (status, issue(document)[0]) == (422, "ACTION_DOES_NOT_MATCH_INTENT")
    done = paypal.post(f"{ORDERS}/{held['id']}/authorize", source())
    again = paypal.post(f"{ORDERS}/{held['id']}/authorize", source())

    assert (done[0], done[1]["status"]) == (201, "COMPLETED")
    assert issue(again[1])[0] == "ORDER_ALREADY_AUTHORIZED"


@pytest.mark.parametrize(
    ("action", "arguments"),
    [
        ("explode", {}),
        ("approve", {}),
        ("approve", {"order": "NONE"}),
        ("approve", {"order": "NONE", "colour": 1}),
        ("wallet", {"token": "nonsense"}),
        ("settings", {"colour": 1}),
        ("refund", {"capture": "NONE"}),
        ("refund", {}),
        ("resolve", {"capture": "NONE"}),
        ("settle", {"id": "NONE"}),
    ],
)
def test_a_dashboard_that_is_misused(paypal: PayPal, action: str, arguments: Any) -> None:
    with pytest.raises(UnknownAction):
        paypal.do(action, **arguments)
