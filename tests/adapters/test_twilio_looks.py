"""Twilio: whether a message in doubt was sent, by what its list shows; and what that proves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import pytest
from twilio.rest import Client as Sdk

from adapters._base import Request, Response, Unavailable, Unknown
from adapters._http import HttpCall
from adapters._messages import MessageAnswer, MessageOrder
from adapters.twilio import Adapter
from ferryman.policies import policy
from tests.adapters import doubles
from tests.adapters.test_twilio_messages import ACCOUNT, SENDER, SERVICE, TOKEN, Capture

LIST = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
SINCE = datetime(2026, 11, 28, 15, 0, 0, tzinfo=UTC)
ORDER = MessageOrder(UUID(int=7), "+15005550010", "Your “parcel” is on its way: canary-body")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWILIO_ACCOUNT_SID", ACCOUNT)
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", TOKEN)
    monkeypatch.setenv("TWILIO_FROM", SENDER)
    monkeypatch.delenv("TWILIO_BASE_URL", raising=False)


def one(number: int = 1, *, after: float = 1, **changes: Any) -> dict[str, Any]:
    """A message that still waits in Twilio's queue, made so many seconds after `SINCE`."""
    message = {
        "sid": f"SM{number:032x}",
        "body": ORDER.body,
        "date_created": format_datetime(SINCE + timedelta(seconds=after)),
        "date_sent": None,
        "direction": "outbound-api",
        "from": SENDER,
        "messaging_service_sid": None,
        "num_segments": "1",
        "status": "queued",
        "to": ORDER.to,
    }
    return message | changes


class Pages:
    """Twilio's list, in as many pages; where each next one is, it tells."""

    def __init__(self, *pages: object, following: str | None = None) -> None:
        self._pages = iter(range(len(pages)))
        self._lists = pages
        self._following = following
        self.asked: list[str] = []

    def __call__(self, request: Request) -> doubles.Answer:
        self.asked.append(request.url)
        number = next(self._pages)
        more = number + 1 < len(self._lists)
        following = self._following or f"{LIST}?Page={number + 1}&PageToken=PA{number}"
        uri = following if more else None
        document = {"messages": self._lists[number], "next_page_uri": uri}
        return Response(200, {"content-type": "application/json"}, json.dumps(document).encode())


def looking(answer: Any) -> tuple[HttpCall, doubles.Notes]:
    client, notes = doubles.Vendor(answer), doubles.Notes()
    made = HttpCall("twilio", client, policy("twilio"), notes)  # type: ignore[arg-type]
    return made, notes


async def found(*messages: dict[str, Any], sender: str | None = None) -> Sequence[MessageAnswer]:
    call, _ = looking(Pages([*messages]))
    return await Adapter().find_messages(call, replace(ORDER, sender=sender), SINCE)


async def test_those_with_these_words_are_found() -> None:
    call, notes = looking(Pages([one(body="Another"), one(2, after=3), one(3)]))

    told = await Adapter().find_messages(call, ORDER, SINCE)

    early, late = SINCE + timedelta(seconds=1), SINCE + timedelta(seconds=3)
    assert told == [
        MessageAnswer(f"SM{3:032x}", early, SENDER, 1),
        MessageAnswer(f"SM{2:032x}", late, SENDER, 1),
    ]
    # Whose they are is not told by them.
    assert (notes.answers, notes.left) == ([], [])


async def test_the_list_is_asked_as_the_official_package_asks_it() -> None:
    theirs = Capture()
    Sdk(ACCOUNT, TOKEN, http_client=theirs).messages.page(to=ORDER.to, page_size=200)
    pages = Pages([])
    call, _ = looking(pages)

    await Adapter().find_messages(call, ORDER, SINCE)

    (asked,) = pages.asked
    ((method, url, params, *_),) = theirs.seen
    assert (method, url) == ("GET", asked.partition("?")[0])
    assert dict(parse_qsl(urlsplit(asked).query)) == {k: str(v) for k, v in params.items()}


@pytest.mark.parametrize(
    "other",
    [
        one(body="Another"),
        one(after=-6),
        one(direction="inbound"),
        one(direction="outbound-reply"),
        {**one(), "from": "+15005550099"},
    ],
)
async def test_none_is_proven_by_what_cannot_be_it(other: dict[str, Any]) -> None:
    assert await found(other) == []
    assert await found() == []
    assert len(await found(other, one(2))) == 1


