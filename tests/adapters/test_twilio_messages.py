"""Twilio: what is sent, as its official package sends it, and what each answer means."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import jsonschema
import pytest
from twilio.http import HttpClient
from twilio.http.response import Response as SdkResponse
from twilio.rest import Client as Sdk

from adapters._base import (
    Misconfigured,
    NotSent,
    Refused,
    Repeat,
    Request,
    Response,
    Throttled,
    Unknown,
    VendorError,
)
from adapters._messages import MessageAnswer, MessageOrder
from adapters._twilio import REFUSALS, SETTINGS
from adapters.twilio import Adapter
from ferryman.settings import settings
from tests.adapters import doubles

ACCOUNT, TOKEN = "AC" + "0a" * 16, "0b" * 16
SENDER, SERVICE = "+15005550006", "MG" + "0c" * 16
SID = "SM" + "0f" * 16
BODY = "Your parcel & its \N{EURO SIGN} 5 fee: canary-body"
ORDER = MessageOrder(UUID(int=7), "+15005550010", BODY)
MESSAGE = {
    "sid": SID,
    "date_created": "Sat, 28 Nov 2026 14:59:58 +0000",
    "from": SENDER,
    "num_segments": "2",
    "status": "queued",
    "to": ORDER.to,
    "body": BODY,
}


def answered(status: int, document: object, **headers: str) -> Response:
    kind = {"content-type": "application/json"}
    return Response(status, kind | headers, json.dumps(document).encode())


def refusal(code: int | None, status: int = 400) -> Response:
    """As Twilio says it, with a number in its sentence."""
    message = f"The 'To' number {ORDER.to} is not a valid phone number."
    return answered(status, {"code": code, "message": message, "status": status})


TAKEN = answered(201, MESSAGE)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TWILIO_ACCOUNT_SID", ACCOUNT)
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", TOKEN)
    monkeypatch.setenv("TWILIO_FROM", SENDER)
    monkeypatch.delenv("TWILIO_BASE_URL", raising=False)
    monkeypatch.setenv("FERRYMAN_PUBLIC_URL", "https://jobs.example.com/")
    settings.cache_clear()
    yield
    settings.cache_clear()


async def sent(order: MessageOrder = ORDER) -> tuple[Request, dict[str, str], str]:
    """The request that goes out, its form, and its credentials."""
    call, client, _ = doubles.call("twilio", TAKEN)
    await Adapter().send_message(call, order)
    ((request, credentials),) = client.requests
    return request, dict(parse_qsl(request.body.decode())), credentials["Authorization"]


async def outcome(answer: doubles.Answer) -> tuple[VendorError, doubles.Notes]:
    call, _, notes = doubles.call("twilio", answer)
    with pytest.raises(VendorError) as raised:
        await Adapter().send_message(call, ORDER)
    return raised.value, notes


class Capture(HttpClient):
    """Keeps what the official package would send."""

    def __init__(self) -> None:
        super().__init__(None, False, None)
        self.seen: list[tuple[str, str, dict[str, Any], Any, Any]] = []

    def request(
        self,
        method: str,
        url: str,
        params: Any,
        data: Any,
        headers: Any,
        auth: Any,
        *_: Any,
        **__: Any,
    ) -> SdkResponse:
        self.seen.append((method, url, params or data, headers, auth))
        if method == "GET":
            return SdkResponse(200, json.dumps({"messages": []}))
        return SdkResponse(201, json.dumps(MESSAGE))


@pytest.mark.parametrize("sender", [SENDER, SERVICE, "SHOP 24", "MG2", "24242"])
async def test_the_request_is_the_official_package_s(
    sender: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWILIO_FROM", sender)
    by = {"messaging_service_sid": sender} if sender == SERVICE else {"from_": sender}
    theirs = Capture()
    callback = f"https://jobs.example.com/webhooks/twilio?message={ORDER.id}"
    Sdk(ACCOUNT, TOKEN, http_client=theirs).messages.create(
        to=ORDER.to, body=BODY, status_callback=callback, **by
    )

    request, form, credentials = await sent()

    ((method, url, data, headers, auth),) = theirs.seen
    assert (request.method, request.url) == (method, url)
    assert form == data
    for name in ("Content-Type", "Accept"):
        assert request.headers[name] == headers[name]
    assert credentials == "Basic " + base64.b64encode(":".join(auth).encode()).decode()


async def test_the_answer_in_our_words() -> None:
    call, _, notes = doubles.call("twilio", TAKEN)

    told = await Adapter().send_message(call, ORDER)

    created = datetime(2026, 11, 28, 14, 59, 58, tzinfo=UTC)
    assert told == MessageAnswer(SID, created, SENDER, 2)
    assert notes.answers == ["message"]


async def test_a_messaging_service_knows_its_number_later() -> None:
    undecided = {**MESSAGE, "from": None, "num_segments": "0", "date_created": None}
    call, _, _ = doubles.call("twilio", answered(201, undecided))

    told = await Adapter().send_message(call, ORDER)

    assert (told.sender, told.segments) == (None, None)
    assert told.created_at.tzinfo is UTC


async def test_a_message_leaves_once_under_the_job_s_key() -> None:
    call, _, notes = doubles.call("twilio", TAKEN)
    await Adapter().send_message(call, ORDER)

    ((step, key, repeat, request),) = notes.left
    assert (step, key, repeat) == ("message", f"{doubles.JOB}:message", Repeat.LOOK_UP)
    assert TOKEN not in repr(request)


async def test_without_a_public_address_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings(), "public_url", None)
    _, form, _ = await sent()
    assert form == {"To": ORDER.to, "From": SENDER, "Body": BODY}


async def test_of_two_tokens_the_first_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", f" {TOKEN} , another")
    _, _, credentials = await sent()
    assert base64.b64decode(credentials.removeprefix("Basic ")).decode() == f"{ACCOUNT}:{TOKEN}"


async def test_the_sender_is_the_one_of_when_it_was_to_leave() -> None:
    _, form, _ = await sent(replace(ORDER, sender="+15005550099"))
    assert form["From"] == "+15005550099"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TWILIO_ACCOUNT_SID", ""),
        ("TWILIO_ACCOUNT_SID", "AC0"),
        ("TWILIO_ACCOUNT_SID", f"{ACCOUNT}/../x"),
        ("TWILIO_AUTH_TOKEN", ""),
        ("TWILIO_AUTH_TOKEN", " , "),
        ("TWILIO_FROM", ""),
        ("TWILIO_FROM", "whatsapp:+15005550006"),
        ("TWILIO_FROM", "123456789012"),
    ],
)
async def test_a_setting_that_is_none_is_named(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    call, client, _ = doubles.call("twilio", TAKEN)
    with pytest.raises(Misconfigured, match=variable):
        await Adapter().send_message(call, ORDER)
    with pytest.raises(Misconfigured, match=variable):
        await Adapter().find_messages(call, ORDER, datetime.now(UTC))
    assert client.requests == []


@pytest.mark.parametrize("code", [*REFUSALS, 99999, None])
async def test_a_refusal_proves_that_nothing_was_sent(code: int | None) -> None:
    error, notes = await outcome(refusal(code))

    assert isinstance(error, Refused)
    assert (error.code, error.status) == (REFUSALS.get(code or 0, ("refused",))[0], 400)
    assert notes.answers == ["message"]
    assert ORDER.to not in json.dumps(error.as_error())


@pytest.mark.parametrize(
    ("code", "ours"),
    [
        (21211, "invalid_recipient"),
        (21614, "invalid_recipient"),
        (21610, "suppressed"),
        (21408, "account_restricted"),
        (21602, "nothing_to_send"),
        (21617, "too_large"),
    ],
)
async def test_codes(code: int, ours: str) -> None:
    error, _ = await outcome(refusal(code))
    assert error.code == ours


@pytest.mark.parametrize(("code", "status"), [*((code, 400) for code in SETTINGS), (None, 404)])
async def test_a_wrong_setting_makes_the_job_wait(code: int | None, status: int) -> None:
    error, notes = await outcome(refusal(code, status))

    assert isinstance(error, Misconfigured)
    assert error.message.startswith(("TWILIO_", "FERRYMAN_PUBLIC_URL"))
    assert (notes.answers, notes.without_effect) == ([], ["message"])


async def test_a_full_queue_is_a_limit() -> None:
    error, notes = await outcome(refusal(21611))

    assert isinstance(error, Throttled)
    assert error.retry_after == 60
    assert notes.without_effect == ["message"]


@pytest.mark.parametrize(
    "answer",
    [
        Response(500, {}, b""),
        Response(503, {"retry-after": "1"}, b""),
        Response(408, {}, b""),
        Response(302, {"location": "/"}, b""),
        Response(204, {}, b""),
        Response(201, {}, b"<html>"),
        answered(201, []),
        answered(201, {}),
        answered(201, {**MESSAGE, "sid": "CA" + "0f" * 16}),
        answered(201, {**MESSAGE, "sid": None}),
        Unknown("the vendor did not answer in time", code="timeout"),
    ],
)
async def test_without_an_answer_about_the_message_it_stays_in_doubt(
    answer: doubles.Answer,
) -> None:
    error, notes = await outcome(answer)
    assert isinstance(error, Unknown)
    assert not error.for_person
    assert (notes.answers, notes.without_effect) == ([], [])


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refusal(20429, 429), Throttled),
        (refusal(20003, 401), Misconfigured),
        (refusal(None, 403), Misconfigured),
        (NotSent("no connection to the vendor"), NotSent),
    ],
)
async def test_what_did_not_reach_the_message_may_be_sent_again(
    answer: doubles.Answer, kind: type[VendorError]
) -> None:
    error, notes = await outcome(answer)
    assert type(error) is kind
    assert (notes.answers, notes.without_effect) == ([], ["message"])


@pytest.mark.parametrize("answer", [TAKEN, refusal(21211), refusal(99999)])
async def test_nothing_private_survives_in_an_interaction(answer: Response) -> None:
    call, _, notes = doubles.call("twilio", answer)
    try:
        await Adapter().send_message(call, ORDER)
    except Refused:
        assert answer.status == 400

    kept = json.dumps(notes.interactions, default=str)
    assert "Messages.json" in kept
    for secret in ("canary", ORDER.to, ORDER.to[1:], SENDER[1:], TOKEN):
        assert secret not in kept


@pytest.fixture
def form_contract() -> jsonschema.Draft202012Validator:
    """Twilio's published description of the form."""
    if (folder := os.environ.get("FERRYMAN_CONTRACTS")) is None:
        pytest.skip("FERRYMAN_CONTRACTS is not set")
    found = json.loads(Path(folder, "twilio.json").read_text())
    operation = found["paths"]["/2010-04-01/Accounts/{AccountSid}/Messages.json"]["post"]
    schema = operation["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
    known = {**schema, "additionalProperties": False, "components": found["components"]}
    return jsonschema.Draft202012Validator(known)


@pytest.mark.parametrize("sender", [SENDER, SERVICE])
async def test_the_form_keeps_the_published_contract(
    sender: str,
    form_contract: jsonschema.Draft202012Validator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TWILIO_FROM", sender)

    _, form, _ = await sent(replace(ORDER, body="x" * 1600))

    assert [error.message for error in form_contract.iter_errors(form)] == []
    for change in ({"Too": "x"}, {"MessagingServiceSid": "MG0"}):
        assert not form_contract.is_valid(form | change)
