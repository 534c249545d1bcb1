"""SendGrid: what is sent, what its answers mean, and what survives of both."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import UUID

import jsonschema
import pytest
import sendgrid
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sendgrid.helpers import mail as sdk
from sendgrid.helpers.eventwebhook import EventWebhookHeader

from adapters import _base
from adapters._base import (
    Delivery,
    Misconfigured,
    NotSent,
    Refused,
    Repeat,
    Response,
    Throttled,
    Unknown,
    VendorError,
)
from adapters._http import Client, HttpCall
from adapters._limits import rate_limit_reset
from adapters._mail import Letter, MailOrder, Recipient
from adapters.sendgrid import Adapter
from ferryman.policies import policy
from tests.adapters import doubles
from tests.contract.operations import ADDRESS, TEXT, Operation, Secret, Webhooks

# Joined, so that no key-shaped string stands in the tree.
KEY = ".".join(("SG", "planted" * 3, "secret" * 7))
DYNAMIC = "d-0123456789abcdef0123456789abcdef"
ACCEPTED = Response(202, {"x-message-id": "14c5d75ce93"}, b"")
EMAIL = UUID("019ab3f0-6d7e-7c2a-9f43-0d5be2a1c902")
HELLO = Letter(subject="Hello", text="Good day", html="<p>Good day</p>")
ADA = Recipient(EMAIL, "ada@example.com")


async def _mail(call: HttpCall) -> object:
    letter = Letter(subject=TEXT, text=TEXT)
    return await Adapter().send_mail(call, order(letter, Recipient(EMAIL, ADDRESS)))


OPERATIONS = [Operation("mail", _mail, Repeat.NEVER)]
ENVIRONMENT = {"FROM_EMAIL": "sender@example.com"}


def webhook_secret() -> Secret:
    """A key pair as SendGrid makes one, and what the helper's own verifier would take."""
    private = ec.generate_private_key(ec.SECP256R1())
    public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def sign(body: bytes, *, age: float = 0) -> Delivery:
        at = str(int(time.time() - age))
        signature = private.sign(at.encode() + body, ec.ECDSA(hashes.SHA256()))
        return Delivery(
            {
                "content-type": "application/json",
                EventWebhookHeader.SIGNATURE.lower(): base64.b64encode(signature).decode(),
                EventWebhookHeader.TIMESTAMP.lower(): at,
            },
            body,
        )

    return Secret(base64.b64encode(public).decode(), sign)


