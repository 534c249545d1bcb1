"""SendGrid: mail. The official SDK's helpers build the letter; our transport carries it. Facts:
https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

from adapters import _base
from adapters import _sendgrid as webhook
from adapters import _sendgrid_lists as lists
from adapters import _sendgrid_mail as mail
from adapters import _sendgrid_news as hooks
from adapters import _sendgrid_refusals as refusals
from adapters._base import (
    Call,
    Delivery,
    Event,
    Misconfigured,
    News,
    Repeat,
    Request,
    Response,
    Unknown,
)
from adapters._mail import Acceptance, Letter, MailOrder, RefusedSome, Suppressed

STEP = "mail"
PUBLIC_KEY = "SENDGRID_WEBHOOK_PUBLIC_KEY"
# 202 is acceptance, 200 that of a mail in sandbox mode.
ACCEPTED = (200, 202)


class Adapter(_base.Adapter):
    vendor = "sendgrid"
    base_url = "https://api.sendgrid.com"
    base_url_variable = "SENDGRID_BASE_URL"
    # A 403 may also mean a sender that SendGrid does not know: the pause ends with another one.
    secrets = ("SENDGRID_API_KEY", "FROM_EMAIL")
    webhook_secrets = (PUBLIC_KEY,)

    def prepare(self) -> None:
        importlib.import_module("sendgrid.helpers.mail")

    def check(self, letter: Letter) -> None:
        self._credentials()
        mail.check(letter)

    def address_problem(self, address: str) -> str | None:
        # One such address would have SendGrid refuse all the others of its request.
        return mail.address_problem(address)

    async def send_mail(self, call: Call, order: MailOrder) -> Acceptance:
        self.check(order.letter)
        mail.check_recipients(order.recipients)
        headers, body = mail.request(order)
        try:
            answer = await call.write(
                STEP,
                Request("POST", f"{self.address()}/v3/mail/send", headers, body),
                key=call.key(STEP),
                repeat=Repeat.NEVER,
                credentials=self._credentials(),
            )
        except Misconfigured as error:
            raise refusals.blamed(error, order) from None
        return await _read(call, answer, order)

    def suppressions(self, call: Call) -> AsyncIterator[Suppressed]:
        return lists.suppressions(call, self.address(), self._credentials())

    def takes_webhooks(self) -> bool:
        # A key that cannot be read closes the door, as if there were none.
        return bool(self._public_keys())

    async def receive(self, delivery: Delivery) -> Sequence[Event]:
        webhook.verify(delivery, self._public_keys())
        return webhook.events(delivery)

    def news(self, event: Event) -> Sequence[News]:
        return hooks.news(event)

    def _credentials(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret('SENDGRID_API_KEY')}"}

    def _public_keys(self) -> list[webhook.PublicKey]:
        found = (webhook.public_key(text) for text in self.webhook_secret(PUBLIC_KEY))
        return [key for key in found if key]


async def _read(call: Call, answer: Response, order: MailOrder) -> Acceptance:
    if answer.status in ACCEPTED:
        call.answered(STEP)
        return Acceptance(answer.headers.get("x-message-id"), datetime.now(UTC))
    if not 400 <= answer.status < 500:
        raise Unknown("the vendor's answer cannot be read", status=answer.status)
    refused = refusals.refusal(answer, order)
    if isinstance(refused, RefusedSome):
        # The others are sent to in this attempt, and so under this step, once more.
        await call.no_effect(STEP)
    else:
        call.answered(STEP)
    raise refused
