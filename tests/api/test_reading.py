"""Reading jobs and attempts: the long poll, filters and pages."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from tests.api.conftest import serving

Ledger = psycopg.Connection[Any]
ENQUEUE = "SELECT ferryman.enqueue(%(kind)s, %(args)s, key => %(key)s) AS id"


def enqueue(ledger: Ledger, kind: str = "charge", key: str | None = None, **more: Any) -> UUID:
    named = "".join(f", {name} => %({name})s" for name in more)
    values = {"kind": kind, "args": Jsonb({}), "key": key, **more}
    row = ledger.execute(ENQUEUE.replace(")s)", f")s{named})"), values).fetchone()
    assert row
    return UUID(str(row["id"]))


def settle(ledger: Ledger, job_id: UUID, status: str) -> None:
    ledger.execute(
        "UPDATE ferryman.jobs SET status = %s, result = %s, finished_at = now() WHERE id = %s",
        (status, Jsonb({"id": str(job_id), "amount": 1250}), job_id),
    )


async def test_one_job(client: httpx.AsyncClient, ledger: Ledger) -> None:
    job_id = enqueue(ledger)
    settle(ledger, job_id, "succeeded")
    job = (await client.get(f"/v1/jobs/{job_id}")).json()
    assert job["status"] == "succeeded"
    assert job["result"] == {"id": str(job_id), "amount": 1250}
    assert job["finished_at"].endswith("Z")


async def test_times_are_utc_wherever_the_server_is(emptied: str, ledger: Ledger) -> None:
    job_id = enqueue(ledger)
    ledger.execute("UPDATE ferryman.jobs SET created_at = '2030-01-31T12:00:00Z'")
    async with serving(f"{emptied}?options=-c%20timezone%3DAsia/Kathmandu") as (_, client):
        job = (await client.get(f"/v1/jobs/{job_id}")).json()
    assert job["created_at"] == "2030-01-31T12:00:00Z"


@pytest.mark.parametrize("status", ["succeeded", "failed", "unknown", "cancelled"])
async def test_waiting_ends_with_the_job(
    client: httpx.AsyncClient, ledger: Ledger, status: str
) -> None:
    job_id = enqueue(ledger)
    started = time.monotonic()
    answer = asyncio.create_task(client.get(f"/v1/jobs/{job_id}?wait=30"))
    await asyncio.sleep(0.2)
    assert not answer.done()
    settle(ledger, job_id, status)
    assert (await answer).json()["status"] == status
    assert time.monotonic() - started < 3


async def test_waiting_ends_with_the_time(client: httpx.AsyncClient, ledger: Ledger) -> None:
    job_id = enqueue(ledger)
    started = time.monotonic()
    answer = await client.get(f"/v1/jobs/{job_id}?wait=0.5")
    assert answer.json()["status"] == "waiting"
    assert 0.4 < time.monotonic() - started < 3


async def test_waiting_may_end_when_the_payer_has_to_act(
    client: httpx.AsyncClient, ledger: Ledger
) -> None:
    job_id = enqueue(ledger)
    waits = f"/v1/jobs/{job_id}?wait=30"
    action, end = (asyncio.create_task(client.get(waits + more)) for more in ("&until=action", ""))
    await asyncio.sleep(0.2)
    assert not action.done()
    needed = {"status": "requires_action", "action_url": "https://vendor.test/agree"}
    ledger.execute("UPDATE ferryman.jobs SET result = %s", (Jsonb(needed),))
    assert (await action).json()["result"] == needed
    # Its payer has acted: now the bank decides.
    over = needed | {"status": "processing", "action_url": None}
    ledger.execute("UPDATE ferryman.jobs SET result = %s", (Jsonb(over),))
    assert (await client.get(f"/v1/jobs/{job_id}?wait=0.3&until=action")).json()["result"] == over
    assert not end.done()
    settle(ledger, job_id, "succeeded")
    assert (await end).json()["status"] == "succeeded"


async def test_many_wait_on_few_connections(emptied: str, ledger: Ledger) -> None:
    ids = [enqueue(ledger) for _ in range(40)]
    async with serving(emptied) as (_, client):
        waiting = [asyncio.create_task(client.get(f"/v1/jobs/{job_id}?wait=30")) for job_id in ids]
        await asyncio.sleep(0.3)
        # The others go on: nobody who waits holds a connection.
        assert (await client.get("/v1/jobs?limit=1")).status_code == 200
        ledger.execute("UPDATE ferryman.jobs SET status = 'succeeded'")
        answers = await asyncio.gather(*waiting)
    assert {answer.json()["status"] for answer in answers} == {"succeeded"}


async def test_waiting_ends_when_the_process_stops(emptied: str, ledger: Ledger) -> None:
    job_id = enqueue(ledger)
    async with serving(emptied) as (app, client):
        answer = asyncio.create_task(client.get(f"/v1/jobs/{job_id}?wait=30"))
        await asyncio.sleep(0.1)
        app.state.stopping = True
        async with asyncio.timeout(3):
            assert (await answer).json()["status"] == "waiting"


async def test_pages_tell_each_job_once(client: httpx.AsyncClient, ledger: Ledger) -> None:
    ids = [str(enqueue(ledger)) for _ in range(7)]
    seen: list[str] = []
    cursor, pages = "", 0
    while True:
        page = (await client.get(f"/v1/jobs?limit=3{cursor}")).json()
        seen += [job["id"] for job in page["jobs"]]
        pages += 1
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
        # What arrives meanwhile is newer and changes no page that follows.
        enqueue(ledger)
    assert seen == ids[::-1]
    assert pages == 3


async def test_a_full_last_page_has_no_next(client: httpx.AsyncClient, ledger: Ledger) -> None:
    for _ in range(3):
        enqueue(ledger)
    page = (await client.get("/v1/jobs?limit=3")).json()
    assert len(page["jobs"]) == 3
    assert page["next"] is None


async def test_filters(client: httpx.AsyncClient, ledger: Ledger) -> None:
    charge, mail = enqueue(ledger, key="same"), enqueue(ledger, "send_email", key="same")
    bulk, old = enqueue(ledger, "bulk_email"), enqueue(ledger)
    batch = uuid4()
    settle(ledger, charge, "failed")
    ledger.execute("UPDATE ferryman.jobs SET batch_id = %s WHERE id = %s", (batch, bulk))
    ledger.execute("UPDATE ferryman.jobs SET created_at = '2020-01-01Z' WHERE id = %s", (old,))

    async def found(query: str) -> set[UUID]:
        answer = await client.get(f"/v1/jobs?{query}")
        return {UUID(job["id"]) for job in answer.json()["jobs"]}

    assert await found("status=failed") == {charge}
    assert await found("kind=send_email") == {mail}
    assert await found("vendor=sendgrid") == {mail, bulk}
    assert await found("key=same") == {charge, mail}
    assert await found("key=same&kind=charge") == {charge}
    assert await found("key=other") == set()
    assert await found(f"batch={batch}") == {bulk}
    assert await found("since=2021-01-01T00:00:00Z") == {charge, mail, bulk}
    assert await found("since=2019-01-01T00:00:00+01:00") == {charge, mail, bulk, old}
    assert await found("status=waiting&vendor=stripe&since=2021-01-01T00:00:00Z") == set()


async def test_a_waiting_job_tells_what_its_vendor_waits_for(
    client: httpx.AsyncClient, ledger: Ledger
) -> None:
    job_id = enqueue(ledger)
    await client.post("/v1/vendors/stripe/pause", json={"note": "their incident"})
    job = (await client.get(f"/v1/jobs/{job_id}")).json()
    assert job["reason"] == "stripe is paused: their incident"


async def test_attempts_with_their_interactions(client: httpx.AsyncClient, ledger: Ledger) -> None:
    job_id, worker = enqueue(ledger), uuid4()
    nothing: dict[str, list[Any]] = {"attempts": [], "interventions": []}
    assert (await client.get(f"/v1/jobs/{job_id}/attempts")).json() == nothing
    for number in (1, 2):
        ledger.execute(
            "INSERT INTO ferryman.attempts (job_id, number, worker, outcome)"
            " VALUES (%s, %s, %s, 'Unavailable')",
            (job_id, number, worker),
        )
    interaction(ledger, job_id, 2, status=503)
    first, second = (await client.get(f"/v1/jobs/{job_id}/attempts")).json()["attempts"]
    assert (first["number"], first["interactions"]) == (1, [])
    assert (second["number"], second["outcome"]) == (2, "Unavailable")
    (exchange,) = second["interactions"]
    assert (exchange["status_code"], exchange["latency_ms"]) == (503, 40)
    assert exchange["response"] == {"body": "{}"}


def interaction(ledger: Ledger, job_id: UUID, attempt: int, *, status: int | None) -> None:
    ledger.execute(
        "INSERT INTO ferryman.interactions (id, job_id, attempt, vendor, method, url, status_code,"
        " latency_ms, request, response, at) VALUES"
        " (%s, %s, %s, 'stripe', 'POST', 'https://vendor.test/', %s, 40, '{}', %s, now())",
        (uuid7(), job_id, attempt, status, Jsonb({"body": "{}"})),
    )


async def test_newest_first_whatever_the_ids(client: httpx.AsyncClient, ledger: Ledger) -> None:
    # A foreign Celery app makes random ids: the oldest may be the greatest.
    ids = [enqueue(ledger, id=UUID(int=n)) for n in (9, 5, 7)]
    pages, cursor = [], ""
    while cursor is not None:
        page = (await client.get(f"/v1/jobs?limit=1{cursor and f'&cursor={cursor}'}")).json()
        pages += [UUID(job["id"]) for job in page["jobs"]]
        cursor = page["next"]
    assert pages == ids[::-1]


async def test_a_planned_job_says_for_when(client: httpx.AsyncClient, ledger: Ledger) -> None:
    job_id = enqueue(ledger, run_at="2031-02-03T04:05:06Z")
    job = (await client.get(f"/v1/jobs/{job_id}")).json()
    assert job["reason"] == "planned for 2031-02-03 04:05:06 UTC"