WEBHOOKS = Webhooks(
    webhook_secret,
    # SendGrid's bodies end so, and that counts.
    body=json.dumps(
        [
            {"sg_event_id": "delivered-1", "event": "delivered", "timestamp": 1795556943},
            {"sg_event_id": "open-2", "event": "open", "timestamp": 1795556944},
        ]
    ).encode()
    + b"\r\n",
    ids=("delivered-1", "open-2"),
    needs=(EventWebhookHeader.SIGNATURE.lower(), EventWebhookHeader.TIMESTAMP.lower()),
    tolerance=25 * 3600,
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDGRID_API_KEY", KEY)
    monkeypatch.setenv("FROM_EMAIL", "Ferryman <sender@example.com>")
    monkeypatch.delenv("SENDGRID_BASE_URL", raising=False)


def order(letter: Letter = HELLO, *recipients: Recipient) -> MailOrder:
    return MailOrder(doubles.JOB, letter, recipients or (ADA,))


async def sent(letter: Letter = HELLO, *recipients: Recipient) -> Any:
    """The body that goes out."""
    call, client, _ = doubles.call("sendgrid", ACCEPTED)
    await Adapter().send_mail(call, order(letter, *recipients))
    ((request, _),) = client.requests
    return json.loads(request.body)


async def outcome(answer: doubles.Answer) -> tuple[VendorError, doubles.Notes]:
    """What a vendor's answer is turned into."""
    call, _, notes = doubles.call("sendgrid", answer)
    with pytest.raises(VendorError) as raised:
        await Adapter().send_mail(call, order())
    return raised.value, notes


class Recorder(BaseHTTPRequestHandler):
    """Answers as SendGrid does when it accepts, and keeps what it was sent."""

    seen: list[tuple[str, str, dict[str, str], Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.seen.append((self.command, self.path, headers, json.loads(body)))
        self.send_response(202)
        self.send_header("X-Message-Id", "14c5d75ce93")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Recorder.seen = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as listening:
        Thread(target=listening.serve_forever).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


async def test_the_wire_carries_what_the_sdks_own_client_sends(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENDGRID_BASE_URL", server)
    theirs = sdk.Mail(
        from_email=("sender@example.com", "Ferryman"),
        to_emails=["ada@example.com"],
        subject="Hello",
        plain_text_content="Good day",
        html_content="<p>Good day</p>",
    )
    theirs.reply_to = "office@example.com"
    theirs.custom_arg = [
        sdk.CustomArg("job", str(doubles.JOB), p=0),
        sdk.CustomArg("email", str(EMAIL), p=0),
    ]
    sendgrid.SendGridAPIClient(KEY, host=server).send(theirs)
    client = Client(policy("sendgrid"))
    call = HttpCall("sendgrid", client, policy("sendgrid"), doubles.Notes())

    ours = order(replace(HELLO, reply_to="office@example.com"))
    accepted = await Adapter().send_mail(call, ours)
    await client.close()

    assert accepted.vendor_reference == "14c5d75ce93"
    (method, path, headers, body), (our_method, our_path, our_headers, our_body) = Recorder.seen
    assert (our_method, our_path) == (method, path) == ("POST", "/v3/mail/send")
    assert our_body == body
    for name in ("authorization", "content-type", "accept", "user-agent"):
        assert our_headers[name] == headers[name]


async def test_each_recipient_is_alone_and_carries_its_ids() -> None:
    grace = Recipient(UUID(int=7), "grace@example.com", subject="Grace!", fills={"%name%": "G"})
    body = await sent(HELLO, ADA, grace)

    first, second = body["personalizations"]
    assert first == {
        "to": [{"email": "ada@example.com"}],
        "custom_args": {"job": str(doubles.JOB), "email": str(EMAIL)},
    }
    assert second == {
        "to": [{"email": "grace@example.com"}],
        "subject": "Grace!",
        "substitutions": {"%name%": "G"},
        "custom_args": {"job": str(doubles.JOB), "email": str(UUID(int=7))},
    }
    assert body["from"] == {"email": "sender@example.com", "name": "Ferryman"}


async def test_the_senders_own_address_comes_before_the_configured_one() -> None:
    body = await sent(Letter(subject="Hello", text="Good day", sender="shop@example.com"))
    assert body["from"] == {"email": "shop@example.com"}


async def test_a_dynamic_template_is_given_the_data() -> None:
    ada = Recipient(EMAIL, "ada@example.com", data={"name": "Ada", "items": [1, 2]})
    body = await sent(Letter(template=DYNAMIC), ada)

    assert body["template_id"] == DYNAMIC
    assert body["personalizations"][0]["dynamic_template_data"] == {"name": "Ada", "items": [1, 2]}
    assert "content" not in body
    assert "subject" not in body


@pytest.mark.parametrize(
    ("letter", "field"),
    [
        (Letter(template="welcome", subject="Hello"), "template"),
        (Letter(template=DYNAMIC, subject="Hello"), "subject"),
        (Letter(template=DYNAMIC, html="<p></p>"), "html"),
    ],
)
async def test_what_sendgrid_cannot_express_is_refused_before_a_call(
    letter: Letter, field: str
) -> None:
    call, client, _ = doubles.call("sendgrid", ACCEPTED)
    with pytest.raises(Refused, match=f"^{field}: ") as raised:
        await Adapter().send_mail(call, order(letter))
    assert raised.value.code == "invalid_arguments"
    assert client.requests == []


async def test_a_domain_of_other_letters_is_sent_in_punycode() -> None:
    letter = replace(HELLO, sender="shop@bücher.example", reply_to="shop@bücher.example")
    body = await sent(letter, Recipient(EMAIL, "ada@straße.example"))
    assert body["personalizations"][0]["to"] == [{"email": "ada@xn--strae-oqa.example"}]
    assert body["from"] == body["reply_to"] == {"email": "shop@xn--bcher-kva.example"}


@pytest.mark.parametrize(
    ("letter", "recipient", "field"),
    [
        (HELLO, Recipient(EMAIL, "ädä@example.com"), "to"),
        (replace(HELLO, sender="ädä@example.com"), ADA, "sender"),
        (replace(HELLO, reply_to="ädä@example.com"), ADA, "reply_to"),
    ],
)
async def test_a_local_part_of_other_letters_is_refused_before_a_call(
    letter: Letter, recipient: Recipient, field: str
) -> None:
    call, client, _ = doubles.call("sendgrid", ACCEPTED)
    with pytest.raises(Refused, match=f"^{field}: .*ASCII"):
        await Adapter().send_mail(call, order(letter, recipient))
    assert client.requests == []


async def test_an_api_key_in_a_mail_is_refused() -> None:
    call, client, _ = doubles.call("sendgrid", ACCEPTED)
    with pytest.raises(Refused, match="API key") as raised:
        await Adapter().send_mail(call, order(Letter(subject="Hello", text=KEY)))
    assert KEY not in str(raised.value)
    assert client.requests == []


@pytest.mark.parametrize("variable", ["SENDGRID_API_KEY", "FROM_EMAIL"])
async def test_a_missing_setting_is_named(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(variable)
    call, client, _ = doubles.call("sendgrid", ACCEPTED)
    with pytest.raises(Misconfigured, match=variable):
        await Adapter().send_mail(call, order())
    assert client.requests == []


async def test_a_from_email_that_is_none_is_misconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_EMAIL", "nobody at all")
    with pytest.raises(Misconfigured, match="FROM_EMAIL"):
        Adapter().check(HELLO)


async def test_a_mail_leaves_once_under_the_jobs_key() -> None:
    call, client, notes = doubles.call("sendgrid", ACCEPTED)
    await Adapter().send_mail(call, order())

    ((step, key, repeat, request),) = notes.left
    assert (step, key, repeat) == ("mail", f"{doubles.JOB}:mail", Repeat.NEVER)
    assert notes.answers == ["mail"]
    assert KEY not in repr(request)
    assert client.requests[0][1] == {"Authorization": f"Bearer {KEY}"}


async def test_sandbox_mode_is_acceptance_without_a_reference() -> None:
    call, _, notes = doubles.call("sendgrid", Response(200, {}, b""))
    accepted = await Adapter().send_mail(call, order())
    assert accepted.vendor_reference is None
    assert notes.answers == ["mail"]


def refusal(status: int, field: str | None) -> Response:
    """As SendGrid says it, with an address in its sentence."""
    error = {"message": "Does not contain a valid address: ada@example.com", "field": field}
    body = json.dumps({"errors": [error | {"help": None}]}).encode()
    return Response(status, {"content-type": "application/json"}, body)


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (refusal(400, "personalizations.0.to.0.email"), "invalid_recipient", "to: "),
        (refusal(400, "personalizations.12.to"), "invalid_recipient", "to: "),
        (refusal(400, "personalizations.0.subject"), "invalid_arguments", "subject: "),
        (refusal(400, "from.email"), "invalid_arguments", "sender: "),
        (refusal(400, "reply_to.email"), "invalid_arguments", "reply_to: "),
        (refusal(400, "content.0.value"), "invalid_arguments", "text or html: "),
        (refusal(400, "template_id"), "invalid_arguments", "template: "),
        (refusal(400, "from_a_later_version"), "refused", "the vendor"),
        (refusal(400, None), "refused", "the vendor"),
        (Response(400, {}, b"not JSON"), "refused", "the vendor"),
        (Response(400, {}, b'{"errors":[]}'), "refused", "the vendor"),
        (refusal(413, None), "too_large", "the mail"),
        (refusal(404, None), "refused", "the vendor"),
    ],
)
async def test_a_refusal_proves_that_nothing_was_sent(
    answer: Response, code: str, message: str
) -> None:
    error, notes = await outcome(answer)

    assert isinstance(error, Refused)
    assert (error.code, error.status) == (code, answer.status)
    assert error.message.startswith(message)
    assert "ada@" not in json.dumps(error.as_error())
    assert notes.answers == ["mail"]


@pytest.mark.parametrize(
    "answer",
    [
        Response(500, {}, b""),
        Response(503, {"retry-after": "1"}, b""),
        Response(408, {}, b""),
        Response(302, {"location": "/"}, b""),
        Response(204, {}, b""),
        Unknown("the vendor did not answer in time", code="timeout"),
    ],
)
async def test_without_an_answer_about_the_mail_it_stays_in_doubt(answer: doubles.Answer) -> None:
    error, notes = await outcome(answer)
    assert isinstance(error, Unknown)
    assert notes.answers == []
    assert notes.without_effect == []


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Response(429, {}, b""), Throttled),
        (Response(401, {}, b""), Misconfigured),
        (Response(403, {}, b""), Misconfigured),
        (NotSent("no connection to the vendor"), NotSent),
    ],
)
async def test_what_did_not_reach_the_mail_may_be_sent_again(
    answer: doubles.Answer, kind: type[VendorError]
) -> None:
    error, notes = await outcome(answer)
    assert type(error) is kind
    assert notes.without_effect == ["mail"]
    assert notes.answers == []


