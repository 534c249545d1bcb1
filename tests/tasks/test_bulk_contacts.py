"""Imports of contacts: a job each, and what cannot be sent set aside by its line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from ferryman import requests
from ferryman.uploads import Identity
from models import batch_recipients, uploads
from models.contact_plan import id_of
from models.retention import Sweep
from tasks import _batch
from tests.tasks.crm import contact, imported, ride, sent
from tests.tasks.riders import Station, station

Row = dict[str, Any]


@pytest.fixture
async def at(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Station]:
    async with station(database_url, monkeypatch) as made:
        await made.rows("DELETE FROM ferryman.contacts")
        yield made


async def batch(at: Station, job_id: UUID) -> Row:
    (row,) = await at.rows("SELECT ferryman.batch(:id) AS batch", id=job_id)
    shown: Row = row["batch"]
    assert sum(shown["counts"].values()) == shown["total"]
    counts = {name: count for name, count in shown["counts"].items() if count}
    return {"status": shown["status"], "total": shown["total"], **counts}


async def aside(at: Station, job_id: UUID) -> list[tuple[Any, ...]]:
    rows = await at.rows(
        "SELECT place, status, field, reason FROM ferryman.set_aside WHERE batch_id = :id"
        " ORDER BY place",
        id=job_id,
    )
    return [tuple(row.values()) for row in rows]


async def test_an_import_is_a_job_a_contact(at: Station) -> None:
    job_id = await imported(
        at, [{"email": f"a{n}@example.com", "fields": {"title": str(n)}} for n in range(3)]
    )
    assert await batch(at, job_id) == {"status": "running", "total": 0}
    planned = await at.run(job_id)
    assert (planned["status"], planned["result"]["total"]) == ("succeeded", 3), planned["error"]
    assert await batch(at, job_id) == {"status": "running", "total": 3, "waiting": 3}
    at.vendors.bad = {"a1@example.com"}
    await ride(at)

    assert await batch(at, job_id) == {"status": "done", "total": 3, "sent": 2, "failed": 1}
    assert [len(one) for one in sent(at)] == [3]
    ids = [id_of(job_id, place) for place in (1, 2, 3)]
    assert await at.statuses(*ids) == ["succeeded", "failed", "succeeded"]
    assert {(await at.job(one))["priority"] for one in ids} == {"low"}

    at.vendors.bad = set()
    async with at.ledger.transaction() as connection:
        await _batch.retry_failed(connection, job_id, who="test")
    await at.due(ids[1])
    await ride(at)
    assert await batch(at, job_id) == {"status": "done", "total": 3, "sent": 3}


async def test_a_file_is_imported_by_its_lines(at: Station) -> None:
    text = b"to,external_id,first_name,phone\nada@example.com,,Ada,\n\nnobody,,x,y\n"
    listed, temporary = Identity("csv"), uuid7()
    listed.add(text)
    async with at.ledger.transaction() as connection:
        await uploads.keep(connection, temporary, 0, text)
        await uploads.done(
            connection, temporary, listed.id(), format="csv", rows=2, bytes=len(text)
        )
    job_id = await at.enqueue("bulk_contacts", {"upload": str(listed.id())})
    await at.run(job_id)

    assert await batch(at, job_id) == {"status": "running", "total": 2, "waiting": 1, "invalid": 1}
    assert [row[0] for row in await aside(at, job_id)] == [4]
    await ride(at)
    # An empty cell says nothing, and clears nothing.
    assert sent(at) == [[{"email": "ada@example.com", "firstname": "Ada"}]]
    assert await at.statuses(id_of(job_id, 2)) == ["succeeded"]


def test_a_field_to_clear_stays_in_the_request() -> None:
    record = requests.ContactRecord(email="ada@example.com", fields={"phone": None})
    (kept,) = requests.BulkContacts(contacts=[record]).args()["contacts"]
    assert kept == {"email": "ada@example.com", "fields": {"phone": None}}


async def test_what_cannot_be_sent_is_set_aside_by_its_line(at: Station) -> None:
    job_id = await imported(
        at,
        [
            {"email": "ada@example.com", "fields": {"title": "Countess"}},
            {"email": "no address"},
            {"email": "bob@example.com", "fields": {"shoe_size": 43}},
            {"email": "ADA@example.com", "fields": {"title": "Countess"}},
            {"email": "eve@example.com", "fields": {"title": "one"}},
            {"email": "eve@example.com", "fields": {"title": "another"}},
            {"email": "Eve@example.com", "fields": {"title": "one"}},
            {"email": "o'hara@example.com", "fields": {"title": "' OR Id != '"}},
        ],
    )
    await at.run(job_id)

    counts = {"waiting": 2, "invalid": 5, "duplicate": 1}
    assert await batch(at, job_id) == {"status": "running", "total": 8, **counts}
    rows = await aside(at, job_id)
    assert [row[:3] for row in rows] == [
        (2, "invalid", "email"),
        (3, "invalid", "fields.shoe_size"),
        (4, "duplicate", "email"),
        (5, "invalid", "email"),
        (6, "invalid", "email"),
        (7, "invalid", "email"),
    ]
    assert [row[3] for row in rows[2:]] == [
        "email: line 1 has the same record",
        "email: line 6 is another record with the same one",
        "email: line 5 is another record with the same one",
        "email: line 6 is another record with the same one",
    ]
    await ride(at)
    (both,) = sent(at)
    assert [one["jobtitle"] for one in both] == ["Countess", "' OR Id != '"]


async def test_the_lines_of_an_import_are_listed_in_their_order(at: Station) -> None:
    contacts: list[Row] = [{"email": f"a{n}@example.com"} for n in range(5)]
    contacts[2] = {"email": "no address", "fields": {"title": "x"}}
    job_id = await imported(at, contacts)
    await at.run(job_id)
    at.vendors.bad = {"a3@example.com"}
    await ride(at)

    async def page(**more: Any) -> list[Row]:
        asked = {"statuses": None, "after": None, "limit": 100} | more
        async with at.ledger.transaction() as connection:
            return await batch_recipients.recipients(connection, job_id, **asked)

    rows = await page()
    assert [(row["place"], row["to"], row["status"]) for row in rows] == [
        (1, "a0@example.com", "sent"),
        (2, "a1@example.com", "sent"),
        (3, "no address", "invalid"),
        (4, "a3@example.com", "failed"),
        (5, "a4@example.com", "sent"),
    ]
    assert rows[2]["data"] == {"fields": {"title": "x"}}
    assert rows[2]["reason"].startswith("email: ")
    assert rows[0]["vendor_reference"] == "500"
    assert await page(after=rows[1]["id"], limit=2) == rows[2:4]
    assert await page(statuses=["invalid"]) == [rows[2]]


async def test_two_records_with_one_external_id_name_each_other(
    at: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    contacts = [
        {"email": "ada@example.com", "external_id": "7"},
        {"email": "bob@example.com", "external_id": "7"},
    ]
    job_id = await imported(at, contacts, vendor="salesforce")
    await at.run(job_id)
    assert await aside(at, job_id) == [
        (1, "invalid", "external_id", "external_id: line 2 is another record with the same one"),
        (2, "invalid", "external_id", "external_id: line 1 is another record with the same one"),
    ]
    assert await batch(at, job_id) == {"status": "done", "total": 2, "invalid": 2}


@pytest.mark.parametrize(("step", "status"), [("pause", "paused"), ("cancel", "cancelled")])
async def test_a_batch_that_was_stopped_before_its_plan(
    at: Station, step: str, status: str
) -> None:
    job_id = await imported(at, [{"email": "ada@example.com"}])
    execution = await at.claim(job_id)
    async with at.ledger.transaction() as connection:
        # As a person's step that comes while the plan is made.
        await at.rows("UPDATE ferryman.batches SET status = :s WHERE id = :id", s=status, id=job_id)
        assert connection
    await execution.perform()
    counted = "waiting" if step == "pause" else "cancelled"
    assert await batch(at, job_id) == {"status": status, "total": 1, counted: 1}
    await ride(at)
    assert at.vendors.requests == []


async def test_an_old_import_leaves_nothing_behind(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with station(ledger_url, monkeypatch) as at:
        job_id = await imported(at, [{"email": "ada@example.com"}, {"email": "nobody"}])
        await at.run(job_id)
        await ride(at)
        sweep = Sweep(datetime.now(UTC) + timedelta(hours=1), [])
        while not sweep.done:
            async with at.ledger.transaction() as connection:
                await sweep.step(connection)
        for table in ("jobs", "batches", "set_aside", "loads", "sends", "interactions"):
            assert await at.rows(f"SELECT FROM ferryman.{table}") == [], table
        assert (await contact(at))["status"] == "active"


def test_the_lines_of_two_imports_of_one_moment_are_two_jobs() -> None:
    """Ids that were made within a millisecond differ only at their ends."""
    batches = [uuid7() for _ in range(100)]
    ids = {id_of(batch, place) for batch in batches for place in (0, 1)}
    assert len(ids) == 200
    assert sorted(id_of(batches[0], place) for place in (1, 9, 300))[-1] == id_of(batches[0], 300)


async def test_what_was_in_a_load_when_its_import_was_paused_waits_as_well(at: Station) -> None:
    job_id = await imported(at, [{"email": f"a{n}@example.com"} for n in range(2)])
    await at.run(job_id)
    pause = "UPDATE ferryman.batches SET status = 'paused' WHERE id = :id"
    await at.rows(pause, id=job_id)  # as it is seen by one that the pause could not lock
    await ride(at)

    assert at.vendors.requests == []
    lines = [id_of(job_id, place) for place in (1, 2)]
    jobs = [await at.job(line) for line in lines]
    assert [(job["status"], job["reason"]) for job in jobs] == [
        ("waiting", "its batch is paused")
    ] * 2
    assert all(job[name].year > 8999 for job in jobs for name in ("run_at", "due_at"))
    async with at.ledger.transaction() as connection:
        await _batch.resume(connection, job_id, who="a test")
    await ride(at)
    assert await at.statuses(*lines) == ["succeeded"] * 2
