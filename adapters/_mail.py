"""What the mail jobs ask of a mail vendor, and what it answers, in our words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Protocol, Self
from uuid import UUID

from adapters._base import Call, Refused


@dataclass(frozen=True)
class Letter:
    """What all recipients have in common. Without a `sender`, the vendor's configured one.

    `cc` and `bcc` see the mail of each recipient. `track_opens`, `track_clicks`: None leaves it to
    the account's own setting.
    """

    template: str | None = None
    subject: str | None = None
    text: str | None = None
    html: str | None = None
    sender: str | None = None
    reply_to: str | None = None
    cc: Sequence[str] = ()
    bcc: Sequence[str] = ()
    categories: Sequence[str] = ()
    track_opens: bool | None = None
    track_clicks: bool | None = None

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Self:
        """The letter within a job's arguments."""
        given = {part.name: arguments.get(part.name) for part in fields(cls)}
        return cls(**{name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True)
class Recipient:
    """Who gets the letter, and what is different in this one.

    `data` is for the vendor's template. `unsubscribe_url`: where one click takes him off the list
    (RFC 8058).
    """

    email_id: UUID
    address: str
    data: Mapping[str, Any] = field(default_factory=dict)
    unsubscribe_url: str | None = None


@dataclass(frozen=True)
class MailOrder:
    """One request: a mail to each recipient, none of whom sees the others."""

    job_id: UUID
    letter: Letter
    recipients: Sequence[Recipient]


@dataclass(frozen=True)
class Acceptance:
    """The vendor has taken the mails over. That is not delivery, which comes by webhook."""

    vendor_reference: str | None
    created_at: datetime


@dataclass(frozen=True)
class Suppressed:
    """An address that the vendor itself sends nothing to. `reason`: one of ours (`bounce`,
    `invalid`, `complaint`, `unsubscribe`)."""

    address: str
    reason: str
    at: datetime


class RefusedSome(Refused):
    """The vendor sent nothing, because of these recipients alone; without them it would.
    `recipients`: for each by his `email_id`, why."""

    def __init__(self, message: str, *, recipients: Mapping[UUID, str], **known: Any) -> None:
        super().__init__(message, **known)
        self.recipients = recipients

    def __reduce__(self) -> tuple[type[Refused], tuple[str]]:
        # What Celery pickles must not carry a recipient.
        return Refused, (self.message,)


class Mailer(Protocol):
    """A vendor that sends mail."""

    def check(self, letter: Letter) -> None:
        """Whether the vendor could send this letter; asks nobody.

        Raises Refused for what cannot be expressed there, Misconfigured for a missing setting.
        """
        ...

    def address_problem(self, address: str) -> str | None:
        """What keeps this vendor from sending to a valid address, in words, or None."""
        ...

    async def send_mail(self, call: Call, order: MailOrder) -> Acceptance:
        """Hand the mails over. Raises Refused with one of our codes when the vendor will not,
        RefusedSome where it names the recipients for whom it will not."""
        ...

    def suppressions(self, call: Call) -> AsyncIterator[Suppressed]:
        """The vendor's own lists of those it sends nothing to. Raises as `Call.read` does."""
        ...
