"""The fields of Stripe's objects, which are believed only as far as they can be read, and its
amounts. Facts: Stripe's API reference, version 2026-10-28.endive."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from adapters._base import Refused
from ferryman import money

Row = dict[str, Any]

# Decimal places where Stripe counts otherwise than ISO 4217:
# https://docs.stripe.com/currencies#special-cases and #zero-decimal
DECIMALS = {"isk": 2, "ugx": 2, "mga": 0}
# Three decimals, of which Stripe wants the last to be zero: #three-decimal
WHOLE_TENS = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})
MOST = 2**53  # beyond that JSON's numbers are not exact
LONGEST = 255
LATEST = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp())


class Unreadable(Exception):
    """An object of Stripe's that is not as its reference says."""


def text(found: Row, name: str) -> str:
    """A word of an object, such as a statement takes it. Raises Unreadable."""
    value = found.get(name)
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= LONGEST:
        raise Unreadable(name)
    return value


def inner(found: Row, name: str) -> Row:
    """An object within another; an empty one where there is none, or only its id."""
    value = found.get(name)
    return value if isinstance(value, dict) else {}


def currency_of(found: Row) -> str:
    currency = text(found, "currency").lower()
    try:
        money.exponent(currency)
    except ValueError:
        raise Unreadable("currency") from None
    return currency


def amount_of(found: Row, name: str) -> int:
    """An amount in our minor units: the one of that name, else `amount`. Raises Unreadable."""
    value = found.get("amount") if found.get(name) is None else found[name]
    if type(value) is not int or not 0 <= value <= MOST:
        raise Unreadable(name)
    return ours(value, currency_of(found))


def moment(found: Row) -> datetime:
    """When the object was made. Raises Unreadable."""
    value = found.get("created")
    if type(value) is not int or not 0 <= value <= LATEST:
        raise Unreadable("created")
    return datetime.fromtimestamp(value, UTC)


def theirs(amount: int, currency: str) -> int:
    """Our minor units as Stripe counts them. Raises Refused, with `invalid_amount`."""
    step = 10 if currency in WHOLE_TENS else 10 ** max(0, -_shift(currency))
    if amount % step:
        raise Refused(
            f"amount: in {currency.upper()} it has to be a multiple of {step}",
            code="invalid_amount",
        )
    return _shifted(amount, _shift(currency))


def ours(amount: int, currency: str) -> int:
    """Stripe's count in our minor units. Raises Unreadable."""
    shift = _shift(currency)
    if amount % 10 ** max(0, shift):
        raise Unreadable("amount")
    return _shifted(amount, -shift)


def _shift(currency: str) -> int:
    places = money.exponent(currency)
    return DECIMALS.get(currency, places) - places


def _shifted(amount: int, places: int) -> int:
    return int(amount * 10**places if places >= 0 else amount // 10**-places)
