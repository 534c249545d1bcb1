"""Twilio: who signed a webhook, as Twilio's own validator sees it, and what it tells."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from adapters._base import Delivery, Event, Forged, NoEvent, Repeat
from adapters._messages import MessageOrder
from adapters.twilio import Adapter
from ferryman.settings import settings
from tests.contract.operations import TEXT, Operation, Secret, Webhooks

URL = "https://jobs.example.com/webhooks/twilio"
FORM = "application/x-www-form-urlencoded"
SID = "SM" + "0f" * 16
FIELDS = {
    "ApiVersion": "2010-04-01",
    "AccountSid": "AC" + "0a" * 16,
    "From": "+15005550006",
    "MessageSid": SID,
    "MessageStatus": "delivered",
    "SmsSid": SID,
    "SmsStatus": "delivered",
    "To": "+15005550009",
}
ORDER = MessageOrder(UUID(int=7), "+15005550010", TEXT)
OPERATIONS = [
    Operation("message", lambda call: Adapter().send_message(call, ORDER), Repeat.LOOK_UP)
]
Fields = Sequence[tuple[str, str]]


class Several(dict[str, list[str]]):
    """A form as web frameworks hand it to the validator."""

    def __init__(self, fields: Fields) -> None:
        super().__init__()
        for name, value in fields:
            self.setdefault(name, []).append(value)

    def getlist(self, name: str) -> list[str]:
        return self[name]


def signed(token: str, fields: Fields, url: str = URL) -> Delivery:
    """As Twilio delivers it: signed by the official package."""
    signature = RequestValidator(token).compute_signature(url, Several(fields))
    headers = {"content-type": FORM, "x-twilio-signature": signature}
    return Delivery(headers, urlencode(fields).encode(), url)


def webhook_secret() -> Secret:
    token = secrets.token_hex(16)

    def sign(body: bytes, *, age: float = 0) -> Delivery:
        fields = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
        signature = RequestValidator(token).compute_signature(URL, Several(fields))
        return Delivery({"content-type": FORM, "x-twilio-signature": signature}, body, URL)

    return Secret(token, sign, hidden=token)


# Neither the account nor its number is a secret: they stand in addresses and in forms.
ENVIRONMENT = {
    "FERRYMAN_PUBLIC_URL": "https://jobs.example.com",
    "TWILIO_ACCOUNT_SID": "AC" + "0a" * 16,
    "TWILIO_FROM": "+15005550006",
}
WEBHOOKS = Webhooks(
    webhook_secret,
    body=urlencode(FIELDS).encode(),
    ids=(f"{SID}:delivered",),
    needs=("x-twilio-signature",),
    demands=("FERRYMAN_PUBLIC_URL",),
)


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> str:
    made = secrets.token_hex(16)
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", made)
    return made


async def events(delivery: Delivery) -> Sequence[Event]:
    return await Adapter().receive(delivery)


async def test_what_became_of_a_message(token: str) -> None:
    (event,) = await events(signed(token, [*FIELDS.items(), ("ErrorCode", "30003")]))

    assert (event.id, event.type) == (f"{SID}:delivered", "message.delivered")
    assert event.payload == {**FIELDS, "ErrorCode": "30003"}
    assert datetime.now(UTC) - event.at < timedelta(seconds=10)


async def test_a_message_that_came_in(token: str) -> None:
    fields = {"MessageSid": SID, "SmsStatus": "received", "Body": "I pay \N{EURO SIGN} 5 & more"}
    (event,) = await events(signed(token, [*fields.items()]))

    assert event.id == f"{SID}:received"
    assert event.payload == fields


@pytest.mark.parametrize("pick", ["SmsSid", "MessageSid"])
async def test_either_name_of_the_id_does(token: str, pick: str) -> None:
    (event,) = await events(signed(token, [(pick, SID), ("SmsStatus", "sent")]))

    assert event.id == f"{SID}:sent"


@pytest.mark.parametrize(
    "fields",
    [
        {"CallSid": "CA" + "0f" * 16, "CallStatus": "completed"},
        {"MessageSid": SID},
        {"MessageStatus": "sent"},
        {"MessageSid": "", "MessageStatus": "sent"},
        {"MessageSid": f"{SID}0", "MessageStatus": "sent"},
        # The borders drawn anew, over the same signature as that of two fields.
        {"MessageSid": f"{SID}MessageStatusdelivered"},
        {"MessageSid": SID, "MessageStatus": "sentTo+15005550009"},
    ],
)
async def test_what_is_no_message_is_no_event(token: str, fields: dict[str, str]) -> None:
    with pytest.raises(NoEvent):
        await events(signed(token, [*fields.items()]))


async def test_two_values_of_a_status_are_no_event(token: str) -> None:
    fields = [("MessageSid", SID), ("MessageStatus", "sent"), ("MessageStatus", "failed")]
    with pytest.raises(NoEvent):
        await events(signed(token, fields))


MESSAGE = UUID(int=7)


async def test_the_address_names_our_message(token: str) -> None:
    """Within the signature, as the whole address is: nobody else can name another one."""
    url = f"{URL}?message={MESSAGE}"
    delivery = signed(token, [*FIELDS.items()], url)

    (event,) = await events(delivery)

    assert event.payload == {**FIELDS, "ferryman_message": str(MESSAGE)}
    with pytest.raises(Forged):
        await events(replace(delivery, url=f"{URL}?message={UUID(int=8)}"))


@pytest.mark.parametrize(
    "query", ["", "?message=", "?message=1", f"?message={MESSAGE}&message={UUID(int=8)}"]
)
async def test_what_names_no_message_names_none(token: str, query: str) -> None:
    planted = ("ferryman_message", str(MESSAGE))
    for fields in (FIELDS.items(), [*FIELDS.items(), planted]):
        (event,) = await events(signed(token, [*fields], URL + query))
        assert event.payload == FIELDS


# --- the official validator's view


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "https://jobs.example.com:8443/webhooks/twilio",
        "http://jobs.example.com/webhooks/twilio",
        "http://jobs.example.com:80/webhooks/twilio?a=1&b=%20c",
        f"{URL}?tenant=1&x=a%2Fb&x=",
        "https://b%C3%BCcher.example/webhooks/twilio",
        "https://127.0.0.1:1/webhooks/twilio",
    ],
)
async def test_an_address_may_be_signed_with_its_port_or_without(token: str, url: str) -> None:
    scheme, rest = url.split("://")
    host, slash, path = rest.partition("/")
    bare = host.partition(":")[0]
    port = host.partition(":")[2] or {"https": "443", "http": "80"}[scheme]
    for spelt in (bare, f"{bare}:{port}"):
        delivery = signed(token, [*FIELDS.items()], f"{scheme}://{spelt}{slash}{path}")
        called = Delivery(delivery.headers, delivery.body, url)
        theirs = RequestValidator(token).validate(
            url, FIELDS, delivery.headers["x-twilio-signature"]
        )
        assert theirs
        assert await events(called)
    elsewhere = Delivery(delivery.headers, delivery.body, url.replace(bare, "x.example.com"))
    with pytest.raises(Forged):
        await events(elsewhere)


@pytest.mark.parametrize(
    ("url", "fields", "signature"),
    [
        # What Twilio's own package is tested with.
        (
            "https://mycompany.com/myapp.php?foo=1&bar=2",
            "CallSid=CA1234567890ABCDE&Digits=1234&From=%2B14158675309&To=%2B18005551212"
            "&Caller=%2B14158675309",
            "RSOYDt4T1cUTdK1PDd93/VVr8B8=",
        ),
        (
            "https://mycompany.com/myapp.php?foo=1&bar=2",
            "Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234",
            "IK+Dwps556ElfBT0I3Rgjkr1wJU=",
        ),
    ],
)
async def test_published_signatures(
    url: str, fields: str, signature: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "12345")
    headers = {"content-type": FORM, "x-twilio-signature": signature}

    # Signed, and about no message.
    with pytest.raises(NoEvent):
        await events(Delivery(headers, fields.encode(), url))
    with pytest.raises(Forged):
        await events(Delivery(headers, fields.replace("123", "124").encode(), url))


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
FORMS = st.lists(st.tuples(NAMES, NAMES | st.sampled_from(["", " ", "+", "%", "&", "=", "\0"])))


@examples(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(fields=FORMS, wrong=st.booleans())
async def test_any_form_is_judged_as_the_official_validator_does(
    token: str, fields: list[tuple[str, str]], wrong: bool
) -> None:
    fields = [("MessageSid", SID), ("MessageStatus", "sent"), *fields]
    delivery = signed("another" if wrong else token, fields)
    # What is empty on both sides leaves no trace in a form.
    seen = parse_qsl(delivery.body.decode(), keep_blank_values=True)
    signature = delivery.headers["x-twilio-signature"]
    theirs = RequestValidator(token).validate(URL, Several(seen), signature)
    try:
        await events(delivery)
        ours = True
    except NoEvent:
        ours = True
    except Forged:
        ours = False

    assert ours is theirs is not wrong


async def test_json_is_signed_by_its_hash_in_the_address(token: str) -> None:
    body = json.dumps(FIELDS).encode()
    url = f"{URL}?tenant=1&bodySHA256={hashlib.sha256(body).hexdigest()}"
    validator = RequestValidator(token)
    signature = validator.compute_signature(url, {})
    headers = {"content-type": "application/json", "x-twilio-signature": signature}
    assert validator.validate(url, body.decode(), signature)

    (event,) = await events(Delivery(headers, body, url))

    assert event.id == f"{SID}:delivered"
    for altered in (body + b" ", b"", b"[]"):
        assert not validator.validate(url, altered.decode(), signature)
        with pytest.raises(Forged):
            await events(Delivery(headers, altered, url))


@pytest.mark.parametrize("query", ["", "?bodySHA256=", "?bodySHA256=abc", "?bodysha256=%s"])
async def test_json_without_its_hash_is_refused(token: str, query: str) -> None:
    body = json.dumps(FIELDS).encode()
    url = URL + query.replace("%s", hashlib.sha256(body).hexdigest())
    signature = RequestValidator(token).compute_signature(url, {})
    headers = {"content-type": "application/json", "x-twilio-signature": signature}

    with pytest.raises(Forged, match="hash"):
        await events(Delivery(headers, body, url))


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b"{}", b"{", b"[" * 100_000])
async def test_json_of_another_shape_is_no_event(token: str, body: bytes) -> None:
    url = f"{URL}?bodySHA256={hashlib.sha256(body).hexdigest()}"
    signature = RequestValidator(token).compute_signature(url, {})
    headers = {"content-type": "application/json", "x-twilio-signature": signature}

    with pytest.raises(NoEvent):
        await events(Delivery(headers, body, url))


async def test_a_body_that_is_no_utf8_or_has_too_many_fields(token: str) -> None:
    for body in (b"a=%ff", b"a=\xff", b"a=1&" * 2000):
        headers = {"content-type": FORM, "x-twilio-signature": "x"}
        with pytest.raises(Forged, match="not a form"):
            await events(Delivery(headers, body, URL))


async def test_without_a_public_address_the_door_is_closed(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = signed(token, [*FIELDS.items()])
    with pytest.raises(Forged, match="FERRYMAN_PUBLIC_URL"):
        await events(Delivery(delivery.headers, delivery.body, None))
    for value in ("", "https://jobs.example.com"):
        monkeypatch.setenv("FERRYMAN_PUBLIC_URL", value)
        settings.cache_clear()
        assert Adapter().takes_webhooks() is bool(value)
    settings.cache_clear()


def test_a_closed_door_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token alone is not enough, and is not what lacks then."""
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "token")
    monkeypatch.setattr(settings(), "public_url", None)
    assert Adapter().webhooks_lack() == ("FERRYMAN_PUBLIC_URL",)

    monkeypatch.delenv("TWILIO_AUTH_TOKEN")
    assert Adapter().webhooks_lack() == ("TWILIO_AUTH_TOKEN", "FERRYMAN_PUBLIC_URL")
