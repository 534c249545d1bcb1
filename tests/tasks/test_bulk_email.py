"""The plan of a batch: who gets a mail, in which request, and who is set aside."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from models import mail
from tests.tasks.driver import Driver
from tests.tasks.mails import HELLO, addressed, batch, many, parts


async def test_a_batch_is_there_from_the_start(driver: Driver) -> None:
    bulk_id = await driver.enqueue("bulk_email", many(3), key="spring sale")
    again = await driver.enqueue("bulk_email", many(3), key="spring sale")

    assert again == bulk_id
    assert await batch(driver, bulk_id) == {"status": "running", "total": 0}
    (job,) = await driver.rows("SELECT batch_id FROM ferryman.jobs WHERE id = :id", id=bulk_id)
    assert job["batch_id"] == bulk_id


async def test_2500_recipients_are_three_requests_and_each_gets_one_mail(driver: Driver) -> None:
    args, expiry = many(2500), datetime(2090, 1, 1, tzinfo=UTC)
    bulk_id = await driver.enqueue("bulk_email", args, expires_at=expiry)

    planned = await driver.run(bulk_id)

    assert planned["status"] == "succeeded"
    assert planned["result"]["batch_id"] == str(bulk_id)
    assert planned["result"]["total"] == 2500
    assert planned["result"]["counts"]["waiting"] == 2500
    assert driver.vendor.requests == []
    assert await batch(driver, bulk_id) == {"status": "running", "total": 2500, "waiting": 2500}
    children = await parts(driver, bulk_id)
    assert [child["args"] for child in children] == [
        {"batch": str(bulk_id), "part": part} for part in (1, 2, 3)
    ]
    assert {(child["priority"], child["expires_at"]) for child in children} == {("low", expiry)}
    for child in children:
        assert (await driver.run(child["id"]))["status"] == "succeeded"
    assert await batch(driver, bulk_id) == {"status": "done", "total": 2500, "sent": 2500}
    sizes = [len(addressed(request)) for request, _ in driver.vendor.requests]
    assert sizes == [1000, 1000, 500]
    reached = Counter(to for request, _ in driver.vendor.requests for to in addressed(request))
    assert reached == Counter(person["to"] for person in args["recipients"])


async def test_invalid_and_duplicate_recipients_are_set_aside_with_the_reason(
    driver: Driver,
) -> None:
    people = [
        {"to": "ada@example.com", "data": {"name": "Ada"}},
        {"to": " ADA@Example.com ", "data": {"name": "Ada again"}},
        {"to": "not an address", "data": {"name": "Nobody"}},
        {"to": "x@example.com\r\nBcc: y@example.com", "data": {"name": "Mallory"}},
        {"to": "\u00e4d\u00e4@example.com", "data": {"name": "Ada"}},
        {"to": "grace@example.com"},
        {"to": "grace@example.com", "data": {"name": "Grace"}},
    ]
    bulk_id = await driver.enqueue("bulk_email", {**HELLO, "recipients": people})
    planned = await driver.run(bulk_id)

    told = {name: count for name, count in planned["result"]["counts"].items() if count}
    assert told == {"waiting": 2, "invalid": 4, "duplicate": 1}
    rows = await driver.rows(
        "SELECT status, reason FROM ferryman.emails WHERE batch_id = :id ORDER BY id", id=bulk_id
    )
    assert [(row["status"], row["reason"]) for row in rows] == [
        ("waiting", None),
        ("duplicate", "to: it stands in the list already"),
        ("invalid", "to: must be an e-mail address such as ada@example.com"),
        ("invalid", "to: must not contain line breaks"),
        ("invalid", "to: the vendor takes only ASCII letters before the @"),
        ("invalid", "data: has no `name`"),
        ("waiting", None),
    ]
    (child,) = await parts(driver, bulk_id)
    await driver.run(child["id"])
    assert addressed(driver.vendor.requests[0][0]) == ["ada@example.com", "grace@example.com"]
    assert await batch(driver, bulk_id) == {
        "status": "done",
        "total": 7,
        "sent": 2,
        "invalid": 4,
        "duplicate": 1,
    }


async def test_a_batch_with_nobody_to_send_to_is_done(driver: Driver) -> None:
    bulk_id = await driver.enqueue("bulk_email", {**HELLO, "recipients": [{"to": "nobody"}]})
    assert (await driver.run(bulk_id))["status"] == "succeeded"
    assert await batch(driver, bulk_id) == {"status": "done", "total": 1, "invalid": 1}
    assert await parts(driver, bulk_id) == []


@pytest.mark.parametrize(
    "changes", [{"text": "{{ name|upper }}"}, {"template": "welcome"}, {"subject": 5}]
)
async def test_a_bulk_that_cannot_be_sent_plans_nothing(
    driver: Driver, changes: dict[str, Any]
) -> None:
    bulk_id = await driver.enqueue("bulk_email", many(3, **changes))
    job = await driver.run(bulk_id)

    assert (job["status"], job["error"]["code"]) == ("failed", "invalid_arguments")
    assert next(iter(changes)) in job["error"]["message"]
    assert await batch(driver, bulk_id) == {"status": "done", "total": 0}
    assert await parts(driver, bulk_id) == []


async def test_a_plan_is_made_once_whoever_runs_it_again(driver: Driver) -> None:
    bulk_id = await driver.enqueue("bulk_email", many(5))
    await driver.run(bulk_id)
    before = await parts(driver, bulk_id)
    # As after a crash between the plan's commit and the job's end.
    await driver.rows(
        "UPDATE ferryman.jobs SET status = 'waiting', finished_at = NULL WHERE id = :id", id=bulk_id
    )

    assert (await driver.run(bulk_id))["status"] == "succeeded"
    assert await parts(driver, bulk_id) == before
    assert await batch(driver, bulk_id) == {"status": "running", "total": 5, "waiting": 5}


async def test_a_job_that_has_ended_plans_nothing_any_more(driver: Driver) -> None:
    bulk_id = await driver.enqueue("bulk_email", many(5))
    late = mail.Plan(
        bulk_id, "sendgrid", {"template": None}, emails=(), parts=(mail.Part(bulk_id, 1),)
    )
    await driver.rows("UPDATE ferryman.jobs SET status = 'failed' WHERE id = :id", id=bulk_id)

    async with driver.ledger.transaction() as connection:
        await mail.plan(connection, late)

    assert await parts(driver, bulk_id) == []


async def test_a_bulk_without_a_sender_waits_and_says_which_setting_is_missing(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FROM_EMAIL")
    bulk_id = await driver.enqueue("bulk_email", many(3))
    job = await driver.run(bulk_id)

    assert (job["status"], job["reason"]) == ("waiting", "FROM_EMAIL is not set")
    assert await batch(driver, bulk_id) == {"status": "running", "total": 0}


async def test_a_name_that_nobody_has_is_a_slip_in_the_letter(driver: Driver) -> None:
    people = [{"to": f"person-{n}@example.com", "data": {"name": "x"}} for n in range(3)]
    args = {"subject": "Hello {{ nmae }}", "text": "Dear {{ name }}", "recipients": people}

    planned = await driver.run(await driver.enqueue("bulk_email", args))

    assert planned["status"] == "failed"
    assert planned["error"]["message"] == "subject: no recipient's data has `nmae`"
    assert driver.vendor.requests == []
