"""SendGrid: mail. The official SDK's helpers build the mail; our transport carries it. Facts:
https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parseaddr
from typing import Any

import orjson

from adapters import _base
from adapters import _sendgrid as webhook
from adapters._base import (
    Call,
    Delivery,
    Event,
    Misconfigured,
    Refused,
    Repeat,
    Request,
    Response,
    Unknown,
)
from adapters._mail import Acceptance, Letter, MailOrder, Recipient
from ferryman import addresses

STEP = "mail"
PUBLIC_KEY = "SENDGRID_WEBHOOK_PUBLIC_KEY"
# 202 is acceptance, 200 that of a mail in sandbox mode.
ACCEPTED = (200, 202)
DYNAMIC = "d-"
NOT_ASCII = "the vendor takes only ASCII letters before the @"
OWN_PARTS = ("subject", "text", "html")

# Where SendGrid's `errors[].field` points, without its numbers, in the words of our arguments.
FIELDS = {
    "personalizations.to": "to",
    "personalizations.subject": "subject",
    "personalizations.substitutions": "data",
    "personalizations.dynamic_template_data": "data",
    "subject": "subject",
    "content": "text or html",
    "template_id": "template",
    "from": "sender",
    "reply_to": "reply_to",
}
CODES = {"to": "invalid_recipient"}


class Adapter(_base.Adapter):
    vendor = "sendgrid"
    base_url = "https://api.sendgrid.com"
    base_url_variable = "SENDGRID_BASE_URL"
    # A 403 may also mean a sender that SendGrid does not know: the pause ends with another one.
    secrets = ("SENDGRID_API_KEY", "FROM_EMAIL")
    webhook_secrets = (PUBLIC_KEY,)
    most_fill_bytes = 10_000

    def check(self, letter: Letter) -> None:
        self.secret("SENDGRID_API_KEY")
        _sender(letter)
        _reply_to(letter)
        if letter.template is None:
            return
        if not letter.template.startswith(DYNAMIC):
            raise _refused("template", f"the id of a dynamic template begins with {DYNAMIC}")
        for name in OWN_PARTS:
            if getattr(letter, name) is not None:
                raise _refused(name, "a dynamic template brings its own")

    def address_problem(self, address: str) -> str | None:
        # One such address would have SendGrid refuse all the others of its request.
        return None if _ascii(address) else NOT_ASCII

    async def send_mail(self, call: Call, order: MailOrder) -> Acceptance:
        self.check(order.letter)
        for recipient in order.recipients:
            if problem := self.address_problem(recipient.address):
                raise Refused(f"to: {problem}", code="invalid_recipient")
        # A thousand personalizations, or the SDK's first import, would hold the loop up.
        headers, body = await asyncio.to_thread(_request, order)
        try:
            answer = await call.write(
                STEP,
                Request("POST", f"{self.address()}/v3/mail/send", headers, body),
                key=call.key(STEP),
                repeat=Repeat.NEVER,
                credentials={"Authorization": f"Bearer {self.secret('SENDGRID_API_KEY')}"},
            )
        except Misconfigured as error:
            raise _blamed(error, order) from None
        return _read(call, answer)

    def takes_webhooks(self) -> bool:
        # A key that cannot be read closes the door, as if there were none.
        return bool(self._public_keys())

    async def receive(self, delivery: Delivery) -> Sequence[Event]:
        webhook.verify(delivery, self._public_keys())
        return webhook.events(delivery)

    def _public_keys(self) -> list[webhook.PublicKey]:
        found = (webhook.public_key(text) for text in self.webhook_secret(PUBLIC_KEY))
        return [key for key in found if key]


def _ascii(address: str) -> str | None:
    """The address as it goes over the wire, its domain in Punycode where need be. None: its local
    part cannot be written in ASCII."""
    if address.isascii():
        return address
    from email_validator import validate_email

    return validate_email(address, check_deliverability=False, test_environment=True).ascii_email


def _sender(letter: Letter) -> tuple[str, str]:
    """Name and address of who sends. Raises Refused, or Misconfigured for the configured one."""
    if letter.sender is not None:
        return "", _or_refused("sender", letter.sender)
    if not (configured := os.environ.get("FROM_EMAIL")):
        raise Misconfigured("FROM_EMAIL is not set", code="sender_missing")
    name, address = parseaddr(configured)
    if addresses.problem(address) or not (found := _ascii(address)):
        raise Misconfigured("FROM_EMAIL is not an address to send from", code="sender_missing")
    return name, found


def _reply_to(letter: Letter) -> str | None:
    return None if letter.reply_to is None else _or_refused("reply_to", letter.reply_to)


def _or_refused(field: str, address: str) -> str:
    if (found := _ascii(address)) is None:
        raise _refused(field, NOT_ASCII)
    return found


def _request(order: MailOrder) -> tuple[Mapping[str, str], bytes]:
    """Headers and body as the SDK's own client would send them."""
    import sendgrid
    from sendgrid.helpers import mail as sdk

    try:
        built = _mail(sdk, order).get()
    except sdk.ApiKeyIncludedException:
        raise _refused("text or html", "it contains an API key") from None
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "User-Agent": f"sendgrid/{sendgrid.__version__};python",
    }
    return headers, orjson.dumps(built)


