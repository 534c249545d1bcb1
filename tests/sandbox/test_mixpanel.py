"""Mixpanel: strict about each event, each once by its id, and failures that a status hides."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import mixpanel
import pytest

from adapters._analytics import Happening, Person
from adapters._base import Unknown
from adapters._http import HttpCall
from adapters._records import Outcome, Record, Whole
from adapters.mixpanel import Adapter
from ferryman.testing import Sandbox
from sandbox.mixpanel.fake import ACCOUNT, PROJECT, SECRET, TOKEN
from sandbox.state import State
from tests.sandbox.records import Asker, calling

AT = datetime(2026, 11, 28, 10, tzinfo=UTC)
IMPORT = f"/import?strict=1&project_id={PROJECT}"
BASIC = "Basic " + base64.b64encode(f"{ACCOUNT}:{SECRET}".encode()).decode()


def zipped(body: bytes) -> bytes:
    """The same bytes each time: they stand in the names of tests."""
    return gzip.compress(body, mtime=0)


def event(number: int = 0, **properties: Any) -> dict[str, Any]:
    usual = {"time": 1_795_860_000, "distinct_id": "user-42", "$insert_id": f"event-{number}"}
    given = {name: value for name, value in (usual | properties).items() if value is not None}
    return {"event": "Order placed", "properties": given}


@pytest.fixture
def direct(state: State) -> Asker:
    return Asker(state.vendors["mixpanel"], authorization=BASIC)


def ask(direct: Asker, path: str, given: Any, **headers: str) -> tuple[int, Any]:
    return direct.ask("POST", path, given, **headers)


def test_events_each_once(direct: Asker) -> None:
    three = [event(0), event(1), event(2)]
    assert ask(direct, IMPORT, three) == (
        200,
        {"code": 200, "num_records_imported": 3, "status": "OK"},
    )
    both = zipped(json.dumps([event(2), event(3)]).encode())
    assert ask(direct, IMPORT, both, content_encoding="gzip")[0] == 200
    lines = b"\n".join(json.dumps(event(n)).encode() for n in (3, 4))
    assert ask(direct, IMPORT, lines, content_type="application/x-ndjson")[0] == 200

    assert direct.totals() == {"event": 5, "repeated_event": 2}


def test_with_another_time_it_is_another_event(direct: Asker) -> None:
    ask(direct, IMPORT, [event(0)])
    ask(direct, IMPORT, [event(0, time=1_795_860_001)])
    assert direct.totals() == {"event": 2}


def test_of_a_400_the_others_are_imported(direct: Asker) -> None:
    bad = [
        event(1, time=None),
        event(2, time="today"),
        event(3, time=5),
        event(4, time=4_000_000_000),
        event(5, distinct_id="anonymous"),
        event(6, distinct_id=7),
        event(0, **{"$insert_id": "under_score"}),
        event(0, **{"$insert_id": None}),
        event(9, **{f"p{n}": n for n in range(253)}),
        event(10, note="x" * 1_100_000),
        {"event": "", "properties": {}},
        {"event": "x"},
        [],
    ]
    status, told = ask(direct, IMPORT, [*bad, event(99)])

    assert (status, told["num_records_imported"]) == (400, 1)
    assert [one["index"] for one in told["failed_records"]] == list(range(13))
    fields = [one["field"] for one in told["failed_records"]]
    assert fields[:8] == [
        *["properties.time"] * 4,
        *["properties.distinct_id"] * 2,
        *["properties.$insert_id"] * 2,
    ]
    assert told["failed_records"][4]["insert_id"] == "event-5"
    assert direct.totals() == {"event": 1}


def test_without_strict_nobody_is_told(direct: Asker) -> None:
    path = f"/import?project_id={PROJECT}"
    status, told = ask(direct, path, [event(0), event(1, time=None)])
    assert (status, told["num_records_imported"]) == (200, 1)


@pytest.mark.parametrize(
    ("path", "given", "headers", "status"),
    [
        (IMPORT, [event()], {"authorization": "Basic x"}, 401),
        (IMPORT, [event()], {"authorization": ""}, 401),
        ("/import?strict=1", [event()], {}, 403),
        ("/import?strict=1&project_id=1", [event()], {}, 403),
        (IMPORT, [event()] * 2001, {}, 413),
        (IMPORT, zipped(b"[" + b" " * 11_000_000), {"content_encoding": "gzip"}, 413),
        (IMPORT, b"[", {}, 400),
        (IMPORT, [], {}, 400),
        (IMPORT, {}, {}, 400),
        (IMPORT, b"x", {"content_encoding": "gzip"}, 400),
        (IMPORT, zipped(b"[]")[:10], {"content_encoding": "gzip"}, 400),
        (IMPORT, b"data=[]", {"content_type": "application/x-www-form-urlencoded"}, 400),
        ("/import2", [event()], {}, 404),
    ],
)
def test_refusals(
    direct: Asker, path: str, given: Any, headers: dict[str, str], status: int
) -> None:
    assert ask(direct, path, given, **headers)[0] == status
    assert direct.totals() == {}


def person(**changes: Any) -> dict[str, Any]:
    given = {"$token": TOKEN, "$distinct_id": "user-42", "$set": {"plan": "pro"}}
    return {name: value for name, value in (given | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("given", "headers"),
    [
        ([person(**{"$token": "x"})], {}),
        ([person(**{"$distinct_id": ""})], {}),
        ([person(**{"$set": None})], {}),
        ([person(**{"$add": {"n": 1}})], {}),
        ([person(**{"$set": ["plan"]})], {}),
        ([person(**{"$later": 1})], {}),
        ([person(), {}], {}),
        ({}, {}),
        (b"[", {}),
        (zipped(json.dumps([person()]).encode()), {"content_encoding": "gzip"}),
    ],
)
def test_people_are_refused_with_a_200(direct: Asker, given: Any, headers: dict[str, str]) -> None:
    status, told = ask(direct, "/engage?verbose=1", given, **headers)
    assert (status, told["status"]) == (200, 0)
    assert ask(direct, "/engage", given, **headers) == (200, 0)
    assert direct.totals() == {}


def test_people(direct: Asker) -> None:
    updates = [
        person(**{"$set": {"plan": "pro", "seats": 1}}),
        person(**{"$set": None, "$add": {"seats": 2}}),
        person(**{"$set": None, "$set_once": {"plan": "free", "since": 2026}}),
        person(**{"$set": None, "$union": {"tags": ["a", "a", "b"]}}),
        person(**{"$set": None, "$append": {"tags": "b"}}),
        person(**{"$set": None, "$unset": ["seats"]}),
    ]
    assert ask(direct, "/engage?verbose=1", updates) == (200, {"status": 1, "error": None})
    assert direct.vendor.dashboard("profile", {"user": "user-42"}) == {
        "properties": {"plan": "pro", "since": 2026, "tags": ["a", "b", "b"]}
    }
    assert direct.totals() == {"person": 6}


def test_events_are_known_beyond_a_kill(tmp_path: Any) -> None:
    file = tmp_path / "state"
    for expected in ({"event": 1}, {"event": 1, "repeated_event": 1}):
        state = State(seed=7, state_file=file)
        direct = Asker(state.vendors["mixpanel"], authorization=BASIC)
        ask(direct, IMPORT, [event(0)])
        state.journal.flush()
        assert direct.totals() == expected


# --- over real connections


@pytest.fixture
async def call(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HttpCall]:
    async with calling("mixpanel", sandbox, monkeypatch) as way:
        yield way


def records(count: int) -> list[Record]:
    return [
        Adapter().event(Happening(f"event-{n}", f"user-{n}", "Signed in", AT, {"n": n}))
        for n in range(count)
    ]


async def test_two_thousand_and_again(call: HttpCall, sandbox: Sandbox) -> None:
    many = records(2000)
    sandbox.script([{"vendor": "mixpanel", "do": "drop_after", "times": 1}])
    with pytest.raises(Unknown):
        await Adapter().track(call, many)
    assert await Adapter().track(call, many) == Outcome()

    assert sandbox.totals()["mixpanel"] == {"event": 2000, "repeated_event": 2000}


async def test_a_bad_one_among_many(call: HttpCall, sandbox: Sandbox) -> None:
    many = records(5)
    bad = json.loads(many[3].body)
    bad["properties"]["distinct_id"] = "null"
    many[3] = Record("event-3", json.dumps(bad).encode())

    outcome = await Adapter().track(call, many)

    assert {at: one.field for at, one in outcome.troubles.items()} == {3: "user"}
    assert sandbox.totals()["mixpanel"] == {"event": 4}


async def test_too_large_a_request(call: HttpCall, sandbox: Sandbox) -> None:
    sandbox.dashboard("mixpanel", "settings", most_bytes=1000)
    with pytest.raises(Whole) as raised:
        await Adapter().track(call, records(2000))
    assert raised.value.too_large
    assert await Adapter().track(call, records(10)) == Outcome()


async def test_a_person(call: HttpCall, sandbox: Sandbox) -> None:
    traits = {"plan": "pro", "seats": 5}
    person = Adapter().person(Person("p-1", "user-42", AT, traits))
    for _ in range(2):
        assert await Adapter().identify(call, [person]) == Outcome()
    assert sandbox.dashboard("mixpanel", "profile", user="user-42") == {"properties": traits}


def test_the_official_package_is_understood(sandbox: Sandbox) -> None:
    """Its events come in an older form, which no strict import takes."""
    url = sandbox.base_url("mixpanel")
    account = mixpanel.ServiceAccountCredentials(ACCOUNT, SECRET, PROJECT)
    consumer = mixpanel.Consumer(import_url=f"{url}/import", credentials=account)
    with pytest.raises(mixpanel.MixpanelException):
        mixpanel.Mixpanel(TOKEN, consumer=consumer).import_data(None, "u", "x", 1_795_860_000)
    with httpx.Client(base_url=url, auth=(ACCOUNT, SECRET), trust_env=False) as http:
        answer = http.post(IMPORT, json=[event()])
    assert answer.json()["num_records_imported"] == 1
