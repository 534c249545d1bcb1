"""`capture_charge`: take a payment that a charge with `capture: false` holds."""

from __future__ import annotations

from typing import ClassVar

from ferryman.requests._base import Request
from ferryman.requests._fields import Amount, Label


class CaptureCharge(Request):
    """Take `amount` minor units of a held charge, and let go of the rest; without an amount, all.

    `charge` is the id in a charge job's result, or that job's id.
    """

    kind: ClassVar[str] = "capture_charge"

    charge: Label
    amount: Amount | None = None