async def test_a_throttled_mail_waits_for_the_reset_that_sendgrid_names() -> None:
    reset = str(int(time.time()) + 20)
    error, _ = await outcome(Response(429, {"x-ratelimit-reset": reset}, b""))
    assert isinstance(error, Throttled)
    assert error.retry_after == pytest.approx(20, abs=2)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("12", 12.0), ("0", None), ("", None), ("soon", None), ("1392815263", None)],
)
def test_a_reset_is_a_duration_or_a_time_to_come(header: str, seconds: float | None) -> None:
    assert rate_limit_reset(Response(429, {"x-ratelimit-reset": header}, b"")) == seconds


async def test_retry_after_comes_before_the_reset() -> None:
    error, _ = await outcome(Response(429, {"retry-after": "3", "x-ratelimit-reset": "90"}, b""))
    assert isinstance(error, Throttled)
    assert error.retry_after == 3


@pytest.mark.parametrize("answer", [ACCEPTED, refusal(400, "personalizations.0.to")])
async def test_nothing_private_survives_in_an_interaction(answer: Response) -> None:
    planted = {
        "address": "canary-to@example.com",
        "sender": "canary-from@example.com",
        "reply_to": "canary-reply@example.com",
        "subject": "canary-subject",
        "text": "canary-text",
        "html": "canary-html",
        "data": "canary-data",
    }
    letter = Letter(**{name: planted[name] for name in planted if hasattr(HELLO, name)})
    recipient = Recipient(EMAIL, planted["address"], fills={"%x%": planted["data"]})
    call, _, notes = doubles.call("sendgrid", answer)
    try:
        await Adapter().send_mail(call, order(letter, recipient))
    except Refused:
        assert answer.status == 400

    kept = json.dumps(notes.interactions, default=str)
    assert str(doubles.JOB) in kept
    for secret in (*planted.values(), KEY, "ada@example.com"):
        assert secret not in kept


