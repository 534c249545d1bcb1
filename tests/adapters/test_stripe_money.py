"""Stripe's amounts: ours are those of ISO 4217, and go both ways without a loss."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from iso4217 import Currency

from adapters._base import Refused
from adapters._payments import ChargeOrder, RefundOrder
from adapters._stripe_fields import Unreadable, ours, theirs
from adapters.stripe import Adapter
from ferryman import money
from sandbox.stripe.money import CURRENCIES, decimals
from sandbox.stripe.money import check_step as check_at_stripe
from tests.adapters import doubles
from tests.adapters.stripe_double import (
    INTENT,
    KEY,
    KNOWN,
    REFUND,
    answer,
    calling,
    kept_nothing,
    sent,
)

# Stripe's list has some that ISO 4217 has not any more.
ALL = sorted(CURRENCIES & {one.code.lower() for one in Currency})
AMOUNTS = st.integers(1, 99_999_999)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_SECRET_KEY", KEY)


def test_there_are_currencies_to_try() -> None:
    assert len(ALL) > 120
    assert {"jpy", "kwd", "isk", "ugx", "mga"} <= set(ALL)


@given(AMOUNTS, st.sampled_from(ALL))
def test_what_can_be_said_comes_back_as_it_was(amount: int, currency: str) -> None:
    try:
        told = theirs(amount, currency)
    except Refused:
        told = 0
    if not told:
        assert amount % (100 if currency == "mga" else 10)
        return
    check_at_stripe(told, currency)  # a multiple where Stripe wants one
    assert ours(told, currency) == amount


@given(AMOUNTS, st.sampled_from(ALL))
def test_it_is_the_same_money(amount: int, currency: str) -> None:
    """Compared in whole units, by Stripe's own table of decimals."""
    try:
        told = theirs(amount, currency)
    except Refused:
        return
    assert told * 10 ** money.exponent(currency) == amount * 10 ** decimals(currency)


@given(AMOUNTS, st.sampled_from(ALL))
def test_stripes_word_is_read_or_refused(amount: int, currency: str) -> None:
    try:
        read = ours(amount, currency)
    except Unreadable:
        assert currency in ("isk", "ugx")
        return
    assert read * 10 ** decimals(currency) == amount * 10 ** money.exponent(currency)


@pytest.mark.parametrize(
    ("currency", "amount", "told"),
    [
        ("usd", 1250, "1250"),
        ("jpy", 500, "500"),
        ("isk", 7, "700"),
        ("ugx", 7, "700"),
        ("kwd", 1250, "1250"),
        ("mga", 1200, "12"),
    ],
)
async def test_amounts_on_the_way(currency: str, amount: int, told: str) -> None:
    money_of = {"currency": currency, "amount": int(told), "amount_received": int(told)}
    call, vendor, _ = calling(answer(200, **INTENT | REFUND | money_of))
    stripe = Adapter()
    order = ChargeOrder(doubles.JOB, "cus_1", amount, currency, "pm_card_visa")

    payment = await stripe.charge(call, order, kept_nothing)
    taken = await stripe.capture(call, KNOWN, amount, currency)
    refund = await stripe.refund(call, RefundOrder(doubles.JOB, "pi_1", amount, currency))

    first, second, third = [sent(request) for request, _ in vendor.requests]
    assert (first["amount"], second["amount_to_capture"], third["amount"]) == (told, told, told)
    assert (payment.amount, taken.amount, refund.amount) == (amount, amount, amount)


@pytest.mark.parametrize("currency", ["kwd", "bhd", "jod", "omr", "tnd", "mga"])
async def test_an_amount_that_stripe_cannot_take_is_refused_before_anything_leaves(
    currency: str,
) -> None:
    call, vendor, notes = calling(answer(200, **INTENT))
    stripe: Any = Adapter()
    order = ChargeOrder(doubles.JOB, "cus_1", 1255, currency, "pm_card_visa")
    refund = RefundOrder(doubles.JOB, "pi_1", 1255, currency)

    for asking in (
        stripe.charge(call, order, kept_nothing),
        stripe.capture(call, KNOWN, 1255, currency),
        stripe.refund(call, refund),
    ):
        with pytest.raises(Refused, match=f"amount: in {currency.upper()}") as raised:
            await asking
        assert raised.value.code == "invalid_amount"

    assert (vendor.requests, notes.left) == ([], [])
