"""Twilio: text messages, by plain HTTP. Facts:
https://www.twilio.com/docs/messaging/api/message-resource

It knows no key: a second identical request sends a second message. One in doubt is looked up, or
told of by a status callback, whose address names the message.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from urllib.parse import urlencode

from adapters import _base, _twilio_looks, _twilio_news, _twilio_webhooks
from adapters import _twilio as words
from adapters._base import (
    Call,
    Delivery,
    Event,
    Misconfigured,
    News,
    Refused,
    Repeat,
    Request,
    Response,
    Throttled,
    Unknown,
    VendorError,
)
from adapters._messages import MessageAnswer, MessageOrder
from ferryman.settings import settings

ACCOUNT = "TWILIO_ACCOUNT_SID"
TOKEN = "TWILIO_AUTH_TOKEN"  # noqa: S105  the variable's name
FROM = "TWILIO_FROM"
STEP = "message"
HEADERS = {"Content-Type": _twilio_webhooks.FORM, "Accept": "application/json"}
SERVICE = re.compile(r"MG[0-9a-fA-F]{32}")
# A number, a short code, a name of letters and digits, or a messaging service.
SENDER = re.compile(
    r"\+[1-9][0-9]{6,14}|[0-9]{3,8}|MG[0-9a-fA-F]{32}|(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11}"
)
ACCOUNT_SID = re.compile(r"AC[0-9a-fA-F]{32}")


class Adapter(_base.Adapter):
    vendor = "twilio"
    base_url = "https://api.twilio.com"
    base_url_variable = "TWILIO_BASE_URL"
    secrets = (ACCOUNT, TOKEN, FROM)
    webhook_secrets = (TOKEN,)
    look_ups = frozenset({"send_sms"})

    def check_sender(self) -> str:
        sender = os.environ.get(FROM, "").strip()
        if not SENDER.fullmatch(sender):
            wrong = "is no sender" if sender else "is not set"
            raise Misconfigured(f"{FROM} {wrong}", code="sender_missing")
        return sender

    async def send_message(self, call: Call, order: MessageOrder) -> MessageAnswer:
        credentials = self._credentials()
        form = _form(order, order.sender or self.check_sender())
        answer = await call.write(
            STEP,
            Request("POST", self.address() + self._path(), HEADERS, urlencode(form).encode()),
            key=call.key(STEP),
            repeat=Repeat.LOOK_UP,
            credentials=credentials,
        )
        if 400 <= answer.status < 500:
            raise await _refusal(call, answer)
        return _taken(call, answer)

    async def find_messages(
        self, call: Call, order: MessageOrder, since: datetime
    ) -> Sequence[MessageAnswer]:
        """What this proves, and what not: see `_twilio_looks.py`."""
        credentials, place = self._credentials(), (self.address(), self._path())
        asked = replace(order, sender=order.sender or self.check_sender())
        return await _twilio_looks.find(call, place, credentials, asked, since)

    def webhooks_lack(self) -> tuple[str, ...]:
        # The address that Twilio called is signed, and no header may be trusted to tell it.
        public = () if settings().public_url else ("FERRYMAN_PUBLIC_URL",)
        return (*super().webhooks_lack(), *public)

    async def receive(self, delivery: Delivery) -> Sequence[Event]:
        return [_twilio_webhooks.receive(delivery, self.webhook_secret(TOKEN))]

    def news(self, event: Event) -> Sequence[News]:
        return _twilio_news.news(event)

    def _path(self) -> str:
        return f"/2010-04-01/Accounts/{self._account()}/Messages.json"

    def _account(self) -> str:
        account = self.secret(ACCOUNT)
        if not ACCOUNT_SID.fullmatch(account):
            raise Misconfigured(f"{ACCOUNT} is no account's SID", code="credentials_missing")
        return account

    def _credentials(self) -> Mapping[str, str]:
        """Of two tokens the first, which is the one in use while they are changed."""
        account = self._account()
        tokens = self.webhook_secret(TOKEN)
        if not tokens:
            raise Misconfigured(f"{TOKEN} is not set", code="credentials_missing")
        both = base64.b64encode(f"{account}:{tokens[0]}".encode()).decode()
        return {"Authorization": f"Basic {both}"}


def _form(order: MessageOrder, sender: str) -> dict[str, str]:
    by = "MessagingServiceSid" if SERVICE.fullmatch(sender) else "From"
    form = {"To": order.to, by: sender, "Body": order.body}
    if public := settings().public_url:
        called = f"{public.rstrip('/')}/webhooks/twilio"
        form["StatusCallback"] = f"{called}?{_twilio_webhooks.QUERY}={order.id}"
    return form


def _taken(call: Call, answer: Response) -> MessageAnswer:
    """Raises Unknown for an answer that does not tell which message it is about."""
    try:
        if answer.status not in (200, 201):
            raise ValueError
        told = words.message(words.document(answer) or {})
    except words.UNREADABLE:
        raise Unknown("the vendor's answer cannot be read", status=answer.status) from None
    call.answered(STEP)
    return told


async def _refusal(call: Call, answer: Response) -> VendorError:
    """A 4xx in our words: nothing was sent. What Twilio says repeats numbers, and is left out."""
    code = words.code(answer)
    if code == words.QUEUE_FULL:
        await call.no_effect(STEP)
        return Throttled(
            "the sender's queue at the vendor is full",
            status=answer.status,
            retry_after=words.QUEUE_SECONDS,
        )
    if setting := words.SETTINGS.get(code or 0):
        await call.no_effect(STEP)
        return Misconfigured(setting, status=answer.status)
    call.answered(STEP)
    ours, message = words.REFUSALS.get(code or 0, words.REFUSED)
    return Refused(message, code=ours, status=answer.status)
