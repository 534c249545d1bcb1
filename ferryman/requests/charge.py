"""`charge`: take a payment from one of the application's users."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from ferryman.requests._base import Request
from ferryman.requests._fields import Amount, Currency, Label, Link, Metadata


class Charge(Request):
    """Take `amount` minor units of `currency` (ISO 4217) by a payment method of the vendor.

    `customer` is the application's own id of its user. With `capture` false the amount is only
    held, until `capture_charge` or `cancel_charge`. `return_url`: where the payer comes back to,
    if a step of his is needed.
    """

    kind: ClassVar[str] = "charge"

    customer: Label
    amount: Amount
    currency: Currency
    payment_method: Label
    description: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    metadata: Metadata | None = None
    capture: bool = True
    return_url: Link | None = None
