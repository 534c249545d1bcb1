"""The plan of a batch: who gets a mail, in which request, and who is set aside."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from models import batch_recipients, mail_plan, suppressions
from tests.tasks.driver import Driver
from tests.tasks.mails import HELLO, PLAIN, addressed, batch, many, parts


async def rows(driver: Driver, bulk_id: UUID) -> list[dict[str, Any]]:
    query = "SELECT * FROM ferryman.emails WHERE batch_id = :id ORDER BY place"
    return await driver.rows(query, id=bulk_id)


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


async def test_those_who_cannot_be_sent_to_are_set_aside_with_the_reason(driver: Driver) -> None:
    people = [
        {"to": "ada@example.com", "data": {"name": "Ada"}},
        {"to": " ADA@Example.com ", "data": {"name": "Ada again"}},
        {"to": "not an address", "data": {"name": 'No\tbody\\ "x"'}},
        {"to": "x@example.com\r\nBcc: y@example.com", "data": {"name": "Mallory"}},
        {"to": "\u00e4d\u00e4@example.com", "data": {"name": "Ada"}},
        {"to": "grace@example.com"},
        {"to": "Gone@example.com"},
        {"to": "grace@example.com", "data": {"name": "Grace\n\\N"}},
    ]
    gone = {"channel": "email", "address": "gone@example.com", "reason": "unsubscribe"}
    async with driver.ledger.transaction() as connection:
        await suppressions.add(connection, [{**gone, "source": "test"}])
    bulk_id = await driver.enqueue("bulk_email", {**HELLO, "recipients": people})
    planned = await driver.run(bulk_id)

    told = {name: count for name, count in planned["result"]["counts"].items() if count}
    assert told == {"waiting": 2, "invalid": 3, "duplicate": 2, "suppressed": 1}
    found = await rows(driver, bulk_id)
    assert [(row["place"], row["status"], row["reason"]) for row in found] == [
        (1, "waiting", None),
        (2, "duplicate", "to: it stands in the list already"),
        (3, "invalid", "to: must be an e-mail address such as ada@example.com"),
        (4, "invalid", "to: must not contain line breaks"),
        (5, "invalid", "to: the vendor takes only ASCII letters before the @"),
        (6, "waiting", None),
        (7, "suppressed", "to: is suppressed (unsubscribe)"),
        (8, "duplicate", "to: it stands in the list already"),
    ]
    # What is set aside is kept as it was given, whatever stood in it.
    assert [row["recipient"] for row in found][2:5] == [p["to"] for p in people][2:5]
    assert [row["data"] for row in found] == [p.get("data") for p in people]
    (child,) = await parts(driver, bulk_id)
    await driver.run(child["id"])
    assert addressed(driver.vendor.requests[0][0]) == ["ada@example.com", "grace@example.com"]
    assert await batch(driver, bulk_id) == {
        "status": "done",
        "total": 8,
        "sent": 2,
        "invalid": 3,
        "duplicate": 2,
        "suppressed": 1,
    }
    async with driver.ledger.transaction() as connection:
        aside = await batch_recipients.recipients(
            connection, bulk_id, statuses=["invalid", "suppressed"], after=None, limit=3
        )
        rest = await batch_recipients.recipients(
            connection,
            bulk_id,
            statuses=["invalid", "suppressed"],
            after=aside[-1]["id"],
            limit=3,
        )
    assert [row["place"] for row in aside + rest] == [3, 4, 5, 7]


async def test_a_batch_with_nobody_to_send_to_is_done(driver: Driver) -> None:
    bulk_id = await driver.enqueue("bulk_email", {**HELLO, "recipients": [{"to": "nobody"}]})
    assert (await driver.run(bulk_id))["status"] == "succeeded"
    assert await batch(driver, bulk_id) == {"status": "done", "total": 1, "invalid": 1}
    assert await parts(driver, bulk_id) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"template": "welcome", "subject": "x"},
        {"subject": 5},
        {"unsubscribe_url": "https://shop.example/{"},
        {"upload": str(uuid7()), "recipients": None},
    ],
)
async def test_a_bulk_that_cannot_be_sent_plans_nothing(
    driver: Driver, changes: dict[str, Any]
) -> None:
    args = {name: value for name, value in many(3, **changes).items() if value is not None}
    bulk_id = await driver.enqueue("bulk_email", args)
    job = await driver.run(bulk_id)

    assert job["status"] == "failed"
    assert next(iter(changes)) in job["error"]["message"]
    assert await batch(driver, bulk_id) == {"status": "done", "total": 0}
    assert await parts(driver, bulk_id) == []


async def test_data_of_a_recipient_needs_a_template(driver: Driver) -> None:
    letter = {"subject": "Hello", "text": "Good day", "recipients": many(2)["recipients"]}
    job = await driver.run(await driver.enqueue("bulk_email", letter))
    assert (job["status"], job["error"]["field"]) == ("failed", "recipients.0.data")


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
    part = mail_plan.Part(uuid7(), 1, 1)
    late = mail_plan.Plan(bulk_id, {"template": None}, 0, [part], part.id, part.id, None, 1.0, 1.0)
    await driver.rows("UPDATE ferryman.jobs SET status = 'failed' WHERE id = :id", id=bulk_id)

    async with driver.ledger.transaction() as connection:
        assert await mail_plan.plan(connection, late) is None

    assert await parts(driver, bulk_id) == []


async def test_a_bulk_without_a_sender_waits_and_says_which_setting_is_missing(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FROM_EMAIL")
    bulk_id = await driver.enqueue("bulk_email", many(3))
    job = await driver.run(bulk_id)

    assert (job["status"], job["reason"]) == ("waiting", "FROM_EMAIL is not set")
    assert await batch(driver, bulk_id) == {"status": "running", "total": 0}


async def test_a_request_is_cut_where_its_data_would_be_too_much(driver: Driver) -> None:
    long = "x" * 900_000
    people = [{"to": f"p{n}@example.com", "data": {"name": long}} for n in range(3)]
    people.append({"to": "most@example.com", "data": {"name": long * 3}})
    bulk_id = await driver.enqueue("bulk_email", {**HELLO, "recipients": people})
    await driver.run(bulk_id)

    sizes = await driver.rows("SELECT size FROM ferryman.parts WHERE batch_id = :id", id=bulk_id)
    assert sorted(row["size"] for row in sizes) == [1, 2]
    (last,) = [row for row in await rows(driver, bulk_id) if row["status"] == "invalid"]
    assert last["reason"] == "data: is larger than a whole request may be"


async def test_a_new_sender_is_warmed_up(driver: Driver) -> None:
    """Six parts a minute, one behind the other, and none before its turn."""
    bulk_id = await driver.enqueue("bulk_email", many(60, per_minute=120))
    await driver.run(bulk_id)
    children = await parts(driver, bulk_id)
    begin = children[0]["run_at"]
    ahead = [round((child["run_at"] - begin).total_seconds()) for child in children]
    assert ahead == [0, 10, 20]

    first = await driver.run(children[0]["id"])
    second = await driver.run(children[1]["id"])

    assert (first["status"], second["status"]) == ("succeeded", "waiting")
    assert second["reason"] == "waits for its batch's turn in the minute"
    assert second["attempts"] == 0
    assert 8 < (second["run_at"] - datetime.now(UTC)).total_seconds() < 11
    assert await batch(driver, bulk_id) == {
        "status": "running",
        "total": 60,
        "sent": 20,
        "waiting": 40,
    }


async def test_everybody_has_an_unsubscribe_link_of_his_own(driver: Driver) -> None:
    people = [{"to": "a@example.com", "data": {"code": "1 2"}}, {"to": "b@example.com"}]
    letter = {**HELLO, "unsubscribe_url": "https://shop.example/{code}/{id}"}
    bulk_id = await driver.enqueue("bulk_email", {**letter, "recipients": people})
    await driver.run(bulk_id)
    (child,) = await parts(driver, bulk_id)
    await driver.run(child["id"])

    ada, other = await rows(driver, bulk_id)
    assert other["reason"] == "data: `code`, for the unsubscribe_url, is missing or is no text"
    ((request, _),) = driver.vendor.requests
    (sent,) = json.loads(request.body)["personalizations"]
    link = f"<https://shop.example/1%202/{ada['id']}>"
    assert sent["headers"]["List-Unsubscribe"] == link


async def test_one_text_for_all(driver: Driver) -> None:
    letter = {name: value for name, value in PLAIN.items() if name != "to"}
    people = [{"to": f"p{n}@example.com"} for n in range(3)]
    bulk_id = await driver.enqueue("bulk_email", {**letter, "recipients": people})
    await driver.run(bulk_id)
    (child,) = await parts(driver, bulk_id)
    await driver.run(child["id"])
    assert await batch(driver, bulk_id) == {"status": "done", "total": 3, "sent": 3}
