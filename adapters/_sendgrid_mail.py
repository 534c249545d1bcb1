"""A mail as SendGrid takes it: the letter by the official SDK's helpers, the recipients as plain
objects, since a thousand of its own take seven times as long. Facts:
https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from email.utils import parseaddr
from typing import Any
from uuid import UUID

import orjson
from email_validator import EmailNotValidError, validate_email

from adapters._base import Misconfigured, Refused
from adapters._mail import Letter, MailOrder, Recipient, RefusedSome
from ferryman import addresses

Row = dict[str, Any]

# Our custom arguments, which come back beside SendGrid's own names in every event of the mail:
# there, `email` is the address.
JOB = "ferryman_job"
EMAIL = "ferryman_email"
TO = "ferryman_to"
DYNAMIC = "d-"
OWN_PARTS = ("subject", "text", "html")
# https://www.twilio.com/docs/sendgrid/api-reference/mail-send/limitations
MOST_BYTES = 30_000_000
# A tab is harmless within a line, and allowed in a subject.
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
NOT_PRINTABLE = "must not contain line breaks or other control characters"
NOT_ASCII = "the vendor takes only ASCII letters before the @"
# RFC 8058 wants HTTPS, RFC 2369 angle brackets around it, RFC 5322 lines of 998 characters.
LINK = re.compile(r"https://[!-;=?-~]{1,970}")
NO_LINK = "must begin with https://, and be ASCII without blanks, < or >, at most 978 characters"
ONE_CLICK = "List-Unsubscribe=One-Click"


def check(letter: Letter) -> None:
    """Raises Refused naming the field that SendGrid has no place for, Misconfigured for a
    configured sender that is none."""
    for field in ("subject", "template", "categories"):
        _printable(field, getattr(letter, field))
    _letter(letter)
    _copies(letter)
    if letter.template is None:
        return
    if not letter.template.startswith(DYNAMIC):
        raise refused("template", f"the id of a dynamic template begins with {DYNAMIC}")
    for field in OWN_PARTS:
        if getattr(letter, field) is not None:
            raise refused(field, "a dynamic template brings its own")


def check_recipients(recipients: Sequence[Recipient]) -> None:
    """Raises RefusedSome for those to whom SendGrid cannot send, Refused for one who is alone."""
    bad = {one.email_id: why for one in recipients if (why := _problem(one))}
    if bad and len(recipients) > 1:
        raise refused_some(bad)
    for why in bad.values():
        code = "invalid_recipient" if why.startswith("to:") else "invalid_arguments"
        raise Refused(why, code=code)


def address_problem(address: str) -> str | None:
    """What keeps SendGrid from sending to an address, in words."""
    if CONTROL.search(address):
        return NOT_PRINTABLE
    return None if ascii_of(address) else NOT_ASCII


def ascii_of(address: str) -> str | None:
    """The address as it goes over the wire, its domain in Punycode where need be. None: its local
    part cannot be written in ASCII."""
    if address.isascii():
        return address
    try:
        found = validate_email(address, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return None
    return found.ascii_email


def sender(letter: Letter) -> tuple[str, str]:
    """Name and address of who sends. Raises Refused, or Misconfigured for the configured one."""
    if letter.sender is not None:
        return "", _addresses(letter, "sender")[0]
    if not (configured := os.environ.get("FROM_EMAIL")):
        raise Misconfigured("FROM_EMAIL is not set", code="sender_missing")
    if CONTROL.search(configured):
        raise Misconfigured(f"FROM_EMAIL {NOT_PRINTABLE}", code="sender_missing")
    name, address = parseaddr(configured)
    if addresses.problem(address) or not (found := ascii_of(address)):
        raise Misconfigured("FROM_EMAIL is not an address to send from", code="sender_missing")
    return name, found


def request(order: MailOrder) -> tuple[Mapping[str, str], bytes]:
    """Headers and body as the SDK's own client would send them. Raises Refused `too_large`."""
    import sendgrid

    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "User-Agent": f"sendgrid/{sendgrid.__version__};python",
    }
    body = orjson.dumps({"personalizations": _personalizations(order), **_letter(order.letter)})
    if len(body) > MOST_BYTES:
        raise Refused("the mail is too large for the vendor", code="too_large")
    return headers, body


