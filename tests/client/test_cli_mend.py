"""`retry`, `cancel`, `resolve`, `vendors`, `vendor`: what is asked, what is said, how it ends."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import respx

import ferryman
from ferryman.cli import mend
from tests.client.test_cli import ID, JOB, URL, assert_refused, run
from tests.harness import Harness

FILTER = ("--kind", "charge", "--code", "vendor_unavailable")
STEPS = (
    ("retry", ID),
    ("retry", "--vendor", "stripe"),
    ("cancel", ID),
    ("resolve", ID, "failed", "--note", "n"),
    ("vendors",),
    ("vendor", "pause", "stripe", "--note", "n"),
)
CARD: dict[str, Any] = {
    "vendor": "stripe",
    "breaker": "closed",
    "unavailable_since": None,
    "cooldown_until": None,
    "paused": None,
    "limit": {"per_second": 80.0, "burst": 20, "in_flight": 200},
    "quota": {"limit": 100, "remaining": 93, "reset_at": None},
    "waiting": 12,
    "in_flight": 3,
    "unknown": 1,
    "oldest_due_at": "2030-01-31T12:03:04.5Z",
    "last_hour": {"calls": 40, "error_rate": 0.025, "latency_p50_ms": 80, "latency_p95_ms": 240},
}


@pytest.fixture(autouse=True)
def _api(use: Callable[..., None]) -> None:
    use(FERRYMAN_URL=URL)


def sent(route: respx.Route) -> Any:
    return json.loads(route.calls.last.request.content)


@respx.mock
@pytest.mark.parametrize(("warning", "said"), [(None, ""), ("may be twice", "warning: may be")])
def test_one_job_is_retried(warning: str | None, said: str) -> None:
    route = respx.post(f"{URL}/v1/jobs/{ID}/retry").respond(json={**JOB, "warning": warning})
    result = run("retry", ID, "--note", "the card is mended")
    assert (result.exit_code, result.stdout) == (0, "waiting\n")
    assert said in result.stderr
    assert bool(result.stderr) == bool(warning)
    assert sent(route) == {"note": "the card is mended"}
    assert json.loads(run("retry", ID, "--json").stdout)["warning"] == warning
    assert sent(route) == {}


@pytest.fixture
def replay(respx_mock: respx.MockRouter) -> respx.Route:
    """An API that counts twelve jobs."""
    return respx_mock.post(f"{URL}/v1/jobs/retry").respond(json={"count": 12})


def test_a_filter_counts_only_when_it_is_told_to(replay: respx.Route) -> None:
    result = run("retry", *FILTER, "--since", "2h", "--dry-run")
    assert (result.exit_code, result.stdout) == (0, "12 failed jobs to retry\n")
    asked = sent(replay)
    since = datetime.fromisoformat(asked.pop("since"))
    assert 7190 < (datetime.now(UTC) - since).total_seconds() < 7260
    assert asked == {"kind": "charge", "code": "vendor_unavailable", "dry_run": True}
    assert replay.call_count == 1


def test_a_filter_counts_first_and_then_retries(replay: respx.Route) -> None:
    result = run("retry", *FILTER, "--yes", "--note", "it is over")
    assert (result.exit_code, result.stdout) == (0, "12 failed jobs retried\n")
    first, second = (json.loads(call.request.content) for call in replay.calls)
    assert first == {**second, "dry_run": True}
    assert (second["dry_run"], second["note"]) == (False, "it is over")
    document = json.loads(run("retry", *FILTER, "--yes", "--json").stdout)
    assert document == {"count": 12, "retried": True}


def test_without_a_terminal_nothing_is_retried_unasked(replay: respx.Route) -> None:
    result = run("retry", *FILTER)
    assert (result.exit_code, result.stdout) == (0, "12 failed jobs to retry\n")
    assert "add --yes" in result.stderr
    assert replay.call_count == 1


@pytest.mark.parametrize(("answer", "calls"), [("y\n", 2), ("n\n", 1)])
def test_on_a_terminal_it_asks(
    replay: respx.Route, monkeypatch: pytest.MonkeyPatch, answer: str, calls: int
) -> None:
    monkeypatch.setattr(mend, "_on_a_terminal", lambda: True)
    result = run("retry", *FILTER, given=answer)
    assert "Retry 12 failed jobs?" in result.stderr
    assert result.exit_code == 0
    assert replay.call_count == calls


@pytest.mark.respx(assert_all_called=False)
def test_nothing_to_retry_asks_nobody(respx_mock: respx.MockRouter) -> None:
    route = respx_mock.post(f"{URL}/v1/jobs/retry").respond(json={"count": 0})
    result = run("retry", *FILTER, "--yes")
    assert (result.exit_code, result.stdout) == (0, "0 failed jobs to retry\n")
    assert route.call_count == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "give the ID of a job, or at least one of --kind"),
        ((ID, "--kind", "charge"), "not both"),
        ((ID, "--yes"), "not both"),
        (("--kind", "charge", "--yes", "--dry-run"), "--dry-run only counts"),
        (("--kind", "nosuch"), "--kind: must be one of"),
        (("--since", "yesterday"), "--since: must be a time"),
        (("nope",), "id: must be a UUID"),
    ],
)
def test_bad_input_to_retry(words: tuple[str, ...], told: str) -> None:
    assert_refused(run("retry", *words), told)


@respx.mock
@pytest.mark.parametrize(("status", "said"), [("cancelled", ""), ("running", "asked to stop")])
def test_cancel(status: str, said: str) -> None:
    answer = httpx.Response(200 if status == "cancelled" else 202, json={**JOB, "status": status})
    respx.post(f"{URL}/v1/jobs/{ID}/cancel").mock(return_value=answer)
    result = run("cancel", ID)
    assert (result.exit_code, result.stdout) == (0, f"{status}\n")
    assert said in result.stderr


@respx.mock
@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
def test_resolve(outcome: str) -> None:
    route = respx.post(f"{URL}/v1/jobs/{ID}/resolve").respond(json={**JOB, "status": outcome})
    result = run("resolve", ID, outcome, "--note", "seen in their log")
    assert (result.exit_code, result.stdout) == (0, f"{outcome}\n")
    assert sent(route) == {"outcome": outcome, "note": "seen in their log"}
    assert_refused(run("resolve", ID, "perhaps", "--note", "n"), "'succeeded', 'failed'")
    assert_refused(run("resolve", ID, outcome), "--note")


@respx.mock
@pytest.mark.parametrize(
    ("status", "slug", "code"), [(409, "not-possible", 1), (404, "not-found", 2)]
)
def test_a_refusal(status: int, slug: str, code: int) -> None:
    document = {"type": f"/problems/{slug}", "title": "T", "status": status, "detail": "it is so"}
    for words in (("retry", ID), ("cancel", ID), ("resolve", ID, "failed", "--note", "n")):
        respx.post(f"{URL}/v1/jobs/{ID}/{words[0]}").respond(status, json=document)
        result = run(*words)
        assert (result.exit_code, result.stdout) == (code, "")
        assert result.stderr == "ferryman: it is so\n"


@pytest.mark.parametrize("words", STEPS)
def test_a_database_alone_will_not_do(use: Callable[..., None], words: tuple[str, ...]) -> None:
    use(FERRYMAN_URL="", FERRYMAN_DATABASE_URL="postgresql://127.0.0.1:1/x")
    assert_refused(run(*words), "FERRYMAN_URL is not set", "needs the HTTP API")


def test_nor_does_it_for_an_application(use: Callable[..., None]) -> None:
    use(FERRYMAN_URL="", FERRYMAN_DATABASE_URL="postgresql://127.0.0.1:1/x")
    with pytest.raises(ferryman.MissingSetting, match="needs the HTTP API") as missing:
        ferryman.Job(ferryman.client.as_id(ID)).cancel()
    assert missing.value.variable == "FERRYMAN_URL"


@respx.mock
def test_a_running_up_will_do_where_it_has_the_same_ledger(
    use: Callable[..., None], tmp_path: Path
) -> None:
    url = "postgresql://127.0.0.1:1/x"
    state = {"pid": os.getpid(), "api_url": "http://127.0.0.1:8099", "database_url": url}
    (tmp_path / "up.json").write_text(json.dumps(state))
    respx.post(f"http://127.0.0.1:8099/v1/jobs/{ID}/cancel").respond(json=JOB)
    for database in ("", url):
        use(FERRYMAN_URL="", FERRYMAN_HOME=str(tmp_path), FERRYMAN_DATABASE_URL=database)
        assert run("cancel", ID).exit_code == 0
    use(FERRYMAN_DATABASE_URL="postgresql://127.0.0.1:1/another")
    assert_refused(run("cancel", ID), "FERRYMAN_URL is not set")


@respx.mock
def test_an_application_does_the_same() -> None:
    job = ferryman.Job(ferryman.client.as_id(ID))
    retried = respx.post(f"{URL}/v1/jobs/{ID}/retry").respond(json={**JOB, "warning": "twice"})
    respx.post(f"{URL}/v1/jobs/{ID}/cancel").respond(202, json={**JOB, "status": "running"})
    resolved = respx.post(f"{URL}/v1/jobs/{ID}/resolve").respond(json={**JOB, "status": "failed"})
    assert (job.retry("mended").status, job.warning) == ("waiting", "twice")
    assert (job.cancel().status, job.warning) == ("running", None)
    assert job.resolve("failed", "not there").status == "failed"
    assert sent(retried) == {"note": "mended"}
    assert sent(resolved) == {"outcome": "failed", "note": "not there"}
    respx.post(f"{URL}/v1/jobs/{ID}/cancel").respond(409, json={"title": "T", "detail": "ended"})
    with pytest.raises(ferryman.NotPossible, match="ended"):
        job.cancel()
    respx.post(f"{URL}/v1/jobs/{ID}/cancel").respond(404, json={"title": "T", "detail": "none"})
    with pytest.raises(ferryman.NotFound, match="none"):
        job.cancel()


STATES: list[tuple[dict[str, Any], str]] = [
    ({}, "ok"),
    ({"paused": {"by": "the API", "note": "their\nincident"}}, "paused by the API: their incident"),
    (
        {"breaker": "open", "unavailable_since": "2030-01-31T12:03:04Z"},
        "open since 2030-01-31 12:03:04",
    ),
    (
        {"cooldown_until": f"{datetime.now(UTC).date()}T12:03:04.5Z"},
        "cooling down until 12:03:04",
    ),
    (
        {
            "cooldown_until": "2030-02-01T00:00:00.5Z",
            "daily": {"limit": 650_000, "remaining": 0, "resets_at": "2030-02-01T00:00:00Z"},
        },
        "93 of 100, 0 of 650000 a day  daily limit reached, until 2030-02-01 00:00:00",
    ),
]


@respx.mock
@pytest.mark.parametrize(("changes", "state"), STATES)
def test_the_scorecard_is_a_line_a_vendor(changes: dict[str, Any], state: str) -> None:
    quiet = {"calls": 0, "error_rate": 0.0, "latency_p50_ms": None, "latency_p95_ms": None}
    other = {**CARD, "vendor": "s3", "quota": None, "oldest_due_at": None, "last_hour": quiet}
    found = {"vendors": [{**CARD, **changes}, other]}
    respx.get(f"{URL}/v1/vendors").respond(json=found)
    head, stripe, s3 = run("vendors").stdout.splitlines()
    assert head.split("  ")[0] == "vendor"
    assert stripe.endswith(state)
    for word in ("12", "3", "2030-01-31 12:03:04", "40", "2.5%", "80/240 ms", "80/s", "93 of 100"):
        assert word in stripe
    assert s3.endswith("ok")
    assert json.loads(run("vendors", "--json").stdout) == found


@respx.mock
@pytest.mark.parametrize("step", ["pause", "resume"])
def test_a_vendor_is_paused_and_resumed(step: str) -> None:
    route = respx.post(f"{URL}/v1/vendors/stripe/{step}").respond(json=CARD)
    result = run("vendor", step, "stripe", "--note", "their incident")
    assert (result.exit_code, result.stdout) == (0, "stripe: ok\n")
    assert sent(route) == {"note": "their incident"}
    assert json.loads(run("vendor", step, "stripe", "--note", "n", "--json").stdout) == CARD
    assert_refused(run("vendor", step, "stripe"), "--note")
    nobody = {"title": "T", "detail": "There is no vendor of that name."}
    respx.post(url__startswith=f"{URL}/v1/vendors/").respond(404, json=nobody)
    assert_refused(run("vendor", step, "no/body", "--note", "n"), "no vendor of that name")


@respx.mock
def test_jobs_by_the_code_of_their_error() -> None:
    route = respx.get(f"{URL}/v1/jobs").respond(json={"jobs": [JOB], "next": None})
    assert run("jobs", "--code", "expired").exit_code == 0
    assert ferryman.jobs(code="expired")
    for call in route.calls:
        assert call.request.url.params["code"] == "expired"


def test_the_real_api_understands_each_of_them(harness: Harness, use: Callable[..., None]) -> None:
    use(FERRYMAN_URL=harness.api())
    paused = run("vendor", "pause", "stripe", "--note", "their incident")
    assert paused.stdout == "stripe: paused by the API: their incident\n"
    job_id = str(harness.charge())
    assert run("job", job_id).stdout.count("stripe is paused: their incident") == 1
    (line,) = [line for line in run("vendors").stdout.splitlines() if line.startswith("stripe")]
    assert line.endswith("paused by the API: their incident")
    assert run("vendor", "resume", "stripe", "--note", "over").stdout == "stripe: ok\n"
    assert run("cancel", job_id).stdout.startswith("cancelled")
    assert run("retry", job_id).exit_code == 1
    assert run("resolve", job_id, "failed", "--note", "n").exit_code == 1
    assert run("retry", str(uuid4())).exit_code == 2
    harness.connection.execute(
        "UPDATE ferryman.jobs SET status = 'failed', finished_at = now(), error ="
        ' \'{"code": "expired", "message": "too late", "type": "Expired"}\''
    )
    assert job_id in run("jobs", "--code", "expired").stdout
    filters = ("--kind", "charge", "--vendor", "stripe", "--code", "expired", "--since", "1h")
    assert run("retry", *filters, "--dry-run").stdout == "1 failed job to retry\n"
    assert run("retry", *filters, "--yes", "--note", "n").stdout == "1 failed job retried\n"
    assert harness.row("SELECT status FROM ferryman.jobs")["status"] == "waiting"
