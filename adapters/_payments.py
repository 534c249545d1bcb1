"""What charge and refund ask of a payment vendor, and what it answers, in our words."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from adapters._base import Call

Since = datetime
"""When the first request of a job left, by our clock."""


@dataclass(frozen=True)
class ChargeOrder:
    """A payment to be taken. `amount` in ISO 4217 minor units; `customer` is the vendor's id."""

    job_id: UUID
    customer: str
    amount: int
    currency: str
    payment_method: str
    description: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Payment:
    """A payment as the vendor tells it. `status`: succeeded or processing."""

    vendor_reference: str
    status: str
    amount: int
    currency: str
    created_at: datetime


@dataclass(frozen=True)
class RefundOrder:
    """Money to be given back of the payment that the vendor knows as `payment`."""

    job_id: UUID
    payment: str
    amount: int
    currency: str
    reason: str | None = None


@dataclass(frozen=True)
class RefundAnswer:
    """A refund as the vendor tells it. `status`: succeeded, pending or failed."""

    vendor_reference: str
    status: str
    amount: int
    currency: str
    created_at: datetime


class Payments(Protocol):
    """A vendor that moves money."""

    async def create_customer(self, call: Call, *, key: str) -> str:
        """Make the vendor's customer, the same one for the same key; return the vendor's id."""
        ...

    async def charge(self, call: Call, order: ChargeOrder) -> Payment:
        """Take a payment. Raises Refused with one of our codes when it is declined."""
        ...

    async def find_charge(self, call: Call, customer: str, since: Since) -> Payment | None:
        """The payment that this job made of that vendor's customer. None: it made none."""
        ...

    async def find_refund(self, call: Call, payment: str, since: Since) -> RefundAnswer | None:
        """The refund of `payment` that this job made. None: it made none that did not fail."""
        ...

    async def refund(self, call: Call, order: RefundOrder) -> RefundAnswer:
        """Give money back. Raises Refused when the vendor will not."""
        ...
