"""What the kinds of money ask of a payment vendor, and what it answers, in our words.

A payment's status, and what may follow:

requires_action   a step of the payer is missing     → processing, authorized, succeeded, failed
processing        the vendor or a bank decides       → authorized, succeeded, failed
authorized        held, and not yet taken            → succeeded, cancelled
succeeded         taken                              (refunds and disputes are counted beside it)
cancelled         given up before it was taken
failed            refused for good
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Protocol
from uuid import UUID

from adapters._base import Call

OPEN = ("requires_action", "processing")

Since = datetime
"""When the first request of a job left, by our clock."""
Keep = Callable[[str], Awaitable[None]]
"""Commits the vendor's handle of a payment (its `session`) before money can move by it."""


@dataclass(frozen=True)
class ChargeOrder:
    """A payment to be taken, or to be held where `capture` is false. `amount` in ISO 4217 minor
    units; `customer` is the vendor's id (None: the vendor keeps no customers); `return_url` is
    where a payer comes back to; `session` is the vendor's handle, where an earlier attempt has
    one."""

    job_id: UUID
    customer: str | None
    amount: int
    currency: str
    payment_method: str
    description: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    capture: bool = True
    return_url: str | None = None
    session: str | None = None


@dataclass(frozen=True)
class Known:
    """How the ledger knows a payment. `payment`: its `vendor_reference`; `session`: the vendor's
    handle of what it was made by (PayPal's order); `customer`: the vendor's id of the payer."""

    payment: str | None = None
    session: str | None = None
    customer: str | None = None


@dataclass(frozen=True)
class RefundOrder:
    """Money to be given back of a payment."""

    job_id: UUID
    payment: str
    amount: int
    currency: str
    reason: str | None = None


@dataclass(frozen=True)
class RefundAnswer:
    """A refund as the vendor tells it. `status`: succeeded, pending or failed. `job`: which of
    our jobs asked for it; None: a person at the vendor's."""

    vendor_reference: str
    status: str
    amount: int
    currency: str
    created_at: datetime
    job: UUID | None = None


@dataclass(frozen=True)
class Payment:
    """A payment as the vendor tells it. `amount`: what is taken, or held, or asked for. `code`:
    why it failed, one of ours. `job`: which of our jobs asked for it, by what it carries.
    `refunds` and `disputed` are told by `read_payment` only."""

    vendor_reference: str | None
    status: str
    amount: int
    currency: str
    created_at: datetime
    session: str | None = None
    action_url: str | None = None
    code: str | None = None
    job: UUID | None = None
    refunds: tuple[RefundAnswer, ...] = ()
    disputed: bool = False


class Payments(Protocol):
    """A vendor that moves money. Steps: `customer`, `charge` (at PayPal `order`, then `charge`),
    `capture`, `cancel`, `refund`; each has the vendor key `call.key(step)`."""

    has_customers: ClassVar[bool]
    """Whether a payer is made known to the vendor before he pays."""

    async def create_customer(self, call: Call, *, key: str) -> str:
        """Make the vendor's customer, the same one for the same key; return the vendor's id."""
        ...

    async def charge(self, call: Call, order: ChargeOrder, keep: Keep) -> Payment:
        """Take a payment, or begin one that waits for its payer or a bank. Raises Refused with one
        of our codes when it is declined."""
        ...

    async def resume(self, call: Call, order: ChargeOrder, known: Known) -> Payment:
        """Go on with a payment that was begun: look at it, and take it once its payer has agreed
        where that needs a call. A failed one is told as Payment, not raised."""
        ...

    async def read_payment(self, call: Call, known: Known) -> Payment:
        """The whole truth about a payment, with its refunds and disputes; nothing is changed.
        Raises Refused with `not_found`."""
        ...

    async def find_charge(self, call: Call, known: Known, since: Since) -> Payment | None:
        """The payment that this job made, whatever became of it short of failing. None: it made
        none."""
        ...

    async def capture(self, call: Call, known: Known, amount: int, currency: str) -> Payment:
        """Take what was held, or less; what is not taken is let go. Raises Refused."""
        ...

    async def cancel_payment(self, call: Call, known: Known) -> Payment:
        """Give up what is not taken yet. Where it was taken in the meantime, that is told as
        Payment, not raised."""
        ...

    async def refund(self, call: Call, order: RefundOrder) -> RefundAnswer:
        """Give money back. Raises Refused when the vendor will not."""
        ...

    async def find_refund(self, call: Call, known: Known, since: Since) -> RefundAnswer | None:
        """The refund of that payment that this job made. None: it made none that did not fail."""
        ...
