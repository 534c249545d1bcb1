"""The promises of every webhook: what the vendor signed is taken, under old and new secret alike,
as the same events each time; whatever else comes in is Forged or NoEvent, and nothing besides."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest

from adapters._base import Delivery, Event, Forged, NoEvent
from ferryman.settings import settings
from models.engine import dumps
from tests.contract import operations
from tests.contract.operations import Secret, Vendor, Webhooks

STRANGE = "a-stranger-wrote-this"
HEADERS = {
    "empty": "",
    "blank": " ",
    "garbage": STRANGE,
    "not ASCII": "gr\u00fc\u00dfe",
    "other digits": "\u0661\u0662\u0663",
    "half a surrogate": "\ud800",
    "pairs": "t=1,v1=zz,v1=,=,",
    "a NUL": "\0",
    "a huge number": "9" * 5000,
    "a long one": STRANGE * 5000,
}
# Well signed, and no event all the same.
BODIES = {
    "empty": b"",
    "no JSON": b"planted text & more",
    "not UTF-8": b"\xff\xfe\x00",
    "null": b"null",
    "a number": b"1",
    "a text": b'"text"',
    "a list of nothing": b"[]",
    "an object of nothing": b"{}",
    "a list of others": b"[1, null]",
    "a list of lists": b"[[]]",
    "nested lists": b"[" * 100_000,
    "nested objects": b'{"a":' * 100_000,
    "a huge number": b"9" * 10_000,
    "half a surrogate": b'{"id": "\\ud800"}',
}
TYPES = {
    "none": "",
    "text": "text/plain",
    "parts": "multipart/form-data; boundary=x",
    "XML": "application/xml",
    "not ASCII": "\u00fc",
    "a long one": "a" * 9999,
}


@dataclass
class Door:
    """One vendor's webhooks, and the environment that they are verified in."""

    vendor: Vendor
    webhooks: Webhooks
    set_to: Callable[[str], None]

    def trust(self, *secrets: Secret) -> None:
        self.set_to(",".join(secret.value for secret in secrets))

    async def receive(self, delivery: Delivery) -> Sequence[Event]:
        return await self.vendor.adapter().receive(delivery)

    async def ids(self, delivery: Delivery) -> tuple[str, ...]:
        return tuple(event.id for event in await self.receive(delivery))

    async def turns_away(self, delivery: Delivery, *errors: type[Exception]) -> None:
        """Fails where it is taken in, or where the error tells of what came, or of our secret."""
        with pytest.raises(errors) as raised:
            await self.receive(delivery)
        said = f"{raised.value} {raised.value.__cause__ or ''}"
        assert STRANGE not in said
        assert len(said) < 200


def _speaks_json(vendor: Vendor) -> bool:
    webhooks = vendor.webhooks()
    return webhooks is not None and webhooks.body[:1] in (b"{", b"[")


ALL = operations.complete()
SENDING = [vendor for vendor in ALL if vendor.webhooks()]
in_json = pytest.mark.parametrize(
    "door", [vendor for vendor in SENDING if _speaks_json(vendor)], indirect=True, ids=str
)


