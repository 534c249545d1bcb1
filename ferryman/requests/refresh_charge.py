"""`refresh_charge`: what an event made doubtful is read again at the vendor."""

from __future__ import annotations

from typing import ClassVar

from ferryman.requests._base import Request
from ferryman.requests._fields import Label


class RefreshCharge(Request):
    """Bring a charge, its refunds and disputes up to date. Made by ferryman itself.

    `payment` and `session`: how the vendor knows it, where an event said so and the ledger does
    not. `event`: the vendor's id of an event that is to be read again itself.
    """

    kind: ClassVar[str] = "refresh_charge"
    internal: ClassVar[bool] = True

    charge: Label
    payment: Label | None = None
    session: Label | None = None
    event: Label | None = None
