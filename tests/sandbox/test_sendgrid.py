"""SendGrid: strict about every mail, one effect a recipient, and no idempotency."""

from __future__ import annotations

import gzip
import json
import time
from typing import Any

import httpx
import pytest
from sendgrid.helpers import mail as sdk

from ferryman.testing import Sandbox
from sandbox.sendgrid import check
from sandbox.state import State
from tests.sandbox.conftest import Direct

SEND = "/v3/mail/send"
TEMPLATE = {"template_id": "d-1", "content": None, "subject": None}


def letter(**changes: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "personalizations": [{"to": [{"email": "a@example.com"}]}],
        "from": {"email": "shop@example.com"},
        "subject": "Hello",
        "content": [{"type": "text/plain", "value": "Hello"}],
    }
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


def to(*addresses: str, **more: Any) -> dict[str, Any]:
    return {"to": [{"email": address} for address in addresses], **more}


def send(direct: Direct, mail: Any, **headers: str) -> tuple[int, list[dict[str, Any]]]:
    """Status and errors."""
    answer = direct.ask("POST", SEND, json.dumps(mail), **headers)
    return answer.status, json.loads(answer.body)["errors"] if answer.body else []


def test_accepted_mail_is_an_effect_a_recipient(sandbox: Sandbox, mail: httpx.Client) -> None:
    body = letter(
        custom_args={"ferryman_job": "j-1", "both": "mail"},
        personalizations=[
            to("a@example.com", custom_args={"ferryman_email": "1", "both": "own"}),
            to("b@example.com", cc=[{"email": "c@example.com"}], subject="Own"),
        ],
    )

    answer = mail.post(SEND, json=body)

    assert (answer.status_code, answer.content) == (202, b"")
    assert int(answer.headers["X-RateLimit-Remaining"]) < int(answer.headers["X-RateLimit-Limit"])
    assert int(answer.headers["X-RateLimit-Reset"]) >= int(time.time())
    effects = sandbox.effects("sendgrid", "mail")
    assert [(e["to"], e["way"], e["subject"]) for e in effects] == [
        ("a@example.com", "to", "Hello"),
        ("b@example.com", "to", "Own"),
        ("c@example.com", "cc", "Own"),
    ]
    assert effects[0]["custom_args"] == {
        "ferryman_job": "j-1",
        "ferryman_email": "1",
        "both": "own",
    }
    assert sandbox.tally("sendgrid", "mail") == {"effects": 3, "addresses": 3, "repeated": 0}
    assert {effect["reference"] for effect in effects} == {answer.headers["X-Message-Id"]}


def test_an_effect_keeps_what_a_mail_was_sent_with(direct_mail: Direct, state: State) -> None:
    off = {"List-Unsubscribe": "<https://shop.example.com/off/1>"}
    body = letter(
        **TEMPLATE,
        headers={"X-Campaign": "spring"},
        categories=["news", "spring"],
        reply_to={"email": "help@example.com"},
        tracking_settings={"open_tracking": {"enable": False}},
        personalizations=[
            to("a@example.com", headers=off, dynamic_template_data={"name": "A"}),
            to("b@example.com", bcc=[{"email": "c@example.com"}]),
        ],
    )

    assert send(direct_mail, body) == (202, [])

    first, *others = json.loads(state.effects.document("sendgrid", "mail"))["effects"]
    assert first["headers"] == {"X-Campaign": "spring", **off}
    assert (first["data"], first["template_id"]) == ({"name": "A"}, "d-1")
    assert [one["headers"] for one in others] == [{"X-Campaign": "spring"}] * 2
    assert [one["way"] for one in others] == ["to", "bcc"]
    for one in (first, *others):
        assert one["categories"] == ["news", "spring"]
        assert one["reply_to"] == "help@example.com"
        assert one["tracking_settings"] == {"open_tracking": {"enable": False}}


def test_the_same_request_twice_is_two_mails(direct_mail: Direct, state: State) -> None:
    for _ in range(2):
        assert send(direct_mail, letter(), idempotency_key="k") == (202, [])

    assert state.effects.totals() == {"sendgrid": {"mail": 2}}


def test_sandbox_mode_sends_nothing(direct_mail: Direct, state: State) -> None:
    quiet = letter(mail_settings={"sandbox_mode": {"enable": True}})

    assert send(direct_mail, quiet) == (200, [])
    assert state.effects.totals() == {}


