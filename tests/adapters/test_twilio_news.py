"""Twilio's webhooks in our words: what became of a message, and who wants no more."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from adapters._base import Event
from adapters._news import MessageNews
from adapters.twilio import Adapter

AT = datetime(2026, 11, 28, 15, tzinfo=UTC)
SID = "SM" + "0f" * 16
TO, OWN = "+441632960961", "+15005550006"
MESSAGE = UUID(int=7)


def told(status: str, **more: Any) -> list[MessageNews]:
    fields = {"MessageSid": SID, "MessageStatus": status, "To": TO, "From": OWN} | more
    found = Adapter().news(Event(f"{SID}:{status}", f"message.{status}", AT, fields))
    assert all(isinstance(one, MessageNews) for one in found)
    return [*found]  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("status", "what"),
    [
        ("accepted", "processed"),
        ("scheduled", "processed"),
        ("queued", "processed"),
        ("sending", "processed"),
        ("sent", "processed"),
        ("delivered", "delivered"),
        ("partially_delivered", "delivered"),
        ("read", "delivered"),
        ("undelivered", "bounced"),
        ("failed", "dropped"),
        ("canceled", "dropped"),
    ],
)
def test_every_status(status: str, what: str) -> None:
    assert told(status, ferryman_message=str(MESSAGE)) == [
        MessageNews(AT, what, vendor_reference=SID, message=MESSAGE)
    ]
    assert told(status)[0].message is None


@pytest.mark.parametrize("status", ["receiving", "a_new_one"])
def test_what_has_no_meaning_here(status: str) -> None:
    assert told(status) == []


@pytest.mark.parametrize(
    ("status", "code", "what", "suppress"),
    [
        ("undelivered", "30003", "bounced", None),
        ("undelivered", "30004", "bounced", None),
        ("undelivered", "30005", "bounced", "invalid"),
        ("undelivered", "30006", "bounced", "invalid"),
        ("undelivered", "99999", "bounced", None),
        ("failed", "21610", "dropped", "unsubscribe"),
        ("failed", "30001", "dropped", None),
        ("failed", "30005", "bounced", "invalid"),
        ("failed", "30008", "bounced", None),
        ("delivered", "30005", "delivered", None),
    ],
)
def test_why_it_did_not_arrive(status: str, code: str, what: str, suppress: str | None) -> None:
    (news,) = told(status, ErrorCode=code)

    assert (news.what, news.suppress) == (what, suppress)
    assert news.address == (TO if suppress else None)
    if status == "delivered":
        assert news.reason is None
    else:
        assert news.reason
        assert news.reason.endswith(f"({code})")
        assert TO not in news.reason


@pytest.mark.parametrize("number", ["", "441632960961", "whatsapp:+441632960961", TO + "0" * 9, []])
def test_what_is_no_number_is_not_suppressed(number: Any) -> None:
    (news,) = told("undelivered", ErrorCode="30005", To=number)
    assert (news.address, news.suppress) == (None, None)


@pytest.mark.parametrize("code", ["", "30005 ", "abc", "0", "9" * 9, ["30005", "30006"]])
def test_what_is_no_code_says_nothing(code: Any) -> None:
    (news,) = told("undelivered", ErrorCode=code)
    assert (news.reason, news.suppress) == (None, None)


def answer(**fields: Any) -> list[MessageNews]:
    return told("received", **{"From": TO, "To": OWN} | fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"OptOutType": "STOP", "Body": "laat maar"},
        {"Body": "STOP"},
        {"Body": " stop\n"},
        {"Body": "Unsubscribe"},
        {"Body": "OPTOUT"},
    ],
)
def test_who_wants_no_more(fields: dict[str, str]) -> None:
    (news,) = answer(**fields)
    assert (news.address, news.suppress) == (TO, "unsubscribe")
    # It is an answer to no message in particular.
    assert (news.vendor_reference, news.message) == (None, None)


@pytest.mark.parametrize(
    "fields",
    [
        {"OptOutType": "START", "Body": "START"},
        {"OptOutType": "HELP", "Body": "HELP"},
        {"OptOutType": "HELP", "Body": "STOP"},
        {"Body": "START"},
        {"Body": "Please stop"},
        {"Body": ""},
        {"Body": ["STOP", "GO"]},
        {"Body": "STOP", "From": "a short name"},
        {},
    ],
)
def test_who_asks_for_nothing_of_the_kind(fields: dict[str, Any]) -> None:
    assert answer(**fields) == []
