"""`refund`: give back a charge, or part of it."""

from __future__ import annotations

from typing import ClassVar, Literal

from ferryman.requests._base import Request
from ferryman.requests._fields import Amount, Label


class Refund(Request):
    """Give back `amount` minor units of a charge; without an amount, all that is left of it.

    `charge` is the id in a charge job's result, or that job's id.
    """

    kind: ClassVar[str] = "refund"

    charge: Label
    amount: Amount | None = None
    reason: Literal["duplicate", "fraudulent", "requested_by_customer"] | None = None
