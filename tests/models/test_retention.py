"""What is removed of what has ended long ago, and what stays for good."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from adapters._base import Unknown
from models import retention
from tests.tasks.driver import Driver, driving
from worker.retention import sweep

CHARGE = {"customer": "u", "amount": 1, "currency": "usd", "payment_method": "pm"}
MAIL = {"to": "one@example.com", "subject": "s", "text": "t"}
OF_A_JOB = ("attempts", "sends", "interventions", "interactions")
DAYS = 90


@pytest.fixture
async def driver(database_url: str) -> AsyncIterator[Driver]:
    async with driving(database_url, lambda _: Unknown("nothing is sent here")) as driver:
        yield driver


async def left(driver: Driver, table: str, id: UUID, column: str = "job_id") -> int:
    query = f"SELECT count(*) AS n FROM ferryman.{table} WHERE {column} = :id"
    return int((await driver.rows(query, id=id))[0]["n"])


async def ended(
    driver: Driver, id: UUID, *, days: float = DAYS + 1, status: str = "succeeded"
) -> UUID:
    """The job as one that ended so long ago, with something in each table that hangs on it."""
    at = datetime.now(UTC) - timedelta(days=days)
    await driver.rows(
        "UPDATE ferryman.jobs SET created_at = :at, finished_at = :at, status = :status"
        " WHERE id = :id",
        id=id, at=at, status=status,
    )  # fmt: skip
    for query in (
        "INSERT INTO ferryman.attempts (job_id, number, worker) VALUES (:id, 1, :id)",
        "INSERT INTO ferryman.sends (job_id, step, attempt, vendor_key, repeat, request)"
        " VALUES (:id, 's', 1, 'k', 'key', '{}')",
        "INSERT INTO ferryman.interventions (job_id, who, action, was, became)"
        " VALUES (:id, 'w', 'retry', 'failed', 'waiting')",
        "INSERT INTO ferryman.interactions (id, job_id, attempt, vendor, method, url, latency_ms,"
        " at) VALUES (gen_random_uuid(), :id, 1, 'stripe', 'GET', 'http://x', 1, now())",
    ):
        await driver.rows(query, id=id)
    return id


async def test_a_job_goes_with_all_that_hangs_on_it_but_its_key_stays(driver: Driver) -> None:
    old = await ended(driver, await driver.enqueue("send_email", MAIL, key="welcome"))
    young = await ended(driver, await driver.enqueue("send_email", MAIL), days=DAYS - 1)

    assert await sweep(driver.ledger, days=DAYS) == 1

    assert [await left(driver, table, old) for table in OF_A_JOB] == [0, 0, 0, 0]
    assert [await left(driver, table, young) for table in OF_A_JOB] == [1, 1, 1, 1]
    assert await left(driver, "jobs", old, "id") == 0
    assert await left(driver, "jobs", young, "id") == 1
    assert await left(driver, "job_keys", old) == 1
    assert await driver.enqueue("send_email", MAIL, key="welcome") == old
    assert await left(driver, "jobs", old, "id") == 0


async def test_a_key_that_ferryman_gave_by_itself_goes_too(driver: Driver) -> None:
    old = await ended(driver, await driver.enqueue("poll_events", {}, key="poll", vendor="stripe"))

    await sweep(driver.ledger, days=DAYS)

    assert await left(driver, "job_keys", old) == 0


async def test_money_stays_with_its_job_and_only_its_calls_go(driver: Driver) -> None:
    old = await ended(driver, await driver.enqueue("charge", CHARGE))
    await driver.rows(
        "INSERT INTO ferryman.charges (id, vendor, status, amount, currency, customer)"
        " VALUES (:id, 'stripe', 'succeeded', 1, 'usd', 'u')",
        id=old,
    )

    assert await sweep(driver.ledger, days=DAYS) == 0

    assert [await left(driver, table, old) for table in OF_A_JOB] == [1, 1, 1, 0]
    assert await left(driver, "jobs", old, "id") == 1
    assert await left(driver, "charges", old, "id") == 1


@pytest.mark.parametrize("status", ["waiting", "running", "unknown"])
async def test_what_has_not_ended_stays_however_old_it_is(driver: Driver, status: str) -> None:
    old = await ended(driver, await driver.enqueue("send_email", MAIL), status=status)

    assert await sweep(driver.ledger, days=DAYS) == 0

    assert await left(driver, "jobs", old, "id") == 1


async def batch(driver: Driver, children: int, **of_the_last: Any) -> UUID:
    """A bulk mail that ended long ago: two mails a child, and one that was set aside."""
    recipients = {"recipients": [{"to": "one@example.com"}], "subject": "s", "text": "t"}
    bulk = await ended(driver, await driver.enqueue("bulk_email", recipients))
    for number in range(children):
        child = uuid7()
        await driver.rows(
            "INSERT INTO ferryman.jobs (id, kind, vendor, args, batch_id)"
            " VALUES (:id, 'bulk_email_part', 'sendgrid', '{}', :bulk)",
            id=child, bulk=bulk,
        )  # fmt: skip
        await driver.rows(
            "INSERT INTO ferryman.parts (job_id, batch_id, part, size) VALUES (:id, :bulk, :n, 2)",
            id=child, bulk=bulk, n=number + 1,
        )  # fmt: skip
        await _mails(driver, child, bulk, 2)
        await ended(driver, child, **(of_the_last if number == children - 1 else {}))
    await _mails(driver, bulk, bulk, 1)
    return bulk


async def _mails(driver: Driver, job: UUID, bulk: UUID, count: int) -> None:
    await driver.rows(
        "INSERT INTO ferryman.mails (id, job_id, batch_id, vendor, recipient)"
        " SELECT gen_random_uuid(), :job, :bulk, 'sendgrid', 'a@example.com'"
        " FROM generate_series(1, :count)",
        job=job, bulk=bulk, count=count,
    )  # fmt: skip


async def counts(driver: Driver, bulk: UUID) -> list[int]:
    tables = (("jobs", "batch_id"), ("parts", "batch_id"), ("mails", "batch_id"), ("batches", "id"))
    return [await left(driver, table, bulk, column) for table, column in tables]


async def test_a_batch_goes_as_a_whole_in_short_steps(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk = await batch(driver, 5)
    assert await counts(driver, bulk) == [6, 5, 11, 1]

    assert await sweep(driver.ledger, days=DAYS) == 6

    assert await counts(driver, bulk) == [0, 0, 0, 0]


@pytest.mark.parametrize("last", [{"status": "waiting"}, {"days": DAYS - 1}])
async def test_a_batch_of_which_one_is_open_or_young_stays_whole(
    driver: Driver, last: dict[str, Any]
) -> None:
    bulk = await batch(driver, 3, **last)

    await sweep(driver.ledger, days=DAYS)

    assert await counts(driver, bulk) == [4, 3, 7, 1]


async def test_a_step_takes_no_more_than_so_many_mails(driver: Driver) -> None:
    bulk = await batch(driver, 3)
    await driver.rows("UPDATE ferryman.parts SET size = 6000 WHERE batch_id = :id", id=bulk)
    work = retention.Sweep(datetime.now(UTC) - timedelta(days=DAYS), ())
    left_after = []
    while not work.done:
        async with driver.ledger.transaction() as connection:
            await work.step(connection)
        left_after.append((await counts(driver, bulk))[0])

    # The window, two children, the third, what was set aside, the batch, and nothing more.
    assert left_after[:6] == [4, 2, 1, 1, 0, 0]


async def test_objects_uploads_and_events_go_when_they_are_old(driver: Driver) -> None:
    sync = await ended(
        driver,
        await driver.enqueue("sync_objects", {"source": "s3://one", "destination": "s3://other"}),
    )
    upload, used = uuid7(), uuid7()
    await driver.rows(
        "INSERT INTO ferryman.objects (job_id, key, action, outcome)"
        " VALUES (:id, 'a', 'copy', 'done')",
        id=sync,
    )
    for one in (upload, used):
        await driver.rows(
            "INSERT INTO ferryman.uploads (id, format, rows, bytes, created_at)"
            " VALUES (:id, 'csv', 1, 1, '2020-01-01')",
            id=one,
        )
        await driver.rows("INSERT INTO ferryman.upload_pieces VALUES (:id, 0, 'x')", id=one)
    await driver.enqueue("bulk_email", {"upload": str(used), "subject": "s", "text": "t"})
    for name, due in (("heard", None), ("due", datetime.now(UTC))):
        await driver.rows(
            "INSERT INTO ferryman.events (id, vendor, event_id, type, at, payload, via,"
            " received_at, due_at)"
            " VALUES (gen_random_uuid(), 'stripe', :name, 't', now(), '{}', 'poll', '2020-01-01',"
            " :due)",
            name=name, due=due,
        )  # fmt: skip

    await sweep(driver.ledger, days=DAYS)

    assert await left(driver, "objects", sync) == 0
    assert await left(driver, "upload_pieces", upload, "upload_id") == 0
    assert await left(driver, "upload_pieces", used, "upload_id") == 1
    events = await driver.rows("SELECT event_id FROM ferryman.events")
    assert [row["event_id"] for row in events] == ["due"]


async def test_only_one_process_sweeps_at_a_time(driver: Driver) -> None:
    await ended(driver, await driver.enqueue("send_email", MAIL))
    async with driver.ledger.transaction() as connection:
        await connection.execute(retention.ALONE)

        assert await sweep(driver.ledger, days=DAYS) == 0

    assert await sweep(driver.ledger, days=DAYS) == 1
