"""What SendGrid's events say about our mails. Its texts repeat what other servers answered, often
with an address, so that of these only the status codes are kept. Facts:
https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from adapters._base import Event
from adapters._news import MailNews
from adapters._sendgrid_mail import EMAIL, JOB, TO, digest

Row = dict[str, Any]
Told = tuple[str, str | None, str | None]
"""What became of it, why in words, and why nothing more may be sent to that address."""

# These say all by their name.
PLAIN: dict[str, Told] = {
    "processed": ("processed", None, None),
    "delivered": ("delivered", None, None),
    "open": ("opened", None, None),
    "click": ("clicked", None, None),
    "spamreport": ("complained", "reported as spam", "complaint"),
    "unsubscribe": ("unsubscribed", "by the vendor's link", "unsubscribe"),
    "group_unsubscribe": ("unsubscribed", "from a group of mails at the vendor", "unsubscribe"),
}
# Of a dropped mail, SendGrid's reason in lower case.
DROPPED: dict[str, tuple[str, str | None]] = {
    "bounced address": ("an earlier mail to it bounced", "bounce"),
    "unsubscribed address": ("unsubscribed earlier", "unsubscribe"),
    "spam reporting address": ("an earlier mail was reported as spam", "complaint"),
    "invalid": ("the address is invalid", "invalid"),
    "spam content": ("the content looks like spam to the vendor", None),
    "invalid smtpapi header": ("a header is invalid to the vendor", None),
    "recipient list over package quota": ("the quota at the vendor is used up", None),
}
# Of a bounced one, how SendGrid sorts the receiving server's answer.
CLASSES = {
    "invalid address": "there is no such address",
    "mailbox unavailable": "the mailbox takes no mail",
    "technical": "a technical failure",
    "content": "the content is not accepted",
    "reputation": "mail from this sender is not accepted",
    "frequency/volume": "too many mails at once",
}
# Types of a bounce. Only the first is about the address, and ends all mail to it at SendGrid too.
BOUNCED = {
    "bounce": "the receiving server refuses the address",
    "blocked": "the receiving server refused this mail",
    "expired": "the receiving server did not take it in time",
}
# 4.7.1 or, without such, 421. The longer one first.
STATUS = re.compile(r"(?<![\w.@])(?:[245]\.\d{1,3}\.\d{1,3}|[245]\d\d)(?!\w|\.\d|@)")


def news(event: Event) -> Sequence[MailNews]:
    """Nothing for what is about no mail of ours."""
    payload = event.payload
    email, job = _uuid(payload.get(EMAIL)), _uuid(payload.get(JOB))
    told = _told(event.type, payload)
    if told is None or (email is None and job is None) or not _is_his_own(email, payload):
        return ()
    what, reason, suppress = told
    return (MailNews(event.at, what, email, job, reason, suppress if email else None),)


def _told(name: str, payload: Row) -> Told | None:
    match name:
        case "deferred":
            return "deferred", _with_status(payload, "the receiving server asks to wait"), None
        case "bounce":
            return _bounced(payload)
        case "dropped":
            return "dropped", *_dropped(_lower(payload, "reason"))
    return PLAIN.get(name)


def _bounced(payload: Row) -> Told:
    sort = _lower(payload, "type")
    words = CLASSES.get(_lower(payload, "bounce_classification")) or BOUNCED.get(sort, "not taken")
    return "bounced", _with_status(payload, words), "bounce" if sort == "bounce" else None


def _dropped(reason: str) -> tuple[str, str | None]:
    """SendGrid adds to some of its words, in brackets, when they apply."""
    begin = reason.partition(" (")[0]
    return DROPPED.get(begin, ("the vendor did not send it", None))


def _with_status(payload: Row, words: str) -> str:
    """The words, after the status that the receiving server answered with."""
    for field in ("status", "reason", "response"):
        if codes := STATUS.findall(_lower(payload, field)):
            return f"{max(codes, key=len)}: {words}"
    return words


def _is_his_own(email: UUID | None, payload: Row) -> bool:
    """Who gets a copy of a mail has events of his own, with the same arguments."""
    if email is None or TO not in payload:
        return True
    return bool(payload[TO] == digest(email, _lower(payload, "email")))


def _lower(payload: Row, field: str) -> str:
    found = payload.get(field)
    return found.lower() if isinstance(found, str) else ""


def _uuid(found: Any) -> UUID | None:
    try:
        return UUID(found) if isinstance(found, str) else None
    except ValueError:
        return None
