"""One request of a batch: whatever becomes of it, the counts sum up."""

from __future__ import annotations

import json

import pytest
from sqlalchemy.exc import DBAPIError

from adapters._base import Response
from models import mail, suppressions, workers
from tasks import _batch
from tests.tasks.driver import Driver
from tests.tasks.mails import PLAIN, REFUSED, Script, addressed, batch, many, parts


async def test_the_mails_of_a_batch_say_to_each_his_own(driver: Driver) -> None:
    args = many(2, data={"name": "friend", "shop": "A & B"})
    args["recipients"][1] = {"to": "grace@example.com"}
    bulk_id = await driver.enqueue("bulk_email", args)
    await driver.run(bulk_id)
    (child,) = await parts(driver, bulk_id)
    await driver.run(child["id"])

    ((request, _),) = driver.vendor.requests
    sent = json.loads(request.body)["personalizations"]
    told = [(one["to"][0]["email"], one["dynamic_template_data"]) for one in sent]
    (frozen,) = {data["timestamp"] for _, data in told}
    assert told == [
        ("user0@example.com", {"timestamp": frozen, "name": "N0", "shop": "A & B"}),
        ("grace@example.com", {"timestamp": frozen, "name": "friend", "shop": "A & B"}),
    ]
    rows = await driver.rows(
        "SELECT id, recipient FROM ferryman.emails WHERE batch_id = :id", id=bulk_id
    )
    ids = {row["recipient"]: str(row["id"]) for row in rows}
    for one in sent:
        named = {
            "ferryman_job": str(child["id"]),
            "ferryman_email": ids[one["to"][0]["email"]],
        }
        assert one["custom_args"] == named


async def test_a_recipient_whom_the_vendor_refuses_fails_alone(
    driver: Driver, script: Script
) -> None:
    bulk_id = await driver.enqueue("bulk_email", many(5))
    await driver.run(bulk_id)
    (child,) = await parts(driver, bulk_id)
    wrong = {"message": "no", "field": "personalizations.3.to.0.email"}
    script.next = [Response(400, {}, json.dumps({"errors": [wrong]}).encode())]

    job = await driver.run(child["id"])

    assert (job["status"], job["attempts"], job["result"]["count"]) == ("succeeded", 1, 4)
    assert await batch(driver, bulk_id) == {"status": "done", "total": 5, "sent": 4, "failed": 1}
    first, second = (addressed(request) for request, _ in driver.vendor.requests)
    assert [to for to in first if to not in second] == ["user3@example.com"]
    (row,) = await driver.rows(
        "SELECT * FROM ferryman.emails WHERE batch_id = :id AND status = 'failed'", id=bulk_id
    )
    assert (row["recipient"], row["reason"] is not None) == ("user3@example.com", True)

    async with driver.ledger.transaction() as connection:
        await _batch.retry_failed(connection, bulk_id, who="test")

    assert await batch(driver, bulk_id) == {
        "status": "running",
        "total": 5,
        "sent": 4,
        "waiting": 1,
    }
    (again,) = [one for one in await parts(driver, bulk_id) if one["status"] == "waiting"]
    await driver.run(again["id"])
    assert addressed(driver.vendor.requests[-1][0]) == ["user3@example.com"]
    assert await batch(driver, bulk_id) == {"status": "done", "total": 5, "sent": 5}


async def test_who_is_suppressed_after_the_plan_gets_nothing(driver: Driver) -> None:
    bulk_id = await driver.enqueue("bulk_email", many(3))
    await driver.run(bulk_id)
    (child,) = await parts(driver, bulk_id)
    gone = {"channel": "email", "address": "user1@example.com", "reason": "unsubscribe"}
    async with driver.ledger.transaction() as connection:
        await suppressions.add(connection, [{**gone, "source": "test"}])

    await driver.run(child["id"])

    assert await batch(driver, bulk_id) == {
        "status": "done",
        "total": 3,
        "sent": 2,
        "suppressed": 1,
    }
    assert addressed(driver.vendor.requests[0][0]) == ["user0@example.com", "user2@example.com"]


