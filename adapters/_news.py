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


@dataclass(frozen=True)
class MailNews:
    """What became of one mail. `what`: one of WHAT_MAILS_DO. `email` and `job`: ours, as they were
    sent along; None where the event names none. `suppress`: why nothing more may be sent to this
    address, in our words (`bounce`, `invalid`, `complaint`, `unsubscribe`)."""

    kind: ClassVar[str] = "send_email"

    at: datetime
    what: str
    email: UUID | None = None
    job: UUID | None = None
    reason: str | None = None
    suppress: str | None = None


WHAT_MAILS_DO = (
    "processed",
    "deferred",
    "delivered",
    "bounced",
    "dropped",
    "opened",
    "clicked",
    "complained",
    "unsubscribed",
)


@dataclass(frozen=True)
class MessageNews:
    """What became of one text message, by the vendor's id of it and, where it was sent along, ours
    (`message`). `what`: `processed` (on its way), `delivered`, `bounced` (not delivered) or
    `dropped` (never sent). `address` and `suppress`: one who wants no more of them (`unsubscribe`),
    or whose number takes none (`invalid`)."""

    kind: ClassVar[str] = "send_sms"

    at: datetime
    what: str
    vendor_reference: str | None = None
    message: UUID | None = None
    reason: str | None = None
    address: str | None = None
    suppress: str | None = None


@dataclass(frozen=True)
class ContactNews:
    """What became of one contact, by the vendor's id of it. `what`: `made`, `changed` (`field`, by
    our name, has that `value` now), `deleted`, `erased` (for good, and nothing of him may be kept),
    `restored`, or `merged` (those of `others` are this one now)."""

    kind: ClassVar[str] = "upsert_contact"

    at: datetime
    what: str
    vendor_reference: str
    field: str | None = None
    value: str | None = None
    others: tuple[str, ...] = ()
