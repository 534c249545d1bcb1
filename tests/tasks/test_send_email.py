"""One mail: what stands in the ledger, and what becomes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters._base import Response
from tests.tasks.driver import Driver
from tests.tasks.mails import HELLO, PLAIN, REFUSED, Script, addressed, email


async def test_a_mail_is_sent_and_recorded(driver: Driver) -> None:
    data = {"name": "Ada & Co"}
    job_id = await driver.enqueue("send_email", {**HELLO, "to": "ada@EXAMPLE.com", "data": data})
    job = await driver.run(job_id)

    assert job["status"] == "succeeded"
    assert job["result"] | {"created_at": 0} == {
        "id": str(job_id),
        "vendor": "sendgrid",
        "vendor_reference": "message-1",
        "status": "sent",
        "created_at": 0,
    }
    ((request, _),) = driver.vendor.requests
    sent = json.loads(request.body)
    assert addressed(request) == ["ada@example.com"]
    assert sent["subject"] == "Hello Ada & Co"
    assert [part["value"] for part in sent["content"]] == ["Dear Ada & Co", "<p>Ada &amp; Co</p>"]
    assert sent["personalizations"][0]["custom_args"] == {"job": str(job_id), "email": str(job_id)}
    row = await email(driver, job_id)
    assert (row["id"], row["status"], row["recipient"]) == (job_id, "sent", "ada@example.com")
    assert (row["vendor_reference"], row["data"]) == ("message-1", data)
    assert row["sent_at"] is not None


async def test_a_mail_stands_in_the_ledger_while_it_is_being_sent(driver: Driver) -> None:
    seen: list[dict[str, Any]] = []
    job_id = await driver.enqueue("send_email", PLAIN)
    execution = await driver.claim(job_id)
    send = driver.vendor.send

    async def look(*given: Any) -> Response:
        seen.append(await email(driver, job_id))
        return await send(*given)

    driver.vendor.send = look  # type: ignore[method-assign]
    await execution.perform()
    assert [row["status"] for row in seen] == ["sending"]


@pytest.mark.parametrize(
    ("answer", "job_status", "email_status"),
    [
        (REFUSED, "failed", "failed"),
        (Response(500, {}, b""), "unknown", "unknown"),
        (Response(429, {}, b""), "waiting", "sending"),
    ],
)
async def test_what_becomes_of_a_mail_becomes_of_its_row(
    driver: Driver, script: Script, answer: Response, job_status: str, email_status: str
) -> None:
    script.next = [answer]
    job_id = await driver.enqueue("send_email", PLAIN)
    job = await driver.run(job_id)

    row = await email(driver, job_id)
    assert (job["status"], row["status"]) == (job_status, email_status)
    assert row["reason"] == (job["error"] or {}).get("message")


async def test_a_mail_whose_data_is_missing_is_not_sent(driver: Driver) -> None:
    job_id = await driver.enqueue("send_email", {**HELLO, "to": "a@example.com"})
    job = await driver.run(job_id)

    assert job["status"] == "failed"
    assert job["error"]["code"] == "invalid_arguments"
    assert job["error"]["message"] == "subject: data has no `name`"
    assert driver.vendor.requests == []


async def test_a_throttled_mail_is_sent_once(driver: Driver, script: Script) -> None:
    script.next = [Response(429, {"retry-after": "0"}, b"")]
    job_id = await driver.enqueue("send_email", PLAIN)
    assert (await driver.run(job_id))["status"] == "waiting"
    await driver.rows("UPDATE ferryman.vendor_states SET cooldown_until = NULL")
    driver.runtime.breakers._seen_at = float("-inf")

    job = await driver.run(job_id)

    assert (job["status"], job["attempts"]) == ("succeeded", 1)
    first, second = (request for request, _ in driver.vendor.requests)
    assert first.body == second.body
