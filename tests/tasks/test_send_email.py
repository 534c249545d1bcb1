"""One mail: what stands in the ledger, and what becomes of it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from adapters._base import Response
from models import suppressions
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
    (sent,) = json.loads(request.body)["personalizations"]
    assert addressed(request) == ["ada@example.com"]
    row = await email(driver, job_id)
    assert (row["id"], row["status"], row["recipient"]) == (job_id, "sent", "ada@example.com")
    assert sent["dynamic_template_data"] == row["data"]
    assert row["data"] | {"timestamp": 0} == {"name": "Ada & Co", "timestamp": 0}
    assert datetime.fromisoformat(row["data"]["timestamp"]).tzinfo is not None
    assert row["vendor_reference"] == "message-1"
    assert row["sent_at"] is not None


async def test_a_timestamp_that_is_given_stays(driver: Driver) -> None:
    args = {**HELLO, "to": "ada@example.com", "data": {"timestamp": "noon"}}
    await driver.run(await driver.enqueue("send_email", args))
    ((request, _),) = driver.vendor.requests
    (sent,) = json.loads(request.body)["personalizations"]
    assert sent["dynamic_template_data"] == {"timestamp": "noon"}


@pytest.mark.parametrize(
    ("reason", "status"),
    [("bounce", "suppressed"), ("manual", "suppressed"), ("unsubscribe", "sent")],
)
async def test_a_suppressed_address_gets_no_mail_unless_it_only_left_the_list(
    driver: Driver, reason: str, status: str
) -> None:
    suppression = {"channel": "email", "address": "a@example.com", "reason": reason, "source": "x"}
    async with driver.ledger.transaction() as connection:
        await suppressions.add(connection, [suppression])
    job_id = await driver.enqueue("send_email", {**PLAIN, "to": "A@Example.com"})
    job = await driver.run(job_id)

    row = await email(driver, job_id)
    assert row["status"] == status
    if status == "suppressed":
        assert (job["status"], job["error"]["code"]) == ("failed", "suppressed")
        assert row["reason"] == job["error"]["message"] == f"to: is suppressed ({reason})"
    assert len(driver.vendor.requests) == (status == "sent")


async def test_a_mail_has_an_unsubscribe_link_of_its_own(driver: Driver) -> None:
    url = "https://shop.example/leave?who={id}&to={to}"
    job_id = await driver.enqueue("send_email", {**PLAIN, "unsubscribe_url": url})
    await driver.run(job_id)
    ((request, _),) = driver.vendor.requests
    (sent,) = json.loads(request.body)["personalizations"]
    assert sent["headers"] == {
        "List-Unsubscribe": f"<https://shop.example/leave?who={job_id}&to=a%40example.com>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


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


async def test_data_that_no_template_takes_is_refused(driver: Driver) -> None:
    job_id = await driver.enqueue("send_email", {**PLAIN, "data": {"name": "Ada"}})
    job = await driver.run(job_id)

    assert job["status"] == "failed"
    assert job["error"]["code"] == "invalid_arguments"
    assert job["error"]["field"] == "data"
    assert driver.vendor.requests == []


async def test_a_throttled_mail_is_sent_once(driver: Driver, script: Script) -> None:
    script.next = [Response(429, {"retry-after": "0"}, b"")]
    args = {**HELLO, "to": "a@example.com", "data": {"name": "Ada"}}
    job_id = await driver.enqueue("send_email", args)
    assert (await driver.run(job_id))["status"] == "waiting"
    await driver.rows("UPDATE ferryman.vendor_states SET cooldown_until = NULL")
    driver.runtime.breakers._seen_at = float("-inf")

    job = await driver.run(job_id)

    assert (job["status"], job["attempts"]) == ("succeeded", 1)
    first, second = (request for request, _ in driver.vendor.requests)
    assert first.body == second.body
