"""SendGrid: what is sent, what its answers mean, and what survives of both."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from uuid import UUID

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
from adapters._mail import Letter, MailOrder, Recipient, RefusedSome
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
    letter = Letter(
        subject=TEXT, text=TEXT, html=TEXT, reply_to=ADDRESS, cc=[f"cc.{ADDRESS}"], track_opens=True
    )
    link = f"https://shop.example/unsubscribe?who={ADDRESS}"
    return await Adapter().send_mail(call, order(letter, Recipient(EMAIL, ADDRESS, {}, link)))


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


def configure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDGRID_API_KEY", KEY)
    monkeypatch.setenv("FROM_EMAIL", "Ferryman <sender@example.com>")
    monkeypatch.delenv("SENDGRID_BASE_URL", raising=False)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch)


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
        Thread(target=listening.serve_forever, args=(0.01,)).start()
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
        sdk.CustomArg("ferryman_job", str(doubles.JOB), p=0),
        sdk.CustomArg("ferryman_email", str(EMAIL), p=0),
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


def refusal(status: int, *fields: str | None) -> Response:
    """As SendGrid says it, with an address in its sentence."""
    said = {"message": "Does not contain a valid address: ada@example.com", "help": None}
    body = json.dumps({"errors": [said | {"field": field} for field in fields]}).encode()
    return Response(status, {"content-type": "application/json"}, body)


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (refusal(400, "personalizations.0.to.0.email"), "invalid_recipient", "to: "),
        (refusal(400, "personalizations.12.to"), "invalid_recipient", "to: "),
        (refusal(400, "personalizations.0.subject"), "invalid_arguments", "subject: "),
        (refusal(400, "personalizations.0.cc.3.email"), "invalid_arguments", "cc: "),
        (refusal(400, "personalizations.0.bcc.0"), "invalid_arguments", "bcc: "),
        (
            refusal(400, "personalizations.0.headers.List-Unsubscribe"),
            "invalid_arguments",
            "unsubscribe_url: ",
        ),
        (
            refusal(400, "personalizations.0.dynamic_template_data"),
            "invalid_arguments",
            "data: ",
        ),
        (refusal(400, "personalizations.0"), "refused", "the vendor"),
        (refusal(400, "categories.2"), "invalid_arguments", "categories: "),
        (refusal(400, "tracking_settings.open_tracking"), "invalid_arguments", "track_opens: "),
        (refusal(400, "subject_of_a_later_version"), "refused", "the vendor"),
        (refusal(400, "from.email"), "invalid_arguments", "sender: "),
        (refusal(400, "reply_to.email"), "invalid_arguments", "reply_to: "),
        (refusal(400, "content.0.value"), "invalid_arguments", "text or html: "),
        (refusal(400, "template_id"), "invalid_arguments", "template: "),
        (refusal(400, "from_a_later_version"), "refused", "the vendor"),
        (refusal(400, None), "refused", "the vendor"),
        (Response(400, {}, b"not JSON"), "refused", "the vendor"),
        (Response(400, {}, b'{"errors":[]}'), "refused", "the vendor"),
        (Response(400, {}, b'{"errors":["no"]}'), "refused", "the vendor"),
        (Response(400, {}, b"[]"), "refused", "the vendor"),
        (refusal(413, None), "too_large", "the mail"),
        (refusal(404, None), "refused", "the vendor"),
    ],
)
async def test_a_refusal_proves_that_nothing_was_sent(
    answer: Response, code: str, message: str
) -> None:
    error, notes = await outcome(answer)

    assert type(error) is Refused
    assert (error.code, error.status) == (code, answer.status)
    assert error.message.startswith(message)
    assert "ada@" not in json.dumps(error.as_error())
    assert notes.answers == ["mail"]


SOME = (
    ADA,
    Recipient(UUID(int=7), "grace@example.com"),
    Recipient(UUID(int=8), "edith@example.com"),
)


@pytest.mark.parametrize(
    ("fields", "reasons"),
    [
        (["personalizations.1.to.0.email"], {1: "to: "}),
        (
            ["personalizations.0.to", "personalizations.2.headers.X"],
            {0: "to: ", 2: "unsubscribe_url: "},
        ),
        (["personalizations.2.to", "personalizations.2.headers"], {2: "to: "}),
        (["personalizations.2"], {2: "the vendor"}),
        (["personalizations.2.from_a_later_version"], {2: "the vendor"}),
        ([f"personalizations.{n}.to" for n in range(3)], dict.fromkeys(range(3), "to: ")),
    ],
)
async def test_recipients_whom_sendgrid_names_fail_alone(
    fields: list[str], reasons: dict[int, str]
) -> None:
    call, _, notes = doubles.call("sendgrid", refusal(400, *fields))
    with pytest.raises(RefusedSome) as raised:
        await Adapter().send_mail(call, order(HELLO, *SOME))

    told = raised.value.recipients
    assert set(told) == {SOME[place].email_id for place in reasons}
    assert all(told[SOME[place].email_id].startswith(why) for place, why in reasons.items())
    assert "ada@" not in f"{told} {raised.value.as_error()}"
    # The ledger knows at once: the rest leaves in the same attempt.
    assert notes.without_effect == ["mail"]
    assert notes.answers == []


@pytest.mark.parametrize(
    "answer",
    [
        refusal(400, "personalizations"),
        refusal(400, "personalizations.to"),
        refusal(400, "personalizations.3.to"),
        refusal(400, "personalizations.99999.to"),
        refusal(400, "personalizations.0.to", "subject"),
        refusal(400, "subject", "personalizations.0.to"),
        refusal(400, "personalizations.0.to", None),
        refusal(413, "personalizations.0.to"),
        refusal(404, "personalizations.0.to"),
    ],
)
async def test_what_is_wrong_with_all_fails_all(answer: Response) -> None:
    call, _, notes = doubles.call("sendgrid", answer)
    with pytest.raises(Refused) as raised:
        await Adapter().send_mail(call, order(HELLO, *SOME))

    assert type(raised.value) is Refused
    assert notes.answers == ["mail"]
    assert notes.without_effect == []


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


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (ACCEPTED, None),
        (refusal(400, "personalizations.0.to"), RefusedSome),
        (refusal(400, "subject"), Refused),
    ],
)
async def test_nothing_private_survives_in_an_interaction(
    answer: Response, error: type[Refused] | None
) -> None:
    letter = Letter(
        template=DYNAMIC,
        sender="canary-from@example.com",
        reply_to="canary-reply@example.com",
        cc=["canary-cc@example.com"],
        bcc=["canary-bcc@example.com"],
    )
    link = "https://shop.example/unsubscribe?who=canary-link%40example.com&token=canary"
    data = {"name": "canary-data", "canary-name": 1}
    recipients = (
        Recipient(EMAIL, "canary-to@example.com", data, link),
        Recipient(UUID(int=7), "canary-to-2@example.com"),
    )
    call, _, notes = doubles.call("sendgrid", answer)
    with pytest.raises(error) if error else nullcontext():
        await Adapter().send_mail(call, order(letter, *recipients))

    kept = json.dumps(notes.interactions, default=str)
    assert str(doubles.JOB) in kept
    for secret in ("canary", KEY, "ada@example.com"):
        assert secret not in kept


@pytest.mark.parametrize("answer", [ACCEPTED, refusal(400, "subject")])
async def test_no_text_survives_in_an_interaction(answer: Response) -> None:
    letter = Letter(subject="canary-subject", text="canary-text", html="canary-html")
    call, _, notes = doubles.call("sendgrid", answer)
    with nullcontext() if answer is ACCEPTED else pytest.raises(Refused):
        await Adapter().send_mail(call, order(letter))

    assert "canary" not in json.dumps(notes.interactions, default=str)


def test_the_adapter_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _base.adapter("sendgrid")
    assert found.address() == "https://api.sendgrid.com"
    monkeypatch.setenv("SENDGRID_BASE_URL", "http://127.0.0.1:9/sendgrid/")
    assert found.address() == "http://127.0.0.1:9/sendgrid"


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
