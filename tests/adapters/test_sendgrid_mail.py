"""What a mail to SendGrid holds: the same as its official SDK makes, what its published contract
takes, and nothing that could end a header and begin another."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import pytest
from sendgrid.helpers import mail as sdk

from adapters import _sendgrid_mail
from adapters._base import Misconfigured, Refused
from adapters._mail import Letter, Recipient, RefusedSome
from adapters.sendgrid import Adapter
from ferryman import requests
from ferryman.errors import InvalidArguments
from tests.adapters import doubles
from tests.adapters.test_sendgrid import (
    ACCEPTED,
    ADA,
    DYNAMIC,
    EMAIL,
    HELLO,
    KEY,
    configure,
    order,
)

Row = dict[str, Any]
GRACE = Recipient(UUID(int=7), "grace@example.com")
LINK = "https://shop.example/unsubscribe?of=1"
ONE_CLICK = {"List-Unsubscribe": f"<{LINK}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
LINKED = Recipient(EMAIL, "ada@example.com", unsubscribe_url=LINK)
EVERYTHING = Letter(
    subject="Hello",
    text="Good day",
    html="<p>Good day</p>",
    sender="shop@example.com",
    reply_to="office@example.com",
    cc=["head@example.com", "vice@example.com"],
    bcc=["archive@example.com"],
    categories=["news", "märz"],
    track_opens=False,
    track_clicks=True,
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch)


async def sent(letter: Letter = HELLO, *recipients: Recipient) -> Any:
    """The body that goes out."""
    call, client, _ = doubles.call("sendgrid", ACCEPTED)
    await Adapter().send_mail(call, order(letter, *recipients))
    ((request, _),) = client.requests
    return json.loads(request.body)


def by_the_sdk(letter: Letter, *recipients: Recipient) -> Any:
    """The body that the SDK's own objects make of it."""
    sender = letter.sender or ("sender@example.com", "Ferryman")
    mail = sdk.Mail(sender, None, letter.subject, letter.text, letter.html)
    mail.template_id = letter.template
    if letter.reply_to:
        mail.reply_to = letter.reply_to
    if letter.categories:
        mail.category = [sdk.Category(name) for name in letter.categories]
    tracking = sdk.TrackingSettings()
    if letter.track_opens is not None:
        tracking.open_tracking = sdk.OpenTracking(letter.track_opens)
    if letter.track_clicks is not None:
        tracking.click_tracking = sdk.ClickTracking(letter.track_clicks)
    mail.tracking_settings = tracking
    for place, recipient in enumerate(recipients):
        mail.add_personalization(personalization(letter, recipient), place)
    return json.loads(json.dumps(mail.get()))


def personalization(letter: Letter, recipient: Recipient) -> sdk.Personalization:
    made = sdk.Personalization()
    made.add_to(sdk.To(recipient.address))
    for copy in (*map(sdk.Cc, letter.cc), *map(sdk.Bcc, letter.bcc)):
        made.add_email(copy)
    if letter.template:
        made.dynamic_template_data = dict(recipient.data)
    if recipient.unsubscribe_url:
        for name, value in ONE_CLICK.items():
            made.add_header(sdk.Header(name, value))
    made.add_custom_arg(sdk.CustomArg("ferryman_job", str(doubles.JOB)))
    made.add_custom_arg(sdk.CustomArg("ferryman_email", str(recipient.email_id)))
    if letter.cc or letter.bcc:
        told = _sendgrid_mail.digest(recipient.email_id, recipient.address)
        made.add_custom_arg(sdk.CustomArg("ferryman_to", told))
    return made


@pytest.mark.parametrize(
    ("letter", "recipients"),
    [
        (HELLO, [ADA]),
        (HELLO, [ADA, GRACE]),
        (HELLO, [LINKED, GRACE]),
        (EVERYTHING, [ADA]),
        (EVERYTHING, [LINKED]),
        (replace(EVERYTHING, track_opens=True, track_clicks=False), [ADA]),
        (replace(EVERYTHING, track_opens=None), [ADA]),
        (replace(EVERYTHING, track_clicks=None), [ADA]),
        (Letter(subject="Hello", text="Good day"), [ADA]),
        (Letter(subject="Hello", html="<p>Good day</p>", cc=["head@example.com"]), [ADA]),
        (Letter(template=DYNAMIC), [ADA, GRACE]),
        (
            Letter(template=DYNAMIC, categories=["welcome"], track_opens=True),
            [replace(LINKED, data={"name": "Åda", "items": [1, None, {"a": True}]}), GRACE],
        ),
    ],
)
async def test_a_mail_is_the_one_that_the_sdk_makes(
    letter: Letter, recipients: list[Recipient]
) -> None:
    assert await sent(letter, *recipients) == by_the_sdk(letter, *recipients)


