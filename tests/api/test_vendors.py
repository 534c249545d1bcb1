"""The scorecard tells what the ledger knows of each vendor; a person can pause one."""

from __future__ import annotations

from typing import Any

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from ferryman.policies import policies

Ledger = psycopg.Connection[Any]


async def card(client: httpx.AsyncClient, vendor: str = "stripe") -> dict[str, Any]:
    answer = await client.get("/v1/vendors")
    assert answer.status_code == 200, answer.text
    cards: dict[str, Any] = {found["vendor"]: found for found in answer.json()["vendors"]}
    assert set(cards) == set(policies())
    found: dict[str, Any] = cards[vendor]
    return found


async def test_a_vendor_nobody_called(client: httpx.AsyncClient) -> None:
    found = await card(client)
    assert found["breaker"] == "closed"
    assert found["kinds"] == list(policies()["stripe"].kinds)
    assert (found["waiting"], found["in_flight"], found["unknown"]) == (0, 0, 0)
    assert found["paused"] is None
    assert found["oldest_due_at"] is None
    assert found["quota"] is None
    policy = policies()["stripe"]
    assert found["limit"] == {
        "per_second": policy.rate_per_second,
        "burst": policy.rate_burst,
        "in_flight": policy.max_in_flight,
    }
    assert found["last_hour"] == {
        "calls": 0,
        "errors": 0,
        "error_rate": 0.0,
        "throttled": 0,
        "latency_p50_ms": None,
        "latency_p95_ms": None,
    }


async def test_jobs_are_counted_by_what_they_do(client: httpx.AsyncClient, ledger: Ledger) -> None:
    for n, status in enumerate(["waiting", "waiting", "running", "unknown", "failed", "succeeded"]):
        ledger.execute(
            "INSERT INTO ferryman.jobs (id, kind, vendor, args, status, worker_id, run_at)"
            " VALUES (%s, 'charge', 'stripe', '{}', %s, %s, '2026-01-01T00:00:00Z'::timestamptz"
            " + make_interval(hours => %s))",
            (uuid7(), status, uuid7() if status == "running" else None, 3 - n),
        )
    for vendor in ("stripe", "sendgrid"):
        ledger.execute(
            "INSERT INTO ferryman.jobs (id, kind, vendor, args, run_at)"
            " VALUES (%s, 'charge', %s, '{}', now() + interval '1 day')",
            (uuid7(), vendor),
        )
    found = await card(client)
    assert (found["waiting"], found["in_flight"], found["unknown"]) == (3, 1, 1)
    assert found["oldest_due_at"] == "2026-01-01T02:00:00Z"
    planned = await card(client, "sendgrid")
    assert (planned["waiting"], planned["oldest_due_at"]) == (1, None)


async def test_the_last_hour(client: httpx.AsyncClient, ledger: Ledger) -> None:
    calls = [(200, 10), (200, 20), (402, 30), (429, 40), (503, 50), (None, 900)]
    for status, latency in calls:
        _interaction(ledger, status, latency)
    _interaction(ledger, 500, 1, age="61 minutes")
    hour = (await card(client))["last_hour"]
    assert (hour["calls"], hour["errors"], hour["throttled"]) == (6, 2, 1)
    assert hour["error_rate"] == 2 / 6
    assert (hour["latency_p50_ms"], hour["latency_p95_ms"]) == (30, 900)


def _interaction(ledger: Ledger, status: int | None, latency: int, age: str = "1 minute") -> None:
    ledger.execute(
        "INSERT INTO ferryman.interactions (id, job_id, attempt, vendor, method, url, status_code,"
        " latency_ms, request, response, at) VALUES (%s, %s, 1, 'stripe', 'POST',"
        " 'https://vendor.test/', %s, %s, '{}', %s, now() - %s::interval)",
        (uuid7(), uuid7(), status, latency, Jsonb({}), age),
    )


async def test_an_open_breaker_and_its_history(client: httpx.AsyncClient, ledger: Ledger) -> None:
    ledger.execute(
        "INSERT INTO ferryman.vendor_states"
        " (vendor, breaker, failures, opened_at, probe_at, cooldown_until)"
        " VALUES ('stripe', 'open', 10, now(), now() + interval '30 s', now() + interval '1 min'),"
        " ('sendgrid', 'closed', 0, NULL, NULL, now() - interval '1 min')"
    )
    for n in range(25):
        ledger.execute(
            "INSERT INTO ferryman.breaker_changes (vendor, state) VALUES ('stripe', %s)",
            (["closed", "half-open", "open"][n % 3],),
        )
    found = await card(client)
    assert (found["breaker"], found["failures"]) == ("open", 10)
    assert found["unavailable_since"] < found["next_probe_at"] < found["cooldown_until"]
    assert len(found["breaker_changes"]) == 20
    assert found["breaker_changes"][-1]["state"] == "closed"
    assert (await card(client, "sendgrid"))["cooldown_until"] is None


