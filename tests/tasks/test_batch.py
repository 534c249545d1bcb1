"""A batch under control: paused, resumed, cancelled, retried; its counts always sum up."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from adapters._base import Response
from tasks import _batch
from tasks._settle import NotAllowed
from tests.tasks.driver import Driver
from tests.tasks.mails import REFUSED, Script, batch, many, parts


async def step(driver: Driver, name: str, id: object) -> None:
    async with driver.ledger.transaction() as connection:
        await getattr(_batch, name)(connection, id, who="test")


async def test_a_paused_batch_sends_nothing_until_it_is_resumed(driver: Driver) -> None:
    bulk_id = await driver.enqueue("bulk_email", many(3))
    await driver.run(bulk_id)
    await step(driver, "pause", bulk_id)

    (child,) = await parts(driver, bulk_id)
    assert child["run_at"].year == 9000
    assert child["reason"] == "its batch is paused"
    # One that comes back from the vendor meanwhile, or whose message is still under way.
    job = await driver.run(child["id"])
    assert (job["status"], job["reason"], job["attempts"]) == ("waiting", "its batch is paused", 0)
    assert driver.vendor.requests == []
    assert await batch(driver, bulk_id) == {"status": "paused", "total": 3, "waiting": 3}

    await step(driver, "resume", bulk_id)

    (child,) = await parts(driver, bulk_id)
    assert child["run_at"] <= datetime.now(UTC)
    assert child["reason"] is None
    await driver.run(child["id"])
    assert await batch(driver, bulk_id) == {"status": "done", "total": 3, "sent": 3}


async def test_a_batch_that_is_paused_before_its_plan_waits_with_all_its_mails(
    driver: Driver,
) -> None:
    bulk_id = await driver.enqueue("bulk_email", many(3))
    await step(driver, "pause", bulk_id)
    await driver.run(bulk_id)
    (child,) = await parts(driver, bulk_id)
    assert child["run_at"].year == 9000
    await step(driver, "resume", bulk_id)
    (child,) = await parts(driver, bulk_id)
    assert child["run_at"] <= datetime.now(UTC)


async def test_a_cancelled_batch_sends_no_more(driver: Driver) -> None:
    bulk_id = await driver.enqueue("bulk_email", many(2500))
    await driver.run(bulk_id)
    first, second, third = await parts(driver, bulk_id)
    await driver.run(first["id"])
    running = await driver.claim(second["id"])

    await step(driver, "cancel", bulk_id)
    await step(driver, "cancel", bulk_id)
    with pytest.raises(Exception) as stopped:  # noqa: PT011 - what it is, is the verdict's matter
        await running.perform()
    await running.end(stopped.value)

    assert await batch(driver, bulk_id) == {
        "status": "cancelled",
        "total": 2500,
        "sent": 1000,
        "cancelled": 1500,
    }
    assert {job["status"] for job in await parts(driver, bulk_id)} == {"succeeded", "cancelled"}
    assert len(driver.vendor.requests) == 1
    assert third["id"] not in [
        row["job_id"] for row in await driver.rows("SELECT job_id FROM ferryman.attempts")
    ]


async def test_a_batch_cancelled_before_its_plan_has_none(driver: Driver) -> None:
    bulk_id = await driver.enqueue("bulk_email", many(3))
    await step(driver, "cancel", bulk_id)
    (job,) = await driver.rows("SELECT status FROM ferryman.jobs WHERE id = :id", id=bulk_id)
    assert job["status"] == "cancelled"
    assert await batch(driver, bulk_id) == {"status": "cancelled", "total": 0}


async def test_only_what_failed_is_sent_again(driver: Driver, script: Script) -> None:
    bulk_id = await driver.enqueue("bulk_email", many(2500))
    await driver.run(bulk_id)
    script.next = [REFUSED, Response(500, {}, b"")]
    for child in await parts(driver, bulk_id):
        await driver.run(child["id"])
    counts = {"total": 2500, "failed": 1000, "unknown": 1000, "sent": 500}
    assert await batch(driver, bulk_id) == {"status": "done", **counts}

    await step(driver, "retry_failed", bulk_id)

    (again,) = [one for one in await parts(driver, bulk_id) if one["status"] == "waiting"]
    assert (await driver.run(again["id"]))["status"] == "succeeded"
    assert await batch(driver, bulk_id) == {
        "status": "done",
        "total": 2500,
        "unknown": 1000,
        "sent": 1500,
    }


async def test_what_cannot_be_done_is_refused(driver: Driver) -> None:
    bulk_id = await driver.enqueue("bulk_email", many(1))
    await driver.run(bulk_id)
    with pytest.raises(NotAllowed, match="none of it has failed"):
        await step(driver, "retry_failed", bulk_id)
    await driver.run((await parts(driver, bulk_id))[0]["id"])
    for name in ("pause", "resume", "cancel"):
        with pytest.raises(NotAllowed, match="done already"):
            await step(driver, name, bulk_id)
    with pytest.raises(_batch.NoSuchBatch):
        await step(driver, "pause", (await parts(driver, bulk_id))[0]["id"])
