"""Prometheus' figures are the ledger's, whichever process tells them, and cost it little."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from api import metrics
from api.metrics import Kept
from ferryman.policies import policies
from tests.api.conftest import serving

Ledger = psycopg.Connection[Any]
Labels = tuple[str, ...]


@pytest.fixture(autouse=True)
def _always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(metrics, "SHARE", 1e9)


@pytest.fixture(autouse=True)
def _no_totals(ledger: Ledger) -> None:
    ledger.execute("DELETE FROM ferryman.metric_totals")
    ledger.execute("UPDATE ferryman.metric_mark SET at = now()")


async def read(client: httpx.AsyncClient) -> dict[str, dict[Labels, float]]:
    """Every sample by its name and the values of its labels, in the order of their names."""
    answer = await client.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def store(ledger: Ledger, status: str, vendor: str = "stripe", ago: str = "0 s") -> Any:
    job_id = uuid7()
    ledger.execute(
        "INSERT INTO ferryman.jobs (id, kind, vendor, args, status, run_at)"
        " VALUES (%s, 'charge', %s, '{}', %s, now() - %s::interval)",
        (job_id, vendor, status, ago),
    )
    return job_id


def attempt(ledger: Ledger, outcome: str, *latencies: int, ago: str = "0 s") -> None:
    job_id = store(ledger, "succeeded")
    ledger.execute(
        "INSERT INTO ferryman.attempts (job_id, number, worker, finished_at, outcome)"
        " VALUES (%s, 1, %s, now() - %s::interval, %s)",
        (job_id, uuid7(), ago, outcome),
    )
    for latency in latencies:
        ledger.execute(
            "INSERT INTO ferryman.interactions (id, job_id, attempt, vendor, method, url,"
            " status_code, latency_ms, request, response, at)"
            " VALUES (%s, %s, 1, 'stripe', 'POST', 'u', 200, %s, '{}', %s, now())",
            (uuid7(), job_id, latency, Jsonb({})),
        )


async def test_an_empty_ledger_is_zeros_and_not_gaps(client: httpx.AsyncClient) -> None:
    found = await read(client)
    pairs = [(kind, vendor) for vendor, policy in policies().items() for kind in policy.kinds]
    assert len(found["ferryman_jobs"]) == 6 * len(pairs)
    for name in ("ferryman_oldest_due_seconds", "ferryman_breaker_state", "ferryman_unknown_jobs"):
        assert found[name] == {(vendor,): 0.0 for vendor in policies()}
    assert set(found["ferryman_jobs"].values()) == {0.0}
    assert "ferryman_quota_remaining" not in found


async def test_jobs_are_counted_by_status_kind_and_vendor(
    client: httpx.AsyncClient, ledger: Ledger
) -> None:
    statuses = ["waiting", "waiting", "running", "unknown", "failed", "succeeded", "cancelled"]
    for status in statuses:
        store(ledger, status)
    found = await read(client)
    for status in statuses:
        assert found["ferryman_jobs"]["charge", status, "stripe"] == statuses.count(status)
    assert found["ferryman_jobs"]["refund", "waiting", "stripe"] == 0
    assert found["ferryman_unknown_jobs"][("stripe",)] == 1


@pytest.mark.parametrize("published", [False, True])
async def test_how_long_the_oldest_due_job_waits(
    client: httpx.AsyncClient, ledger: Ledger, published: bool
) -> None:
    store(ledger, "waiting", ago="90 s")
    if published:
        ledger.execute("UPDATE ferryman.jobs SET published_at = now()")
    store(ledger, "waiting", ago="30 s")
    store(ledger, "running", ago="1 day")
    store(ledger, "waiting", "sendgrid", ago="-1 hour")
    found = (await read(client))["ferryman_oldest_due_seconds"]
    assert 90 <= found[("stripe",)] < 100
    assert found[("sendgrid",)] == 0


async def test_vendors(client: httpx.AsyncClient, ledger: Ledger) -> None:
    ledger.execute(
        "INSERT INTO ferryman.vendor_states (vendor, breaker, quota_remaining, quota_reset_at)"
        " VALUES ('stripe', 'open', 7, now() + interval '1 minute'),"
        " ('sendgrid', 'half-open', 7, now() - interval '1 minute')"
    )
    found = await read(client)
    assert found["ferryman_breaker_state"][("stripe",)] == 2
    assert found["ferryman_breaker_state"][("sendgrid",)] == 1
    assert found["ferryman_breaker_state"][("s3",)] == 0
    assert found["ferryman_quota_remaining"] == {("stripe",): 7}


async def test_attempts_are_counted_once_and_for_good(
    client: httpx.AsyncClient, ledger: Ledger, emptied: str
) -> None:
    """By two processes, before and after they were added to the totals, and after the rows went."""
    attempt(ledger, "succeeded", ago="90 minutes")
    ledger.execute("UPDATE ferryman.metric_mark SET at = now() - interval '1 hour'")
    for ago in ("50 minutes", "25 minutes", "1 minute", "1 s"):
        attempt(ledger, "succeeded", ago=ago)
    attempt(ledger, "unavailable", ago="0 s")
    expected = {("succeeded", "stripe"): 4.0, ("unavailable", "stripe"): 1.0}
    for _ in range(2):
        assert (await read(client))["ferryman_attempts_total"] == expected
    ledger.execute("DELETE FROM ferryman.attempts WHERE finished_at < now() - interval '30 s'")
    async with serving(emptied) as (_, other):
        assert (await read(other))["ferryman_attempts_total"] == expected


async def test_latencies_fall_into_classes(client: httpx.AsyncClient, ledger: Ledger) -> None:
    attempt(ledger, "succeeded", 50, 51, 100, ago="1 minute")
    attempt(ledger, "succeeded", 31_000)
    ledger.execute("UPDATE ferryman.metric_mark SET at = now() - interval '5 minutes'")
    found = await read(client)
    name = "ferryman_vendor_latency_seconds"
    assert found[f"{name}_count"] == {("stripe",): 4}
    assert found[f"{name}_sum"] == {("stripe",): pytest.approx(31.201)}
    buckets = found[f"{name}_bucket"]
    assert [buckets[bound, "stripe"] for bound in ("0.05", "0.1", "30.0", "+Inf")] == [1, 3, 3, 4]


async def test_webhooks_are_counted_by_this_process(
    emptied: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", "one")
    for name in ("PAYPAL_WEBHOOK_ID", "SENDGRID_WEBHOOK_PUBLIC_KEY", "TWILIO_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    async with serving(emptied) as (_, client), serving(emptied) as (_, other):
        for vendor in ("stripe", "stripe", "paypal", "s3", "nobody"):
            await client.post(f"/webhooks/{vendor}", content=b"{}")
        counted = (await read(client))["ferryman_webhooks_total"]
        others = (await read(other))["ferryman_webhooks_total"]
    # As Prometheus orders labels: the outcome, the vendor.
    assert {labels for labels, n in counted.items() if n} == {
        ("forged", "stripe"),
        ("closed", "paypal"),
    }
    assert counted["forged", "stripe"] == 2
    assert set(others.values()) == {0.0}
    assert {vendor for _, vendor in others} == {
        "stripe",
        "paypal",
        "sendgrid",
        "twilio",
        "hubspot",
    }


async def test_a_token_is_needed_where_one_is_set(database_url: str) -> None:
    async with serving(database_url, tokens=["one"]) as (_, client):
        assert (await client.get("/metrics")).status_code == 401
        headers = {"Authorization": "Bearer one"}
        assert (await client.get("/metrics", headers=headers)).status_code == 200


async def test_without_a_ledger_there_are_none() -> None:
    async with serving("postgresql://127.0.0.1:1/x") as (_, client):
        assert (await client.get("/metrics")).status_code == 503


async def test_a_costly_figure_is_asked_for_seldom_and_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "SHARE", 0.1)
    monkeypatch.setattr(metrics, "PATIENCE_SECONDS", 0.05)
    asked = 0

    async def count() -> int:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.2)
        return asked

    kept = Kept(count)
    assert await asyncio.gather(*(kept.get() for _ in range(5))) == [1] * 5
    assert await kept.get() == 1
    assert asked == 1
    # It is old now: who asks gets the old figure rather than wait, and the new one later.
    kept._good_until = 0.0
    assert await kept.get() == 1
    await asyncio.sleep(0.3)
    assert await kept.get() == 2
