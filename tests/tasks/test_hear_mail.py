"""What a mail vendor tells of mails: in any order, once each, and what follows from it."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from adapters._base import Response
from adapters._news import MailNews
from models import settle
from tasks import _batch, _hear_mail
from tasks._base import Heard, NotNow
from tests.tasks.driver import Driver
from tests.tasks.mails import PLAIN, Script, batch, email, many, parts

BEGIN = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)


def news(what: str, second: int, mail: UUID, job: UUID, **more: Any) -> Heard:
    at = BEGIN + timedelta(seconds=second)
    told = MailNews(at=at, what=what, email=mail, job=job, **more)
    return Heard("sendgrid", told, f"{mail}{what}{second}", mail)


async def hear(driver: Driver, *told: Heard) -> list[str | NotNow]:
    async with driver.ledger.transaction() as connection:
        return await _hear_mail.hear_all(connection, told)


async def sent_batch(
    driver: Driver, count: int, **args: Any
) -> tuple[UUID, list[tuple[UUID, UUID]]]:
    """A batch that was sent: its id, and id and job of each mail."""
    bulk_id = await driver.enqueue("bulk_email", many(count, **args))
    await driver.run(bulk_id)
    for child in await parts(driver, bulk_id):
        await driver.run(child["id"])
    query = "SELECT id, job_id FROM ferryman.emails WHERE batch_id = :id ORDER BY id"
    rows = await driver.rows(query, id=bulk_id)
    return bulk_id, [(row["id"], row["job_id"]) for row in rows]


async def delivery(driver: Driver, bulk_id: UUID) -> dict[str, int]:
    (row,) = await driver.rows("SELECT ferryman.batch(:id) AS batch", id=bulk_id)
    return {name: count for name, count in row["batch"]["delivery"].items() if count}


STORY = [("processed", 0), ("deferred", 1), ("delivered", 2), ("opened", 3), ("clicked", 4)]


@pytest.mark.parametrize("seed", range(6))
async def test_in_whatever_order_it_comes_the_end_is_the_same(driver: Driver, seed: int) -> None:
    bulk_id, mails = await sent_batch(driver, 3)
    told = [news(what, at, *mail) for mail in mails for what, at in STORY]
    random.Random(seed).shuffle(told)
    while told:
        some, told = told[: 1 + seed], told[1 + seed :]
        await hear(driver, *some)

    assert await delivery(driver, bulk_id) == {"delivered": 3, "opened": 3, "clicked": 3}
    rows = await driver.rows("SELECT * FROM ferryman.emails WHERE batch_id = :id", id=bulk_id)
    for row in rows:
        assert (row["status"], row["delivery"]) == ("sent", "delivered")
        assert row["delivery_at"] == BEGIN + timedelta(seconds=2)
        assert row["opened_at"] == BEGIN + timedelta(seconds=3)
        assert row["clicked_at"] == BEGIN + timedelta(seconds=4)
    assert await batch(driver, bulk_id) == {"status": "done", "total": 3, "sent": 3}


async def test_a_mail_that_comes_back_later_has_bounced(driver: Driver) -> None:
    bulk_id, ((mail, job),) = await sent_batch(driver, 1)
    for order in itertools.permutations([("delivered", 5, None), ("bounced", 9, "5.1.1")]):
        for what, at, reason in order:
            await hear(driver, news(what, at, mail, job, reason=reason))
        (row,) = await driver.rows("SELECT * FROM ferryman.emails WHERE id = :id", id=mail)
        assert (row["delivery"], row["delivery_reason"]) == ("bounced", "5.1.1")
        assert await delivery(driver, bulk_id) == {"bounced": 1}


async def test_bad_news_suppresses_the_address_that_was_written_to(driver: Driver) -> None:
    _, mails = await sent_batch(driver, 3)
    reasons = zip(mails, ("bounce", "complaint", "unsubscribe"), strict=True)
    await hear(driver, *(news("bounced", 1, *mail, suppress=why) for mail, why in reasons))
    found = await driver.rows("SELECT * FROM ferryman.suppressions ORDER BY address")
    assert [(row["address"], row["reason"]) for row in found] == [
        ("user0@example.com", "bounce"),
        ("user1@example.com", "complaint"),
        ("user2@example.com", "unsubscribe"),
    ]


async def test_an_event_proves_a_part_whose_answer_was_lost(driver: Driver, script: Script) -> None:
    script.next = [Response(500, {}, b"")]
    bulk_id, mails = await sent_batch(driver, 1500)
    assert await batch(driver, bulk_id) == {
        "status": "done",
        "total": 1500,
        "unknown": 1000,
        "sent": 500,
    }
    await hear(driver, news("processed", 1, *mails[7]))
    assert await batch(driver, bulk_id) == {"status": "done", "total": 1500, "sent": 1500}
    (job,) = await driver.rows("SELECT * FROM ferryman.jobs WHERE id = :id", id=mails[7][1])
    assert job["status"] == "succeeded"


async def test_an_event_proves_a_single_mail(driver: Driver, script: Script) -> None:
    script.next = [Response(500, {}, b"")]
    job_id = await driver.enqueue("send_email", PLAIN)
    assert (await driver.run(job_id))["status"] == "unknown"
    assert await hear(driver, news("delivered", 1, job_id, job_id)) == ["delivered"]
    row = await email(driver, job_id)
    assert (row["status"], row["delivery"]) == ("sent", "delivered")


async def test_a_mail_that_is_being_sent_is_heard_of_later(driver: Driver) -> None:
    job_id = await driver.enqueue("send_email", PLAIN)
    execution = await driver.claim(job_id)
    (answer,) = await hear(driver, news("processed", 1, job_id, job_id))
    assert isinstance(answer, NotNow)
    await execution.perform()
    assert await hear(driver, news("processed", 1, job_id, job_id)) == ["processed"]


async def test_what_a_cancelled_mail_did_after_all_is_recorded_and_flagged(driver: Driver) -> None:
    job_id = await driver.enqueue("send_email", PLAIN)
    async with driver.ledger.transaction() as connection:
        await settle.cancel(connection, job_id)
    await hear(driver, news("delivered", 1, job_id, job_id))
    (job,) = await driver.rows("SELECT * FROM ferryman.jobs WHERE id = :id", id=job_id)
    assert job["status"] == "cancelled"
    assert "cancelled" in job["reason"]


async def test_of_nobody_we_know_nothing_follows(driver: Driver) -> None:
    stranger = Heard("sendgrid", MailNews(at=BEGIN, what="delivered"), "x", UUID(int=1))
    assert await hear(driver, stranger) == ["of no mail of ferryman's"]


@pytest.mark.parametrize(
    ("bounced", "complained", "status"),
    [(6, 0, "running"), (7, 0, "paused"), (0, 1, "paused"), (0, 0, "running")],
)
async def test_a_batch_that_bounces_too_much_pauses_itself(
    driver: Driver, bounced: int, complained: int, status: str
) -> None:
    """Of 120 mails 6 are five in a hundred: what is above that is too much."""
    limits = {"max_bounce_rate": 0.05, "max_complaint_rate": 0.003}
    bulk_id = await driver.enqueue("bulk_email", many(1120, **limits))
    await driver.run(bulk_id)
    first, second = await parts(driver, bulk_id)
    await driver.run(first["id"])
    query = "SELECT id, job_id FROM ferryman.emails WHERE job_id = :id ORDER BY id LIMIT 120"
    mails = [(r["id"], r["job_id"]) for r in await driver.rows(query, id=first["id"])]
    told = [news("delivered", 1, *mail) for mail in mails[bounced:]]
    told += [news("bounced", 2, *mail) for mail in mails[:bounced]]
    told += [news("complained", 3, *mail) for mail in mails[-complained:] if complained]

    await hear(driver, *told)

    found = await batch(driver, bulk_id)
    assert found["status"] == status
    (row,) = await driver.rows(
        "SELECT run_at, reason FROM ferryman.jobs WHERE id = :id", id=second["id"]
    )
    assert (row["run_at"].year == 9000) == (status == "paused")
    if status == "paused":
        (shown,) = await driver.rows(
            "SELECT reason FROM ferryman.batches WHERE id = :id", id=bulk_id
        )
        assert shown["reason"].startswith("paused by itself: of 120 mails")
        async with driver.ledger.transaction() as connection:
            await _batch.resume(connection, bulk_id, who="test")
        # What was told before the pause does not pause it again.
        await hear(driver, news("bounced", 9, *mails[50]))
        assert (await batch(driver, bulk_id))["status"] == "running"