@pytest.fixture(params=SENDING, ids=str)
def door(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    vendor: Vendor = request.param
    webhooks = vendor.webhooks()
    assert webhooks
    for name, value in vendor.environment().items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    variable = vendor.adapter().webhook_secrets[0]
    with webhooks.around() as brought:
        for name, value in brought.items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()
        yield Door(vendor, webhooks, partial(monkeypatch.setenv, variable))
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def secret(door: Door) -> Secret:
    """The one that is trusted."""
    made = door.webhooks.secret()
    door.trust(made)
    return made


@pytest.fixture
def good(door: Door, secret: Secret) -> Delivery:
    return secret.sign(door.webhooks.body)


async def test_what_the_vendor_signed_is_taken(door: Door, good: Delivery) -> None:
    assert door.vendor.adapter().takes_webhooks()

    events = await door.receive(good)

    assert tuple(event.id for event in events) == door.webhooks.ids
    for event in events:
        assert event.type
        assert event.at.tzinfo
        assert isinstance(event.payload, dict)
        dumps([[event]])


async def test_the_same_events_each_time(door: Door, secret: Secret, good: Delivery) -> None:
    for again in (good, secret.sign(door.webhooks.body, age=2)):
        assert await door.ids(again) == door.webhooks.ids


async def test_headers_that_only_carry_it_may_be_any(door: Door, good: Delivery) -> None:
    headers = {**good.headers, "x-forwarded-host": STRANGE, "host": STRANGE, "user-agent": ""}

    assert await door.ids(replace(good, headers=headers)) == door.webhooks.ids


async def test_a_missing_header(door: Door, good: Delivery) -> None:
    for name in door.webhooks.needs:
        headers = {other: value for other, value in good.headers.items() if other != name}
        await door.turns_away(replace(good, headers=headers), Forged)


@pytest.mark.parametrize("value", HEADERS.values(), ids=HEADERS)
async def test_a_wrong_header(door: Door, good: Delivery, value: str) -> None:
    for name in door.webhooks.needs:
        for given in (value, good.headers[name] + value if value.strip() else value):
            headers = {**good.headers, name: given}
            await door.turns_away(replace(good, headers=headers), Forged)


async def test_headers_of_another_delivery(door: Door, secret: Secret, good: Delivery) -> None:
    other = secret.sign(door.webhooks.body + b" ")
    await door.turns_away(replace(good, headers=other.headers), Forged)


@pytest.mark.parametrize("content_type", TYPES.values(), ids=TYPES)
async def test_another_content_type(door: Door, good: Delivery, content_type: str) -> None:
    headers = {**good.headers, "content-type": content_type}
    with suppress(Forged, NoEvent):
        assert await door.ids(replace(good, headers=headers)) == door.webhooks.ids


async def test_an_altered_body(door: Door, good: Delivery) -> None:
    body = good.body
    changed = [body + b"x", b"x" + body, body[: len(body) // 2], b"", body.swapcase(), body * 2]
    for altered in (*changed, *_with_a_bit_turned(body)):
        await door.turns_away(replace(good, body=altered), Forged)


def _with_a_bit_turned(body: bytes) -> Iterator[bytes]:
    """At each of some places."""
    for place in range(0, len(body), 1 + len(body) // 20):
        yield body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_well_signed_and_no_event(door: Door, secret: Secret, body: bytes) -> None:
    await door.turns_away(secret.sign(body), NoEvent, Forged)


@in_json
@pytest.mark.parametrize("levels", [100, *range(244, 256), 600, 100_000])
async def test_an_event_with_many_levels(door: Door, secret: Secret, levels: int) -> None:
    found = json.loads(door.webhooks.body)
    place = found[0] if isinstance(found, list) else found
    place["deep"] = "HERE"
    deep = b"[" * levels + b"]" * levels
    body = json.dumps(found).encode().replace(b'"HERE"', deep)

    try:
        events = await door.receive(secret.sign(body))
    except (NoEvent, Forged):
        assert levels > 100
    else:
        dumps([[event] for event in events])


@in_json
@pytest.mark.parametrize("strange", [None, 1, "", [], {}, "x" * 5000, "a\0b", True, -1e300])
async def test_an_event_with_strange_fields(door: Door, secret: Secret, strange: Any) -> None:
    found = json.loads(door.webhooks.body)
    first = found[0] if isinstance(found, list) else found
    for name in list(first):
        changed = {**first, name: strange}
        body = json.dumps([changed] if isinstance(found, list) else changed).encode()
        try:
            events = await door.receive(secret.sign(body))
        except (NoEvent, Forged):
            continue
        for event in events:
            assert 0 < len(event.id) <= 200
            assert event.id.isprintable()
            assert event.at.tzinfo
            assert isinstance(event.type, str)
        dumps(events)


async def test_a_secret_that_is_not_ours(door: Door, secret: Secret) -> None:
    await door.turns_away(door.webhooks.secret().sign(door.webhooks.body), Forged)


async def test_two_secrets_while_they_are_rotated(door: Door) -> None:
    old, new, other = (door.webhooks.secret() for _ in range(3))
    body = door.webhooks.body
    for values in (f"{old.value},{new.value}", f" {new.value} , {old.value} ,"):
        door.set_to(values)
        assert await door.ids(old.sign(body)) == door.webhooks.ids
        assert await door.ids(new.sign(body)) == door.webhooks.ids
        await door.turns_away(other.sign(body), Forged)
    door.trust(new)
    await door.turns_away(old.sign(body), Forged)


@pytest.mark.parametrize("value", ["", " ", ",", STRANGE, f",{STRANGE},", "gr\u00fc\u00dfe"])
async def test_an_unusable_secret_closes_the_door(door: Door, value: str) -> None:
    delivery = door.webhooks.secret().sign(door.webhooks.body)
    door.set_to(value)

    if not value.strip(" ,"):
        assert not door.vendor.adapter().takes_webhooks()
    await door.turns_away(delivery, Forged)


async def test_without_a_secret_the_door_is_closed(
    door: Door, good: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*door.vendor.adapter().webhook_secrets, *door.webhooks.demands):
        with monkeypatch.context() as within:
            within.delenv(name)
            settings.cache_clear()
            assert not door.vendor.adapter().takes_webhooks(), name
    settings.cache_clear()
    assert door.vendor.adapter().takes_webhooks()


async def test_an_old_or_a_coming_signature(door: Door, secret: Secret) -> None:
    body, tolerance = door.webhooks.body, door.webhooks.tolerance
    if tolerance is None:
        assert await door.ids(secret.sign(body, age=10_000_000)) == door.webhooks.ids
        return

    for age in (tolerance - 10, -10):
        assert await door.ids(secret.sign(body, age=age)) == door.webhooks.ids
    for age in (tolerance + 10, -tolerance - 10):
        await door.turns_away(secret.sign(body, age=age), Forged)


async def test_no_secret_is_told(door: Door, secret: Secret, good: Delivery) -> None:
    wrong = [
        replace(good, body=b""),
        replace(good, headers={}),
        replace(good, headers=dict.fromkeys(good.headers, STRANGE)),
        secret.sign(b"null"),
    ]
    for delivery in wrong:
        with pytest.raises((Forged, NoEvent)) as raised:
            await door.receive(delivery)
        error: BaseException | None = raised.value
        while error:
            assert secret.hidden is None or secret.hidden not in repr(error)
            error = error.__cause__ or error.__context__


@pytest.mark.parametrize("vendor", [one for one in ALL if one not in SENDING], ids=str)
async def test_a_vendor_without_webhooks_takes_none(vendor: Vendor) -> None:
    assert not vendor.adapter().takes_webhooks()
    with pytest.raises(Forged):
        await vendor.adapter().receive(Delivery({}, b""))
