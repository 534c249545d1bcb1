"""Stripe: what becomes of a payment after it was asked for. Resumed, read, found, taken, given up,
given back: in scripted answers, and once with the sandbox."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from adapters._base import Refused, Repeat, Unavailable, Unknown, VendorError
from adapters._http import Client, HttpCall
from adapters._payments import ChargeOrder, Known, RefundOrder
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
    KNOWN,
    METADATA,
    ORDER,
    REFUND,
    REFUND_ORDER,
    STATUSES,
    answer,
    asked,
    calling,
    kept_nothing,
    page,
    refusal,
    sent,
)

SINCE = datetime.fromtimestamp(CREATED, UTC)
NOT_IN_STATE = refusal(400, "invalid_request_error", code="payment_intent_unexpected_state")
REDIRECT = {"type": "redirect_to_url", "redirect_to_url": {"url": "https://hooks.example/3ds"}}
VOUCHER = {"type": "oxxo", "oxxo": {"hosted_voucher_url": "https://pay.example/voucher"}}
OTHERS = {"metadata": {"job": str(uuid4())}}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_SECRET_KEY", KEY)
    monkeypatch.delenv("STRIPE_BASE_URL", raising=False)


def intent(**changes: Any) -> Any:
    return answer(200, **{**INTENT, **changes})


async def test_a_payment_is_held_where_it_is_not_to_be_taken() -> None:
    call, vendor, _ = calling(answer(200, **HELD | {"amount_capturable": 1200}))

    payment = await Adapter().charge(call, replace(ORDER, capture=False), kept_nothing)

    assert sent(vendor.requests[0][0])["capture_method"] == "manual"
    # What is held, which is not always what was asked for.
    assert (payment.status, payment.amount) == ("authorized", 1200)


@pytest.mark.parametrize(
    ("action", "url"),
    [
        (REDIRECT, "https://hooks.example/3ds"),
        (VOUCHER, "https://pay.example/voucher"),
        ({"type": "use_stripe_sdk", "use_stripe_sdk": {"url": 7}}, None),
        ({"type": ["odd"]}, None),
        (None, None),
    ],
)
async def test_a_payer_is_led_to_his_step(action: Any, url: str | None) -> None:
    call, vendor, _ = calling(intent(status="requires_action", next_action=action))
    order = replace(ORDER, return_url="https://shop.example/paid")

    payment = await Adapter().charge(call, order, kept_nothing)

    form = sent(vendor.requests[0][0])
    assert form["return_url"] == "https://shop.example/paid"
    assert form["automatic_payment_methods"] == {"enabled": "true"}
    assert "error_on_requires_action" not in form
    assert (payment.status, payment.action_url) == ("requires_action", url)


@pytest.mark.parametrize(
    ("status", "code"),
    [("requires_action", "authentication_required"), ("requires_payment_method", "refused")],
)
async def test_what_comes_to_nothing_is_refused_when_it_is_asked_for(
    status: str, code: str
) -> None:
    call, _, notes = calling(intent(status=status))

    with pytest.raises(Refused) as raised:
        await Adapter().charge(call, ORDER, kept_nothing)

    assert raised.value.code == code
    assert notes.answers == ["charge"]


@pytest.mark.parametrize(("theirs", "ours"), STATUSES)
async def test_a_payment_that_was_begun_is_looked_at(theirs: str, ours: str) -> None:
    call, vendor, notes = calling(intent(status=theirs, amount_capturable=1250))

    payment = await Adapter().resume(call, ORDER, KNOWN)

    assert (payment.status, payment.vendor_reference) == (ours, "pi_1")
    assert asked(vendor) == ["GET /v1/payment_intents/pi_1"]
    assert notes.left == []


async def test_a_failed_one_is_told_with_its_reason() -> None:
    error = {"code": "card_declined", "decline_code": "insufficient_funds"}
    call, _, _ = calling(intent(status="requires_payment_method", last_payment_error=error))

    payment = await Adapter().resume(call, ORDER, KNOWN)

    assert (payment.status, payment.code) == ("failed", "insufficient_funds")


@pytest.mark.parametrize(
    ("disputes", "disputed"),
    [
        (("needs_response",), True),
        (("won",), False),
        (("warning_needs_response", "won"), False),
        (("won", "lost"), True),
        ((), False),
    ],
)
async def test_a_payment_is_read_with_its_refunds_and_disputes(
    disputes: tuple[str, ...], disputed: bool
) -> None:
    by_hand = {**REFUND, "id": "re_2", "amount": 50, "status": "pending", "metadata": {}}
    call, vendor, _ = calling(
        intent(amount_received=1000, latest_charge=CHARGE | {"disputed": True}),
        page(REFUND, more=True),
        page(by_hand),
        page(*({"status": status} for status in disputes)),
    )

    payment = await Adapter().read_payment(call, KNOWN)

    assert (payment.status, payment.amount, payment.disputed) == ("succeeded", 1000, disputed)
    assert [(r.vendor_reference, r.status, r.amount, r.job) for r in payment.refunds] == [
        ("re_1", "succeeded", 500, doubles.JOB),
        ("re_2", "pending", 50, None),
    ]
    first, second, third, fourth = [sent(request) for request, _ in vendor.requests]
    assert first == {"expand": {"0": "latest_charge"}}
    assert second == fourth == {"payment_intent": "pi_1", "limit": "100"}
    assert third == {**second, "starting_after": "re_1"}
    assert asked(vendor)[3] == "GET /v1/disputes"


async def test_what_was_never_taken_has_no_refunds() -> None:
    call, vendor, _ = calling(answer(200, **HELD))

    assert (await Adapter().read_payment(call, KNOWN)).refunds == ()
    assert len(vendor.requests) == 1


@pytest.mark.parametrize(
    ("given", "known", "error"),
    [
        (refusal(404, "invalid_request_error", code="resource_missing"), KNOWN, Refused),
        (answer(404), KNOWN, Unavailable),
        (answer(200, id="pi_1"), KNOWN, Unavailable),
        (answer(500), KNOWN, Unavailable),
        (intent(), Known(customer="cus_1"), Refused),
    ],
)
async def test_what_cannot_be_read(given: Any, known: Known, error: type[VendorError]) -> None:
    call, _, _ = calling(given)

    for read in (Adapter().read_payment(call, known), Adapter().resume(call, ORDER, known)):
        with pytest.raises(error) as raised:
            await read
        assert raised.value.code == ("not_found" if error is Refused else "vendor_unavailable")


@pytest.mark.parametrize(("theirs", "ours"), STATUSES)
async def test_a_charge_is_found_whatever_became_of_it(theirs: str, ours: str) -> None:
    row = {**INTENT, "status": theirs, "amount_capturable": 1250}
    odd = {**INTENT, "currency": "xxx", **OTHERS}  # others' need not be readable
    call, vendor, _ = calling(page(odd, {**INTENT, **OTHERS}, more=True), page(row))

    payment = await Adapter().find_charge(call, KNOWN, SINCE)

    gone = ours in ("failed", "cancelled")
    assert (None if payment is None else payment.status) == (None if gone else ours)
    first, second = [sent(request) for request, _ in vendor.requests]
    assert first["customer"] == "cus_1"
    assert int(first["created"]["gte"]) == CREATED - 600
    assert second == {**first, "starting_after": "pi_1"}


async def test_a_charge_is_found_without_its_customer() -> None:
    call, vendor, _ = calling(page(INTENT))

    assert await Adapter().find_charge(call, Known(), SINCE)
    assert "customer" not in sent(vendor.requests[0][0])


async def test_two_effects_of_one_job_are_for_a_person() -> None:
    call, _, _ = calling(page(INTENT, {**INTENT, "id": "pi_2"}))

    with pytest.raises(Unknown) as raised:
        await Adapter().find_charge(call, KNOWN, SINCE)

    assert (raised.value.code, raised.value.for_person) == ("several_effects", True)


@pytest.mark.parametrize(
    "given",
    [
        refusal(404, "invalid_request_error", code="resource_missing"),
        answer(200, data={}),
        answer(200, data=[7]),
        page({**INTENT, "status": "of a later version"}),
        page({"metadata": {}}, more=True),
    ],
)
async def test_only_a_list_can_say_that_there_is_nothing(given: Any) -> None:
    call, _, _ = calling(given)

    with pytest.raises(Unavailable):
        await Adapter().find_charge(call, KNOWN, SINCE)


async def test_a_refund_is_found_unless_it_failed() -> None:
    failed = {**REFUND, "id": "re_0", "status": "failed"}
    call, vendor, _ = calling(page(failed, {**REFUND, "id": "re_2", **OTHERS}, REFUND))

    refund = await Adapter().find_refund(call, KNOWN, SINCE)

    assert refund is not None
    assert (refund.vendor_reference, refund.job) == ("re_1", doubles.JOB)
    assert sent(vendor.requests[0][0])["payment_intent"] == "pi_1"


async def test_less_than_was_held_is_taken() -> None:
    call, vendor, notes = calling(intent(amount_received=1000))

    payment = await Adapter().capture(call, KNOWN, 1000, "usd")

    assert (payment.status, payment.amount) == ("succeeded", 1000)
    assert asked(vendor) == ["POST /v1/payment_intents/pi_1/capture"]
    assert sent(vendor.requests[0][0]) == {"amount_to_capture": "1000"}
    ((step, key, repeat, _),) = notes.left
    assert (step, key, repeat) == ("capture", f"{doubles.JOB}:capture", Repeat.KEY)


@pytest.mark.parametrize("in_doubt", [True, False])
async def test_what_is_taken_already_is_told(in_doubt: bool) -> None:
    call, vendor, notes = calling(NOT_IN_STATE, intent(amount_received=1000))
    notes.in_doubt |= {"capture"} if in_doubt else set()

    payment = await Adapter().capture(call, KNOWN, 1000, "usd")

    assert (payment.status, payment.amount) == ("succeeded", 1000)
    assert asked(vendor)[1] == "GET /v1/payment_intents/pi_1"
    assert "capture" in notes.answers


@pytest.mark.parametrize("in_doubt", [True, False])
async def test_what_was_given_up_is_not_taken(in_doubt: bool) -> None:
    call, _, notes = calling(NOT_IN_STATE, intent(status="canceled"))
    notes.in_doubt |= {"capture"} if in_doubt else set()

    with pytest.raises(Refused) as raised:
        await Adapter().capture(call, KNOWN, 1000, "usd")

    assert raised.value.code == "charge_cancelled"
    assert "capture" in notes.answers


async def test_a_capture_in_doubt_that_is_refused_stays_in_doubt() -> None:
    refused = refusal(400, "invalid_request_error", code="amount_too_large")
    call, _, notes = calling(refused, answer(200, **HELD))
    notes.in_doubt.add("capture")

    with pytest.raises(Unknown) as raised:
        await Adapter().capture(call, KNOWN, 9000, "usd")

    assert raised.value.look_up
    assert notes.answers == []


async def test_a_capture_that_is_refused_for_another_reason_is_not_looked_at() -> None:
    call, vendor, _ = calling(refusal(400, "invalid_request_error", code="amount_too_large"))

    with pytest.raises(Refused) as raised:
        await Adapter().capture(call, KNOWN, 9000, "usd")

    assert raised.value.code == "amount_too_large"
    assert len(vendor.requests) == 1


async def test_a_payment_is_given_up() -> None:
    call, vendor, notes = calling(intent(status="canceled"))

    payment = await Adapter().cancel_payment(call, KNOWN)

    assert payment.status == "cancelled"
    assert asked(vendor) == ["POST /v1/payment_intents/pi_1/cancel"]
    assert notes.left[0][:3] == ("cancel", f"{doubles.JOB}:cancel", Repeat.KEY)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("succeeded", "succeeded"), ("processing", "processing"), ("canceled", "cancelled")],
)
async def test_what_cannot_be_given_up_any_more_is_told(theirs: str, ours: str) -> None:
    call, _, notes = calling(NOT_IN_STATE, intent(status=theirs))
    notes.in_doubt.add("cancel")

    assert (await Adapter().cancel_payment(call, KNOWN)).status == ours
    assert notes.answers == ["cancel"]


async def test_a_refused_cancel_of_what_is_still_held_is_raised() -> None:
    call, _, _ = calling(NOT_IN_STATE, answer(200, **HELD))

    with pytest.raises(Refused) as raised:
        await Adapter().cancel_payment(call, KNOWN)

    assert raised.value.code == "wrong_state"


async def test_money_is_given_back() -> None:
    call, vendor, notes = calling(answer(200, **REFUND))

    refund = await Adapter().refund(call, REFUND_ORDER)

    assert (refund.vendor_reference, refund.status, refund.job) == (
        "re_1",
        "succeeded",
        doubles.JOB,
    )
    assert asked(vendor) == ["POST /v1/refunds"]
    assert sent(vendor.requests[0][0]) == {
        "payment_intent": "pi_1",
        "amount": "500",
        "reason": "duplicate",
        "metadata": METADATA,
    }
    assert notes.left[0][1] == f"{doubles.JOB}:refund"


@pytest.fixture
async def live(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> AsyncIterator[HttpCall]:
    """A way out to the sandbox."""
    monkeypatch.setenv("STRIPE_BASE_URL", sandbox.base_url("stripe"))
    client = Client(policy("stripe"))
    yield HttpCall("stripe", client, policy("stripe"), doubles.Notes())
    await client.close()


async def test_held_taken_in_part_and_given_back(live: HttpCall, sandbox: Sandbox) -> None:
    stripe, now = Adapter(), datetime.now(UTC)
    customer = await stripe.create_customer(live, key="row:customer")
    order = ChargeOrder(doubles.JOB, customer, 1250, "usd", "pm_card_visa", capture=False)
    held = await stripe.charge(live, order, kept_nothing)
    known = Known(payment=held.vendor_reference, customer=customer)
    found = await stripe.find_charge(live, known, now)

    taken = await stripe.capture(live, known, 1000, "usd")
    assert known.payment
    refund = await stripe.refund(live, RefundOrder(doubles.JOB, known.payment, 300, "usd"))
    sandbox.dashboard("stripe", "refund", payment_intent=known.payment, amount=50)
    sandbox.dashboard("stripe", "dispute", payment_intent=known.payment)
    disputed = await stripe.read_payment(live, known)
    sandbox.dashboard("stripe", "close_dispute", payment_intent=known.payment)
    read = await stripe.read_payment(live, known)

    assert found is not None
    assert [one.status for one in (held, found, taken, read)] == [
        "authorized", "authorized", "succeeded", "succeeded",
    ]  # fmt: skip
    assert (taken.amount, read.amount) == (1000, 1000)
    assert (disputed.disputed, read.disputed) == (True, False)
    assert sorted((one.amount, one.job) for one in read.refunds if one.job) == [(300, doubles.JOB)]
    assert {one.amount for one in read.refunds} == {300, 50}
    assert await stripe.find_refund(live, known, now) == refund
    # Too late for both: it is told, and nothing more happens.
    assert (await stripe.cancel_payment(live, known)).status == "succeeded"
    assert len(sandbox.effects(vendor="stripe", kind="charge")) == 1


@pytest.mark.parametrize("succeeds", [True, False])
async def test_a_payer_takes_his_step(live: HttpCall, sandbox: Sandbox, succeeds: bool) -> None:
    stripe = Adapter()
    customer = await stripe.create_customer(live, key="row:customer")
    asks = "pm_card_threeDSecureRequired"
    back = "https://shop.example/paid"
    order = ChargeOrder(doubles.JOB, customer, 1250, "usd", asks, return_url=back)
    begun = await stripe.charge(live, order, kept_nothing)
    known = Known(payment=begun.vendor_reference)
    sandbox.dashboard("stripe", "authenticate", payment_intent=known.payment, succeeds=succeeds)

    payment = await stripe.resume(live, order, known)

    assert begun.status == "requires_action"
    assert begun.action_url
    assert payment.status == ("succeeded" if succeeds else "failed")
    assert payment.code == (None if succeeds else "authentication_failed")


async def test_a_payment_that_waits_is_given_up(live: HttpCall, sandbox: Sandbox) -> None:
    stripe = Adapter()
    customer = await stripe.create_customer(live, key="row:customer")
    asks = "pm_card_threeDSecureRequired"
    back = "https://shop.example/paid"
    order = ChargeOrder(doubles.JOB, customer, 1250, "usd", asks, return_url=back)
    begun = await stripe.charge(live, order, kept_nothing)
    known = Known(payment=begun.vendor_reference)

    assert (await stripe.cancel_payment(live, known)).status == "cancelled"
    assert (await stripe.cancel_payment(live, known)).status == "cancelled"
    with pytest.raises(Refused, match="cancelled"):
        await stripe.capture(live, known, 1250, "usd")
    assert len(sandbox.effects(vendor="stripe", kind="cancellation")) == 1
