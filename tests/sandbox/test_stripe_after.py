"""What comes after a payment: refunds that fail, disputes, the balance, and what is told of it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from sandbox.state import State
from sandbox.vendor import UnknownAction
from tests.sandbox.conftest import Direct, payment

REFUNDS = "/v1/refunds"


def paid(direct: Direct, **changes: Any) -> str:
    return str(direct.form("POST", "/v1/payment_intents", payment(**changes))[1]["id"])


def charge_of(direct: Direct, intent: str) -> dict[str, Any]:
    (charge,) = direct.form("GET", "/v1/charges", {"payment_intent": intent})[1]["data"]
    return dict(charge)


def refunded(direct: Direct, intent: str, **more: Any) -> dict[str, Any]:
    status, made = direct.form("POST", REFUNDS, {"payment_intent": intent, **more})
    assert status == 200, made
    return dict(made)


def told(direct: Direct, **query: Any) -> list[dict[str, Any]]:
    """Events, oldest first."""
    data = direct.form("GET", "/v1/events", {"limit": 100, **query})[1]["data"]
    return list(reversed(data))


def act(direct: Direct, action: str, **arguments: Any) -> Any:
    return direct.vendor.dashboard(action, arguments)


@pytest.mark.parametrize("card", ["pm_card_refundFail", "pm_card_pendingRefund"])
def test_a_refund_that_fails_later_gives_the_balance_back(direct: Direct, card: str) -> None:
    intent = paid(direct, payment_method=card)
    made = refunded(direct, intent, amount=1000)
    assert made["status"] == ("pending" if "pending" in card else "succeeded")
    assert act(direct, "balance") == {"usd": 250}

    act(direct, "fail_refund", refund=made["id"])

    _, failed = direct.form("GET", f"{REFUNDS}/{made['id']}", {})
    assert (failed["status"], failed["failure_reason"]) == ("failed", "expired_or_canceled_card")
    assert act(direct, "balance") == {"usd": 1250}
    assert charge_of(direct, intent)["amount_refunded"] == 0
    events = told(direct)[-3:]
    assert [event["type"] for event in events] == [
        "refund.failed",
        "refund.updated",
        "charge.refund.updated",
    ]
    assert {event["data"]["object"]["status"] for event in events} == {"failed"}
    assert refunded(direct, intent)["amount"] == 1250
    with pytest.raises(UnknownAction):
        act(direct, "fail_refund", refund=made["id"])


def test_a_refund_may_take_its_time(direct: Direct) -> None:
    intent = paid(direct)
    made = act(direct, "refund", payment_intent=intent, pending=True)
    assert (made["status"], made["pending_reason"]) == ("pending", "processing")
    assert direct.form("POST", REFUNDS, {"payment_intent": intent})[0] == 400

    act(direct, "succeed_refund", refund=made["id"])

    assert direct.form("GET", f"{REFUNDS}/{made['id']}", {})[1]["status"] == "succeeded"
    assert told(direct)[-1]["type"] == "charge.refund.updated"
    with pytest.raises(UnknownAction):
        act(direct, "succeed_refund", refund=made["id"])


def test_a_refund_of_a_person_names_no_job_and_no_key(direct: Direct, state: State) -> None:
    intent = paid(direct, **{"metadata[job]": "j-1"})
    act(direct, "refund", payment_intent=intent, amount=100)

    (event,) = told(direct, type="refund.created")

    assert event["request"] == {"id": None, "idempotency_key": None}
    assert event["data"]["object"]["metadata"] == {}
    assert state.effects.totals()["stripe"] == {"charge": 1, "refund": 1}


def dispute_of(direct: Direct, intent: str) -> dict[str, Any]:
    (dispute,) = direct.form("GET", "/v1/disputes", {"payment_intent": intent})[1]["data"]
    return dict(dispute)


@pytest.mark.parametrize(("outcome", "refund"), [("won", 200), ("lost", 400)])
def test_a_dispute_stops_refunds_until_it_is_won(direct: Direct, outcome: str, refund: int) -> None:
    intent = paid(direct)
    refunded(direct, intent, amount=250)
    act(direct, "dispute", payment_intent=intent)

    open_, document = direct.form("POST", REFUNDS, {"payment_intent": intent})
    assert (open_, document["error"]["code"]) == (400, "charge_disputed")
    assert (dispute_of(direct, intent)["status"], dispute_of(direct, intent)["amount"]) == (
        "needs_response",
        1000,
    )
    act(direct, "close_dispute", payment_intent=intent, outcome=outcome)

    dispute = dispute_of(direct, intent)
    assert (dispute["status"], dispute["is_charge_refundable"]) == (outcome, outcome == "won")
    assert direct.form("GET", f"/v1/disputes/{dispute['id']}", {})[1] == dispute
    assert charge_of(direct, intent)["disputed"]  # there was one, whatever came of it
    assert direct.form("POST", REFUNDS, {"payment_intent": intent})[0] == refund
    types = ["charge.dispute.created", "charge.dispute.closed"]
    asked = {f"types[{place}]": type_ for place, type_ in enumerate(types)}
    told_of = told(direct, **asked)
    assert [event["type"] for event in told_of] == types
    assert [event["data"]["object"]["status"] for event in told_of] == ["needs_response", outcome]
    assert told_of[0]["data"]["object"]["payment_intent"] == intent


def test_a_card_that_disputes_by_itself(direct: Direct) -> None:
    intent = paid(direct, payment_method="pm_card_createDispute")

    assert dispute_of(direct, intent)["status"] == "needs_response"
    with pytest.raises(UnknownAction, match="disputed already"):
        act(direct, "dispute", payment_intent=intent)


@pytest.mark.parametrize(
    ("action", "arguments"),
    [
        ("close_dispute", {}),
        ("close_dispute", {"outcome": "drawn"}),
        ("dispute", {"charge": "ch_none"}),
        ("fail_refund", {"refund": "re_none"}),
        ("settle", {}),
        ("expire", {}),
        ("cancel", {}),
    ],
)
def test_what_a_person_cannot_do(direct: Direct, action: str, arguments: dict[str, Any]) -> None:
    intent = paid(direct)
    named = arguments or {"payment_intent": intent}
    if "outcome" in arguments:
        named = {"payment_intent": intent, **arguments}

    with pytest.raises(UnknownAction):
        act(direct, action, **named)


def test_the_balance_is_what_was_taken_less_what_was_given_back(direct: Direct) -> None:
    refunded(direct, paid(direct), amount=250)
    paid(direct, currency="jpy", amount=500)
    paid(direct, capture_method="manual")

    assert act(direct, "balance") == {"usd": 1000, "jpy": 500}


def test_a_gap_is_filled_from_the_list_of_events_page_by_page(direct: Direct) -> None:
    for _ in range(3):
        refunded(direct, paid(direct), amount=250)
    asked: dict[str, Any] = {
        "types[0]": "charge.succeeded",
        "types[1]": "refund.created",
        "created[gte]": int(time.time()) - 60,
        "limit": 4,
    }

    first = direct.form("GET", "/v1/events", asked)[1]
    asked["starting_after"] = first["data"][-1]["id"]
    second = direct.form("GET", "/v1/events", asked)[1]

    types = [event["type"] for event in first["data"] + second["data"]]
    assert types == ["refund.created", "charge.succeeded"] * 3
    assert (first["has_more"], second["has_more"]) == (True, False)
    later = {"created[gte]": int(time.time()) + 60}
    assert direct.form("GET", "/v1/events", later)[1]["data"] == []
