"""Mixpanel: what is sent, beside the official package, and what its answers mean."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import mixpanel
import pytest

from adapters._analytics import Happening, Person
from adapters._base import (
    Misconfigured,
    Refused,
    Repeat,
    Request,
    Response,
    Throttled,
    Unavailable,
    Unknown,
    VendorError,
)
from adapters._http import Client, HttpCall
from adapters._mixpanel import PLACE
from adapters._records import Outcome, Record, RefusedRecord, Whole
from adapters.mixpanel import Adapter
from ferryman.policies import policy
from tests.adapters import doubles
from tests.adapters.catcher import catcher, ours
from tests.contract.operations import ADDRESS, TEXT, Operation

AT = datetime(2026, 11, 28, 10, 0, 0, 250_000, UTC)
ID = "019ab3f0-6d7e-7c2a-9f43-0d5be2a1c901"
# They name a project, and stand in addresses: no secrets.
ENVIRONMENT: dict[str, str | None] = {"MIXPANEL_PROJECT_ID": "4711"}
ACCOUNT, SECRET, TOKEN = "planted-account", "planted-service", "planted-project"


def happening(**changes: Any) -> Happening:
    given = {"id": ID, "user": "user-42", "event": "Order placed", "at": AT, "properties": {}}
    return Happening(**(given | changes))


def person(**changes: Any) -> Person:
    given = {"id": ID, "user": "user-42", "at": AT, "traits": {"plan": "pro"}}
    return Person(**(given | changes))


def event(number: int = 0, **properties: Any) -> Record:
    return Adapter().event(happening(id=f"event-{number}", properties=properties))


async def _event(call: HttpCall) -> object:
    return await Adapter().track(call, [event(mail=ADDRESS, note=TEXT)])


async def _person(call: HttpCall) -> object:
    return await Adapter().identify(
        call, [Adapter().person(person(traits={"mail": ADDRESS, "note": TEXT}))]
    )


OPERATIONS = [
    Operation("event", _event, Repeat.NATURAL),
    Operation("person", _person, Repeat.NATURAL),
]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXPANEL_SERVICE_ACCOUNT", ACCOUNT)
    monkeypatch.setenv("MIXPANEL_SERVICE_SECRET", SECRET)
    monkeypatch.setenv("MIXPANEL_PROJECT_TOKEN", TOKEN)
    monkeypatch.setenv("MIXPANEL_PROJECT_ID", "4711")
    monkeypatch.delenv("MIXPANEL_BASE_URL", raising=False)


def imported(count: int, *failed: dict[str, Any], status: int = 0, **more: Any) -> Response:
    told = {"code": 200, "num_records_imported": count, "status": "OK"} | more
    if failed:
        told |= {"code": 400, "error": "some data points", "failed_records": list(failed)}
    return Response(status or (400 if failed else 200), {}, json.dumps(told).encode())


async def track(
    answer: doubles.Answer, records: Sequence[Record]
) -> tuple[Outcome | VendorError, doubles.Notes, Request]:
    call, vendor, notes = doubles.call("mixpanel", answer)
    try:
        outcome: Outcome | VendorError = await Adapter().track(call, records)
    except VendorError as error:
        outcome = error
    return outcome, notes, vendor.requests[0][0]


# --- what is sent


async def test_events_beside_the_official_package() -> None:
    properties = {"plan": "pro", "items": 3, "gift": True, "coupon": None, "tags": ["a", "b"]}
    with catcher({"status": 1}) as official:
        account = mixpanel.ServiceAccountCredentials(ACCOUNT, SECRET, "4711")
        consumer = mixpanel.Consumer(import_url=f"{official.url}/import", credentials=account)
        sdk = mixpanel.Mixpanel(TOKEN, consumer=consumer)
        sdk.import_data(None, "user-42", "Order placed", AT.timestamp(), properties)
    theirs = official.last()
    said = json.loads(_form(theirs.body)["data"])

    call, vendor, _ = doubles.call("mixpanel", imported(1))
    await Adapter().track(call, [Adapter().event(happening(properties=properties))])
    ((request, credentials),) = vendor.requests
    (sent,) = ours(request).json()

    assert (request.method, ours(request).path) == (theirs.method, theirs.path)
    assert ours(request).query == {"strict": ["1"], **theirs.query}
    assert credentials == {"Authorization": theirs.headers["authorization"]}
    assert sent["event"] == said["event"]
    # The package adds the token, which the account makes needless, and names itself. It takes
    # seconds, for which both may be given, and makes up an id.
    extra = {"token", "mp_lib", "$lib_version", "time", "$insert_id"}
    assert {k: v for k, v in said["properties"].items() if k not in extra} == {
        k: v for k, v in sent["properties"].items() if k not in extra
    }
    assert sent["properties"]["time"] == said["properties"]["time"] * 1000
    assert sent["properties"]["$insert_id"] == ID
    assert len(ID) <= 36


async def test_a_person_beside_the_official_package(monkeypatch: pytest.MonkeyPatch) -> None:
    traits = {"plan": "pro", "$email": "ada@example.com", "seats": 5}
    with catcher({"status": 1}) as official:
        consumer = mixpanel.Consumer(people_url=f"{official.url}/engage")
        sdk = mixpanel.Mixpanel(TOKEN, consumer=consumer)
        sdk.people_set("user-42", traits, meta={"$time": AT.timestamp()})
        said = json.loads(_form(official.last().body)["data"])

        monkeypatch.setenv("MIXPANEL_BASE_URL", official.url)
        client = Client(policy("mixpanel"))
        notes = doubles.Notes()
        call = HttpCall("mixpanel", client, policy("mixpanel"), notes)
        await Adapter().identify(call, [Adapter().person(person(traits=traits))])
        await client.close()
        sent = official.last()

    assert sent.json() == [said]
    assert said["$token"] == TOKEN
    # Not compressed: that endpoint does not take it. Both want the place from nobody's address.
    assert "content-encoding" not in sent.headers
    assert sent.query == {"verbose": ["1"], "ip": ["0"]}
    # The token takes its place on the way out: neither the mark nor what is kept knows it.
    ((_, _, _, marked),) = notes.left
    assert TOKEN.encode() not in marked.body
    assert PLACE.encode() in marked.body
    assert TOKEN not in json.dumps(notes.interactions, default=str)


def _form(body: bytes) -> dict[str, str]:
    from urllib.parse import parse_qsl

    return dict(parse_qsl(body.decode()))


async def test_the_same_bytes_each_time() -> None:
    records = [event(n, note="x" * n) for n in range(50)]
    bodies = {(await track(imported(50), records))[2].body for _ in range(2)}

    assert len(bodies) == 1
    (body,) = bodies
    # No time of packing stands in it, which would make each repeat another request.
    assert body[4:8] == bytes(4)
    assert len(body) < sum(len(record.body) for record in records) / 5


async def test_the_mark() -> None:
    _, notes, request = await track(imported(1), [event()])

    ((step, key, repeat, marked),) = notes.left
    assert (step, key, repeat) == ("load", f"{doubles.JOB}:load", Repeat.NATURAL)
    assert marked.opaque
    assert request.url == "https://api.mixpanel.com/import?strict=1&project_id=4711"
    assert notes.answers == ["load"]
    basic = base64.b64encode(f"{ACCOUNT}:{SECRET}".encode()).decode()
    assert basic not in repr(marked)


# --- what is refused before anything leaves


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"user": ""}, "user", "invalid_arguments"),
        ({"user": "Anonymous"}, "user", "invalid_arguments"),
        ({"user": "00000000-0000-0000-0000-000000000000"}, "user", "invalid_arguments"),
        ({"user": "x" * 256}, "user", "invalid_arguments"),
        ({"event": " "}, "event", "invalid_arguments"),
        ({"event": "x" * 256}, "event", "invalid_arguments"),
        ({"properties": {"time": 1}}, "properties.time", "invalid_arguments"),
        ({"properties": {"$insert_id": "x"}}, "properties.$insert_id", "invalid_arguments"),
        ({"properties": {"distinct_id": "x"}}, "properties.distinct_id", "invalid_arguments"),
        ({"properties": {"token": "x"}}, "properties.token", "invalid_arguments"),
        (
            {"properties": {f"p{n}": n for n in range(253)}},
            "properties",
            "invalid_arguments",
        ),
        ({"properties": {"note": "x" * 1_000_000}}, "properties", "too_large"),
        ({"at": datetime(1970, 12, 31, tzinfo=UTC)}, "at", "invalid_arguments"),
        ({"at": datetime.now(UTC) + timedelta(hours=2)}, "at", "invalid_arguments"),
    ],
)
def test_events_that_mixpanel_would_not_take(
    changes: dict[str, Any], field: str, code: str
) -> None:
    with pytest.raises(RefusedRecord) as raised:
        Adapter().event(happening(**changes))

    assert raised.value.as_error()["field"] == field
    assert raised.value.code == code
    assert raised.value.message.startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"user": "null"}, "user"),
        ({"traits": {}}, "traits"),
        ({"traits": {"$token": "x"}}, "traits.$token"),
        ({"traits": {"note": f"my {PLACE}"}}, "traits"),
        ({"user": PLACE}, "traits"),
        ({"traits": {"note": "x" * 1_000_000}}, "traits"),
    ],
)
def test_people_that_mixpanel_would_not_take(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(RefusedRecord) as raised:
        Adapter().person(person(**changes))

    assert raised.value.trouble.field == field


def test_what_it_takes() -> None:
    many = {f"p{n}": n for n in range(252)}
    for changes in (
        {"properties": many},
        {"at": datetime.now(UTC) + timedelta(minutes=50)},
        {"event": "x" * 255},
        {"user": "Zoë"},
        {"properties": {"$browser": "Firefox", "deep": {"er": [1, {"x": None}]}}},
    ):
        assert json.loads(Adapter().event(happening(**changes)).body)["event"]


# --- what its answers mean


async def test_all_are_taken() -> None:
    outcome, notes, _ = await track(imported(2), [event(0), event(1)])

    assert outcome == Outcome()
    assert notes.answers == ["load"]


async def test_of_a_400_the_others_were_taken() -> None:
    failed = (
        {
            "index": 1,
            "insert_id": "event-1",
            "field": "properties.time",
            "message": "'properties.time' is invalid: ada@example.com",
        },
        {"index": 3, "insert_id": "event-3", "field": "properties.price", "message": "no"},
        {"index": 4, "message": "no"},
        {"index": 5, "field": "properties.a\0b"},
    )
    outcome, notes, _ = await track(imported(2, *failed), [event(n) for n in range(6)])

    assert isinstance(outcome, Outcome)
    told = {at: (one.code, one.field, one.message) for at, one in outcome.troubles.items()}
    assert told == {
        1: ("invalid_arguments", "at", "at: the vendor does not take it"),
        3: (
            "invalid_arguments",
            "properties.price",
            "properties.price: the vendor does not take it",
        ),
        4: ("invalid_arguments", None, "the vendor does not take it"),
        5: ("invalid_arguments", None, "the vendor does not take it"),
    }
    assert notes.answers == ["load"]


@pytest.mark.parametrize(
    "answer",
    [
        imported(1),
        imported(3),
        imported(2, {"index": 0, "insert_id": "event-0"}),
        imported(0, {"index": 0, "insert_id": "event-0"}),
        imported(1, {"index": 2}),
        imported(1, {"index": -1}),
        imported(1, {"index": 0, "insert_id": "another"}),
        imported(1, {"index": "first"}),
        imported(1, {"place": 0}),
        Response(400, {}, b'{"num_records_imported": null, "failed_records": []}'),
        Response(200, {}, b"{}"),
        Response(200, {}, b"1"),
        Response(200, {}, b"<html>"),
        Response(204, {}, b""),
        Response(302, {"location": "/"}, b""),
        Unknown("the vendor did not answer in time", code="timeout"),
    ],
)
async def test_an_answer_that_does_not_account_for_each(answer: doubles.Answer) -> None:
    outcome, notes, _ = await track(answer, [event(0), event(1)])

    assert isinstance(outcome, Unknown)
    assert notes.answers == notes.without_effect == []


@pytest.mark.parametrize(
    ("answer", "large"),
    [
        (Response(413, {}, b""), True),
        (Response(400, {}, b'{"error": "cannot read it", "status": 0}'), False),
        (Response(400, {}, b"not JSON"), False),
        (Response(404, {}, b""), False),
    ],
)
async def test_a_refusal_of_the_whole(answer: Response, large: bool) -> None:
    outcome, notes, _ = await track(answer, [event(0), event(1)])

    assert isinstance(outcome, Whole)
    assert isinstance(outcome, Refused)
    assert (outcome.too_large, outcome.status) == (large, answer.status)
    assert notes.answers == ["load"]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Response(429, {}, b""), Throttled),
        (Response(401, {}, b""), Misconfigured),
        (Response(503, {}, b""), Unavailable),
    ],
)
async def test_what_may_go_again(answer: Response, kind: type[VendorError]) -> None:
    outcome, notes, _ = await track(answer, [event()])
    assert type(outcome) is kind
    assert notes.answers == []


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"status": 1, "error": null}', None),
        (b"1", None),
        (b"0", Whole),
        (b'{"status": 0, "error": "some of ada@example.com\'s traits"}', Whole),
        (b'{"status": true}', Unknown),
        (b"true", Unknown),
        (b"", Unknown),
        (b"{}", Unknown),
        (b"[]", Unknown),
    ],
)
async def test_people_are_refused_with_a_200(body: bytes, error: type[VendorError] | None) -> None:
    call, _, notes = doubles.call("mixpanel", Response(200, {}, body))
    records = [Adapter().person(person())]
    if error is None:
        assert await Adapter().identify(call, records) == Outcome()
    else:
        with pytest.raises(error) as raised:
            await Adapter().identify(call, records)
        assert "ada@" not in json.dumps(raised.value.as_error())
    assert notes.answers == ([] if error is Unknown else ["load"])


async def test_a_project_that_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", "my project", "4711&x=1"):
        monkeypatch.setenv("MIXPANEL_PROJECT_ID", value)
        call, vendor, _ = doubles.call("mixpanel", imported(1))
        with pytest.raises(Misconfigured, match="MIXPANEL_PROJECT_ID"):
            await Adapter().track(call, [event()])
        assert vendor.requests == []
    assert Adapter().configured()
    monkeypatch.delenv("MIXPANEL_PROJECT_ID")
    assert not Adapter().configured()