@pytest.mark.parametrize(
    ("answer", "status"), [(REFUSED, "failed"), (Response(500, {}, b""), "unknown")]
)
async def test_a_part_that_does_not_arrive_moves_its_recipients_alone(
    driver: Driver, script: Script, answer: Response, status: str
) -> None:
    bulk_id = await driver.enqueue("bulk_email", many(1500))
    await driver.run(bulk_id)
    first, second = await parts(driver, bulk_id)
    script.next = [answer]

    job = await driver.run(first["id"])

    assert job["status"] == status
    assert await batch(driver, bulk_id) == {
        "status": "running",
        "total": 1500,
        status: 1000,
        "waiting": 500,
    }
    await driver.run(second["id"])
    assert await batch(driver, bulk_id) == {
        "status": "done",
        "total": 1500,
        status: 1000,
        "sent": 500,
    }
    reasons = await driver.rows(
        "SELECT DISTINCT reason FROM ferryman.emails WHERE job_id = :id", id=first["id"]
    )
    assert reasons == [{"reason": job["error"]["message"]}]


async def test_a_throttled_part_is_sent_once(driver: Driver, script: Script) -> None:
    bulk_id = await driver.enqueue("bulk_email", many(10))
    await driver.run(bulk_id)
    (child,) = await parts(driver, bulk_id)
    script.next = [Response(429, {}, b"")]
    assert (await driver.run(child["id"]))["status"] == "waiting"
    await batch(driver, bulk_id)
    await driver.rows("UPDATE ferryman.vendor_states SET cooldown_until = NULL")
    driver.runtime.breakers._seen_at = float("-inf")

    assert (await driver.run(child["id"]))["status"] == "succeeded"
    assert await batch(driver, bulk_id) == {"status": "done", "total": 10, "sent": 10}


async def test_a_part_whose_worker_died_after_sending_is_unknown(driver: Driver) -> None:
    bulk_id = await driver.enqueue("bulk_email", many(10))
    await driver.run(bulk_id)
    (child,) = await parts(driver, bulk_id)
    execution = await driver.claim(child["id"])
    # It is sent, but its end is never written.
    await execution._run()
    assert await batch(driver, bulk_id) == {"status": "running", "total": 10, "sending": 10}
    await driver.rows("UPDATE ferryman.workers SET lease_until = '-infinity'")

    async with driver.ledger.transaction() as connection:
        rescued = await workers.rescue(connection, max_crashes=3, overdue_seconds=30, looks={})
        (fate,) = [job for job in rescued if job["id"] == child["id"]]
        assert fate["status"] == "unknown"
        await mail.write_emails(
            connection, [{"job_id": str(child["id"]), "status": fate["status"]}]
        )

    assert await batch(driver, bulk_id) == {"status": "done", "total": 10, "unknown": 10}


async def test_several_jobs_end_in_one_statement(driver: Driver) -> None:
    """As a group commit ends them: parts of one batch, its bulk job, and a single mail."""
    bulk_id = await driver.enqueue("bulk_email", many(2500))
    await driver.run(bulk_id)
    single = await driver.enqueue("send_email", PLAIN)
    first, second, third = (child["id"] for child in await parts(driver, bulk_id))
    async with driver.ledger.transaction() as connection:
        await mail.sending_part(connection, first)
        await mail.write_emails(
            connection,
            [
                {"job_id": str(bulk_id), "status": "failed"},
                {"job_id": str(first), "status": "sent", "vendor_reference": "m"},
                {"job_id": str(second), "status": "failed"},
                {"job_id": str(single), "status": "failed"},
            ],
        )
    assert await batch(driver, bulk_id) == {
        "status": "running",
        "total": 2500,
        "sent": 1000,
        "failed": 1000,
        "waiting": 500,
    }
    async with driver.ledger.transaction() as connection:
        await mail.write_emails(connection, [{"job_id": str(third), "status": "unknown"}])
        # Once more changes nothing: a sent mail stays sent.
        await mail.write_emails(connection, [{"job_id": str(first), "status": "failed"}])
    assert await batch(driver, bulk_id) == {
        "status": "done",
        "total": 2500,
        "sent": 1000,
        "failed": 1000,
        "unknown": 500,
    }


async def test_no_door_takes_the_parts_of_a_bulk(driver: Driver) -> None:
    with pytest.raises(DBAPIError, match="no kind of job"):
        await driver.enqueue("bulk_email_part", {"batch": "x", "part": 1})
