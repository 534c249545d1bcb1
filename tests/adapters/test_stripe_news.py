"""Stripe's events: what they say of our payments and refunds, and how they are listed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters._base import Event, NoEvent, Unavailable
from adapters._http import Client, HttpCall
from adapters._news import DisputeNews, PaymentNews, RefundNews
from adapters._payments import ChargeOrder, Known, RefundOrder
from adapters._stripe_events import READERS, news, read
from adapters.stripe import Adapter
from ferryman.policies import policy
from ferryman.testing import Sandbox
from tests.adapters import doubles
from tests.adapters.stripe_double import (
    CHARGE,
    CREATED,
    HELD,
    INTENT,
    KEY,
    METADATA,
    REFUND,
    answer,
    calling,
    kept_nothing,
    page,
    refusal,
    sent,
)

AT = datetime.fromtimestamp(CREATED + 5, UTC)
DISPUTE = {"id": "du_1", "object": "dispute", "status": "needs_response", "payment_intent": "pi_1"}
DECLINED = {"code": "card_declined", "decline_code": "insufficient_funds"}


def told(type_: str, found: Any, key: Any = None, **changes: Any) -> Event:
    payload = {
        "id": "evt_1",
        "object": "event",
        "type": type_,
        "created": CREATED + 5,
        "data": {"object": found},
        "request": {"id": "req_1", "idempotency_key": key},
        **changes,
    }
    return Event("evt_1", type_, AT, payload)


def one(event: Event) -> Any:
    (found,) = news(event)
    assert found.at == AT
    assert found.bound
    return found


FAILED = {"status": "requires_payment_method", "last_payment_error": DECLINED}
PAYMENTS: list[tuple[str, dict[str, Any], tuple[str, int, str | None]]] = [
    ("payment_intent.succeeded", INTENT | {"amount_received": 1000}, ("succeeded", 1000, None)),
    ("payment_intent.payment_failed", INTENT | FAILED, ("failed", 1250, "insufficient_funds")),
    ("payment_intent.canceled", INTENT | {"status": "canceled"}, ("cancelled", 1250, None)),
    ("payment_intent.processing", INTENT | {"status": "processing"}, ("processing", 1250, None)),
    ("payment_intent.amount_capturable_updated", HELD, ("authorized", 1250, None)),
    ("payment_intent.requires_action", INTENT | {"status": "requires_action"},
     ("requires_action", 1250, None)),
    ("charge.succeeded", CHARGE, ("succeeded", 1250, None)),
    ("charge.succeeded", CHARGE | {"captured": False, "amount_captured": 0},
     ("authorized", 1250, None)),
    ("charge.captured", CHARGE | {"amount_captured": 1000}, ("succeeded", 1000, None)),
    ("charge.refunded", CHARGE | {"amount_refunded": 500}, ("succeeded", 1250, None)),
    ("charge.failed",
     CHARGE | {"status": "failed", "captured": False, "failure_code": "card_declined",
               "outcome": {"reason": "insufficient_funds"}},
     ("failed", 1250, "insufficient_funds")),
    ("charge.failed",
     CHARGE | {"status": "failed", "captured": False, "failure_code": "expired_card"},
     ("failed", 1250, "card_expired")),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "found", "expected"), PAYMENTS)
def test_a_payment_has_come_to_stand(type_: str, found: Any, expected: Any) -> None:
    said = one(told(type_, found))

    assert isinstance(said, PaymentNews)
    assert (said.told.status, said.told.amount, said.told.code) == expected
    assert (said.told.vendor_reference, said.told.currency) == ("pi_1", "usd")
    assert (said.job, said.vendor_key) == (doubles.JOB, None)


@pytest.mark.parametrize(
    ("key", "job", "vendor_key"),
    [
        (f"{doubles.JOB}:charge", doubles.JOB, f"{doubles.JOB}:charge"),
        (f"{doubles.JOB}:charge:2", doubles.JOB, f"{doubles.JOB}:charge:2"),
        # A capture's job is not the one that made the payment.
        (f"{doubles.JOB}:capture", None, f"{doubles.JOB}:capture"),
        (f"{str(doubles.JOB).upper()}:charge", None, None),
        (f"{doubles.JOB}:charge:two", None, None),
        (f"{doubles.JOB}", None, None),
        (f"{'-' * 36}:charge", None, None),
        ("order-42", None, None),
        ("", None, None),
        (None, None, None),
        (7, None, None),
    ],
)
def test_the_request_names_the_job_too(key: Any, job: UUID | None, vendor_key: str | None) -> None:
    said = one(told("charge.succeeded", CHARGE | {"metadata": {}}, key))
    with_metadata = one(told("charge.succeeded", CHARGE, key))

    assert (said.job, said.vendor_key) == (job, vendor_key)
    assert (with_metadata.job, with_metadata.vendor_key) == (doubles.JOB, vendor_key)


@pytest.mark.parametrize("request_", [None, "req_1", {}, [], {"idempotency_key": {}}])
def test_a_request_of_older_versions(request_: Any) -> None:
    said = one(told("charge.succeeded", CHARGE, request=request_))

    assert (said.job, said.vendor_key) == (doubles.JOB, None)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("succeeded", "succeeded"), ("pending", "pending"), ("requires_action", "pending"),
     ("failed", "failed"), ("canceled", "failed"), ("of a later version", "pending")],
)  # fmt: skip
@pytest.mark.parametrize(
    "type_", ["refund.created", "refund.updated", "refund.failed", "charge.refund.updated"]
)
def test_a_refund_has_come_to_stand(type_: str, theirs: str, ours: str) -> None:
    said = one(told(type_, REFUND | {"status": theirs}))

    assert isinstance(said, RefundNews)
    assert (said.payment, said.told.vendor_reference, said.told.status) == ("pi_1", "re_1", ours)
    assert (said.told.amount, said.told.job) == (500, doubles.JOB)


@pytest.mark.parametrize(
    ("key", "job"),
    [(f"{doubles.JOB}:refund", doubles.JOB), (f"{doubles.JOB}:charge", None), (None, None)],
)
def test_a_refund_of_a_job_or_of_a_person(key: str | None, job: UUID | None) -> None:
    assert one(told("refund.created", REFUND | {"metadata": {}}, key)).told.job == job


@pytest.mark.parametrize(
    ("status", "disputed"),
    [("needs_response", True), ("under_review", True), ("lost", True), ("won", False),
     ("prevented", False), ("warning_needs_response", False), ("warning_closed", False)],
)  # fmt: skip
@pytest.mark.parametrize("word", ["created", "updated", "closed"])
def test_a_dispute(word: str, status: str, disputed: bool) -> None:
    said = one(told(f"charge.dispute.{word}", DISPUTE | {"status": status}))

    assert isinstance(said, DisputeNews)
    assert (said.payment, said.disputed) == ("pi_1", disputed)


@pytest.mark.parametrize(
    "event",
    [
        told("charge.succeeded", CHARGE | {"payment_intent": None}),
        told("refund.created", REFUND | {"payment_intent": None}),
        told("charge.dispute.created", DISPUTE | {"payment_intent": None}),
        # Held and let go: until 2025-03-31 Stripe called that a refund.
        told("charge.refunded", CHARGE | {"captured": False, "refunded": True}),
        told("payment_intent.created", INTENT),
        told("charge.updated", CHARGE),
        told("customer.created", {"id": "cus_1"}),
        told("of.a.later.version", INTENT),
    ],
    ids=lambda event: event.type,
)
def test_what_does_not_concern_us(event: Event) -> None:
    assert news(event) == ()


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)
NAMES = sorted(
    {*INTENT, *CHARGE, *REFUND, *DISPUTE, "next_action", "last_payment_error", "outcome"}
)


@given(
    st.sampled_from(sorted(READERS)),
    st.sampled_from([INTENT, HELD, CHARGE, REFUND, DISPUTE]),
    st.dictionaries(st.sampled_from(NAMES), JSON, max_size=3),
)
def test_garbage_is_no_news_or_good_news(type_: str, found: Any, changes: Any) -> None:
    check(news(told(type_, found | changes)))


@given(st.sampled_from(sorted(READERS)), JSON, JSON)
def test_garbage_around_it_is_no_news(type_: str, data: Any, request: Any) -> None:
    event = Event("evt_1", type_, AT, {"data": data, "request": request})

    assert news(event) == ()


def check(said: Sequence[Any]) -> None:
    """Only words that the ledger takes."""
    for one in said:
        reference = one.payment if not isinstance(one, PaymentNews) else one.told.vendor_reference
        assert isinstance(reference, str)
        assert "\0" not in reference
        if not isinstance(one, DisputeNews):
            assert type(one.told.amount) is int
            assert 0 <= one.told.amount < 2**63
            assert one.told.created_at.tzinfo is not None


def listed(number: int, **changes: Any) -> dict[str, Any]:
    return {**told("charge.succeeded", CHARGE).payload, "id": f"evt_{number}", **changes}


@pytest.fixture
def stripe(monkeypatch: pytest.MonkeyPatch) -> Adapter:
    monkeypatch.setenv("STRIPE_SECRET_KEY", KEY)
    monkeypatch.delenv("STRIPE_BASE_URL", raising=False)
    return Adapter()


async def test_events_are_listed_page_by_page(stripe: Adapter) -> None:
    call, vendor, notes = calling(
        page(listed(4), listed(3), more=True), page(listed(2, created=None), listed(1))
    )
    since = datetime.fromtimestamp(CREATED + 0.5, UTC)

    found = [event async for event in stripe.events(call, since, since + timedelta(minutes=1))]

    assert [event.id for event in found] == ["evt_4", "evt_3", "evt_1"]
    assert found[0] == read(listed(4))
    first, second = [sent(request) for request, _ in vendor.requests]
    assert sorted(first.pop("types").values()) == sorted(READERS)
    assert first == {
        "created": {"gte": str(CREATED), "lte": str(CREATED + 61)},
        "limit": "100",
    }
    assert second["starting_after"] == "evt_3"
    assert notes.left == []


async def test_a_list_that_cannot_be_read(stripe: Adapter) -> None:
    call, _, _ = calling(answer(200, data=None))

    with pytest.raises(Unavailable):
        [event async for event in stripe.events(call, AT, AT)]


async def test_one_event_is_read(stripe: Adapter) -> None:
    call, vendor, _ = calling(
        answer(200, **listed(1)),
        refusal(404, "invalid_request_error", code="resource_missing"),
    )

    assert await stripe.read_event(call, "evt_1") == read(listed(1))
    assert await stripe.read_event(call, "evt_2") is None
    assert vendor.requests[0][0].url == "https://api.stripe.com/v1/events/evt_1"


def test_stripe_lists_by_twenty_types_at_the_most() -> None:
    assert len(READERS) <= 20


def test_the_adapter_tells_the_news() -> None:
    assert Adapter().news(told("charge.succeeded", CHARGE)) == news(
        told("charge.succeeded", CHARGE)
    )


@pytest.mark.parametrize(
    "job", ["019AB3F0-6D7E-7C2A-9F43-0D5BE2A1C901", "7", 7, None, {}, "not-ours"]
)
def test_a_job_of_another_form_is_none_of_ours(job: Any) -> None:
    assert one(told("charge.succeeded", CHARGE | {"metadata": METADATA | {"job": job}})).job is None


def test_no_event_has_no_news() -> None:
    with pytest.raises(NoEvent):
        read({"object": "event"})


async def test_the_sandbox_tells_a_payments_story(
    stripe: Adapter, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRIPE_BASE_URL", sandbox.base_url("stripe"))
    client = Client(policy("stripe"))
    call = HttpCall("stripe", client, policy("stripe"), doubles.Notes())
    since = datetime.now(UTC)
    customer = await stripe.create_customer(call, key="row:customer")
    order = ChargeOrder(doubles.JOB, customer, 1250, "usd", "pm_card_visa", capture=False)
    paid = Known(payment=(await stripe.charge(call, order, kept_nothing)).vendor_reference)
    await stripe.capture(call, paid, 1000, "usd")
    assert paid.payment
    await stripe.refund(call, RefundOrder(doubles.JOB, paid.payment, 300, "usd"))
    sandbox.dashboard("stripe", "refund", payment_intent=paid.payment, amount=50)
    sandbox.dashboard("stripe", "dispute", payment_intent=paid.payment)
    sandbox.dashboard("stripe", "close_dispute", payment_intent=paid.payment)

    listed = [event async for event in stripe.events(call, since, datetime.now(UTC))]
    await client.close()

    said: list[Any] = [one for event in reversed(listed) for one in stripe.news(event)]
    payments = [one for one in said if isinstance(one, PaymentNews)]
    statuses = [one.told.status for one in payments]
    assert statuses[:2] == ["authorized", "authorized"]
    assert set(statuses[2:]) == {"succeeded"}
    assert {one.told.amount for one in payments[2:]} == {1000}
    assert {one.job for one in payments} == {doubles.JOB}
    keys = {f"{doubles.JOB}:{step}" for step in ("charge", "capture", "refund")}
    assert {one.vendor_key for one in payments} - {None} == keys
    refunds = [one.told for one in said if isinstance(one, RefundNews)]
    assert {(one.amount, one.job) for one in refunds} == {(300, doubles.JOB), (50, None)}
    assert [one.disputed for one in said if isinstance(one, DisputeNews)] == [True, False]
