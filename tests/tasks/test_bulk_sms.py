"""The plan of a batch of text messages: who gets one, and who is set aside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from unittest.mock import AsyncMock
from uuid import UUID

import pytest

from adapters._base import Response
from ferryman.uploads import Identity
from models import batch_recipients, message_plan, settle
from models.walk import write
from tasks import _batch, _bulk, _settle
from tests.tasks.driver import Driver
from tests.tasks.texts import Account, hear, message, news, number, suppress, texting
from worker.verdict import LeaseLost

BODY = "We open at nine"
Row = dict[str, Any]


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
async def driver(
    database_url: str, account: Account, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Driver]:
    async with texting(database_url, account, monkeypatch) as made:
        yield made


async def bulk(driver: Driver, numbers: list[str], **options: Any) -> UUID:
    recipients = [{"to": one} for one in numbers]
    return await driver.enqueue("bulk_sms", {"body": BODY, "recipients": recipients}, **options)


async def batch(driver: Driver, id: UUID) -> Row:
    """The batch as the API shows it; its rows and its counts must agree."""
    (row,) = await driver.rows("SELECT ferryman.batch(:id) AS batch", id=id)
    shown: Row = row["batch"]
    rows = await driver.rows(
        "SELECT status, count(*) FROM ferryman.messages WHERE batch_id = :id GROUP BY status", id=id
    )
    counts = {name: count for name, count in shown["counts"].items() if count}
    assert counts == {row["status"]: row["count"] for row in rows}
    assert sum(counts.values()) == shown["total"]
    return {"status": shown["status"], "total": shown["total"], **counts}


async def children(driver: Driver, id: UUID) -> list[Row]:
    return await driver.rows(
        "SELECT * FROM ferryman.jobs WHERE batch_id = :id AND kind = 'send_sms' ORDER BY id", id=id
    )


async def test_each_recipient_has_a_job_and_gets_one_message(
    driver: Driver, account: Account
) -> None:
    numbers, expiry = [number() for _ in range(3)], datetime(2090, 1, 1, tzinfo=UTC)
    bulk_id = await bulk(driver, numbers, expires_at=expiry)
    assert await batch(driver, bulk_id) == {"status": "running", "total": 0}

    planned = await driver.run(bulk_id)

    assert planned["status"] == "succeeded", planned["error"]
    assert (planned["result"]["batch_id"], planned["result"]["total"]) == (str(bulk_id), 3)
    assert planned["result"]["counts"]["waiting"] == 3
    assert driver.vendor.requests == []
    jobs = await children(driver, bulk_id)
    assert [job["args"] for job in jobs] == [{"to": to, "body": BODY} for to in numbers]
    assert {(job["vendor"], job["priority"], job["expires_at"]) for job in jobs} == {
        ("twilio", "low", expiry)
    }
    rows = [await message(driver, job["id"]) for job in jobs]
    assert [(row["job_id"], row["place"], row["recipient"]) for row in rows] == [
        (job["id"], place, to) for place, (job, to) in enumerate(zip(jobs, numbers, strict=True), 1)
    ]
    assert {(row["body"], row["segments"], row["status"]) for row in rows} == {(BODY, 1, "waiting")}

    for job in jobs:
        assert (await driver.run(job["id"]))["status"] == "succeeded"
    assert await batch(driver, bulk_id) == {"status": "done", "total": 3, "sent": 3}
    assert [sent["to"] for sent in account.messages] == numbers


async def test_who_cannot_be_sent_to_is_set_aside_with_the_reason(driver: Driver) -> None:
    first, second, stopped = number(), number(), number()
    await suppress(driver, stopped)
    listed = [
        first,
        f"{first[:3]} ({first[3:6]}) {first[6:]}",
        stopped,
        "07700 900123",
        "+44",
        "ring me",
        second,
        stopped,
    ]
    bulk_id = await bulk(driver, listed)
    planned = await driver.run(bulk_id)

    counts = {"waiting": 2, "invalid": 3, "duplicate": 2, "suppressed": 1}
    told = {name: count for name, count in planned["result"]["counts"].items() if count}
    assert told == counts
    assert await batch(driver, bulk_id) == {"status": "running", "total": 8, **counts}
    rows = await driver.rows(
        "SELECT status, recipient, reason, job_id FROM ferryman.messages"
        " WHERE batch_id = :id ORDER BY place",
        id=bulk_id,
    )
    must = "to: must be a number such as +441632960961, with its country code"
    again = "to: it stands in the list already"
    assert [(row["status"], row["recipient"], row["reason"]) for row in rows] == [
        ("waiting", first, None),
        ("duplicate", first, again),
        ("suppressed", stopped, "to: is suppressed (unsubscribe)"),
        ("invalid", "07700 900123", must),
        ("invalid", "+44", must),
        ("invalid", "ring me", must),
        ("waiting", second, None),
        ("duplicate", stopped, again),
    ]
    jobs = await children(driver, bulk_id)
    assert [job["args"]["to"] for job in jobs] == [first, second]
    aside = {row["job_id"] for row in rows if row["status"] != "waiting"}
    assert aside == {bulk_id}


async def test_one_who_opts_out_after_the_plan_gets_nothing(
    driver: Driver, account: Account
) -> None:
    to = number()
    bulk_id = await bulk(driver, [to])
    await driver.run(bulk_id)
    await suppress(driver, to)
    (child,) = await children(driver, bulk_id)
    assert (await driver.run(child["id"]))["error"]["code"] == "suppressed"
    assert await batch(driver, bulk_id) == {"status": "done", "total": 1, "suppressed": 1}
    assert account.messages == []


async def test_a_batch_with_nobody_to_send_to_is_done(driver: Driver) -> None:
    bulk_id = await bulk(driver, ["nobody"])
    assert (await driver.run(bulk_id))["status"] == "succeeded"
    assert await batch(driver, bulk_id) == {"status": "done", "total": 1, "invalid": 1}


async def test_numbers_come_out_of_an_upload(driver: Driver) -> None:
    to, other = number(), number()
    content = f"to\n{to}\nnobody\n{other}\n".encode()
    identity = Identity("csv")
    identity.add(content)
    await driver.rows(
        "INSERT INTO ferryman.uploads (id, format, rows, bytes) VALUES (:id, 'csv', 3, :size)",
        id=identity.id(),
        size=len(content),
    )
    for place, piece in enumerate([content[:9], content[9:]]):
        await driver.rows(
            "INSERT INTO ferryman.upload_pieces (upload_id, place, content)"
            " VALUES (:id, :place, :piece)",
            id=identity.id(),
            place=place,
            piece=piece,
        )
    args = {"body": BODY, "upload": str(identity.id())}
    bulk_id = await driver.enqueue("bulk_sms", args)
    planned = await driver.run(bulk_id)
    assert planned["status"] == "succeeded", planned["error"]
    assert [job["args"]["to"] for job in await children(driver, bulk_id)] == [to, other]
    # The place is the line of the file.
    (aside,) = await driver.rows(
        "SELECT place FROM ferryman.messages WHERE batch_id = :id AND status = 'invalid'",
        id=bulk_id,
    )
    assert aside["place"] == 3


async def test_a_plan_is_made_once_whoever_runs_it_again(driver: Driver) -> None:
    bulk_id = await bulk(driver, [number() for _ in range(3)])
    await driver.run(bulk_id)
    before = await children(driver, bulk_id)
    # As after a crash between the plan's commit and the job's end.
    await driver.rows(
        "UPDATE ferryman.jobs SET status = 'waiting', finished_at = NULL WHERE id = :id", id=bulk_id
    )
    assert (await driver.run(bulk_id))["status"] == "succeeded"
    assert await children(driver, bulk_id) == before
    assert await batch(driver, bulk_id) == {"status": "running", "total": 3, "waiting": 3}


async def test_of_two_that_plan_at_once_the_second_adds_nothing(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk_id = await bulk(driver, [number() for _ in range(3)])
    await driver.run(bulk_id)
    await driver.rows(
        "UPDATE ferryman.jobs SET status = 'waiting', finished_at = NULL WHERE id = :id", id=bulk_id
    )
    # It had looked before the first one was ready.
    monkeypatch.setattr(_bulk, "_before", AsyncMock(return_value=None))
    execution = await driver.claim(bulk_id)
    with pytest.raises(LeaseLost):
        await execution.perform()
    assert await batch(driver, bulk_id) == {"status": "running", "total": 3, "waiting": 3}


async def test_a_job_that_has_ended_meanwhile_plans_nothing(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk_id = await bulk(driver, [number()])
    execution = await driver.claim(bulk_id)
    add = message_plan.add

    async def ended(*given: Any) -> None:
        await add(*given)
        await driver.rows("UPDATE ferryman.jobs SET status = 'failed' WHERE id = :id", id=bulk_id)

    monkeypatch.setattr(message_plan, "add", ended)
    with pytest.raises(LeaseLost):
        await execution.perform()
    rows = await driver.rows("SELECT FROM ferryman.messages WHERE batch_id = :id", id=bulk_id)
    assert (rows, await children(driver, bulk_id)) == ([], [])


async def test_a_batch_that_is_paused_while_it_is_planned_waits_until_it_is_resumed(
    driver: Driver, account: Account
) -> None:
    bulk_id = await bulk(driver, [number() for _ in range(2)])
    await _control(driver, "pause", bulk_id)
    await driver.run(bulk_id)
    jobs = await children(driver, bulk_id)
    assert {(job["run_at"].year, job["due_at"].year) for job in jobs} == {(9000, 9000)}
    # One that comes back from the vendor meanwhile.
    assert (await driver.run(jobs[0]["id"]))["reason"] == "its batch is paused"
    assert account.messages == []

    await _control(driver, "resume", bulk_id)
    for job in await children(driver, bulk_id):
        assert job["run_at"].year < 9000
        assert (await driver.run(job["id"]))["status"] == "succeeded"
    assert await batch(driver, bulk_id) == {"status": "done", "total": 2, "sent": 2}


async def test_a_cancelled_batch_sends_nothing_more(driver: Driver, account: Account) -> None:
    bulk_id = await bulk(driver, [number() for _ in range(3)])
    await driver.run(bulk_id)
    first, *_ = await children(driver, bulk_id)
    await driver.run(first["id"])
    await _control(driver, "cancel", bulk_id)
    assert await batch(driver, bulk_id) == {
        "status": "cancelled",
        "total": 3,
        "sent": 1,
        "cancelled": 2,
    }
    assert len(account.messages) == 1


async def test_a_cancelled_batch_is_not_sent_by_a_replay(driver: Driver, account: Account) -> None:
    bulk_id = await bulk(driver, [number() for _ in range(2)])
    await driver.run(bulk_id)
    first, _ = await children(driver, bulk_id)
    account.next = [Response(400, {}, b'{"code": 21211}')]
    await driver.run(first["id"])
    await _control(driver, "cancel", bulk_id)
    async with driver.ledger.transaction() as connection:
        with pytest.raises(_settle.NotAllowed, match="its batch is cancelled"):
            await _settle.retry(connection, first["id"], who="a test")
        failed = await settle.lock_failed(connection, settle.Filters())
        assert first["id"] not in [row["id"] for row in failed]
        # A replay that had begun before the cancel.
        await settle.again(connection, [first["id"]], fresh=True)
        await write(connection, [_settle.kinds()[first["kind"]].again(first["id"])])
    assert (await driver.run(first["id"]))["status"] == "cancelled"
    assert await batch(driver, bulk_id) == {"status": "cancelled", "total": 2, "cancelled": 2}
    assert account.messages == []


async def test_a_batch_that_is_cancelled_while_it_is_planned_has_no_jobs(driver: Driver) -> None:
    bulk_id = await bulk(driver, [number(), "nobody"])
    await driver.rows("UPDATE ferryman.batches SET status = 'cancelled' WHERE id = :id", id=bulk_id)
    await driver.run(bulk_id)
    assert await children(driver, bulk_id) == []
    shown = await batch(driver, bulk_id)
    assert shown == {"status": "cancelled", "total": 2, "invalid": 1, "cancelled": 1}


async def test_what_the_vendor_tells_is_counted(driver: Driver, account: Account) -> None:
    bulk_id = await bulk(driver, [number() for _ in range(3)])
    await driver.run(bulk_id)
    for job in await children(driver, bulk_id):
        await driver.run(job["id"])
    references = [sent["sid"] for sent in account.messages]
    await hear(driver, *(news("processed", vendor_reference=sid) for sid in references))
    await hear(driver, news("delivered", seconds=1, vendor_reference=references[0]))
    await hear(driver, news("bounced", seconds=1, vendor_reference=references[1]))

    (row,) = await driver.rows("SELECT ferryman.batch(:id) AS batch", id=bulk_id)
    told = {name: count for name, count in row["batch"]["delivery"].items() if count}
    assert told == {"processed": 1, "delivered": 1, "bounced": 1}
    async with driver.ledger.transaction() as connection:
        shown = await batch_recipients.recipients(
            connection, bulk_id, statuses=["sent"], after=None, limit=10
        )
    assert [(row["place"], row["delivery"]) for row in shown] == [
        (1, "delivered"),
        (2, "bounced"),
        (3, "processed"),
    ]


async def test_without_a_sender_nothing_is_planned(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TWILIO_FROM")
    bulk_id = await bulk(driver, [number()])
    job = await driver.run(bulk_id)
    assert (job["status"], job["reason"]) == ("waiting", "TWILIO_FROM is not set")
    assert await batch(driver, bulk_id) == {"status": "running", "total": 0}


async def _control(driver: Driver, step: str, id: UUID) -> None:
    async with driver.ledger.transaction() as connection:
        await getattr(_batch, step)(connection, id, who="a test", note=None)