def test_the_adapter_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _base.adapter("sendgrid")
    assert found.address() == "https://api.sendgrid.com"
    monkeypatch.setenv("SENDGRID_BASE_URL", "http://127.0.0.1:9/sendgrid/")
    assert found.address() == "http://127.0.0.1:9/sendgrid"


@pytest.fixture
def contract() -> dict[str, Any]:
    """SendGrid's published description of its API."""
    if (folder := os.environ.get("FERRYMAN_CONTRACTS")) is None:
        pytest.skip("FERRYMAN_CONTRACTS is not set")
    found: dict[str, Any] = json.loads(Path(folder, "sendgrid.json").read_text())
    return found


@pytest.mark.parametrize("letter", [HELLO, Letter(template=DYNAMIC, reply_to="a@example.com")])
async def test_a_full_request_keeps_the_published_contract(
    letter: Letter, contract: dict[str, Any]
) -> None:
    operation = contract["paths"]["/v3/mail/send"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    recipients = [
        Recipient(UUID(int=n), f"user{n}@example.com", data={"n": n}, fills={"%n%": str(n)})
        for n in range(1000)
    ]

    body = await sent(letter, *recipients)

    assert len(body["personalizations"]) == 1000
    validator = jsonschema.Draft202012Validator({**schema, "components": contract["components"]})
    assert [error.message for error in validator.iter_errors(body)] == []
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({**body, "personalizations": [{"subject": "to nobody"}]})


@pytest.mark.parametrize(
    ("sender", "error"), [("stranger@example.com", Refused), (None, Misconfigured)]
)
async def test_an_unverified_sender_of_the_job_s_own_is_its_own_mistake(
    sender: str | None, error: type[VendorError]
) -> None:
    body = json.dumps({"errors": [{"field": "from", "message": "not a verified sender"}]})
    call, _, notes = doubles.call("sendgrid", Response(403, {}, body.encode()))

    with pytest.raises(error):
        await Adapter().send_mail(call, order(replace(HELLO, sender=sender)))

    assert len(notes.without_effect) == 1
