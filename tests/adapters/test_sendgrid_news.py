"""What SendGrid's events say about our mails, in our words and without an address."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from adapters._base import Event
from adapters._mail import Letter
from adapters._news import WHAT_MAILS_DO, MailNews
from adapters.sendgrid import Adapter
from tests.adapters import doubles
from tests.adapters.test_sendgrid import (
    ACCEPTED,
    ADA,
    EMAIL,
    HELLO,
    configure,
    order,
    webhook_secret,
)

Row = dict[str, Any]
AT = datetime.fromtimestamp(1795556943, UTC)
NAMED = {"ferryman_job": str(doubles.JOB), "ferryman_email": str(EMAIL)}
# What SendGrid sends with each of them.
SHAPE = {
    "email": "ada@example.com",
    "timestamp": 1795556943,
    "smtp-id": "<14c5d75ce93.dfd.64b469@ismtpd-555>",
    "category": ["news"],
    "sg_event_id": "c2dfZXZlbnQ",
    "sg_message_id": "14c5d75ce93.filter0001.16648.5515E0B88.0",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch)


def told(event: str, **parts: Any) -> list[MailNews]:
    entry = {**SHAPE, **NAMED, "event": event, **parts}
    found = Adapter().news(Event("c2dfZXZlbnQ", event, AT, entry))
    assert all(isinstance(one, MailNews) for one in found)
    return list(found)  # type: ignore[arg-type]


BOUNCE = {"type": "bounce", "status": "5.1.1", "bounce_classification": "Invalid Address"}


@pytest.mark.parametrize(
    ("event", "parts", "what", "reason", "suppress"),
    [
        ("processed", {}, "processed", None, None),
        ("delivered", {"response": "250 OK", "tls": 1}, "delivered", None, None),
        ("open", {"useragent": "x", "sg_machine_open": True}, "opened", None, None),
        ("click", {"url": "https://shop.example/"}, "clicked", None, None),
        (
            "deferred",
            {"response": "421 4.7.0 <ada@example.com> try again", "attempt": "5"},
            "deferred",
            "4.7.0: the receiving server asks to wait",
            None,
        ),
        ("deferred", {"response": "400 try"}, "deferred", "400: the receiving server asks", None),
        ("deferred", {}, "deferred", "the receiving server asks to wait", None),
        ("bounce", BOUNCE, "bounced", "5.1.1: there is no such address", "bounce"),
        ("bounce", {"type": "bounce"}, "bounced", "the receiving server refuses", "bounce"),
        (
            "bounce",
            {"type": "bounce", "reason": "550 <ada@example.com> (192.0.2.1): 550-5.7.1 no"},
            "bounced",
            "5.7.1: the receiving server refuses the address",
            "bounce",
        ),
        (
            "bounce",
            {"type": "blocked", "status": "4.0.0", "bounce_classification": "Unclassified"},
            "bounced",
            "4.0.0: the receiving server refused this mail",
            None,
        ),
        # A domain without a mail server: SendGrid gives no status.
        (
            "bounce",
            {"type": "blocked", "reason": "unable to get mx info for example.com"},
            "bounced",
            "the receiving server refused this mail",
            None,
        ),
        ("bounce", {"type": "expired"}, "bounced", "the receiving server did not take", None),
        ("bounce", {"type": "of a later version"}, "bounced", "not taken", None),
        ("bounce", {"type": 7, "status": None, "reason": []}, "bounced", "not taken", None),
        ("dropped", {"reason": "Bounced Address"}, "dropped", "an earlier mail", "bounce"),
        ("dropped", {"reason": "Unsubscribed Address"}, "dropped", "unsubscribed", "unsubscribe"),
        ("dropped", {"reason": "Spam Reporting Address"}, "dropped", "an earlier", "complaint"),
        ("dropped", {"reason": "Invalid"}, "dropped", "the address is invalid", "invalid"),
        ("dropped", {"reason": "Invalid SMTPAPI header"}, "dropped", "a header is", None),
        (
            "dropped",
            {"reason": "Spam Content (if Spam Checker app is enabled)"},
            "dropped",
            "the content looks like spam to the vendor",
            None,
        ),
        ("dropped", {"reason": "Recipient List over Package Quota"}, "dropped", "the quota", None),
        ("dropped", {"reason": "ada@example.com?"}, "dropped", "the vendor did not send it", None),
        ("dropped", {}, "dropped", "the vendor did not send it", None),
        ("spamreport", {}, "complained", "reported as spam", "complaint"),
        ("unsubscribe", {}, "unsubscribed", "by the vendor's link", "unsubscribe"),
        ("group_unsubscribe", {"asm_group_id": 1}, "unsubscribed", "from a", "unsubscribe"),
    ],
)
def test_each_event_in_our_words(
    event: str, parts: Row, what: str, reason: str | None, suppress: str | None
) -> None:
    (news,) = told(event, **parts)

    assert news.what == what
    assert what in WHAT_MAILS_DO
    assert (news.email, news.job, news.at) == (EMAIL, doubles.JOB, AT)
    assert news.suppress == suppress
    assert (news.reason is None) == (reason is None)
    assert (news.reason or "").startswith(reason or "")
    assert "@" not in f"{news.reason}"


def test_digits_within_a_word_are_no_status() -> None:
    said = "421@example.com 4.1.7.2 [5.4.3.2] 550x x451 12450.552 450-try again 554."
    (news,) = told("bounce", type="blocked", reason=said)
    assert news.reason == "450: the receiving server refused this mail"


@pytest.mark.parametrize(
    "event", ["group_resubscribe", "account_status_change", "unknown", "of_a_later_version", ""]
)
def test_what_is_about_no_mail_says_nothing(event: str) -> None:
    assert told(event) == []


@pytest.mark.parametrize("named", [None, "", "nobody", 7, [], str(EMAIL)[:-1]])
def test_an_event_of_somebody_else_s_mail_says_nothing(named: Any) -> None:
    assert told("bounce", **BOUNCE, ferryman_email=named, ferryman_job=named) == []


def test_a_job_is_proven_by_an_event_that_names_no_mail() -> None:
    (news,) = told("bounce", **BOUNCE, ferryman_email=None)
    # Whose address it is, nobody can say then.
    assert (news.job, news.email, news.suppress) == (doubles.JOB, None, None)

    (news,) = told("delivered", ferryman_job=None)
    assert (news.job, news.email) == (None, EMAIL)


async def test_events_of_copies_are_not_of_the_mail() -> None:
    letter = Letter(
        subject="Hello", text="Good day", cc=["head@example.com"], bcc=["archive@example.com"]
    )
    call, client, _ = doubles.call("sendgrid", ACCEPTED)
    await Adapter().send_mail(call, order(letter, ADA))
    ((request, _),) = client.requests
    given = json.loads(request.body)["personalizations"][0]["custom_args"]

    assert [news.suppress for news in told("bounce", **BOUNCE, **given)] == ["bounce"]
    assert told("bounce", **BOUNCE, **given | {"email": "Ada@Example.com"})  # as SendGrid may write
    for other in ("head@example.com", "archive@example.com", None, 7):
        assert told("bounce", **BOUNCE, **given | {"email": other}) == []


async def test_what_is_sent_along_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the custom arguments of a mail, over a signed delivery, to news of that mail."""
    secret = webhook_secret()
    monkeypatch.setenv("SENDGRID_WEBHOOK_PUBLIC_KEY", secret.value)
    call, client, _ = doubles.call("sendgrid", ACCEPTED)
    await Adapter().send_mail(call, order(HELLO, ADA))
    ((request, _),) = client.requests
    (one,) = json.loads(request.body)["personalizations"]
    # SendGrid puts them beside its own names.
    entry = {**SHAPE, **one["custom_args"], "email": one["to"][0]["email"], "event": "delivered"}
    body = json.dumps([entry | one["custom_args"]]).encode()

    (event,) = await Adapter().receive(secret.sign(body))
    assert event.payload["email"] == "ada@example.com"
    (news,) = Adapter().news(event)

    assert news == MailNews(AT, "delivered", EMAIL, UUID(str(doubles.JOB)))
