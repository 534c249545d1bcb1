"""PayPal's events: what is told of, and how it is listed."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest

from sandbox.state import State
from tests.sandbox.paypal import (
    EVENTS,
    JOB,
    ORDERS,
    PAYMENTS,
    PayPal,
    connected,
    issue,
    linked,
    order,
    source,
)


@pytest.fixture
def paypal(state: State) -> PayPal:
    return connected(state)


def told(paypal: PayPal) -> list[dict[str, Any]]:
    """The events, oldest first."""
    return list(reversed(paypal.get(f"{EVENTS}?page_size=100")["events"]))


def types(paypal: PayPal) -> list[str]:
    return [event["event_type"] for event in told(paypal)]


def test_what_happens_to_a_capture_is_told(paypal: PayPal) -> None:
    _, made = paypal.post(ORDERS, order())
    paypal.do("approve", order=made["id"])
    _, done = paypal.post(f"{ORDERS}/{made['id']}/capture")
    capture = done["purchase_units"][0]["payments"]["captures"][0]["id"]
    _, back = paypal.post(
        f"{PAYMENTS}/captures/{capture}/refund",
        {"custom_id": "r-1", "amount": {"currency_code": "USD", "value": "1.00"}},
    )
    opened = paypal.do("dispute", capture=capture)
    paypal.do("resolve", order=made["id"])

    approved, completed, refunded, disputed, resolved = told(paypal)
    assert [approved["event_type"], approved["resource_type"]] == [
        "CHECKOUT.ORDER.APPROVED",
        "checkout-order",
    ]
    assert (approved["resource"]["id"], approved["resource"]["status"]) == (made["id"], "APPROVED")
    assert (completed["event_type"], completed["resource_type"]) == (
        "PAYMENT.CAPTURE.COMPLETED",
        "capture",
    )
    assert completed["resource"]["custom_id"] == JOB
    related = completed["resource"]["supplementary_data"]["related_ids"]
    assert related == {"order_id": made["id"]}
    assert (refunded["event_type"], refunded["resource_type"]) == (
        "PAYMENT.CAPTURE.REFUNDED",
        "refund",
    )
    assert (refunded["resource"]["id"], refunded["resource"]["custom_id"]) == (back["id"], "r-1")
    assert str(linked(refunded["resource"], "up")).endswith(f"/captures/{capture}")
    for event, status in ((disputed, "OPEN"), (resolved, "RESOLVED")):
        assert event["resource"]["dispute_id"] == opened["dispute_id"]
        assert event["resource"]["status"] == status
        transactions = event["resource"]["disputed_transactions"]
        assert [one["seller_transaction_id"] for one in transactions] == [capture]


def test_what_happens_to_held_money_is_told(paypal: PayPal) -> None:
    held, other = paypal.held(), paypal.held(**source("vault_pending"))
    paypal.post(f"{PAYMENTS}/authorizations/{held['id']}/void")
    paypal.do("settle", id=other["id"])

    assert types(paypal) == [
        "PAYMENT.AUTHORIZATION.CREATED",
        "PAYMENT.AUTHORIZATION.CREATED",
        "PAYMENT.AUTHORIZATION.VOIDED",
        "PAYMENT.AUTHORIZATION.CREATED",
    ]
    statuses = [event["resource"]["status"] for event in told(paypal)]
    assert statuses == ["CREATED", "PENDING", "VOIDED", "CREATED"]


def test_what_waits_and_fails_is_told(paypal: PayPal) -> None:
    paypal.paid(**source("vault_bounces"))
    waiting = paypal.paid(**source("vault_pending"))
    paypal.do("settle", id=waiting["id"])
    paypal.do("settings", pending_refunds=True)
    _, back = paypal.post(f"{PAYMENTS}/captures/{waiting['id']}/refund")
    paypal.do("settle", id=back["id"], succeeds=False)

    assert types(paypal) == [
        "PAYMENT.CAPTURE.DECLINED",
        "PAYMENT.CAPTURE.PENDING",
        "PAYMENT.CAPTURE.COMPLETED",
        "PAYMENT.REFUND.PENDING",
        "PAYMENT.REFUND.FAILED",
    ]


def test_an_event_tells_what_was_then(paypal: PayPal) -> None:
    made = paypal.paid()
    paypal.do("refund", capture=made["id"])

    completed, _ = told(paypal)
    assert completed["resource"]["status"] == "COMPLETED"
    assert paypal.get(f"{EVENTS}/{completed['id']}") == completed
    assert completed["id"].startswith("WH-")
    assert paypal.call("GET", f"{EVENTS}/WH-NONE")[0] == 404


def test_events_page_by_page_though_new_ones_come(paypal: PayPal) -> None:
    ids = [paypal.paid()["id"] for _ in range(5)]
    seen: list[str] = []
    path: str | None = f"{EVENTS}?page_size=2"
    while path:
        page = paypal.get(path)
        assert page["count"] == len(page["events"]) <= 2
        seen += [event["resource"]["id"] for event in page["events"]]
        paypal.paid()
        parts = urlsplit(str(linked(page, "next") or ""))
        path = f"{parts.path}?{parts.query}" if parts.path else None

    assert seen == ids[::-1]


def test_events_by_time_and_type(paypal: PayPal) -> None:
    paypal.paid()
    paypal.held()
    at = told(paypal)[0]["create_time"]
    later = datetime.fromtimestamp(time.time() + 60, UTC).isoformat().replace("+00:00", "Z")

    def count(query: str) -> int:
        return int(paypal.get(f"{EVENTS}?{query}")["count"])

    assert count(f"start_time={at}") == 2
    assert count(f"start_time={later}") == 0
    assert count(f"end_time={later}") == 2
    assert count("end_time=2020-01-01T00:00:00Z") == 0
    assert count("event_type=PAYMENT.AUTHORIZATION.CREATED") == 1
    assert count("transaction_id=NONE") == 0


@pytest.mark.parametrize(
    "query",
    [
        "start_time=yesterday",
        "end_time=2026-01-01T00:00:00",
        "page_size=0",
        "page_size=many",
        "colour=red",
    ],
)
def test_a_query_that_cannot_be_read(paypal: PayPal, query: str) -> None:
    status, document = paypal.call("GET", f"{EVENTS}?{query}")

    assert (status, document["name"]) == (400, "INVALID_REQUEST")
    assert issue(document)[1] == query.partition("=")[0]
