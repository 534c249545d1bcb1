"""`POST /v1/jobs`: one job for each key, told apart by 201 and 200."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

from api.examples import EXAMPLES, MORE
from tests.api.conftest import serving
from tests.api.proxy import proxied

SHOWN = {
    "id",
    "kind",
    "vendor",
    "status",
    "reason",
    "priority",
    "attempts",
    "run_at",
    "expires_at",
    "result",
    "error",
    "key",
    "batch_id",
    "created_at",
    "finished_at",
}
Ledger = psycopg.Connection[Any]


def jobs(ledger: Ledger) -> list[dict[str, Any]]:
    return ledger.execute("SELECT * FROM ferryman.jobs ORDER BY id").fetchall()


async def test_a_new_job_is_stored_and_shown(
    client: httpx.AsyncClient, ledger: Ledger, charge: Any
) -> None:
    answer = await client.post("/v1/jobs", json=charge)
    assert answer.status_code == 201
    job = answer.json()
    assert set(job) == SHOWN
    assert (job["status"], job["vendor"], job["priority"]) == ("waiting", "stripe", "normal")
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    (row,) = jobs(ledger)
    assert str(row["id"]) == job["id"]
    assert row["args"] == charge["args"]


async def test_everything_that_can_be_asked_for(
    client: httpx.AsyncClient, ledger: Ledger, charge: Any
) -> None:
    wish = {
        "key": "order-42",
        "run_at": "2030-01-31T13:00:00.123456789+01:00",
        "expires_at": "2030-02-01t00:00:00z",
        "priority": "high",
        "vendor": "stripe",
    }
    job = (await client.post("/v1/jobs", json=charge | wish)).json()
    assert job["run_at"] == "2030-01-31T12:00:00.123456Z"
    assert job["expires_at"] == "2030-02-01T00:00:00Z"
    assert (job["priority"], job["key"]) == ("high", "order-42")
    assert jobs(ledger)[0]["priority"] == "high"


async def test_absent_and_null_are_the_same(client: httpx.AsyncClient, charge: Any) -> None:
    names = ("key", "run_at", "expires_at", "priority", "vendor")
    answer = await client.post("/v1/jobs", json=charge | dict.fromkeys(names))
    assert answer.status_code == 201
    assert answer.json()["priority"] == "normal"


async def test_arguments_are_stored_as_given(
    client: httpx.AsyncClient, ledger: Ledger, charge: Any
) -> None:
    charge["args"] |= {"currency": "USD", "description": "ä \\u0000 🛳"}
    assert (await client.post("/v1/jobs", json=charge)).status_code == 201
    assert jobs(ledger)[0]["args"] == charge["args"]


async def test_the_same_key_is_the_same_job(
    client: httpx.AsyncClient, ledger: Ledger, charge: Any
) -> None:
    answers = await asyncio.gather(
        *(client.post("/v1/jobs", json=charge | {"key": "order-42"}) for _ in range(5))
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 4 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(jobs(ledger)) == 1


async def test_the_key_may_stand_in_the_header(
    client: httpx.AsyncClient, ledger: Ledger, charge: Any
) -> None:
    header = {"Idempotency-Key": "order-42"}
    first = await client.post("/v1/jobs", json=charge, headers=header)
    again = await client.post("/v1/jobs", json=charge | {"key": "order-42"}, headers=header)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["key"] == "order-42"
    assert len(jobs(ledger)) == 1


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ([("Idempotency-Key", "another")], "key"),
        ([("Idempotency-Key", "")], "Idempotency-Key"),
        ([("Idempotency-Key", "x" * 256)], "Idempotency-Key"),
        ([("Idempotency-Key", "order-42"), ("Idempotency-Key", "order-42")], "Idempotency-Key"),
        ([("Idempotency-Key", "\xe4")], "Idempotency-Key"),
    ],
)
async def test_a_header_that_is_no_key(
    client: httpx.AsyncClient,
    ledger: Ledger,
    charge: Any,
    headers: list[tuple[str, str]],
    field: str,
) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    answer = await client.post("/v1/jobs", json=charge | {"key": "order-42"}, headers=raw)
    assert answer.status_code == 422
    assert answer.json()["field"] == field
    assert jobs(ledger) == []


async def test_a_key_with_other_arguments_is_a_conflict(
    client: httpx.AsyncClient, ledger: Ledger, charge: Any
) -> None:
    await client.post("/v1/jobs", json=charge | {"key": "order-42"})
    charge["args"]["amount"] = 1251
    answer = await client.post("/v1/jobs", json=charge | {"key": "order-42"})
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/key-conflict"
    assert answer.json()["field"] == "key"
    assert "order-42" not in answer.text
    assert len(jobs(ledger)) == 1


async def test_a_key_in_an_open_transaction_holds_nobody_up(
    client: httpx.AsyncClient, ledger: Ledger, charge: Any
) -> None:
    with ledger.transaction():
        ledger.execute(
            "SELECT ferryman.enqueue('charge', %s, key => 'order-42')", (Jsonb(charge["args"]),)
        )
        started = time.monotonic()
        answer = await client.post("/v1/jobs", json=charge | {"key": "order-42"})
        assert time.monotonic() - started < 3
        assert (await client.post("/v1/jobs", json=charge | {"key": "43"})).status_code == 201
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/key-in-flight"
    assert answer.headers["retry-after"] == "1"
    assert (await client.post("/v1/jobs", json=charge | {"key": "order-42"})).status_code == 200


async def test_a_key_outlives_its_job(
    client: httpx.AsyncClient, ledger: Ledger, charge: Any
) -> None:
    await client.post("/v1/jobs", json=charge | {"key": "order-42"})
    ledger.execute("DELETE FROM ferryman.jobs")
    answer = await client.post("/v1/jobs", json=charge | {"key": "order-42"})
    assert answer.status_code == 410
    assert answer.json()["type"] == "/problems/job-removed"
    assert jobs(ledger) == []


async def test_thousands_of_recipients_fit(client: httpx.AsyncClient, ledger: Ledger) -> None:
    recipients = [
        {"to": f"user{n}@example.com", "data": {"name": f"User {n}"}} for n in range(2500)
    ]
    args = {"recipients": recipients, "template": "d-0123"}
    answer = await client.post("/v1/jobs", json={"kind": "bulk_email", "args": args})
    assert answer.status_code == 201, answer.text
    assert len(jobs(ledger)[0]["args"]["recipients"]) == 2500


@pytest.mark.parametrize("name", sorted(EXAMPLES | MORE))
async def test_each_example_is_taken(
    client: httpx.AsyncClient, ledger: Ledger, charge: Any, name: str, tmp_path: Path
) -> None:
    example = (EXAMPLES | MORE)[name]
    args = example["args"]
    if "source" in args:  # its folder must be there
        args = args | {"source": tmp_path.as_uri()}
    if "charge" in args:  # and so must this one
        ledger.execute(
            "SELECT ferryman.enqueue('charge', %s, id => %s)",
            (Jsonb(charge["args"]), args["charge"]),
        )
    answer = await client.post("/v1/jobs", json=example | {"args": args})
    assert answer.status_code == 201, answer.text
    assert answer.json()["kind"] == example["kind"]


async def test_a_source_folder_that_is_not_there_is_refused(
    client: httpx.AsyncClient, ledger: Ledger, tmp_path: Path
) -> None:
    args = {"source": (tmp_path / "gone").as_uri(), "destination": "s3://backup"}
    answer = await client.post("/v1/jobs", json={"kind": "sync_objects", "args": args})
    assert (answer.status_code, answer.json()["field"]) == (422, "source")
    assert jobs(ledger) == []


@pytest.mark.parametrize("key", [None, "order-42"])
async def test_a_connection_lost_at_the_commit_makes_no_second_job(
    emptied: str, ledger: Ledger, charge: Any, key: str | None
) -> None:
    async with proxied(emptied) as proxy, serving(proxy.url) as (_, client):
        await client.get("/v1/jobs")
        proxy.cut_after(b"COMMIT")
        answer = await client.post("/v1/jobs", json=charge | {"key": key})
    assert answer.status_code == 201, answer.text
    (row,) = jobs(ledger)
    assert str(row["id"]) == answer.json()["id"]
