"""Which amounts does PayPal take? Currencies, decimals, and how amounts are written.

Facts: https://developer.paypal.com/api/rest/reference/currency-codes/
"""

from collections.abc import Mapping
from typing import Any

from sandbox.paypal.errors import unprocessable

NO_DECIMALS = frozenset(("HUF", "JPY", "TWD"))
CURRENCIES = NO_DECIMALS | frozenset(
    (
        "AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "ILS", "MXN", "MYR",
        "NOK", "NZD", "PHP", "PLN", "SEK", "SGD", "THB", "USD",
    )
)  # fmt: skip
LONGEST_WHOLE = 15
"""Digits before the decimal point of 999999999999999.99."""


def minor(money: Mapping[str, str], field: str, *, zero: bool = False) -> int:
    """An amount of the right form in minor units; `zero`: nothing is an amount, too.

    Raises Refused, naming the field."""
    code, value = money["currency_code"], money["value"]
    if code not in CURRENCIES:
        raise unprocessable("INVALID_CURRENCY_CODE", f"{field}/currency_code", code)
    whole, dot, fraction = value.partition(".")
    if dot and code in NO_DECIMALS:
        raise unprocessable("DECIMALS_NOT_SUPPORTED", f"{field}/value", value)
    if len(fraction) > 2:
        raise unprocessable("DECIMAL_PRECISION", f"{field}/value", value)
    if len(whole.lstrip("-0")) > LONGEST_WHOLE:
        raise unprocessable("MAX_VALUE_EXCEEDED", f"{field}/value", value)
    amount = int(whole + fraction.ljust(0 if code in NO_DECIMALS else 2, "0"))
    if amount < 0 or (amount == 0 and not zero):
        issue = "CANNOT_BE_NEGATIVE" if zero else "CANNOT_BE_ZERO_OR_NEGATIVE"
        raise unprocessable(issue, f"{field}/value", value)
    return amount


def shown(amount: int, currency: str) -> dict[str, Any]:
    """An amount in minor units as PayPal writes it."""
    if currency in NO_DECIMALS:
        return {"currency_code": currency, "value": str(amount)}
    whole, cents = divmod(amount, 100)
    return {"currency_code": currency, "value": f"{whole}.{cents:02}"}
