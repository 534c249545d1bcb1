"""What the vendor tells of text messages, and what of it stands in the ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from adapters._news import MessageNews
from tasks import _settle
from tasks._base import Heard, NotNow
from tests.tasks.driver import Driver
from tests.tasks.texts import (
    LOST,
    NOW,
    Account,
    hear,
    message,
    news,
    number,
    suppressed,
    texting,
)
from worker.verdict import LeaseLost

Row = dict[str, Any]

BODY = "It is on its way"


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
async def driver(
    database_url: str, account: Account, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Driver]:
    async with texting(database_url, account, monkeypatch) as made:
        yield made


async def sent(driver: Driver, to: str | None = None) -> Row:
    """A message that the vendor has taken over."""
    job_id = await driver.enqueue("send_sms", {"to": to or number(), "body": BODY})
    assert (await driver.run(job_id))["status"] == "succeeded"
    return await message(driver, job_id)


async def in_doubt(driver: Driver, account: Account, to: str | None = None) -> tuple[UUID, str]:
    """The job, and the vendor's id of its message."""
    account.next = [LOST]
    job_id = await driver.enqueue("send_sms", {"to": to or number(), "body": BODY})
    assert (await driver.run(job_id))["status"] == "unknown"
    return job_id, account.messages[-1]["sid"]


async def job(driver: Driver, id: UUID) -> Row:
    (row,) = await driver.rows("SELECT * FROM ferryman.jobs WHERE id = :id", id=id)
    return row


async def test_news_moves_the_delivery_and_not_the_status(driver: Driver) -> None:
    row = await sent(driver)
    sid = row["vendor_reference"]
    assert await hear(driver, news("processed", vendor_reference=sid)) == ["processed: recorded"]
    bounced = news("bounced", seconds=5, vendor_reference=sid, reason="unreachable (30003)")
    assert await hear(driver, bounced) == ["bounced: recorded"]

    row = await message(driver, row["id"])
    assert (row["status"], row["delivery"]) == ("sent", "bounced")
    assert row["delivery_at"] == NOW + timedelta(seconds=5)
    assert row["delivery_reason"] == "unreachable (30003)"


@pytest.mark.parametrize("together", [True, False])
async def test_what_is_final_stays_whatever_comes_later(driver: Driver, together: bool) -> None:
    row = await sent(driver)
    told = [
        news("delivered", seconds=1, message=row["id"]),
        news("processed", seconds=2, message=row["id"]),
    ]
    for some in [told] if together else [[one] for one in told]:
        await hear(driver, *some)
    assert (await message(driver, row["id"]))["delivery"] == "delivered"


async def test_the_same_news_again_changes_nothing(driver: Driver) -> None:
    row = await sent(driver)
    told = news("delivered", vendor_reference=row["vendor_reference"])
    await hear(driver, told)
    assert await hear(driver, told) == ["known already"]


async def test_many_messages_at_once_each_with_its_answer(driver: Driver) -> None:
    rows = [await sent(driver) for _ in range(3)]
    told = [news("delivered", vendor_reference=row["vendor_reference"]) for row in rows]
    told.insert(1, news("delivered", vendor_reference="SMnobody", age=60.0))
    answers = await hear(driver, *told)
    assert answers == [
        "delivered: recorded",
        "of no message of ferryman's",
        "delivered: recorded",
        "delivered: recorded",
    ]
    assert {(await message(driver, row["id"]))["delivery"] for row in rows} == {"delivered"}


@pytest.mark.parametrize("what", ["processed", "delivered", "bounced", "dropped"])
async def test_any_news_proves_that_a_message_in_doubt_was_sent(
    driver: Driver, account: Account, what: str
) -> None:
    job_id, sid = await in_doubt(driver, account)
    told = news(what, message=job_id, vendor_reference=sid)
    assert await hear(driver, told) == ["settled: succeeded"]

    proven = await job(driver, job_id)
    assert (proven["status"], proven["result"]["vendor_reference"]) == ("succeeded", sid)
    row = await message(driver, job_id)
    assert (row["status"], row["vendor_reference"], row["delivery"]) == ("sent", sid, what)


