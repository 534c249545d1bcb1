"""One text message: what stands in the ledger, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters._base import NotSent, Response
from tasks import _messages, _settle
from tests.tasks.driver import Driver
from tests.tasks.texts import (
    LOST,
    SENDER,
    Account,
    message,
    number,
    refusal,
    suppress,
    suppressed,
    texting,
)

BODY = "Your code is 4711"


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
async def driver(
    database_url: str, account: Account, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Driver]:
    async with texting(database_url, account, monkeypatch) as made:
        yield made


async def test_a_message_is_sent_and_recorded(driver: Driver, account: Account) -> None:
    to = number()
    job_id = await driver.enqueue("send_sms", {"to": f"{to[:3]} {to[3:]}", "body": BODY})
    job = await driver.run(job_id)

    assert job["status"] == "succeeded", job["error"]
    (sent,) = account.messages
    assert (sent["to"], sent["from"], sent["body"]) == (to, SENDER, BODY)
    assert job["result"] | {"created_at": 0} == {
        "id": str(job_id),
        "vendor": "twilio",
        "vendor_reference": sent["sid"],
        "status": "sent",
        "segments": 1,
        "created_at": 0,
    }
    row = await message(driver, job_id)
    assert (row["job_id"], row["status"], row["vendor"]) == (job_id, "sent", "twilio")
    assert (row["recipient"], row["sender"], row["body"]) == (to, SENDER, BODY)
    assert (row["vendor_reference"], row["segments"]) == (sent["sid"], 1)
    assert row["sent_at"] is not None


async def test_a_message_stands_in_the_ledger_while_it_is_being_sent(driver: Driver) -> None:
    seen: list[dict[str, Any]] = []
    job_id = await driver.enqueue("send_sms", {"to": number(), "body": "ą" * 71})
    execution = await driver.claim(job_id)
    send = driver.vendor.send

    async def look(*given: Any) -> Response:
        seen.append(await message(driver, job_id))
        return await send(*given)

    driver.vendor.send = look  # type: ignore[method-assign]
    await execution.perform()
    assert [(row["status"], row["segments"], row["sender"]) for row in seen] == [
        ("sending", 2, SENDER)
    ]


@pytest.mark.parametrize(
    ("answer", "job_status", "status"),
    [
        (refusal(21211), "failed", "failed"),
        (refusal(21610), "failed", "suppressed"),
        (LOST, "unknown", "unknown"),
        (Response(429, {}, b""), "waiting", "sending"),
    ],
)
async def test_what_becomes_of_a_job_becomes_of_its_message(
    driver: Driver, account: Account, answer: Response, job_status: str, status: str
) -> None:
    account.next = [answer]
    job_id = await driver.enqueue("send_sms", {"to": number(), "body": BODY})
    job = await driver.run(job_id)

    row = await message(driver, job_id)
    assert (job["status"], row["status"]) == (job_status, status)
    assert row["reason"] == (job["error"] or {}).get("message")


async def test_who_has_opted_out_at_the_vendor_is_asked_about_no_more(
    driver: Driver, account: Account
) -> None:
    to = number()
    account.next = [refusal(21610)]
    await driver.run(await driver.enqueue("send_sms", {"to": to, "body": BODY}))
    assert await suppressed(driver, to) == {"reason": "unsubscribe", "source": "twilio"}

    second = await driver.enqueue("send_sms", {"to": to, "body": BODY})
    job = await driver.run(second)

    assert (job["status"], job["error"]["code"]) == ("failed", "suppressed")
    row = await message(driver, second)
    assert (row["status"], row["reason"]) == ("suppressed", "to: is suppressed (unsubscribe)")
    assert len(driver.vendor.requests) == 1


async def test_a_number_that_is_none_of_the_vendors_stays_out_of_the_suppressions(
    driver: Driver, account: Account
) -> None:
    to = number()
    account.next = [refusal(21211)]
    job = await driver.run(await driver.enqueue("send_sms", {"to": to, "body": BODY}))
    assert job["error"]["code"] == "invalid_recipient"
    assert await suppressed(driver, to) is None


async def test_one_that_was_suppressed_is_sent_when_a_person_lets_it(
    driver: Driver, account: Account
) -> None:
    to = number()
    await suppress(driver, to)
    job_id = await driver.enqueue("send_sms", {"to": to, "body": BODY})
    await driver.run(job_id)
    await driver.rows("DELETE FROM ferryman.suppressions WHERE address = :to", to=to)
    async with driver.ledger.transaction() as connection:
        await _settle.retry(connection, job_id, who="a test")
    assert (await message(driver, job_id))["status"] == "waiting"

    assert (await driver.run(job_id))["status"] == "succeeded"
    assert (await message(driver, job_id))["status"] == "sent"
    assert len(account.messages) == 1


async def test_without_a_sender_nothing_is_begun(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TWILIO_FROM")
    job_id = await driver.enqueue("send_sms", {"to": number(), "body": BODY})
    job = await driver.run(job_id)
    assert (job["status"], job["reason"]) == ("waiting", "TWILIO_FROM is not set")
    rows = await driver.rows("SELECT FROM ferryman.messages WHERE id = :id", id=job_id)
    assert rows == []


async def test_a_number_that_is_none_is_refused_without_a_call(driver: Driver) -> None:
    job_id = await driver.enqueue("send_sms", {"to": "020 7946 0018", "body": BODY})
    job = await driver.run(job_id)
    assert (job["status"], job["error"]["code"]) == ("failed", "invalid_arguments")
    assert driver.vendor.requests == []


async def in_doubt(driver: Driver, account: Account, to: str, *, sent: bool) -> Any:
    """A message whose answer was lost, on the way there or back."""
    if sent:
        account.next = [LOST]
    else:
        account.deaf = 1
    job_id = await driver.enqueue("send_sms", {"to": to, "body": BODY})
    job = await driver.run(job_id)
    assert (job["status"], job["look_at"] is not None) == ("unknown", True)
    return job_id


async def test_a_message_whose_answer_was_lost_is_found(driver: Driver, account: Account) -> None:
    to = number()
    job_id = await in_doubt(driver, account, to, sent=True)
    job = await driver.run(job_id)

    assert job["status"] == "succeeded", job["error"]
    (sent,) = account.messages
    assert job["result"]["vendor_reference"] == sent["sid"]
    row = await message(driver, job_id)
    assert (row["status"], row["vendor_reference"]) == ("sent", sent["sid"])


async def test_a_message_that_never_arrived_is_sent_once(driver: Driver, account: Account) -> None:
    job_id = await in_doubt(driver, account, number(), sent=False)

    assert (await driver.run(job_id))["status"] == "waiting"
    assert (await message(driver, job_id))["status"] == "waiting"
    assert account.messages == []
    assert (await driver.run(job_id))["status"] == "succeeded"
    assert (await message(driver, job_id))["status"] == "sent"
    assert len(account.messages) == 1


async def test_a_message_is_looked_up_by_the_sender_it_had(
    driver: Driver, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await in_doubt(driver, account, number(), sent=True)
    monkeypatch.setenv("TWILIO_FROM", "+15005550009")
    assert (await driver.run(job_id))["status"] == "succeeded"
    assert len(account.messages) == 1


async def test_an_equal_message_of_another_job_is_not_taken_for_it(
    driver: Driver, account: Account
) -> None:
    to = number()
    job_id = await in_doubt(driver, account, to, sent=False)
    other = await driver.run(await driver.enqueue("send_sms", {"to": to, "body": BODY}))

    assert (await driver.run(job_id))["status"] == "waiting"
    job = await driver.run(job_id)

    assert job["status"] == "succeeded"
    assert job["result"]["vendor_reference"] != other["result"]["vendor_reference"]
    assert len(account.messages) == 2


async def test_of_two_equal_messages_the_one_of_the_other_job_is_known(
    driver: Driver, account: Account
) -> None:
    to = number()
    job_id = await in_doubt(driver, account, to, sent=True)
    await driver.run(await driver.enqueue("send_sms", {"to": to, "body": BODY}))

    job = await driver.run(job_id)

    assert job["result"]["vendor_reference"] == account.messages[0]["sid"]
    assert len(account.messages) == 2


async def test_two_equal_messages_in_doubt_that_were_sent_get_one_each(
    driver: Driver, account: Account
) -> None:
    to = number()
    jobs = [await in_doubt(driver, account, to, sent=True) for _ in range(2)]
    references = {(await driver.run(job_id))["result"]["vendor_reference"] for job_id in jobs}
    assert references == {sent["sid"] for sent in account.messages}
    assert len(account.messages) == 2


async def test_two_looks_at_the_same_time_do_not_take_the_same_message(
    driver: Driver, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = number()
    jobs = [await in_doubt(driver, account, to, sent=True) for _ in range(2)]
    both, ours = asyncio.Barrier(2), _messages.ours

    async def at_once(*given: Any) -> Any:
        found = await ours(*given)
        await both.wait()
        return found

    monkeypatch.setattr(_messages, "ours", at_once)
    looks = [await driver.claim(one) for one in jobs]
    await asyncio.gather(*(look.perform() for look in looks))

    references = {(await message(driver, one))["vendor_reference"] for one in jobs}
    assert references == {sent["sid"] for sent in account.messages}


async def test_of_two_equal_messages_in_doubt_one_that_was_sent_is_nobodys(
    driver: Driver, account: Account
) -> None:
    to = number()
    jobs = [await in_doubt(driver, account, to, sent=sent) for sent in (True, False)]
    for job_id in jobs:
        job = await driver.run(job_id)
        # It is looked at again: a status callback may tell of the other one meanwhile.
        assert (job["status"], job["look_at"] is not None) == ("unknown", True)
        assert job["error"]["message"] == "an equal message to the same number is in doubt as well"
    assert len(account.messages) == 1


async def test_an_equal_message_that_is_being_sent_is_waited_for(
    driver: Driver, account: Account
) -> None:
    to = number()
    job_id = await in_doubt(driver, account, to, sent=False)
    other = await driver.claim(await driver.enqueue("send_sms", {"to": to, "body": BODY}))
    send = driver.vendor.send
    seen: list[dict[str, Any]] = []

    async def look(*given: Any) -> Response:
        answer = await send(*given)
        if given[0].method == "POST" and not seen:
            seen.append(await driver.run(job_id))
        return answer

    driver.vendor.send = look  # type: ignore[method-assign]
    await other.perform()

    assert [(job["status"], job["error"]["message"]) for job in seen] == [
        ("unknown", "an equal message to the same number is under way")
    ]
    assert (await driver.run(job_id))["status"] == "waiting"


async def test_more_equal_messages_than_jobs_are_for_a_person(
    driver: Driver, account: Account
) -> None:
    to = number()
    job_id = await in_doubt(driver, account, to, sent=True)
    account.send(to, BODY)
    job = await driver.run(job_id)
    assert (job["status"], job["look_at"]) == ("unknown", None)
    assert len(account.messages) == 2


async def test_an_equal_one_that_a_person_took_for_sent_has_its_share(
    driver: Driver, account: Account
) -> None:
    to = number()
    resolved = await in_doubt(driver, account, to, sent=True)
    async with driver.ledger.transaction() as connection:
        await _settle.resolve(connection, resolved, "succeeded", who="a test", note="seen")
    assert (await message(driver, resolved))["status"] == "sent"
    job_id = await in_doubt(driver, account, to, sent=False)
    assert (await driver.run(job_id))["status"] == "unknown"


async def test_a_message_that_did_not_leave_is_sent_without_a_look(
    driver: Driver, account: Account
) -> None:
    account.next = [NotSent("refused")]
    job_id = await driver.enqueue("send_sms", {"to": number(), "body": BODY})
    assert (await driver.run(job_id))["status"] == "waiting"