def _mail(sdk: Any, order: MailOrder) -> Any:
    letter = order.letter
    name, address = _sender(letter)
    mail = sdk.Mail(from_email=sdk.From(address, name or None), subject=letter.subject)
    if letter.text is not None:
        mail.add_content(sdk.Content("text/plain", letter.text))
    if letter.html is not None:
        mail.add_content(sdk.Content("text/html", letter.html))
    if letter.template is not None:
        mail.template_id = sdk.TemplateId(letter.template)
    if (reply_to := _reply_to(letter)) is not None:
        mail.reply_to = sdk.ReplyTo(reply_to)
    for place, recipient in enumerate(order.recipients):
        mail.add_personalization(_personalization(sdk, order, recipient), place)
    return mail


def _personalization(sdk: Any, order: MailOrder, recipient: Recipient) -> Any:
    made = sdk.Personalization()
    to = sdk.To()
    to.email = _ascii(recipient.address)
    made.add_to(to)
    if recipient.subject is not None:
        made.subject = recipient.subject
    if order.letter.template is not None:
        made.dynamic_template_data = dict(recipient.data)
    for tag, value in recipient.fills.items():
        made.add_substitution(sdk.Substitution(tag, value))
    # They come back in every event of this mail, and so settle what became of it.
    made.add_custom_arg(sdk.CustomArg("job", str(order.job_id)))
    made.add_custom_arg(sdk.CustomArg("email", str(recipient.email_id)))
    return made


def _read(call: Call, answer: Response) -> Acceptance:
    if answer.status in ACCEPTED:
        call.answered(STEP)
        return Acceptance(answer.headers.get("x-message-id"), datetime.now(UTC))
    if 400 <= answer.status < 500:
        call.answered(STEP)
        raise _refusal(answer)
    raise Unknown("the vendor's answer cannot be read", status=answer.status)


def _blamed(error: Misconfigured, order: MailOrder) -> Misconfigured | Refused:
    """A sender of the job's own that is not verified there must not stop everybody's mail."""
    if order.letter.sender and error.answer and _field(error.answer.body) == "sender":
        return _refusal(error.answer)
    return error


def _refusal(answer: Response) -> Refused:
    """A 4xx in our words. SendGrid's own sentence may repeat an address, so it is left out."""
    if answer.status == 413:
        return Refused("the mail is too large for the vendor", code="too_large", status=413)
    ours = _field(answer.body)
    if ours is None:
        return Refused("the vendor refused the mail", status=answer.status)
    return Refused(
        f"{ours}: the vendor does not accept it",
        code=CODES.get(ours, "invalid_arguments"),
        status=answer.status,
    )


def _field(body: bytes) -> str | None:
    """Our name of the first field that SendGrid points at, if it is one of ours."""
    try:
        theirs = str(orjson.loads(body)["errors"][0]["field"])
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return None
    path = re.sub(r"\.\d+", "", theirs)
    found = (ours for begin, ours in FIELDS.items() if f"{path}.".startswith(f"{begin}."))
    return next(found, None)


def _refused(field: str, message: str) -> Refused:
    return Refused(f"{field}: {message}", code="invalid_arguments")
