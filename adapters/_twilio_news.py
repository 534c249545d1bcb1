"""What Twilio's webhooks say about messages of ours. Facts:
https://www.twilio.com/docs/messaging/guides/track-outbound-message-status and
https://help.twilio.com/articles/223134027 (words by which somebody asks for no more)"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from adapters._base import Event, News, Row
from adapters._news import MessageNews
from adapters._twilio import NUMBER
from adapters._twilio_webhooks import MESSAGE

WHAT = {
    "accepted": "processed",
    "scheduled": "processed",
    "queued": "processed",
    "sending": "processed",
    "sent": "processed",
    "delivered": "delivered",
    "partially_delivered": "delivered",
    "read": "delivered",
    "undelivered": "bounced",
    "failed": "dropped",
    "canceled": "dropped",
}
CODE = re.compile(r"[1-9][0-9]{3,5}")
# Why a message did not arrive.
REASONS = {
    21610: "has asked for no more messages from this sender",
    30001: "the sender's queue was full",
    30002: "the account is suspended",
    30003: "the handset cannot be reached",
    30004: "the number, or its carrier, blocks these messages",
    30005: "the number is not known, or no longer in use",
    30006: "the number is a landline, or its carrier takes no messages",
    30007: "a carrier took it for unwanted",
    30008: "the carrier gives no reason",
    30010: "its price is above the highest allowed",
    30032: "the sender's toll-free number is not verified",
    30034: "the sender's number is not registered",
    30036: "it waited longer than it was valid",
}
# With these it had left, also where Twilio calls it failed.
LEFT = frozenset({30003, 30004, 30005, 30006, 30007, 30008})
SUPPRESS = {21610: "unsubscribe", 30005: "invalid", 30006: "invalid"}
# Twilio itself sends nothing more to who answers with one of these words alone.
STOP = frozenset(
    {"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT", "STOP ALL"}
)


def news(event: Event) -> Sequence[News]:
    """Nothing for what cannot be read, and for messages from people that ask for nothing."""
    status = event.type.removeprefix("message.")
    if status == "received":
        return _opt_out(event)
    if what := WHAT.get(status):
        return (_outcome(event, what),)
    return ()


def _outcome(event: Event, what: str) -> MessageNews:
    told = event.payload
    code = _code(told) if what in ("bounced", "dropped") else None
    suppress = SUPPRESS.get(code or 0)
    number = _number(told.get("To")) if suppress else None
    return MessageNews(
        at=event.at,
        what="bounced" if code in LEFT else what,
        vendor_reference=event.id.partition(":")[0],
        message=_message(told),
        reason=_reason(code),
        address=number,
        suppress=suppress if number else None,
    )


def _opt_out(event: Event) -> Sequence[News]:
    """Somebody who wants no more. He answers no message in particular, so that none is named; and
    one who wants them again (START) has to be let in by a person, who knows what he agreed to."""
    told = event.payload
    asked = told.get("OptOutType") or told.get("Body")
    number = _number(told.get("From"))
    if number is None or not isinstance(asked, str) or asked.strip().upper() not in STOP:
        return ()
    reason = REASONS[21610]
    return (
        MessageNews(event.at, "dropped", reason=reason, address=number, suppress="unsubscribe"),
    )


def _code(told: Row) -> int | None:
    found = told.get("ErrorCode")
    return int(found) if isinstance(found, str | int) and CODE.fullmatch(str(found)) else None


def _reason(code: int | None) -> str | None:
    if code is None:
        return None
    return f"{REASONS.get(code, 'the vendor gives a reason by number')} ({code})"


def _number(found: Any) -> str | None:
    return found if isinstance(found, str) and NUMBER.fullmatch(found) else None


def _message(told: Row) -> UUID | None:
    named = told.get(MESSAGE)
    return UUID(named) if isinstance(named, str) else None