async def test_what_a_vendor_says_of_its_own_limits(
    client: httpx.AsyncClient, ledger: Ledger
) -> None:
    ledger.execute(
        "INSERT INTO ferryman.vendor_states (vendor, quota_limit, quota_remaining, quota_reset_at)"
        " VALUES ('stripe', 100, 93, '2030-01-31T12:00:00Z')"
    )
    quota = {"limit": 100, "remaining": 93, "reset_at": "2030-01-31T12:00:00Z"}
    assert (await card(client))["quota"] == quota


async def test_pause_and_resume(client: httpx.AsyncClient, ledger: Ledger) -> None:
    answer = await client.post("/v1/vendors/stripe/pause", json={"note": "their incident"})
    assert answer.status_code == 200
    paused = answer.json()["paused"]
    assert paused["note"] == "their incident"
    assert paused["since"].endswith("Z")
    assert answer.json() == await card(client)
    row = ledger.execute("SELECT * FROM ferryman.vendor_states WHERE vendor = 'stripe'").fetchone()
    assert row
    # A person's pause binds every worker, whatever its credentials are.
    assert row["pause_fingerprint"] is None
    assert (await card(client, "sendgrid"))["paused"] is None
    answer = await client.post("/v1/vendors/stripe/resume", json={"note": "it is over"})
    assert answer.json()["paused"] is None


async def test_polling_a_vendors_events_is_a_job(client: httpx.AsyncClient, ledger: Ledger) -> None:
    for body, args in (({"since_seconds": 7200}, {"since_seconds": 7200}), (None, {})):
        answer = await client.post("/v1/vendors/stripe/poll-events", json=body)
        assert answer.status_code == 202, answer.text
        job = answer.json()
        assert (job["kind"], job["vendor"], job["status"]) == ("poll_events", "stripe", "waiting")
        assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
        row = ledger.execute(
            "SELECT args FROM ferryman.jobs WHERE id = %s", (job["id"],)
        ).fetchone()
        assert row == {"args": args}
    assert (await client.post("/v1/jobs", json={"kind": "poll_events", "args": {}})).json()[
        "field"
    ] == "kind"


async def test_not_every_vendor_can_be_polled(client: httpx.AsyncClient, ledger: Ledger) -> None:
    assert (await client.post("/v1/vendors/nobody/poll-events")).status_code == 404
    for vendor, body, field in (
        ("s3", {}, "vendor"),
        ("sendgrid", {}, "vendor"),
        ("stripe", {"since_seconds": 0}, "since_seconds"),
        ("stripe", {"since_seconds": 2_592_001}, "since_seconds"),
        ("stripe", {"since_seconds": "7200"}, "since_seconds"),
        ("stripe", {"since": 7200}, "since"),
    ):
        answer = await client.post(f"/v1/vendors/{vendor}/poll-events", json=body)
        assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert ledger.execute("SELECT FROM ferryman.jobs").fetchall() == []


async def test_reading_a_vendors_own_suppressions_is_a_job(
    client: httpx.AsyncClient, ledger: Ledger
) -> None:
    for body in ({"note": "before the news"}, None):
        answer = await client.post("/v1/vendors/sendgrid/sync-suppressions", json=body)
        assert answer.status_code == 202, answer.text
        job = answer.json()
        told = (job["kind"], job["vendor"], job["status"])
        assert told == ("sync_suppressions", "sendgrid", "waiting")
        assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    ledger.execute("DELETE FROM ferryman.jobs")
    for vendor, status, field in (
        ("nobody", 404, "vendor"),
        ("stripe", 422, "vendor"),
        # Who sends messages keeps no such list.
        ("twilio", 422, "vendor"),
    ):
        answer = await client.post(f"/v1/vendors/{vendor}/sync-suppressions")
        assert (answer.status_code, answer.json()["field"]) == (status, field)
    answer = await client.post("/v1/vendors/sendgrid/sync-suppressions", json={"since": 1})
    assert (answer.status_code, answer.json()["field"]) == (422, "since")
    assert ledger.execute("SELECT FROM ferryman.jobs").fetchall() == []


async def test_the_card_tells_who_can_be_polled(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STRIPE_SECRET_KEY", raising=False)
    assert (await card(client))["polls_events"] is False
    monkeypatch.setenv("STRIPE_SECRET_KEY", "set")
    assert (await card(client))["polls_events"] is True
    assert (await card(client, "s3"))["polls_events"] is False


async def test_what_is_left_of_a_day(client: httpx.AsyncClient, ledger: Ledger) -> None:
    assert (await card(client, "hubspot"))["daily"] is None
    ledger.execute(
        "INSERT INTO ferryman.vendor_states (vendor, daily_limit, daily_remaining, daily_reset_at)"
        " VALUES ('hubspot', 650000, 0, '2130-01-31T00:00:00Z'),"
        " ('salesforce', 15000, 0, now() - interval '1 s')"
    )
    daily = {"limit": 650_000, "remaining": 0, "resets_at": "2130-01-31T00:00:00Z"}
    assert (await card(client, "hubspot"))["daily"] == daily
    over = {"limit": 15_000, "remaining": None, "resets_at": None}
    assert (await card(client, "salesforce"))["daily"] == over
