"""Through the HTTP API: what is sent, and which exception each answer becomes."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import respx

import ferryman
from ferryman import requests
from tests.client.conftest import CHARGE

URL = "http://ferryman.test:8080"
ID = "0190b5f2-7a3c-7cc1-8a51-5d0b1f0e6a11"
JOB = {"id": ID, "kind": "charge", "status": "waiting", "reason": None, "result": None}


@pytest.fixture(autouse=True)
def _api(use: Callable[..., None]) -> None:
    use(FERRYMAN_URL=URL, FERRYMAN_API_TOKEN="one, two")


def problem(status: int, slug: str = "about:blank", **rest: Any) -> httpx.Response:
    document = {"type": slug, "title": "Title", "status": status, **rest}
    return httpx.Response(
        status, json=document, headers={"Content-Type": "application/problem+json"}
    )


@respx.mock
def test_a_job_is_posted_with_the_first_token() -> None:
    route = respx.post(f"{URL}/v1/jobs").respond(201, json=JOB)
    at = datetime(2030, 1, 31, 9, tzinfo=UTC)
    made = ferryman.enqueue(
        "charge", key="order-42", run_at=at, priority="high", vendor="stripe", **CHARGE
    )
    assert (made.id, made.status, made.kind) == (UUID(ID), "waiting", "charge")
    request = route.calls.last.request
    assert request.headers["authorization"] == "Bearer one"
    assert json.loads(request.content) == {
        "kind": "charge",
        "args": CHARGE,
        "key": "order-42",
        "run_at": "2030-01-31T09:00:00Z",
        "priority": "high",
        "vendor": "stripe",
    }


@respx.mock
async def test_a_typed_request_from_an_event_loop() -> None:
    route = respx.post(f"{URL}/v1/jobs").respond(201, json=JOB)
    made = await ferryman.aenqueue(ferryman.Charge(**CHARGE))
    assert made == ferryman.enqueue("charge", **CHARGE)
    assert route.calls[0].request.content == route.calls[1].request.content


@pytest.mark.respx(assert_all_called=False)
@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"amount": 1.5}, "amount"),
        ({"key": ""}, "key"),
        ({"key": "a" * 256}, "key"),
        ({"key": "a\nb"}, "key"),
        ({"priority": "urgent"}, "priority"),
        ({"vendor": ""}, "vendor"),
        ({"run_at": datetime(2030, 1, 1)}, "run_at"),
        ({"run_at": "tomorrow"}, "run_at"),
        ({"run_at": 5}, "run_at"),
        ({"run_at": "2030-01-02T00:00Z", "expires_at": "2030-01-01T00:00Z"}, "expires_at"),
    ],
)
def test_nothing_is_sent_of_a_bad_order(
    respx_mock: respx.MockRouter, given: dict[str, Any], field: str
) -> None:
    route = respx_mock.post(f"{URL}/v1/jobs").respond(201, json=JOB)
    with pytest.raises(ferryman.InvalidArguments) as refused:
        ferryman.enqueue("charge", **{**CHARGE, **given})
    assert refused.value.field == field
    assert not route.called


def test_a_request_takes_no_further_arguments() -> None:
    with pytest.raises(TypeError, match="arguments already"):
        ferryman.enqueue(ferryman.Charge(**CHARGE), amount=1)


def test_what_ferryman_makes_itself_is_taken_from_nobody() -> None:
    part = requests.BulkEmailPart(batch=ID, part=1)
    with pytest.raises(ferryman.InvalidArguments, match="kind: is made by ferryman itself"):
        ferryman.enqueue(part)
    with pytest.raises(ferryman.InvalidArguments, match="kind: must be one of"):
        ferryman.enqueue("bulk_email_part", batch=ID, part=1)


ANSWERS = [
    (
        problem(422, "/problems/invalid-arguments", field="amount", detail="amount: must be more"),
        ferryman.InvalidArguments,
        "amount: must be more",
    ),
    (
        problem(422, detail="x", errors=[{"field": "to", "message": "must be an address"}]),
        ferryman.InvalidArguments,
        "to: must be an address",
    ),
    (problem(400, detail="not JSON"), ferryman.InvalidArguments, "request: not JSON"),
    (problem(413, detail="At most 1048576 bytes"), ferryman.InvalidArguments, "At most"),
    (problem(409, "/problems/key-conflict"), ferryman.KeyConflict, "other arguments"),
    (problem(409, "/problems/key-in-flight"), ferryman.KeyInFlight, "open transaction"),
    (problem(409, detail="it is running"), ferryman.NotPossible, "it is running"),
    (problem(401), ferryman.Forbidden, "FERRYMAN_API_TOKEN"),
    (problem(403), ferryman.Forbidden, "FERRYMAN_API_TOKEN"),
    (problem(421, detail="localhost only"), ferryman.Forbidden, "localhost only"),
    (problem(404, detail="There is no job"), ferryman.NotFound, "There is no job"),
    (problem(410, detail="removed"), ferryman.NotFound, "removed"),
    (problem(503, detail="The ledger is down"), ferryman.Unreachable, "503.*ledger is down"),
    (httpx.Response(502, text="<html>Bad Gateway"), ferryman.Unreachable, "not ferryman's API"),
    (httpx.Response(200, text="<html>Welcome"), ferryman.Unreachable, "not ferryman's API"),
    (httpx.Response(302, headers={"Location": "/login"}), ferryman.Unreachable, "status 302"),
    (httpx.Response(404, json=["?"]), ferryman.Unreachable, "FERRYMAN_URL right"),
]


@respx.mock
@pytest.mark.parametrize(("answer", "error", "words"), ANSWERS)
def test_answers_become_the_same_exceptions(
    answer: httpx.Response, error: type[Exception], words: str
) -> None:
    respx.post(f"{URL}/v1/jobs").mock(return_value=answer)
    with pytest.raises(error, match=words) as raised:
        ferryman.enqueue("charge", **CHARGE)
    assert type(raised.value) is error


@respx.mock
@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (httpx.ConnectError("refused"), "nothing was stored"),
        (httpx.ConnectTimeout("silent"), "nothing was stored"),
        (httpx.ReadTimeout("silent"), "not known"),
        (httpx.RemoteProtocolError("cut"), "not known"),
    ],
)
def test_what_is_known_when_the_api_is_gone(broken: Exception, words: str) -> None:
    route = respx.post(f"{URL}/v1/jobs").mock(side_effect=broken)
    with pytest.raises(ferryman.Unreachable, match=words):
        ferryman.enqueue("charge", **CHARGE)
    assert route.call_count == 1


def test_a_refused_connection_is_told_at_once(use: Callable[..., None]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        use(FERRYMAN_URL=f"http://user:hidden@127.0.0.1:{taken.getsockname()[1]}")
        begun = time.monotonic()
        with pytest.raises(ferryman.Unreachable) as refused:
            ferryman.enqueue("charge", **CHARGE)
    assert time.monotonic() - begun < 2
    assert "hidden" not in str(refused.value)


@respx.mock
def test_a_job_is_waited_for_by_long_polls() -> None:
    route = respx.get(f"{URL}/v1/jobs/{ID}").mock(
        side_effect=[
            httpx.Response(200, json=JOB),
            httpx.Response(200, json={**JOB, "status": "running"}),
            httpx.Response(200, json={**JOB, "status": "succeeded", "result": {"amount": 1250}}),
        ]
    )
    done = ferryman.job(ID).wait(timeout=30)
    assert (done.status, done.result) == ("succeeded", {"amount": 1250})
    waits = [call.request.url.params.get("wait") for call in route.calls]
    assert waits == [None, "10.0", "10.0"]


@respx.mock
def test_waiting_has_an_end() -> None:
    route = respx.get(f"{URL}/v1/jobs/{ID}").respond(json={**JOB, "reason": "stripe is paused"})
    with pytest.raises(TimeoutError, match="still waiting: stripe is paused"):
        ferryman.job(ID).wait(timeout=0.3)
    # An API that answers long polls at once is not hammered.
    assert route.call_count < 6


@respx.mock
async def test_waiting_in_an_event_loop_does_not_stop_it() -> None:
    seen = iter([JOB, JOB, {**JOB, "status": "unknown"}])
    respx.get(f"{URL}/v1/jobs/{ID}").mock(
        side_effect=lambda _: httpx.Response(200, json=next(seen))
    )
    job = await asyncio.to_thread(ferryman.job, ID)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.01)

    counting = asyncio.create_task(count())
    done = await job.await_end(timeout=10)
    counting.cancel()
    assert done.status == "unknown"
    assert turns > 5


@respx.mock
def test_jobs_are_read_page_by_page() -> None:
    ids = [str(uuid4()) for _ in range(3)]
    pages = [
        {"jobs": [{**JOB, "id": ids[0]}, {**JOB, "id": ids[1]}], "next": "cursor-2"},
        {"jobs": [{**JOB, "id": ids[2]}, JOB], "next": "cursor-3"},
    ]
    route = respx.get(f"{URL}/v1/jobs").mock(
        side_effect=[httpx.Response(200, json=page) for page in pages]
    )
    since = datetime(2030, 1, 1, tzinfo=UTC) + timedelta(hours=1)
    found = ferryman.jobs(status="waiting", vendor="stripe", since=since, limit=3)
    assert [str(job.id) for job in found] == ids
    first, second = (dict(call.request.url.params) for call in route.calls)
    assert first == {
        "status": "waiting",
        "vendor": "stripe",
        "since": "2030-01-01T01:00:00Z",
        "limit": "3",
    }
    assert second == {**first, "cursor": "cursor-2"}


@pytest.mark.parametrize("id", ["nope", "", 5, None])
def test_an_id_that_is_none(id: Any) -> None:
    with pytest.raises(ferryman.InvalidArguments, match="id: must be a UUID"):
        ferryman.job(id)


@pytest.mark.parametrize(
    ("variables", "error", "words"),
    [
        ({"FERRYMAN_URL": "ferryman.test:8080"}, ferryman.InvalidSetting, "FERRYMAN_URL must"),
        (
            {"FERRYMAN_URL": "", "FERRYMAN_DATABASE_URL": "mysql://x"},
            ferryman.InvalidSetting,
            "FERRYMAN_DATABASE_URL must",
        ),
        ({"FERRYMAN_URL": ""}, ferryman.MissingSetting, "FERRYMAN_DATABASE_URL is not set"),
        ({"FERRYMAN_LEASE_SECONDS": "x"}, ferryman.InvalidSetting, "FERRYMAN_LEASE_SECONDS"),
    ],
)
def test_settings_that_lead_nowhere(
    use: Callable[..., None], variables: dict[str, str], error: type[Exception], words: str
) -> None:
    use(**variables)
    with pytest.raises(error, match=words):
        ferryman.enqueue("charge", **CHARGE)


@respx.mock
def test_what_the_rate_kept_out_is_sent_when_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    over = problem(429, "/problems/too-many-requests", detail="At most 5.")
    over.headers["Retry-After"] = "2"
    respx.post(f"{URL}/v1/jobs").side_effect = [over, over, httpx.Response(201, json=JOB)]
    assert ferryman.enqueue("charge", **CHARGE).id == UUID(ID)
    assert len(slept) == 2
    assert all(2 <= seconds <= 3 for seconds in slept)


@respx.mock
def test_a_rate_without_room_for_long_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("slept"))
    over = problem(429, "/problems/too-many-requests", detail="At most 5.")
    over.headers["Retry-After"] = "60"
    respx.post(f"{URL}/v1/jobs").mock(return_value=over)
    with pytest.raises(ferryman.Unreachable, match="At most 5"):
        ferryman.enqueue("charge", **CHARGE)
