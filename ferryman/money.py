"""Amounts are whole minor units of an ISO 4217 currency: how many digits is that, and how is it
written for people?"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from functools import lru_cache


@lru_cache(maxsize=256)
def exponent(currency: str) -> int:
    """How many decimal places the currency has: 2 for USD, 0 for JPY, 3 for KWD.

    Raises ValueError for a code that is not a currency of ISO 4217, or one without minor units
    (gold, testing codes).
    """
    from iso4217 import Currency

    try:
        found = Currency(currency.upper()).exponent if currency.isascii() else None
    except ValueError:
        found = None
    if found is None:
        raise ValueError("must be a currency of ISO 4217, such as usd")
    return int(found)


def to_minor(amount: str, currency: str) -> int:
    """`12.50` in USD as 1250. Raises ValueError where the text has more places than the currency,
    or is no number."""
    places = exponent(currency)
    try:
        minor = Decimal(amount).scaleb(places)
    except InvalidOperation:
        raise ValueError("must be a number such as 12.50") from None
    if not minor.is_finite() or minor != minor.to_integral_value():
        raise ValueError(f"must have at most {places} decimal places")
    return int(minor)


def display(amount: int, currency: str) -> str:
    """1250 in USD as `12.50 USD`."""
    major = Decimal(amount).scaleb(-exponent(currency))
    return f"{major:f} {currency.upper()}"
