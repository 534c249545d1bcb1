"""`cancel_charge`: let go of a payment that a charge with `capture: false` holds."""

from __future__ import annotations

from typing import ClassVar

from ferryman.requests._base import Request
from ferryman.requests._fields import Label


class CancelCharge(Request):
    """Let go of a held charge: nothing is taken.

    `charge` is the id in a charge job's result, or that job's id.
    """

    kind: ClassVar[str] = "cancel_charge"

    charge: Label