def test_what_the_sdk_builds_is_taken(direct_mail: Direct, state: State) -> None:
    built = sdk.Mail(
        from_email=("shop@example.com", "Shop"),
        to_emails=[sdk.To("a@example.com", "A", dynamic_template_data={"name": "A"})],
        is_multiple=True,
    )
    built.template_id = "d-1"
    built.reply_to = "help@example.com"
    built.category = sdk.Category("news")
    built.custom_arg = sdk.CustomArg("job", "j-1")
    built.attachment = sdk.Attachment("aGk=", "hi.txt", "text/plain", "attachment")

    assert send(direct_mail, built.get()) == (202, [])
    assert state.effects.totals() == {"sendgrid": {"mail": 1}}


HEADERS = "personalizations.0.headers"
OFF = "List-Unsubscribe"
CROWDED = to("a@b.de", custom_args={"m": "x" * 1001})


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"personalizations": None}, "personalizations"),
        ({"personalizations": []}, "personalizations"),
        ({"personalizations": [{}]}, "personalizations.0.to"),
        ({"personalizations": [to()]}, "personalizations.0.to"),
        ({"personalizations": [to("a@")]}, "personalizations.0.to.0.email"),
        ({"personalizations": [to("ü@b.de")]}, "personalizations.0.to.0.email"),
        ({"personalizations": [to("a@b.de", "A@b.de")]}, "personalizations.0"),
        ({"personalizations": [to("a@b.de", bcc=[{"email": "a@b.de"}])]}, "personalizations.0"),
        ({"personalizations": [to("a@b.de")] * 1001}, "personalizations"),
        ({"personalizations": [to(*(f"a{n}@b.de" for n in range(1001)))]}, "personalizations"),
        ({"personalizations": [to("a@b.de", colour=1)]}, "personalizations.0.colour"),
        (
            {"personalizations": [to("a@b.de", custom_args={"n": 1})]},
            "personalizations.0.custom_args.n",
        ),
        (
            {"personalizations": [to("a@b.de", custom_args={"n": "x" * 10_000})]},
            "personalizations.0.custom_args",
        ),
        (
            {"personalizations": [to("a@b.de", substitutions={"n": "x" * 10_000})]},
            "personalizations.0.substitutions",
        ),
        (
            {**TEMPLATE, "personalizations": [to("a@b.de", substitutions={"n": "x"})]},
            "personalizations.0.substitutions",
        ),
        ({"from": None}, "from"),
        ({"from": {"email": "nobody"}}, "from.email"),
        ({"from": {"name": "Shop"}}, "from.email"),
        ({"reply_to": {"email": "a b@c.de"}}, "reply_to.email"),
        ({"subject": None}, "subject"),
        ({"subject": ""}, "subject"),
        ({"subject": 5}, "subject"),
        ({"subject": "a\r\nBcc: b@c.de"}, "subject"),
        ({"content": None}, "content"),
        ({"content": []}, "content"),
        ({"content": [{"type": "text/plain", "value": ""}]}, "content.0.value"),
        ({"content": [{"value": "x"}]}, "content.0.type"),
        ({"headers": {"X-A": "b\r\nc"}}, "headers.X-A"),
        ({"headers": {"Subject": "x"}}, "headers.Subject"),
        ({"headers": {"X A": "b"}}, "headers.X A"),
        ({"personalizations": [to("a@b.de", headers={"Bcc": "b@c.de"})]}, HEADERS + ".Bcc"),
        ({"personalizations": [to("a@b.de", headers={OFF: "<x>\r\nA: b"})]}, f"{HEADERS}.{OFF}"),
        ({"personalizations": [to("a@b.de", headers={OFF: 1})]}, f"{HEADERS}.{OFF}"),
        ({"personalizations": [to("a@b.de", headers="x")]}, HEADERS),
        (
            {"personalizations": [to("a@b.de", cc=[{"email": "b"}])]},
            "personalizations.0.cc.0.email",
        ),
        (
            {"personalizations": [to("a@b.de", dynamic_template_data=None)]},
            "personalizations.0.dynamic_template_data",
        ),
        ({"personalizations": [to("a@b.de", subject="a\nb")]}, "personalizations.0.subject"),
        ({"personalizations": [to("a@b.de"), 5]}, "personalizations.1"),
        (
            {"custom_args": {"n": "x" * 9000}, "personalizations": [CROWDED]},
            "personalizations.0.custom_args",
        ),
        ({"categories": ["news", 5]}, "categories.1"),
        (
            {"tracking_settings": {"open_tracking": {"enable": "yes"}}},
            "tracking_settings.open_tracking.enable",
        ),
        ({"tracking_settings": {"opens": {}}}, "tracking_settings.opens"),
        ({"categories": [str(n) for n in range(11)]}, "categories"),
        ({"categories": ["a", "a"]}, "categories"),
        ({"categories": ["a" * 256]}, "categories"),
        ({"send_at": int(time.time()) + 80 * 3600}, "send_at"),
        ({"send_at": "now"}, "send_at"),
        ({"attachments": [{"content": "?", "filename": "a"}]}, "attachments.0.content"),
        ({"ip_pool_name": "x"}, "ip_pool_name"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_mail_names_its_field_and_is_not_sent(
    direct_mail: Direct, state: State, changes: dict[str, Any], field: str
) -> None:
    status, errors = send(direct_mail, letter(**changes))

    assert (status, errors[0]["field"]) == (400, field)
    assert errors[0]["message"]
    assert "errors.html#message." in errors[0]["help"]
    assert state.effects.totals() == {}


def test_an_address_can_ask_to_be_refused(direct_mail: Direct, state: State) -> None:
    people = [to(f"{'Refuse' if n in (3, 9) else 'user'}{n}@example.com") for n in range(12)]
    people[5]["cc"] = [{"email": "refuse@example.com"}]

    status, errors = send(direct_mail, letter(personalizations=people))

    assert (status, [error["field"] for error in errors]) == (
        400,
        ["personalizations.3.to.0.email", "personalizations.9.to.0.email"],
    )
    assert all(error["message"] and error["help"] for error in errors)
    assert state.effects.totals() == {}


ODD: list[Any] = [
    {"email": "a@b.de", "name": "A"},
    {"email": "a@b.de", "name": 5},
    {"email": "a@b.de", "title": "Dr"},
    {"email": "a@-b.de"},
    {"email": "a@b..de"},
    {"email": "a@b.d"},
    {"email": "a'b@c.de"},
    {"email": "a@b.de "},
    {"email": "ü@b.de"},
    {"email": "\N{KELVIN SIGN}@b.de"},
    {"email": "x" * 65 + "@b.de"},
    {"email": None},
    {"name": "A"},
    "a@b.de",
]


@pytest.mark.parametrize("person", ODD, ids=str)
@pytest.mark.parametrize(
    "more", [{}, {"custom_args": {"a": "b" * 3000}}, {"headers": {"X-A": "b"}}]
)
def test_the_quick_look_passes_nothing_that_the_close_one_does_not(
    monkeypatch: pytest.MonkeyPatch, person: Any, more: dict[str, Any]
) -> None:
    body = letter(personalizations=[{"to": [person], **more}])
    quick = check.problems(body, 0.0)

    monkeypatch.setattr(check, "_is_plain", lambda one, room: False)

    assert check.problems(body, 0.0) == quick


@pytest.mark.parametrize(
    "changes",
    [
        TEMPLATE,
        {"headers": {"List-Unsubscribe": "<https://x.de>", "X-A": "b"}, "categories": ["a"]},
        {"subject": None, "personalizations": [to("a@b.de", subject="Own")]},
        {"personalizations": [to(f"a{n}@b.de") for n in range(1000)]},
        {"personalizations": [to("a@b.de"), to("a@b.de")]},
        {"send_at": int(time.time()) + 71 * 3600},
    ],
)
def test_what_is_just_allowed(direct_mail: Direct, changes: dict[str, Any]) -> None:
    assert send(direct_mail, letter(**changes)) == (202, [])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": ""}, 401),
        ({"authorization": "Bearer other"}, 401),
        ({"authorization": "Bearer SG." + "revoked"}, 401),
        ({"content_type": "text/plain"}, 415),
    ],
)
def test_what_needs_no_look_at_the_mail(
    direct_mail: Direct, headers: dict[str, str], status: int
) -> None:
    assert send(direct_mail, letter(), **headers)[0] == status


def test_other_paths_methods_and_bodies(direct_mail: Direct) -> None:
    assert direct_mail.ask("POST", "/v3/mail").status == 404
    assert direct_mail.ask("GET", SEND).status == 405
    assert direct_mail.ask("POST", SEND, "{").status == 400
    assert direct_mail.ask("POST", SEND, "[]").status == 400
    assert direct_mail.ask("POST", SEND, "x" * (30 * 1024 * 1024 + 1)).status == 413


def test_gzip_is_understood(mail: httpx.Client) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    packed = gzip.compress(json.dumps(letter()).encode())

    assert mail.post(SEND, content=packed, headers=headers).status_code == 202
    assert mail.post(SEND, content=b"no", headers=headers).status_code == 400


def test_throttled_without_retry_after(sandbox: Sandbox, mail: httpx.Client) -> None:
    sandbox.limit("sendgrid", 1)

    answers = [mail.post(SEND, json=letter()) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [202, 429]
    assert answers[1].headers["X-RateLimit-Remaining"] == "0"
    assert "Retry-After" not in answers[1].headers
    assert sandbox.totals() == {"sendgrid": {"mail": 1}}