async def test_each_recipient_is_alone_and_carries_its_ids() -> None:
    body = await sent(HELLO, LINKED, GRACE)
    assert body["personalizations"] == [
        {
            "to": [{"email": "ada@example.com"}],
            "headers": ONE_CLICK,
            "custom_args": {"ferryman_job": str(doubles.JOB), "ferryman_email": str(EMAIL)},
        },
        {
            "to": [{"email": "grace@example.com"}],
            "custom_args": {"ferryman_job": str(doubles.JOB), "ferryman_email": str(UUID(int=7))},
        },
    ]
    assert body["from"] == {"email": "sender@example.com", "name": "Ferryman"}
    assert "tracking_settings" not in body


async def test_data_is_for_a_template_alone() -> None:
    named = replace(ADA, data={"name": "Ada"})
    (alone,) = (await sent(HELLO, named))["personalizations"]
    assert set(alone) == {"to", "custom_args"}


async def test_a_domain_of_other_letters_is_sent_in_punycode() -> None:
    office = "office@bücher.example"
    letter = replace(HELLO, sender=office, reply_to=office, cc=[office], bcc=["a@straße.example"])
    body = await sent(letter, replace(ADA, address="ada@straße.example"))

    (one,) = body["personalizations"]
    assert one["to"] == [{"email": "ada@xn--strae-oqa.example"}]
    assert one["bcc"] == [{"email": "a@xn--strae-oqa.example"}]
    assert [body["from"], body["reply_to"], *one["cc"]] == [
        {"email": "office@xn--bcher-kva.example"}
    ] * 3


@pytest.mark.parametrize(
    ("letter", "field"),
    [
        (Letter(template="welcome", subject="Hello"), "template"),
        (Letter(template=DYNAMIC, subject="Hello"), "subject"),
        (Letter(template=DYNAMIC, html="<p></p>"), "html"),
        (Letter(subject="Hello", text=KEY), "text or html"),
        (replace(HELLO, sender="ädä@example.com"), "sender"),
        (replace(HELLO, reply_to="ädä@example.com"), "reply_to"),
        (replace(HELLO, cc=["a@example.com", "ädä@example.com"]), "cc"),
        (replace(HELLO, bcc=["nobody"]), "bcc"),
    ],
)
async def test_what_sendgrid_cannot_express_is_refused_before_a_call(
    letter: Letter, field: str
) -> None:
    call, client, _ = doubles.call("sendgrid", ACCEPTED)
    with pytest.raises(Refused, match=f"^{field}: ") as raised:
        await Adapter().send_mail(call, order(letter))
    assert raised.value.code == "invalid_arguments"
    assert KEY not in str(raised.value)
    assert client.requests == []
    # Known before a batch is planned, too.
    with pytest.raises(Refused, match=f"^{field}: "):
        Adapter().check(letter)


async def test_recipients_whom_sendgrid_cannot_reach_fail_alone_before_a_call() -> None:
    bad = replace(GRACE, address="gräce@example.com")
    linked = replace(LINKED, email_id=UUID(int=9), unsubscribe_url="https://a.example/?who=ä")
    call, client, notes = doubles.call("sendgrid", ACCEPTED)
    with pytest.raises(RefusedSome) as raised:
        await Adapter().send_mail(call, order(HELLO, ADA, bad, linked))
    assert {email: why.split(":")[0] for email, why in raised.value.recipients.items()} == {
        bad.email_id: "to",
        linked.email_id: "unsubscribe_url",
    }
    assert (client.requests, notes.left, notes.without_effect) == ([], [], [])

    for alone, code in ((bad, "invalid_recipient"), (linked, "invalid_arguments")):
        with pytest.raises(Refused) as refused:
            await Adapter().send_mail(call, order(HELLO, alone))
        assert (type(refused.value), refused.value.code) == (Refused, code)
    assert client.requests == []


async def test_a_mail_that_sendgrid_would_not_take_is_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    size = len(json.dumps(await sent(), separators=(",", ":")))
    monkeypatch.setattr(_sendgrid_mail, "MOST_BYTES", size)
    await sent()
    monkeypatch.setattr(_sendgrid_mail, "MOST_BYTES", size - 1)
    call, client, notes = doubles.call("sendgrid", ACCEPTED)
    with pytest.raises(Refused) as raised:
        await Adapter().send_mail(call, order())
    assert raised.value.code == "too_large"
    assert (client.requests, notes.left) == ([], [])


# Line breaks of mail, of Unicode and of old systems, and what ends a text in C.
BREAKS = ("\r\n", "\r", "\n", "\0", "\x0b", "\x0c", "\x1e", "\x85", "\u2028", "\u2029")
INJECTED = [f"a@example.com{br}Bcc: b@example.com" for br in BREAKS]


