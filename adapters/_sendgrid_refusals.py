"""What SendGrid says no to, in our words. Its own sentences may repeat an address, so they are left
out. Facts: https://www.twilio.com/docs/sendgrid/api-reference/mail-send/errors"""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import orjson

from adapters._base import Misconfigured, Refused, Response
from adapters._mail import MailOrder
from adapters._sendgrid_mail import refused_some

# Where `errors[].field` points, without its numbers, in the words of our arguments.
FIELDS = {
    "personalizations.to": "to",
    "personalizations.cc": "cc",
    "personalizations.bcc": "bcc",
    "personalizations.headers": "unsubscribe_url",
    "personalizations.subject": "subject",
    "personalizations.dynamic_template_data": "data",
    "subject": "subject",
    "content": "text or html",
    "template_id": "template",
    "categories": "categories",
    "tracking_settings.open_tracking": "track_opens",
    "tracking_settings.click_tracking": "track_clicks",
    "from": "sender",
    "reply_to": "reply_to",
}
CODES = {"to": "invalid_recipient"}
PLACE = re.compile(r"personalizations\.(\d{1,4})(?:\.|$)")
SOMETHING = "the vendor does not accept what is sent to this recipient"


def refusal(answer: Response, order: MailOrder) -> Refused:
    """A 4xx: RefusedSome where it is about some recipients of several, and about nothing else."""
    if answer.status == 413:
        return Refused("the mail is too large for the vendor", code="too_large", status=413)
    fields = _fields(answer.body)
    places = [_place(field, len(order.recipients)) for field in fields]
    if answer.status == 400 and len(order.recipients) > 1 and places and None not in places:
        bad: dict[UUID, str] = {}
        for place, field in zip(places, fields, strict=True):
            bad.setdefault(order.recipients[place or 0].email_id, _about(_ours(field)))
        return refused_some(bad, status=400)
    ours = _ours(fields[0]) if fields else None
    if ours is None:
        return Refused("the vendor refused the mail", status=answer.status)
    return Refused(_about(ours), code=CODES.get(ours, "invalid_arguments"), status=answer.status)


def blamed(error: Misconfigured, order: MailOrder) -> Misconfigured | Refused:
    """A sender of the job's own that is not verified there must not stop everybody's mail."""
    if order.letter.sender and error.answer:
        fields = _fields(error.answer.body)
        if fields and _ours(fields[0]) == "sender":
            return refusal(error.answer, order)
    return error


def _fields(body: bytes) -> list[str]:
    """One for each of the errors, empty where it names none."""
    try:
        errors: list[dict[str, Any]] = orjson.loads(body)["errors"]
        return [str(error.get("field") or "") for error in errors]
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
        return []


def _place(field: str, recipients: int) -> int | None:
    """Which recipient a field is of; None where it is not one of them."""
    found = PLACE.match(field)
    place = int(found[1]) if found else recipients
    return place if place < recipients else None


def _ours(field: str) -> str | None:
    """Our name of a field of SendGrid's, if it is one of ours."""
    path = re.sub(r"\.\d+", "", field)
    found = (ours for begin, ours in FIELDS.items() if f"{path}.".startswith(f"{begin}."))
    return next(found, None)


def _about(ours: str | None) -> str:
    return f"{ours}: the vendor does not accept it" if ours else SOMETHING
