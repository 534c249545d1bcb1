"""HubSpot: contacts. Facts:
https://developers.hubspot.com/docs/api-reference/crm-contacts-v3/batch/post-crm-v3-objects-contacts-batch-upsert"""

from __future__ import annotations

from collections.abc import Sequence

from adapters import _base, _hubspot_news, _hubspot_webhooks
from adapters import _hubspot as words
from adapters._base import Call, Delivery, Event, News, Repeat, Request, Throttled
from adapters._crm import Contact
from adapters._records import STEP, Outcome, Record
from ferryman.policies import policy
from ferryman.settings import settings

KEY = "HUBSPOT_ACCESS_TOKEN"
CLIENT_SECRET = "HUBSPOT_CLIENT_SECRET"  # noqa: S105 - its variable
PATH = "/crm/v3/objects/contacts/batch/upsert"
JSON = {"Content-Type": "application/json", "Accept": "application/json"}


class Adapter(_base.Adapter):
    vendor = "hubspot"
    base_url = "https://api.hubapi.com"
    base_url_variable = "HUBSPOT_BASE_URL"
    secrets = (KEY,)
    webhook_secrets = (CLIENT_SECRET,)

    def contact(self, one: Contact) -> Record:
        return words.contact(one, policy(self.vendor))

    async def upsert(self, call: Call, records: Sequence[Record], *, step: str = STEP) -> Outcome:
        """The same contact with the same properties is the same contact: it may be sent again."""
        credentials = {"Authorization": f"Bearer {self.secret(KEY)}"}
        body = b'{"inputs":[' + b",".join(record.body for record in records) + b"]}"
        try:
            answer = await call.write(
                step,
                Request("POST", f"{self.address()}{PATH}", JSON, body, opaque=True),
                key=call.key(step),
                repeat=Repeat.NATURAL,
                credentials=credentials,
            )
        except Throttled as error:
            raise words.throttled(error, policy(self.vendor)) from None
        return await words.upserted(call, step, answer, records, policy(self.vendor))

    def webhooks_lack(self) -> tuple[str, ...]:
        # The address that HubSpot called is signed, and no header may be trusted to tell it.
        public = () if settings().public_url else ("FERRYMAN_PUBLIC_URL",)
        return (*super().webhooks_lack(), *public)

    async def receive(self, delivery: Delivery) -> Sequence[Event]:
        return _hubspot_webhooks.receive(delivery, self.webhook_secret(CLIENT_SECRET))

    def news(self, event: Event) -> Sequence[News]:
        return _hubspot_news.news(event)