@pytest.mark.parametrize("after", [-5, 0, 3600])
async def test_clocks_may_differ_a_little(after: float) -> None:
    assert await found(one(after=after))


async def test_the_sender_may_be_a_messaging_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWILIO_FROM", SERVICE)
    its: dict[str, Any] = {"messaging_service_sid": SERVICE, "from": None}

    assert await found(one(**its))
    assert await found(one(**its | {"from": "+15005550099"}))
    assert await found(one()) == []


async def test_the_sender_is_the_one_of_when_it_was_to_leave() -> None:
    """TWILIO_FROM may be another by now."""
    earlier = "+15005550099"
    assert await found({**one(), "from": earlier}, sender=earlier)
    assert await found(one(), sender=earlier) == []


@pytest.mark.parametrize(
    "messages",
    [
        # Changed by Twilio on its way.
        [one(body=f"Sent from your Twilio trial account - {ORDER.body}")],
        [one(body=ORDER.body.replace("“", '"').replace("”", '"'))],
        [one(body=f"{ORDER.body} ")],
        # Its words are not kept.
        [one(body="")],
        [one(body=None)],
        # It does not tell by whom.
        [{**one(), "from": None}],
    ],
)
async def test_where_it_may_be_one_a_person_has_to_look(messages: list[dict[str, Any]]) -> None:
    with pytest.raises(Unknown) as raised:
        await found(*messages)
    assert raised.value.for_person
    assert "canary" not in raised.value.message


async def test_a_longer_one_is_another_where_one_is_as_it_was_sent() -> None:
    assert len(await found(one(body=f"{ORDER.body} Enjoy!"), one(2))) == 1


async def test_one_without_a_time_may_be_it() -> None:
    assert await found(one(date_created=None))


async def test_every_page_is_read() -> None:
    others = [one(number, body="Another") for number in range(3)]
    pages = Pages(others, others, [one(9)])
    call, _ = looking(pages)

    told = await Adapter().find_messages(call, ORDER, SINCE)

    assert [answer.vendor_reference for answer in told] == [f"SM{9:032x}"]
    assert [urlsplit(url).query for url in pages.asked[1:]] == [
        "Page=1&PageToken=PA0",
        "Page=2&PageToken=PA1",
    ]
    assert {url.partition("?")[0] for url in pages.asked} == {f"https://api.twilio.com{LIST}"}


async def test_an_endless_list_is_left_to_a_person() -> None:
    pages = Pages(*[[]] * 60, following=f"{LIST}?Page=1")
    call, _ = looking(pages)
    with pytest.raises(Unknown) as raised:
        await Adapter().find_messages(call, ORDER, SINCE)
    assert raised.value.for_person
    assert len(pages.asked) == 50


def broken() -> Iterator[doubles.Answer]:
    def page(document: object, status: int = 200) -> Response:
        return Response(status, {}, json.dumps(document).encode())

    yield Response(200, {}, b"<html>")
    yield page([])
    yield page({"messages": None})
    yield page({"messages": [None]})
    yield page({"messages": [one(sid="SM0")]})
    yield page({"messages": [], "next_page_uri": "https://elsewhere.example/x"})
    yield page({"messages": [], "next_page_uri": 1})
    yield page({"messages": []}, status=404)
    yield Unknown("the vendor did not answer in time")
    yield Response(503, {}, b"")


@pytest.mark.parametrize("answer", [*broken()])
async def test_what_cannot_be_read_proves_nothing(answer: doubles.Answer) -> None:
    call, notes = looking(lambda _: answer)
    with pytest.raises(Unavailable):
        await Adapter().find_messages(call, ORDER, SINCE)
    assert notes.answers == []


async def test_nothing_private_survives_in_an_interaction() -> None:
    following = f"{LIST}?To=%2B{ORDER.to[1:]}&Page=1"
    call, notes = looking(Pages([one()], [], following=following))
    assert await Adapter().find_messages(call, ORDER, SINCE)

    kept = json.dumps(notes.interactions, default=str)
    assert len(notes.interactions) == 2
    for secret in ("canary", ORDER.to[1:], SENDER[1:], TOKEN):
        assert secret not in kept
