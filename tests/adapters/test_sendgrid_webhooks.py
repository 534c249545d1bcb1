"""SendGrid's event webhook: its own verifier and ours agree, and what each entry becomes."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sendgrid.helpers.eventwebhook import EventWebhook

from adapters import _sendgrid
from adapters._base import Delivery, Event, Forged, NoEvent
from adapters.sendgrid import Adapter
from tests.adapters.test_sendgrid import WEBHOOKS, webhook_secret
from tests.contract.operations import Secret

VARIABLE = "SENDGRID_WEBHOOK_PUBLIC_KEY"

# What SendGrid's own package is tested with.
PUBLISHED_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+"
    "2fNNRaINXvVpiglSI8eNEc6wEA3F+g=="
)
PUBLISHED_SIGNATURE = (
    "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqH"
    "h89M15TluLtEZtM="
)
PUBLISHED_TIME = "1600112502"
PUBLISHED_BODY = (
    b'[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address",'
    b'"sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",'
    b'"sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",'
    b'"smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]\r\n'
)


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> Secret:
    made = webhook_secret()
    monkeypatch.setenv(VARIABLE, made.value)
    return made


async def events(delivery: Delivery) -> Sequence[Event]:
    return await Adapter().receive(delivery)


async def told(secret: Secret, *entries: Any) -> Sequence[Event]:
    return await events(secret.sign(json.dumps(entries).encode()))


async def test_the_published_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, PUBLISHED_KEY)
    headers = {_sendgrid.SIGNATURE: PUBLISHED_SIGNATURE, _sendgrid.TIME: PUBLISHED_TIME}
    delivery = Delivery(headers, PUBLISHED_BODY)
    with pytest.raises(Forged, match="too old"):
        await events(delivery)
    monkeypatch.setattr(time, "time", lambda: float(PUBLISHED_TIME) + 3600)

    (event,) = await events(delivery)

    assert event.id == "ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA"
    assert event.type == "dropped"
    assert event.at == datetime.fromtimestamp(1600112492, UTC)
    # The line end at the end of the body is signed too.
    with pytest.raises(Forged):
        await events(replace(delivery, body=PUBLISHED_BODY.rstrip()))


@pytest.mark.parametrize(
    "alter",
    [
        lambda given: given,
        lambda given: replace(given, body=given.body + b" "),
        lambda given: replace(given, body=given.body[:-2]),
        lambda given: replace(given, body="[{\N{EURO SIGN}}]".encode()),
        lambda given: replace(given, headers={**given.headers, _sendgrid.TIME: "1795556943"}),
        lambda given: replace(
            given,
            headers={
                **given.headers,
                _sendgrid.SIGNATURE: webhook_secret().sign(given.body).headers[_sendgrid.SIGNATURE],
            },
        ),
    ],
)
async def test_sendgrids_own_verifier_agrees(
    secret: Secret, alter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = alter(secret.sign(WEBHOOKS.body))
    monkeypatch.setattr(_sendgrid, "TOLERANCE_SECONDS", 1e12)  # theirs looks at no age
    theirs = EventWebhook(secret.value).verify_signature(
        given.body.decode(), given.headers[_sendgrid.SIGNATURE], given.headers[_sendgrid.TIME]
    )
    try:
        ours = bool(await events(given))
    except Forged:
        ours = False

    assert ours is theirs


async def test_an_event_of_every_entry(secret: Secret) -> None:
    found = await told(
        secret,
        {"sg_event_id": "a", "event": "open", "timestamp": 1795556943, "email": "a@example.com"},
        {"sg_event_id": "b", "event": "bounce", "timestamp": 1795556944, "job": "j-1"},
    )

    assert [(event.id, event.type) for event in found] == [("a", "open"), ("b", "bounce")]
    assert found[1].at == datetime.fromtimestamp(1795556944, UTC)
    assert found[1].payload["job"] == "j-1"


async def test_an_entry_without_an_id_is_known_by_its_content(secret: Secret) -> None:
    first, again, other = await told(
        secret,
        {"event": "open", "timestamp": 1, "email": "a@example.com"},
        {"email": "a@example.com", "timestamp": 1, "event": "open"},
        {"event": "open", "timestamp": 2, "email": "a@example.com"},
    )

    assert first.id == again.id != other.id
    assert first.id.startswith("sha256:")
    assert "@" not in first.id


@pytest.mark.parametrize("timestamp", [None, "soon", 1e300, -1e300, [], 10**30])
async def test_an_entry_without_a_time_is_of_when_it_was_signed(
    secret: Secret, timestamp: Any
) -> None:
    delivery = secret.sign(json.dumps([{"event": 7, "timestamp": timestamp}]).encode(), age=500)

    (event,) = await events(delivery)

    assert event.type == "unknown"
    assert event.at == datetime.fromtimestamp(int(delivery.headers[_sendgrid.TIME]), UTC)


@pytest.mark.parametrize("entries", [[{"event": "open"}, 1], [[{}]], [None]])
async def test_what_is_no_entry_is_no_event(secret: Secret, entries: list[Any]) -> None:
    with pytest.raises(NoEvent):
        await told(secret, *entries)


def _shown(key: Any) -> str:
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(public).decode()


@pytest.mark.parametrize(
    "value",
    [
        "no Base64",
        base64.b64encode(b"no key").decode(),
        _shown(ec.generate_private_key(ec.SECP384R1())),
        _shown(rsa.generate_private_key(65537, 2048)),
        PUBLISHED_KEY[:-4],
    ],
)
async def test_a_key_that_is_none_closes_the_door(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, value)
    assert not Adapter().takes_webhooks()

    # Beside a good one it does not keep that from working.
    good = webhook_secret()
    monkeypatch.setenv(VARIABLE, f"{value},{good.value}")
    assert Adapter().takes_webhooks()
    assert await events(good.sign(WEBHOOKS.body))
