"""`poll-events`: whom it asks, how far back, and what it says of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import respx

from tests.client.test_cli import ID, JOB, URL, assert_refused, run
from tests.harness import Harness

OTHER_ID = ID.replace("11", "22")
DONE = {"vendor": "stripe", "since": "…", "until": "…", "seen": 12, "new": 3}


@pytest.fixture(autouse=True)
def _api(use: Callable[..., None]) -> None:
    use(FERRYMAN_URL=URL)


def job(vendor: str = "stripe", status: str = "waiting", **rest: Any) -> dict[str, Any]:
    return {**JOB, "kind": "poll_events", "vendor": vendor, "status": status, **rest}


def poll(vendor: str, id: str = ID) -> respx.Route:
    answer = httpx.Response(202, json=job(vendor, id=id))
    return respx.post(f"{URL}/v1/vendors/{vendor}/poll-events").mock(return_value=answer)


def ends(id: str = ID, **how: Any) -> None:
    respx.get(f"{URL}/v1/jobs/{id}").respond(json=job(**{"status": "succeeded", **how}))


def asked(route: respx.Route) -> Any:
    return json.loads(route.calls.last.request.content)


@respx.mock
def test_one_vendor_is_asked_and_waited_for() -> None:
    route = poll("stripe")
    ends(result=DONE)
    result = run("poll-events", "stripe")
    assert (result.exit_code, result.stdout) == (0, "stripe: 12 seen, 3 new\n")
    assert f"job {ID}" in result.stderr
    assert asked(route) == {}


@respx.mock
def test_all_that_can_be_asked_are() -> None:
    cards = [("stripe", True), ("sendgrid", False), ("paypal", True)]
    listed = [{"vendor": vendor, "polls_events": able} for vendor, able in cards]
    respx.get(f"{URL}/v1/vendors").respond(json={"vendors": listed})
    poll("stripe")
    poll("paypal", OTHER_ID)
    ends(result=DONE)
    ends(OTHER_ID, vendor="paypal", result={**DONE, "vendor": "paypal", "seen": 0, "new": 0})
    result = run("poll-events")
    assert result.exit_code == 0
    assert result.stdout == "stripe: 12 seen, 3 new\npaypal: 0 seen, 0 new\n"


@respx.mock
def test_nobody_to_ask_is_said() -> None:
    respx.get(f"{URL}/v1/vendors").respond(
        json={"vendors": [{"vendor": "stripe", "polls_events": False}]}
    )
    result = run("poll-events")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "name one whose credentials the workers have" in result.stderr


@respx.mock
def test_no_wait() -> None:
    poll("stripe")
    result = run("poll-events", "stripe", "--no-wait")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{ID}\n", "")
    document = json.loads(run("poll-events", "stripe", "--no-wait", "--json").stdout)
    assert document == {"jobs": [job()]}


@pytest.mark.parametrize(("since", "seconds"), [("2h", 7200), ("30d", 2_592_000)])
@respx.mock
def test_how_far_back(since: str, seconds: int) -> None:
    route = poll("stripe")
    at = (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()
    for given in (since, at):
        assert run("poll-events", "stripe", "--no-wait", "--since", given).exit_code == 0
        assert 0 <= asked(route)["since_seconds"] - seconds < 60


@pytest.mark.parametrize("since", ["31d", "2100-01-01T00:00:00Z", "0s", "yesterday"])
def test_a_time_that_cannot_be_asked_for(since: str) -> None:
    assert_refused(run("poll-events", "stripe", "--since", since), "--since")


@respx.mock
@pytest.mark.parametrize(
    ("how", "said", "status"),
    [
        ({"status": "failed", "error": {"code": "expired", "message": "it waited"}}, "failed", 1),
        ({"status": "unknown", "reason": "nobody knows"}, "unknown nobody knows", 3),
    ],
)
def test_how_else_it_may_end(how: dict[str, Any], said: str, status: int) -> None:
    poll("stripe")
    ends(**how)
    result = run("poll-events", "stripe")
    assert result.exit_code == status
    assert f"stripe: {said}" in result.stdout


@respx.mock
@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (404, {"type": "/problems/not-found", "title": "T", "detail": "no vendor of that name"}),
        (422, {"title": "T", "detail": "d", "field": "vendor", "errors": []}),
    ],
)
def test_a_vendor_without_a_list(status: int, problem: dict[str, Any]) -> None:
    respx.post(f"{URL}/v1/vendors/s3/poll-events").respond(status, json=problem)
    assert_refused(run("poll-events", "s3"))


def test_it_needs_an_api(use: Callable[..., None]) -> None:
    use(FERRYMAN_URL="", FERRYMAN_DATABASE_URL="postgresql://127.0.0.1:1/x")
    assert_refused(run("poll-events", "stripe"), "FERRYMAN_URL is not set", "needs the HTTP API")


def test_help_teaches() -> None:
    text = run("poll-events", "--help").stdout
    for word in ("--since 2h", "webhook", "30 days", "Exit status"):
        assert word in text


def test_the_api_takes_it(harness: Harness, use: Callable[..., None]) -> None:
    use(FERRYMAN_URL=harness.api())
    result = run("poll-events", "stripe", "--since", "2h", "--no-wait")
    assert result.exit_code == 0, result.stderr
    (row,) = harness.rows("SELECT id, kind, vendor, args FROM ferryman.jobs")
    assert str(row.pop("id")) == result.stdout.strip()
    assert row == {"kind": "poll_events", "vendor": "stripe", "args": {"since_seconds": 7200}}
