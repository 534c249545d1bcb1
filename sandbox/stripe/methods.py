"""What lies behind a test payment method: a card, or an account at a bank."""

from typing import Any

from sandbox.stripe.cards import BANK

Shape = dict[str, Any]


def type_of(token: str) -> str:
    return "us_bank_account" if token.startswith(BANK) else "card"


def details(token: str) -> Shape:
    """The type, and what is known of the card or the account."""
    kind = type_of(token)
    return {kind: _account() if kind == "us_bank_account" else _card(token), "type": kind}


def payment_method_shape(id: str, token: str, customer: str | None, created: int) -> Shape:
    return {
        "id": id,
        "object": "payment_method",
        "billing_details": {"address": {}, "email": None, "name": None, "phone": None},
        "created": created,
        "customer": customer,
        "livemode": False,
        "metadata": {},
        **details(token),
    }


def _card(token: str) -> Shape:
    brand = next((b for b in ("mastercard", "amex", "discover") if b in token), "visa")
    return {"brand": brand, "country": "US", "exp_month": 12, "exp_year": 2034, "last4": "4242"}


def _account() -> Shape:
    return {"account_type": "checking", "bank_name": "STRIPE TEST BANK", "last4": "6789"}
