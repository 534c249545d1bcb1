"""Segment: each call once by its id, and a 200 that hides what was dropped."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from segment.analytics.client import Client as Sdk

from adapters._analytics import Happening, Person
from adapters._base import Unknown
from adapters._http import HttpCall
from adapters._records import Outcome, Whole
from adapters.segment import Adapter
from ferryman.testing import Sandbox
from sandbox.segment.fake import KEY
from sandbox.state import State
from tests.adapters import doubles
from tests.sandbox.records import Asker, calling

AT = datetime(2026, 11, 28, 10, tzinfo=UTC)
BASIC = "Basic " + base64.b64encode(f"{KEY}:".encode()).decode()


def track(number: int = 0, **changes: Any) -> dict[str, Any]:
    given = {
        "type": "track",
        "messageId": f"m-{number}",
        "userId": "user-42",
        "event": "Order placed",
        "timestamp": "2026-11-28T10:00:00.000+00:00",
        "properties": {"plan": "pro"},
    }
    return {name: value for name, value in (given | changes).items() if value is not None}


@pytest.fixture
def direct(state: State) -> Asker:
    return Asker(state.vendors["segment"], authorization=BASIC)


def batch(direct: Asker, *calls: Any) -> tuple[int, Any]:
    return direct.ask("POST", "/v1/batch", {"batch": list(calls)})


def test_calls_each_once(direct: Asker) -> None:
    person = {"type": "identify", "messageId": "p", "userId": "user-42", "traits": {}}
    taken = (200, {"success": True})
    assert batch(direct, track(0), track(1), person) == taken
    assert batch(direct, track(1), person) == taken
    assert direct.ask("POST", "/v1/track", track(2)) == taken

    assert direct.totals() == {
        "event": 3,
        "person": 1,
        "repeated_event": 1,
        "repeated_person": 1,
    }


@pytest.mark.parametrize(
    "call",
    [
        track(userId=None),
        track(userId=""),
        track(event=None),
        track(event=" "),
        track(messageId=None),
        track(type="tracks"),
        track(timestamp="yesterday"),
        track(properties=["a"]),
        "text",
        None,
    ],
)
def test_what_is_dropped_without_a_word(direct: Asker, call: Any) -> None:
    assert batch(direct, call, track(1)) == (200, {"success": True})
    assert direct.totals() == {"event": 1, "dropped": 1}


@pytest.mark.parametrize(
    ("path", "given", "headers", "status"),
    [
        ("/v1/batch", {"batch": [track(note="x" * 33_000)]}, {}, 400),
        ("/v1/batch", {"batch": [track(n, note="x" * 30_000) for n in range(18)]}, {}, 400),
        ("/v1/batch", b"{", {}, 400),
        ("/v1/batch", [], {}, 400),
        ("/v1/batch", {"batch": {}}, {}, 400),
        ("/v1/batch", b"x", {"content_encoding": "gzip"}, 400),
        ("/v1/batch", {"batch": [track()]}, {"authorization": ""}, 401),
        ("/v1/batch", {"batch": [track()]}, {"authorization": "Basic eDo="}, 401),
        ("/v1/tracks", track(), {}, 404),
        ("/track", track(), {}, 404),
    ],
)
def test_refusals(
    direct: Asker, path: str, given: Any, headers: dict[str, str], status: int
) -> None:
    assert direct.ask("POST", path, given, **headers)[0] == status
    assert direct.totals() == {}


def test_what_is_known_beyond_a_kill(tmp_path: Any) -> None:
    for expected in ({"event": 1}, {"event": 1, "repeated_event": 1}):
        state = State(seed=7, state_file=tmp_path / "state")
        direct = Asker(state.vendors["segment"], authorization=BASIC)
        zipped = gzip.compress(json.dumps({"batch": [track()]}).encode())
        direct.ask("POST", "/v1/batch", zipped, content_encoding="gzip")
        state.journal.flush()
        assert direct.totals() == expected


def test_the_official_package_is_understood(sandbox: Sandbox) -> None:
    sdk = Sdk(KEY, host=sandbox.base_url("segment"), sync_mode=True, max_retries=0, gzip=True)
    sdk.track("user-42", "Order placed", {"plan": "pro"}, timestamp=AT, message_id="m-1")
    sdk.identify("user-42", {"plan": "pro"}, timestamp=AT, message_id="m-2")
    assert sandbox.totals() == {"segment": {"event": 1, "person": 1}}


@pytest.fixture
async def call(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HttpCall]:
    async with calling("segment", sandbox, monkeypatch) as way:
        yield way


async def test_what_was_lost_is_sent_again(call: HttpCall, sandbox: Sandbox) -> None:
    job = str(doubles.JOB)
    records = [
        Adapter().event(Happening(f"{doubles.JOB.hex}-{n}", "user-42", "Signed in", AT, {}))
        for n in range(500)
    ]
    person = Adapter().person(Person(job, "user-42", AT, {"plan": "pro"}))
    sandbox.script([{"vendor": "segment", "do": "drop_after", "times": 1}])
    with pytest.raises(Unknown):
        await Adapter().track(call, records)

    assert await Adapter().track(call, records) == Outcome()
    assert await Adapter().identify(call, [person]) == Outcome()

    assert sandbox.totals()["segment"] == {"event": 500, "repeated_event": 500, "person": 1}
    assert {one["job"] for one in sandbox.effects("segment")} == {job}


async def test_too_large_a_request(call: HttpCall, sandbox: Sandbox) -> None:
    records = [Adapter().event(Happening(f"m-{n}", "u", "x", AT, {})) for n in range(1000)]
    sandbox.dashboard("segment", "settings", most_bytes=1000)
    with pytest.raises(Whole) as raised:
        await Adapter().track(call, records)
    assert raised.value.too_large
    assert await Adapter().track(call, records[:2]) == Outcome()
