"""What the jobs of text messages ask of a vendor, and what it answers, in our words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from adapters._base import Call


@dataclass(frozen=True)
class MessageOrder:
    """One text message. `to` in E.164. `id`: our row's, which comes back in what the vendor tells
    of it. `sender`: what `check_sender` said when it was to leave, which may have been configured
    anew since; None: the configured one."""

    id: UUID
    to: str
    body: str
    sender: str | None = None


@dataclass(frozen=True)
class MessageAnswer:
    """A message that the vendor has taken over. `sender`: the number it leaves from, if it is
    known. `segments`: what it is billed as, if it is known."""

    vendor_reference: str
    created_at: datetime
    sender: str | None = None
    segments: int | None = None


class Messenger(Protocol):
    """A vendor that sends text messages."""

    def check_sender(self) -> str:
        """The configured sender. Raises Misconfigured naming the variable."""
        ...

    async def send_message(self, call: Call, order: MessageOrder) -> MessageAnswer:
        """Hand a message over. Raises Refused with one of our codes (`invalid_recipient`,
        `suppressed` for one who has opted out) when the vendor will not."""
        ...

    async def find_messages(
        self, call: Call, order: MessageOrder, since: datetime
    ) -> Sequence[MessageAnswer]:
        """All messages that the vendor has of the order's sender, number and text, whatever became
        of them, sent at `since` or later, the earliest first; found without sending. Nothing in
        them names our job: which one is this order's is for the ledger to say. Raises Unknown
        `for_person` where the vendor cannot tell of so many."""
        ...
