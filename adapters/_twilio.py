"""Twilio's words and ours. Facts: https://www.twilio.com/docs/api/errors and
https://www.twilio.com/docs/messaging/api/message-resource"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from adapters._base import Response, Row
from adapters._messages import MessageAnswer

SID = re.compile(r"(SM|MM)[0-9a-fA-F]{32}")
NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")

# Why a message was not taken: our code, and words that name no number.
REFUSALS = {
    21211: ("invalid_recipient", "to: the vendor knows no such number"),
    21408: ("account_restricted", "to: the account may not send to this country"),
    21602: ("nothing_to_send", "body: it is empty"),
    21604: ("invalid_recipient", "to: it is missing"),
    21605: ("too_large", "body: it is longer than the vendor takes"),
    21608: ("account_restricted", "to: a trial account sends to verified numbers only"),
    21610: ("suppressed", "to: has asked for no more messages from this sender"),
    21612: ("invalid_recipient", "to: cannot be reached from this sender"),
    21614: ("invalid_recipient", "to: is no mobile number"),
    21617: ("too_large", "body: it is longer than the vendor takes"),
    21619: ("nothing_to_send", "body: it is empty"),
    21635: ("invalid_recipient", "to: is a landline number"),
}
REFUSED = ("refused", "the vendor refused the message")

# What is wrong with a setting of ours, so that every message would be refused.
SETTINGS = {
    20404: "TWILIO_ACCOUNT_SID: the vendor knows no such account",
    21212: "TWILIO_FROM: the vendor does not take it for a sender",
    21603: "TWILIO_FROM: the vendor wants one",
    21606: "TWILIO_FROM: is not this account's, or cannot send text messages",
    21607: "TWILIO_FROM: is not a number that this account may send from",
    21609: "FERRYMAN_PUBLIC_URL: the vendor cannot call it",
    21659: "TWILIO_FROM: is not one of the vendor's numbers",
    21660: "TWILIO_FROM: is another account's",
    21701: "TWILIO_FROM: there is no such messaging service",
    21703: "TWILIO_FROM: the messaging service has no number that could send this",
    21704: "TWILIO_FROM: the messaging service has no numbers",
    21705: "TWILIO_FROM: there is no such messaging service",
}
# The sender has messages for ten hours waiting already.
QUEUE_FULL = 21611
QUEUE_SECONDS = 60.0

# What an answer that is not as the contract says raises in here.
UNREADABLE = (LookupError, TypeError, ValueError, AttributeError)


def document(answer: Response) -> Row | None:
    """An answer's JSON object, or None."""
    try:
        told = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return None
    return told if isinstance(told, dict) else None


def code(answer: Response) -> int | None:
    """The number of Twilio's error; of an account that is not there, whatever the body says."""
    if answer.status == 404:
        return 20404
    found = (document(answer) or {}).get("code")
    return found if isinstance(found, int) else None


def message(told: Row) -> MessageAnswer:
    """One of Twilio's messages. Raises one of UNREADABLE for what is none."""
    sid = told["sid"]
    if not SID.fullmatch(sid):
        raise ValueError("no id of a message")
    created = moment(told.get("date_created")) or datetime.now(UTC)
    # A messaging service chooses the number, and by it the segments, only later.
    return MessageAnswer(sid, created, told.get("from") or None, _segments(told))


def moment(found: Any) -> datetime | None:
    """A time as Twilio writes it (RFC 2822, in whole seconds), or None."""
    try:
        return parsedate_to_datetime(found).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def _segments(told: Row) -> int | None:
    found = str(told.get("num_segments"))
    return int(found) or None if found.isdecimal() else None
