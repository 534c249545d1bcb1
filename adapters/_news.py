"""What a vendor's event says about an effect, in our words.

`bound`: the signature covers every byte, so the news may be believed as it is. Where it is not
(PayPal's covers a checksum), the news only says what to look at again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from adapters._payments import Payment, RefundAnswer


@dataclass(frozen=True)
class PaymentNews:
    """A payment has come to stand as told. `job`: the one that made it, by its metadata or by the
    idempotency key of the request (`vendor_key`), where the event names one."""

    kind: ClassVar[str] = "charge"

    at: datetime
    told: Payment
    job: UUID | None = None
    vendor_key: str | None = None
    bound: bool = True


@dataclass(frozen=True)
class RefundNews:
    """A refund of `payment` (its `vendor_reference`; None: the event does not say) has come to
    stand as told; `told.job` names the job that asked for it."""

    kind: ClassVar[str] = "refund"

    at: datetime
    payment: str | None
    told: RefundAnswer
    bound: bool = True


@dataclass(frozen=True)
class DisputeNews:
    """A payer disputes a payment with his bank (`disputed`), or that is over in our favour."""

    kind: ClassVar[str] = "charge"

    at: datetime
    payment: str
    disputed: bool
    bound: bool = True
