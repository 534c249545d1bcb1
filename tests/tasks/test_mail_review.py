"""What may come between a batch and its end: cancels, retries, deaths and strange events."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from unittest.mock import AsyncMock
from uuid import UUID, uuid4

import pytest

from adapters._base import Response
from adapters._news import MailNews
from ferryman.policies import policy
from ferryman.uploads import Inspection
from models import mail_plan, settle, suppressions, uploads
from models.walk import write
from tasks import _batch, _hear_mail, _settle
from tasks._base import Heard, Wait
from tests.tasks.driver import Driver
from tests.tasks.mails import HELLO, PLAIN, REFUSED, Script, addressed, batch, many, parts


async def step(driver: Driver, name: str, id: UUID) -> None:
    async with driver.ledger.transaction() as connection:
        await getattr(_batch, name)(connection, id, who="test")


async def test_a_batch_that_is_cancelled_while_it_is_planned_sends_nothing(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk_id = await driver.enqueue("bulk_email", many(3))
    copy = mail_plan.copy

    async def cancelled_meanwhile(*given: Any) -> None:
        await copy(*given)
        await step(driver, "cancel", bulk_id)

    monkeypatch.setattr(mail_plan, "copy", cancelled_meanwhile)
    job = await driver.run(bulk_id)
    assert job["status"] == "succeeded"
    for child in await parts(driver, bulk_id):
        await driver.run(child["id"])
    assert driver.vendor.requests == []
    assert await batch(driver, bulk_id) == {"status": "cancelled", "total": 3, "cancelled": 3}


async def test_a_copy_does_not_go_to_who_is_suppressed(driver: Driver) -> None:
    gone = {"channel": "email", "address": "eve@example.com", "reason": "complaint"}
    async with driver.ledger.transaction() as connection:
        await suppressions.add(connection, [{**gone, "source": "test"}])
    job = await driver.run(
        await driver.enqueue("send_email", {**PLAIN, "bcc": ["Eve@example.com"]})
    )
    assert (job["status"], job["error"]["code"]) == ("failed", "suppressed")
    assert job["error"]["message"].startswith("bcc")
    assert driver.vendor.requests == []


async def test_an_event_proves_no_job_but_a_mail_s(driver: Driver) -> None:
    """Whoever sends by the same account may give a mail what arguments he likes."""
    single = await driver.enqueue("send_sms", {"to": "+441632960961", "body": "hi"})
    told = MailNews(at=datetime.now(UTC), what="delivered", email=uuid4(), job=single)
    async with driver.ledger.transaction() as connection:
        await _hear_mail.hear_all(connection, [Heard("sendgrid", told, "e", uuid4())])
    (job,) = await driver.rows("SELECT status FROM ferryman.jobs WHERE id = :id", id=single)
    assert job["status"] == "waiting"


async def test_who_is_sent_to_again_keeps_to_the_rate(driver: Driver, script: Script) -> None:
    bulk_id = await driver.enqueue("bulk_email", many(12, per_minute=12))
    await driver.run(bulk_id)
    children = await parts(driver, bulk_id)
    assert len(children) == 6
    wrong = [{"message": "no", "field": f"personalizations.{n}.to.0.email"} for n in range(2)]
    for child in children:
        await driver.rows("UPDATE ferryman.batches SET next_at = NULL")
        script.next = [Response(400, {}, json.dumps({"errors": wrong}).encode())]
        await driver.run(child["id"])
    assert await batch(driver, bulk_id) == {"status": "done", "total": 12, "failed": 12}
    await step(driver, "retry_failed", bulk_id)
    again = [one for one in await parts(driver, bulk_id) if one["status"] == "waiting"]
    sizes = await driver.rows(
        "SELECT size FROM ferryman.parts WHERE job_id = ANY(:ids)", ids=[j["id"] for j in again]
    )
    assert {row["size"] for row in sizes} == {2}


async def test_a_batch_paused_between_two_attempts_is_not_sending(
    driver: Driver, script: Script
) -> None:
    bulk_id = await driver.enqueue("bulk_email", many(2))
    await driver.run(bulk_id)
    (child,) = await parts(driver, bulk_id)
    script.next = [Response(429, {}, b"")]
    await driver.run(child["id"])
    await step(driver, "pause", bulk_id)
    assert await batch(driver, bulk_id) == {"status": "paused", "total": 2, "waiting": 2}


async def test_what_the_vendor_was_not_asked_about_uses_up_no_second_try(
    driver: Driver, script: Script
) -> None:
    args = many(4, unsubscribe_url="https://example.com/{code}")
    for place, one in enumerate(args["recipients"]):
        one["data"] = {"code": "x" * (2000 if place == 0 else 5)}
    bulk_id = await driver.enqueue("bulk_email", args)
    await driver.run(bulk_id)
    (child,) = await parts(driver, bulk_id)
    wrong = {"message": "no", "field": "personalizations.1.to.0.email"}
    script.next = [Response(400, {}, json.dumps({"errors": [wrong]}).encode())]

    job = await driver.run(child["id"])

    assert job["status"] == "succeeded"
    assert addressed(driver.vendor.requests[-1][0]) == ["user1@example.com", "user3@example.com"]
    assert await batch(driver, bulk_id) == {"status": "done", "total": 4, "sent": 2, "failed": 2}


async def test_who_failed_by_himself_goes_into_no_larger_request(
    driver: Driver, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk_id = await driver.enqueue("bulk_email", many(5))
    await driver.run(bulk_id)
    (child,) = await parts(driver, bulk_id)
    wrong = [{"message": "no", "field": f"personalizations.{n}.to.0.email"} for n in range(5)]
    script.next = [Response(400, {}, json.dumps({"errors": wrong}).encode())]
    await driver.run(child["id"])
    small = policy("sendgrid").model_copy(update={"batch_bytes": 1050})
    monkeypatch.setattr("tasks._batch.policy", lambda _: small)

    await step(driver, "retry_failed", bulk_id)

    again = [one["id"] for one in await parts(driver, bulk_id) if one["status"] == "waiting"]
    rows = await driver.rows("SELECT size FROM ferryman.parts WHERE job_id = ANY(:ids)", ids=again)
    assert sorted(row["size"] for row in rows) == [2, 3]
    assert await batch(driver, bulk_id) == {"status": "running", "total": 5, "waiting": 5}


async def test_a_part_of_a_cancelled_batch_is_not_sent_by_a_replay(
    driver: Driver, script: Script
) -> None:
    bulk_id = await driver.enqueue("bulk_email", many(1500))
    await driver.run(bulk_id)
    first, _ = await parts(driver, bulk_id)
    script.next = [REFUSED]
    await driver.run(first["id"])
    await step(driver, "cancel", bulk_id)
    async with driver.ledger.transaction() as connection:
        with pytest.raises(_settle.NotAllowed, match="its batch is cancelled"):
            await _settle.retry(connection, first["id"], who="test")
        failed = await settle.lock_failed(connection, settle.Filters())
        assert first["id"] not in [row["id"] for row in failed]
        # A replay that had begun before the cancel.
        await settle.again(connection, [first["id"]], fresh=True)
        await write(connection, [_settle.kinds()[first["kind"]].again(first["id"])])

    assert (await driver.run(first["id"]))["status"] == "cancelled"
    assert len(driver.vendor.requests) == 1
    counts = {"total": 1500, "cancelled": 1500}
    assert await batch(driver, bulk_id) == {"status": "cancelled", **counts}


async def test_what_all_have_in_common_counts_for_each(driver: Driver) -> None:
    """It stands in a request once for each of its recipients."""
    bulk_id = await driver.enqueue("bulk_email", many(10, data={"terms": "x" * 400_000}))
    await driver.run(bulk_id)
    assert len(await parts(driver, bulk_id)) == 3
    too_much = await driver.enqueue("bulk_email", many(10, data={"terms": "x" * 2_000_000}))
    job = await driver.run(too_much)
    assert (job["status"], job["error"]["code"]) == ("failed", "too_large")


async def test_a_part_that_came_back_into_a_paused_batch_is_never_late(driver: Driver) -> None:
    bulk_id = await driver.enqueue("bulk_email", many(1))
    await driver.run(bulk_id)
    (child,) = await parts(driver, bulk_id)
    running = await driver.claim(child["id"])
    await step(driver, "pause", bulk_id)
    with pytest.raises(Wait) as waits:
        await running.perform()
    await running.end(waits.value)
    (child,) = await parts(driver, bulk_id)
    assert (child["status"], child["due_at"].year) == ("waiting", 9000)
    await step(driver, "resume", bulk_id)
    assert (await driver.run(child["id"]))["status"] == "succeeded"


async def test_a_list_of_which_a_piece_is_gone_is_sent_to_nobody(driver: Driver) -> None:
    lines = b'{"to": "a@example.com"}\n', b'{"to": "b@example.com"}\n'
    inspection, temporary = Inspection("jsonl"), uuid4()
    async with driver.ledger.transaction() as connection:
        for place, line in enumerate(lines):
            inspection.add(line)
            await uploads.keep(connection, temporary, place, line)
        found = inspection.end()
        await uploads.done(connection, temporary, **vars(found))
    await driver.rows(
        "DELETE FROM ferryman.upload_pieces WHERE upload_id = :id AND place = 1", id=found.id
    )
    bulk_id = await driver.enqueue("bulk_email", {**HELLO, "upload": str(found.id)})
    job = await driver.run(bulk_id)
    assert (job["status"], job["error"]["code"]) == ("failed", "not_found")
    assert await batch(driver, bulk_id) == {"status": "done", "total": 0}


async def test_what_an_earlier_version_would_have_filled_in_is_not_sent_as_it_is(
    driver: Driver,
) -> None:
    bulk_id = await driver.enqueue("bulk_email", many(2))
    await driver.run(bulk_id)
    letter = '{"subject": "Hello", "text": "Hello {name}"}'
    await driver.rows(
        "UPDATE ferryman.batches SET letter = CAST(:letter AS jsonb) WHERE id = :id",
        id=bulk_id,
        letter=letter,
    )
    (child,) = await parts(driver, bulk_id)
    assert (await driver.run(child["id"]))["status"] == "failed"
    assert driver.vendor.requests == []


async def test_a_plan_that_meets_a_defect_has_stored_nothing(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk_id = await driver.enqueue("bulk_email", many(2))
    with monkeypatch.context() as patch:
        patch.setattr(mail_plan, "copy", AsyncMock(side_effect=RuntimeError))
        job = await driver.run(bulk_id)
    assert (job["status"], job["error"]["code"]) == ("failed", "internal_error")
    async with driver.ledger.transaction() as connection:
        await _settle.retry(connection, bulk_id, who="test")
    await driver.run(bulk_id)
    assert await batch(driver, bulk_id) == {"status": "running", "total": 2, "waiting": 2}