def digest(email: UUID, address: str) -> str:
    """Tells by an event whether it is about who the mail is to, or about one who gets a copy."""
    return hashlib.sha256(f"{email}:{address.lower()}".encode()).hexdigest()[:16]


def refused(field: str, message: str) -> Refused:
    return Refused(f"{field}: {message}", code="invalid_arguments")


def refused_some(recipients: Mapping[UUID, str], status: int | None = None) -> RefusedSome:
    return RefusedSome(
        "the vendor does not accept some of the recipients",
        recipients=recipients,
        code="invalid_recipient",
        status=status,
    )


def _problem(recipient: Recipient) -> str | None:
    if problem := address_problem(recipient.address):
        return f"to: {problem}"
    link = recipient.unsubscribe_url
    return None if link is None or LINK.fullmatch(link) else f"unsubscribe_url: {NO_LINK}"


def _printable(field: str, given: str | Iterable[str] | None) -> None:
    for text in [given] if isinstance(given, str) else given or ():
        if CONTROL.search(text):
            raise refused(field, NOT_PRINTABLE)


def _addresses(letter: Letter, field: str) -> list[str]:
    """Those of one field, as they go over the wire. Raises Refused naming it."""
    given = getattr(letter, field)
    found = []
    for address in [given] if isinstance(given, str) else given or ():
        if problem := addresses.problem(address) or address_problem(address):
            raise refused(field, problem)
        found.append(ascii_of(address) or address)
    return found


def _letter(letter: Letter) -> Row:
    from sendgrid.helpers import mail as sdk

    name, address = sender(letter)
    mail = sdk.Mail(from_email=sdk.From(address, name or None), subject=letter.subject)
    try:
        for kind, text in (("text/plain", letter.text), ("text/html", letter.html)):
            if text is not None:
                mail.add_content(sdk.Content(kind, text))
    except sdk.ApiKeyIncludedException:
        raise refused("text or html", "it contains an API key") from None
    if letter.template is not None:
        mail.template_id = sdk.TemplateId(letter.template)
    for found in _addresses(letter, "reply_to"):
        mail.reply_to = sdk.ReplyTo(found)
    for category in letter.categories:
        mail.add_category(sdk.Category(category))
    mail.tracking_settings = _tracking(sdk, letter)
    built: Row = mail.get()
    return built


def _tracking(sdk: Any, letter: Letter) -> Any:
    """None where the letter leaves all to the account's own settings."""
    opens, clicks = letter.track_opens, letter.track_clicks
    if opens is None and clicks is None:
        return None
    return sdk.TrackingSettings(
        open_tracking=None if opens is None else sdk.OpenTracking(enable=opens),
        click_tracking=None if clicks is None else sdk.ClickTracking(enable=clicks),
    )


def _personalizations(order: MailOrder) -> list[Row]:
    copies, template = _copies(order.letter), order.letter.template is not None
    return [_personalization(order.job_id, one, copies, template) for one in order.recipients]


def _copies(letter: Letter) -> Row:
    return {
        field: [{"email": address} for address in found]
        for field in ("cc", "bcc")
        if (found := _addresses(letter, field))
    }


def _personalization(job: UUID, one: Recipient, copies: Row, template: bool) -> Row:
    address = ascii_of(one.address) or one.address
    made: Row = {"to": [{"email": address}], **copies}
    if template and one.data:
        made["dynamic_template_data"] = one.data
    if one.unsubscribe_url is not None:
        made["headers"] = {
            "List-Unsubscribe": f"<{one.unsubscribe_url}>",
            "List-Unsubscribe-Post": ONE_CLICK,
        }
    made["custom_args"] = {JOB: job, EMAIL: one.email_id}
    if copies:
        made["custom_args"][TO] = digest(one.email_id, address)
    return made
