"""What the mail jobs ask of a mail vendor, and what it answers, in our words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, ClassVar, Protocol, Self
from uuid import UUID

from adapters._base import Call


@dataclass(frozen=True)
class Letter:
    """What all recipients have in common. Without a `sender`, the vendor's configured one."""

    template: str | None = None
    subject: str | None = None
    text: str | None = None
    html: str | None = None
    sender: str | None = None
    reply_to: str | None = None

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Self:
        """The letter within a job's arguments."""
        return cls(**{part.name: arguments.get(part.name) for part in fields(cls)})


@dataclass(frozen=True)
class Recipient:
    """Who gets the letter, and what is different in this one.

    `data` is for the vendor's own template. `fills`: strings of the letter's text and HTML, and
    what the vendor puts in their place; `subject` stands instead of the letter's.
    """

    email_id: UUID
    address: str
    data: Mapping[str, Any] = field(default_factory=dict)
    subject: str | None = None
    fills: Mapping[str, str] = field(default_factory=dict)


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


class Mailer(Protocol):
    """A vendor that sends mail."""

    most_fill_bytes: ClassVar[int]
    """How many bytes a recipient's fills may have together, names and values."""

    def check(self, letter: Letter) -> None:
        """Whether the vendor could send this letter; asks nobody.

        Raises Refused for what cannot be expressed there, Misconfigured for a missing setting.
        """
        ...

    def address_problem(self, address: str) -> str | None:
        """What keeps this vendor from sending to a valid address, in words, or None."""
        ...

    async def send_mail(self, call: Call, order: MailOrder) -> Acceptance:
        """Hand the mails over. Raises Refused with one of our codes when the vendor will not."""
        ...
