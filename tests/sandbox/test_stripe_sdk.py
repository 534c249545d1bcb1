"""The official SDK against the fake: what it sends is taken, what it gets can be read."""

from __future__ import annotations

import typing
from typing import Any

import pytest
import stripe

from ferryman.testing import Sandbox

PAYMENT: dict[str, Any] = {
    "amount": 1250,
    "currency": "usd",
    "payment_method": "pm_card_visa",
    "confirm": True,
    "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
    "metadata": {"job": "job-1"},
}


def required_fields(shape: type) -> set[str]:
    """The fields that the SDK's class declares as always there."""
    return {
        name
        for name, hint in shape.__annotations__.items()
        if name != "OBJECT_NAME" and type(None) not in typing.get_args(hint)
    }


def assert_complete(found: Any) -> None:
    missing = required_fields(type(found)) - set(found.to_dict())
    assert not missing, f"{type(found).__name__} lacks {missing}"


def test_the_sdk_says_which_fields_are_always_there() -> None:
    required = required_fields(stripe.PaymentIntent)

    assert {"id", "amount", "status", "payment_method_types"} <= required
    assert "client_secret" not in required


def test_customer_payment_refund_and_what_they_look_like(sdk: stripe.StripeClient) -> None:
    customer = sdk.v1.customers.create({"email": "a@example.com", "metadata": {"ref": "1"}})
    intent = sdk.v1.payment_intents.create({**PAYMENT, "customer": customer.id})  # type: ignore[typeddict-item]
    refund = sdk.v1.refunds.create({"payment_intent": intent.id, "amount": 250})
    charge = sdk.v1.charges.retrieve(str(intent.latest_charge), {"expand": ["refunds"]})
    events = sdk.v1.events.list({"limit": 100})

    for found in (customer, intent, refund, charge, events.data[0], sdk.v1.balance.retrieve()):
        assert_complete(found)
    assert (intent.status, intent.amount_received) == ("succeeded", 1250)
    assert (refund.status, refund.amount) == ("succeeded", 250)
    assert (charge.amount_refunded, charge.refunded) == (250, False)
    assert charge.refunds is not None
    assert [r.id for r in charge.refunds.data] == [refund.id]
    assert sdk.v1.balance.retrieve().available[0].amount == 1000
    assert [event.type for event in reversed(events.data)] == [
        "customer.created",
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "refund.created",
        "charge.refunded",
    ]


def test_events_tell_the_state_of_their_moment_and_the_key(sdk: stripe.StripeClient) -> None:
    intent = sdk.v1.payment_intents.create(PAYMENT, {"idempotency_key": "k-1"})  # type: ignore[arg-type]

    (created,) = sdk.v1.events.list({"type": "payment_intent.created"}).data

    assert created.data.object["status"] == "requires_confirmation"
    assert intent.status == "succeeded"
    assert created.request is not None
    assert created.request.idempotency_key == "k-1"
    assert sdk.v1.events.retrieve(created.id).type == created.type


@pytest.mark.parametrize(
    ("card", "code", "decline_code"),
    [
        ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
        ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", "incorrect_cvc"),
    ],
)
def test_a_decline_is_a_card_error(
    sdk: stripe.StripeClient, sandbox: Sandbox, card: str, code: str, decline_code: str
) -> None:
    with pytest.raises(stripe.CardError) as caught:
        sdk.v1.payment_intents.create({**PAYMENT, "payment_method": card})  # type: ignore[typeddict-item]

    error = caught.value.error
    assert error is not None
    assert (caught.value.http_status, error.code) == (402, code)
    assert error.decline_code == decline_code
    assert error.payment_intent is not None
    assert error.payment_intent.status == "requires_payment_method"
    charge = sdk.v1.charges.retrieve(str(error.charge))
    assert (charge.status, charge.paid, charge.failure_code) == ("failed", False, code)
    assert sandbox.totals().get("stripe") is None


def test_search_finds_a_payment_by_its_job(sdk: stripe.StripeClient) -> None:
    intent = sdk.v1.payment_intents.create(PAYMENT)  # type: ignore[arg-type]
    sdk.v1.payment_intents.create({**PAYMENT, "metadata": {"job": "job-2"}})  # type: ignore[typeddict-item]

    found = sdk.v1.payment_intents.search({"query": "metadata['job']:'job-1'"})

    assert [one.id for one in found.data] == [intent.id]


def test_lists_go_page_by_page(sdk: stripe.StripeClient) -> None:
    made = [sdk.v1.customers.create({"name": f"n{n}"}).id for n in range(7)]

    pages = sdk.v1.customers.list({"limit": 3})

    assert [one.id for one in pages.auto_paging_iter()] == made[::-1]
    assert pages.has_more
    before = sdk.v1.customers.list({"ending_before": made[3], "limit": 2})
    assert [one.id for one in before.data] == [made[5], made[4]]


@pytest.mark.parametrize("key", ["sk_test_" + "revoked", "sk_li" + "ve_1", "nonsense"])
def test_other_keys_are_refused(sandbox: Sandbox, key: str) -> None:
    client = stripe.StripeClient(key, base_addresses={"api": sandbox.base_url("stripe")})

    with pytest.raises(stripe.AuthenticationError):
        client.v1.balance.retrieve()


def test_throttling_is_a_rate_limit_error(sdk: stripe.StripeClient, sandbox: Sandbox) -> None:
    sandbox.limit("stripe", 2)

    for _ in range(2):
        sdk.v1.balance.retrieve()
    with pytest.raises(stripe.RateLimitError) as caught:
        sdk.v1.balance.retrieve()

    headers = {name.lower(): value for name, value in (caught.value.headers or {}).items()}
    assert headers["retry-after"] == "1"
    assert headers["stripe-rate-limited-reason"] == "global-rate"
    assert sandbox.traffic()["stripe"] == {
        "requests": 3,
        "throttled": 1,
        "peak_per_second": 3,
        "per_second": 2,
    }
