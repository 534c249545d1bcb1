"""HubSpot's webhooks: who signed them, as the official package sees it, and what they tell."""

from __future__ import annotations

import json
import secrets
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hubspot.utils.signature import Signature

from adapters._base import Delivery, Event, Forged
from adapters._news import ContactNews
from adapters.hubspot import Adapter
from ferryman.settings import settings
from tests.contract.operations import Secret, Webhooks

URL = "https://jobs.example.com/webhooks/hubspot"
CHANGE: dict[str, Any] = {
    "eventId": 100,
    "subscriptionId": 1234,
    "portalId": 12345678,
    "appId": 98765,
    "occurredAt": 1_795_860_000_250,
    "subscriptionType": "contact.propertyChange",
    "attemptNumber": 0,
    "objectId": 123,
    "propertyName": "jobtitle",
    "propertyValue": "Analyst",
    "changeSource": "CRM",
}
AT = datetime.fromtimestamp(1_795_860_000.25, UTC)


def webhook_secret() -> Secret:
    """A secret made now; signed by the official package."""
    value = secrets.token_hex(18)

    def sign(body: bytes, *, age: float = 0) -> Delivery:
        at = str(int((time.time() - age) * 1000))
        text = body.decode("utf-8", "surrogateescape")
        if text.isascii():
            signature = Signature.get_signature(value, text, "v3", URL, "POST", at)
        else:
            signature = _signature(value, body, at)
        headers = {"x-hubspot-signature-v3": signature, "x-hubspot-request-timestamp": at}
        return Delivery(headers, body, URL)

    return Secret(value, sign, hidden=value)


def _signature(secret: str, body: bytes, at: str) -> str:
    """The package takes text only, and no body that is none."""
    import base64
    import hmac

    signed = b"POST" + URL.encode() + body + at.encode()
    return base64.b64encode(hmac.digest(secret.encode(), signed, "sha256")).decode()


WEBHOOKS = Webhooks(
    webhook_secret,
    body=json.dumps([CHANGE, CHANGE | {"eventId": 101}]).encode(),
    ids=("100:1234:1795860000250", "101:1234:1795860000250"),
    needs=("x-hubspot-signature-v3", "x-hubspot-request-timestamp"),
    tolerance=300,
    demands=("FERRYMAN_PUBLIC_URL",),
)


async def test_the_address_is_signed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FERRYMAN_PUBLIC_URL", "https://jobs.example.com")
    settings.cache_clear()
    secret = webhook_secret()
    monkeypatch.setenv("HUBSPOT_CLIENT_SECRET", secret.value)
    good = secret.sign(WEBHOOKS.body)

    (first, _) = await Adapter().receive(good)
    assert (first.id, first.type, first.at, first.payload) == (
        WEBHOOKS.ids[0],
        "contact.propertyChange",
        AT,
        CHANGE,
    )
    for url in (None, URL + "?x=1", URL.replace("https", "http")):
        with pytest.raises(Forged):
            await Adapter().receive(Delivery(good.headers, good.body, url))


async def test_a_grown_number_is_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = webhook_secret()
    monkeypatch.setenv("HUBSPOT_CLIENT_SECRET", secret.value)
    good = secret.sign(b"[]")
    for at in ("", "-5", "12.5", "9" * 14, "9" * 5000, "\u0661"):
        headers = {**good.headers, "x-hubspot-request-timestamp": at}
        with pytest.raises(Forged):
            await Adapter().receive(Delivery(headers, good.body, URL))


def event(type: str, **changes: Any) -> Event:
    payload = {name: value for name, value in (CHANGE | changes).items() if value is not None}
    return Event("e", type, AT, payload)


@pytest.mark.parametrize(
    ("found", "news"),
    [
        (
            event("contact.propertyChange"),
            ContactNews(AT, "changed", "123", "title", "Analyst"),
        ),
        (
            event("contact.propertyChange", propertyName="email", propertyValue="a@example.com"),
            ContactNews(AT, "changed", "123", "email", "a@example.com"),
        ),
        (
            event("contact.propertyChange", propertyName="shoe_size", propertyValue=""),
            ContactNews(AT, "changed", "123", "shoe_size", ""),
        ),
        (
            event("object.propertyChange", objectTypeId="0-1"),
            ContactNews(AT, "changed", "123", "title", "Analyst"),
        ),
        (event("contact.creation"), ContactNews(AT, "made", "123")),
        (event("contact.deletion"), ContactNews(AT, "deleted", "123")),
        (event("contact.privacyDeletion"), ContactNews(AT, "erased", "123")),
        (event("contact.restore"), ContactNews(AT, "restored", "123")),
        (
            event(
                "contact.merge",
                objectId=None,
                primaryObjectId=7,
                mergedObjectIds=[8, 9, "x", True],
            ),
            ContactNews(AT, "merged", "7", others=("8", "9")),
        ),
        (event("contact.a_later_word"), None),
        (event("company.creation"), None),
        (event("object.creation", objectTypeId="0-2"), None),
        (event("contact"), None),
        (event("contact.creation", objectId="123; drop"), None),
        (event("contact.creation", objectId=None), None),
        (event("contact.propertyChange", propertyName=None), None),
    ],
)
def test_events_in_our_words(found: Event, news: ContactNews | None) -> None:
    assert list(Adapter().news(found)) == ([news] if news else [])
