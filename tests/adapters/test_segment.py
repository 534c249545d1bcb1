"""Segment: what is sent, beside the official package, and what its answers mean."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from segment.analytics.client import Client as Sdk

from adapters._analytics import Happening, Person
from adapters._base import (
    Misconfigured,
    Repeat,
    Response,
    Throttled,
    Unavailable,
    Unknown,
    VendorError,
)
from adapters._http import HttpCall
from adapters._records import Outcome, RefusedRecord, Whole
from adapters.segment import Adapter
from tests.adapters import doubles
from tests.adapters.catcher import catcher, ours
from tests.contract.operations import ADDRESS, TEXT, Operation

AT = datetime(2026, 11, 28, 10, 0, 0, 250_000, UTC)
ID = "019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901"
KEY = "planted-write-key"
TAKEN = Response(200, {}, b'{"success": true}')


def happening(**changes: Any) -> Happening:
    given = {"id": ID, "user": "user-42", "event": "Order placed", "at": AT, "properties": {}}
    return Happening(**(given | changes))


def person(**changes: Any) -> Person:
    given = {"id": ID, "user": "user-42", "at": AT, "traits": {"plan": "pro"}}
    return Person(**(given | changes))


async def _event(call: HttpCall) -> object:
    properties = {"mail": ADDRESS, "note": TEXT}
    return await Adapter().track(call, [Adapter().event(happening(properties=properties))])


async def _person(call: HttpCall) -> object:
    traits = {"mail": ADDRESS, "note": TEXT}
    return await Adapter().identify(call, [Adapter().person(person(traits=traits))])


OPERATIONS = [
    Operation("event", _event, Repeat.KEY),
    Operation("person", _person, Repeat.KEY),
]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGMENT_WRITE_KEY", KEY)
    monkeypatch.delenv("SEGMENT_BASE_URL", raising=False)


@pytest.mark.parametrize("kind", ["track", "identify"])
async def test_requests_beside_the_official_package(kind: str) -> None:
    data = {"plan": "pro", "items": 3, "gift": True, "tags": ["a", "b"], "note": "grüße"}
    call, vendor, notes = doubles.call("segment", TAKEN)
    with catcher({"success": True}) as official:
        sdk = Sdk(KEY, host=official.url, sync_mode=True, max_retries=0, gzip=True)
        if kind == "track":
            sdk.track("user-42", "Order placed", data, timestamp=AT, message_id=ID)
            record = Adapter().event(happening(properties=data))
            await Adapter().track(call, [record])
        else:
            sdk.identify("user-42", data, timestamp=AT, message_id=ID)
            record = Adapter().person(person(traits=data))
            await Adapter().identify(call, [record])
    theirs, ((request, credentials),) = official.last(), vendor.requests
    mine = ours(request)

    assert (mine.method, mine.path, mine.query) == (theirs.method, theirs.path, theirs.query)
    assert mine.headers["content-encoding"] == theirs.headers["content-encoding"] == "gzip"
    assert mine.headers["content-type"] == theirs.headers["content-type"]
    assert credentials == {"Authorization": theirs.headers["authorization"]}
    (said,), (sent,) = theirs.json()["batch"], mine.json()["batch"]
    # The package names itself, leaves places for what is not given, and puts the key into the body
    # as well; its `sentAt` would move the times of a repeat.
    assert said.pop("anonymousId") is None
    assert said.pop("integrations") == {}
    assert said.pop("context")["library"]["name"] == "analytics-python"
    assert sent.pop("context") == {"library": {"name": "ferryman"}}
    assert sent == said
    assert mine.json().keys() == {"batch"}
    ((step, key, repeat, marked),) = notes.left
    assert (step, key, repeat) == ("load", f"{doubles.JOB}:load", Repeat.KEY)
    assert marked.opaque


async def test_many_in_one_request() -> None:
    call, vendor, _ = doubles.call("segment", TAKEN)
    records = [Adapter().event(happening(id=f"m-{n}")) for n in range(300)]

    assert await Adapter().track(call, records) == Outcome()

    sent = ours(vendor.requests[0][0]).json()["batch"]
    assert [one["messageId"] for one in sent] == [f"m-{n}" for n in range(300)]


def test_a_time_in_one_way_only() -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    sent = json.loads(Adapter().event(happening(at=elsewhere)).body)
    assert sent["timestamp"] == "2026-11-28T10:00:00.250+00:00"


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"user": ""}, "user", "invalid_arguments"),
        ({"user": "  "}, "user", "invalid_arguments"),
        ({"event": ""}, "event", "invalid_arguments"),
        ({"properties": {"note": "x" * 32 * 1024}}, "properties", "too_large"),
        ({"properties": {"note": "ü" * 16 * 1024}}, "properties", "too_large"),
    ],
)
def test_events_that_segment_would_drop_in_silence(
    changes: dict[str, Any], field: str, code: str
) -> None:
    with pytest.raises(RefusedRecord) as raised:
        Adapter().event(happening(**changes))

    assert raised.value.trouble.field == field
    assert raised.value.code == code


def test_people_that_segment_would_drop_in_silence() -> None:
    for changes in ({"user": ""}, {"traits": {"note": "x" * 32 * 1024}}):
        with pytest.raises(RefusedRecord):
            Adapter().person(person(**changes))


async def outcome(
    answer: doubles.Answer, *, doubtful: bool = False
) -> tuple[Outcome | VendorError, doubles.Notes]:
    call, _, notes = doubles.call("segment", answer)
    if doubtful:
        notes.in_doubt.add("load")
    try:
        return await Adapter().track(call, [Adapter().event(happening())] * 2), notes
    except VendorError as error:
        return error, notes


@pytest.mark.parametrize(
    ("answer", "kind", "large"),
    [
        (Response(400, {}, b'{"success": false, "message": "malformed JSON"}'), Whole, False),
        (Response(413, {}, b""), Whole, True),
        (Response(404, {}, b""), Whole, False),
        (Response(200, {}, b'{"success": false}'), Unknown, None),
        (Response(200, {}, b"{}"), Unknown, None),
        (Response(200, {}, b""), Unknown, None),
        (Response(200, {}, b"[true]"), Unknown, None),
        (Response(202, {}, b'{"success": true}'), Unknown, None),
        (Response(302, {}, b""), Unknown, None),
        (Response(429, {"retry-after": "7"}, b""), Throttled, None),
        (Response(401, {}, b""), Misconfigured, None),
        (Response(500, {}, b""), Unavailable, None),
    ],
)
async def test_answers(answer: Response, kind: type[VendorError], large: bool | None) -> None:
    error, notes = await outcome(answer)

    assert type(error) is kind
    assert notes.answers == (["load"] if kind is Whole else [])
    if isinstance(error, Whole):
        assert error.too_large is large
    if isinstance(error, Throttled):
        assert error.retry_after == 7


async def test_a_refusal_leaves_the_doubt_of_an_earlier_request() -> None:
    error, notes = await outcome(Response(400, {}, b"{}"), doubtful=True)

    assert isinstance(error, Unknown)
    assert error.look_up
    assert notes.answers == []
    assert notes.without_effect == ["load"]