async def test_news_of_a_job_that_runs_waits_for_it(driver: Driver, account: Account) -> None:
    job_id = await driver.enqueue("send_sms", {"to": number(), "body": BODY})
    execution = await driver.claim(job_id)
    send = driver.vendor.send
    answers: list[str | NotNow] = []

    async def overtaken(*given: Any) -> Any:
        answer = await send(*given)
        for age in (0.0, 3600.0):
            told = news("processed", message=job_id, vendor_reference="SM1", age=age)
            answers.extend(await hear(driver, told))
        return answer

    driver.vendor.send = overtaken  # type: ignore[method-assign]
    with pytest.raises(LeaseLost):
        await execution.perform()
    assert isinstance(answers[0], NotNow)
    assert answers[1:] == ["settled: succeeded"]


async def test_young_news_of_an_unknown_message_is_heard_again(driver: Driver) -> None:
    young, old = (news("processed", vendor_reference="SMyoung", age=age) for age in (0.0, 60.0))
    (first,) = await hear(driver, young)
    assert isinstance(first, NotNow)
    assert first.seconds == 5.0
    assert await hear(driver, old) == ["of no message of ferryman's"]


async def test_a_second_message_of_a_job_is_for_a_person(driver: Driver) -> None:
    row = await sent(driver)
    other = news("delivered", message=row["id"], vendor_reference="SMsecond")
    assert await hear(driver, other) == ["a second message: a person should look"]
    assert (await job(driver, row["id"]))["reason"] == _settle.SECOND
    after = await message(driver, row["id"])
    assert (after["vendor_reference"], after["delivery"]) == (row["vendor_reference"], None)


async def test_of_two_equal_messages_each_keeps_the_one_it_took(
    driver: Driver, account: Account
) -> None:
    to = number()
    jobs = [(await in_doubt(driver, account, to))[0] for _ in range(2)]
    first, second = [(await driver.run(one))["result"]["vendor_reference"] for one in jobs]
    # The vendor knows which was which, and we had to guess.
    swapped = [
        news("delivered", message=jobs[0], vendor_reference=second),
        news("bounced", message=jobs[1], vendor_reference=first),
    ]
    assert await hear(driver, *swapped) == ["delivered: recorded", "bounced: recorded"]
    assert [(await message(driver, one))["delivery"] for one in jobs] == ["bounced", "delivered"]


async def test_what_a_person_took_for_sent_gets_its_name(driver: Driver, account: Account) -> None:
    job_id, sid = await in_doubt(driver, account)
    async with driver.ledger.transaction() as connection:
        await _settle.resolve(connection, job_id, "succeeded", who="a test", note="seen")
    await hear(driver, news("delivered", message=job_id, vendor_reference=sid))
    row = await message(driver, job_id)
    assert (row["vendor_reference"], row["delivery"]) == (sid, "delivered")


async def test_a_message_that_was_given_up_and_was_sent_is_flagged(
    driver: Driver, account: Account
) -> None:
    job_id, sid = await in_doubt(driver, account)
    async with driver.ledger.transaction() as connection:
        await _settle.resolve(connection, job_id, "failed", who="a test", note="not seen")
    assert (await message(driver, job_id))["status"] == "failed"

    await hear(driver, news("delivered", message=job_id, vendor_reference=sid))

    assert (await job(driver, job_id))["reason"] == _settle.LATE.format("failed")
    row = await message(driver, job_id)
    assert (row["status"], row["delivery"]) == ("sent", "delivered")


async def test_who_answers_stop_gets_nothing_more(driver: Driver) -> None:
    to = number()
    told = news("dropped", address=to, suppress="unsubscribe")
    assert await hear(driver, told, told) == ["nothing more is sent to this number"] * 2
    assert await suppressed(driver, to) == {"reason": "unsubscribe", "source": "twilio"}
    later = await driver.run(await driver.enqueue("send_sms", {"to": to, "body": BODY}))
    assert later["error"]["code"] == "suppressed"


async def test_a_number_that_takes_none_is_known_by_its_message(driver: Driver) -> None:
    row = await sent(driver)
    bounced = news("bounced", vendor_reference=row["vendor_reference"], suppress="invalid")
    await hear(driver, bounced)
    assert await suppressed(driver, row["recipient"]) == {"reason": "invalid", "source": "twilio"}


async def test_another_vendor_tells_nothing_of_it(driver: Driver) -> None:
    row = await sent(driver)
    told = MessageNews(NOW, "delivered", row["vendor_reference"], row["id"])
    other = Heard("stripe", told, "1", uuid7(), age_seconds=60.0)
    assert await hear(driver, other) == ["of no message of ferryman's"]
    assert (await message(driver, row["id"]))["delivery"] is None