@pytest.mark.parametrize("text", INJECTED, ids=map(ascii, BREAKS))
async def test_nothing_injects_a_header_past_the_adapter(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = {
        "subject": replace(HELLO, subject=text),
        "template": Letter(template=f"{DYNAMIC}{text}"),
        "sender": replace(HELLO, sender=text),
        "reply_to": replace(HELLO, reply_to=text),
        "cc": replace(HELLO, cc=["b@example.com", text]),
        "bcc": replace(HELLO, bcc=[text]),
        "categories": replace(HELLO, categories=["news", text]),
    }
    mails = {field: order(letter) for field, letter in letters.items()}
    mails["to"] = order(HELLO, replace(ADA, address=text))
    mails["unsubscribe_url"] = order(HELLO, replace(ADA, unsubscribe_url=f"{LINK}{text}"))
    call, client, notes = doubles.call("sendgrid", ACCEPTED)
    for field, mail in mails.items():
        with pytest.raises(Refused, match=f"^{field}: "):
            await Adapter().send_mail(call, mail)

    if "\0" not in text:  # no environment takes it
        monkeypatch.setenv("FROM_EMAIL", f"Ferryman{text} <sender@example.com>")
        with pytest.raises(Misconfigured, match="FROM_EMAIL"):
            await Adapter().send_mail(call, order())
    assert (client.requests, notes.left) == ([], [])


@pytest.mark.parametrize("text", INJECTED, ids=map(ascii, BREAKS))
def test_nothing_injects_a_header_past_the_door(text: str) -> None:
    shared: Row = {"subject": "Hello", "text": "Good day"}
    one: Row = shared | {"to": "ada@example.com"}
    many: Row = shared | {"recipients": [{"to": "ada@example.com"}]}
    table: Row = {
        "to": text,
        "subject": text,
        "template": text,
        "sender": text,
        "reply_to": text,
        "cc.1": ["b@example.com", text],
        "bcc.0": [text],
        "categories.0": [text],
        "unsubscribe_url": f"{LINK}{text}",
    }
    for field, given in table.items():
        name = field.partition(".")[0]
        for kind, sound in ((requests.SendEmail, one), (requests.BulkEmail, many)):
            if name in kind.names():
                with pytest.raises(InvalidArguments) as raised:
                    kind(**sound | {name: given})
                assert raised.value.field == field


@pytest.mark.parametrize(
    "link",
    [
        "http://shop.example/u",
        "mailto:leave@shop.example",
        "https://shop.example/u>, <mailto:other@example.com",
        "https://shop.example/a b",
        "https://shop.example/ä",
        "https://",
        f"https://shop.example/{'a' * 960}",
        "",
    ],
)
async def test_a_link_that_no_header_holds_is_refused(link: str) -> None:
    call, client, _ = doubles.call("sendgrid", ACCEPTED)
    with pytest.raises(Refused, match=r"^unsubscribe_url: "):
        await Adapter().send_mail(call, order(HELLO, replace(ADA, unsubscribe_url=link)))
    assert client.requests == []


async def test_a_subject_may_have_a_tab_and_a_link_a_line_of_its_own() -> None:
    link = f"https://shop.example/{'a' * 957}"
    body = await sent(replace(HELLO, subject="One\ttwo"), replace(ADA, unsubscribe_url=link))
    assert body["subject"] == "One\ttwo"
    (header, _) = body["personalizations"][0]["headers"].items()
    assert len(": ".join(header)) == 998


@pytest.fixture
def schema() -> Any:
    """SendGrid's published description of the body of a mail."""
    if (folder := os.environ.get("FERRYMAN_CONTRACTS")) is None:
        pytest.skip("FERRYMAN_CONTRACTS is not set")
    contract = json.loads(Path(folder, "sendgrid.json").read_text())
    operation = contract["paths"]["/v3/mail/send"]["post"]
    content = operation["requestBody"]["content"]["application/json"]
    return closed({**content["schema"], "components": contract["components"]})


def closed(schema: Any) -> Any:
    """The same, taking no field that it does not name."""
    if isinstance(schema, list):
        return [closed(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(value) for name, value in schema.items()}
    if "properties" in inner and inner.get("type") == "object":
        return inner | {"additionalProperties": False}
    return inner


@pytest.mark.parametrize(
    ("letter", "many"),
    [
        (HELLO, 1000),
        (Letter(template=DYNAMIC, categories=["news"], track_opens=True, track_clicks=False), 1000),
        (EVERYTHING, 1),
    ],
)
async def test_a_full_request_keeps_the_published_contract(
    letter: Letter, many: int, schema: Any
) -> None:
    recipients = [
        Recipient(UUID(int=n), f"user{n}@example.com", {"n": n}, LINK) for n in range(many)
    ]

    body = await sent(letter, *recipients)

    assert len(body["personalizations"]) == many
    validator = jsonschema.Draft202012Validator(schema)
    assert [error.message for error in validator.iter_errors(body)] == []
    wrong: list[Row] = [
        {"personalizations": [{"headers": {}}]},
        {"tracking_settings": {"open_tracking": {"enable": "yes"}}},
        {"categories": ["news", "news"]},
        {"list_unsubscribe": LINK},
    ]
    assert not any(validator.is_valid(body | part) for part in wrong)
