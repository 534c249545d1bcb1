"""One attempt on a real ledger: what stays true when something around it breaks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from uuid_utils.compat import uuid7

from adapters._base import Request, Response, Throttled, Unknown
from models.walk import Claim, Close, Leaving, Left, NoEffect, Park
from tests.adapters.doubles import Answer
from tests.tasks.driver import Driver, driving
from worker.execution import Execution

CHARGE = {
    "customer": "user-1",
    "amount": 1250,
    "currency": "usd",
    "payment_method": "pm_card_visa",
}
JSON = {"content-type": "application/json"}


def intent(**changes: Any) -> dict[str, Any]:
    """A payment as Stripe tells it."""
    made = {"object": "payment_intent", "status": "succeeded", "amount": 1250, "currency": "usd"}
    return {**made, "id": f"pi_{uuid4().hex}", "created": 1, **changes}


def stripe(request: Request) -> Answer:
    """Stripe, in good health."""
    body: dict[str, Any] = {"id": f"cus_{uuid4().hex}", "object": "customer"}
    if request.url.endswith("/payment_intents"):
        body = intent()
    if request.url.endswith("/refunds"):
        body = intent(id=f"re_{uuid4().hex}", object="refund")
    return Response(200, JSON, json.dumps(body).encode())


@pytest.fixture
async def driver(ledger_url: str, vendor_keys: None) -> AsyncIterator[Driver]:
    async with driving(ledger_url, stripe) as made:
        yield made


def answering(driver: Driver, answer: Answer) -> None:
    """The payment intent gets this answer; all else succeeds."""
    driver.vendor._answer = lambda request: (
        answer if request.url.endswith("/payment_intents") else stripe(request)
    )


async def test_a_breaker_that_cannot_be_told_changes_no_success(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr(driver.runtime.breakers["stripe"], "record", broken)

    job = await driver.run(await driver.enqueue("charge", CHARGE))

    assert job["status"] == "succeeded"
    assert len(await driver.rows("SELECT FROM ferryman.charges")) == 1


async def test_a_ledger_that_blinks_fails_no_job(driver: Driver) -> None:
    charge = await driver.enqueue("charge", CHARGE)
    await driver.run(charge)
    refund = await driver.enqueue("refund", {"charge": str(charge)})
    execution = await driver.claim(refund)
    async with driver.ledger.transaction() as connection:
        # All of this process's connections but this one.
        await connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    try:
        await execution.perform()
    except Exception as error:
        await execution.end(error)

    (job,) = await driver.rows("SELECT * FROM ferryman.jobs WHERE id = :id", id=refund)
    again = job if job["status"] == "succeeded" else await driver.run(refund)
    assert again["status"] == "succeeded", again["error"]


async def test_nul_bytes_in_an_answer_keep_nothing_from_being_written(driver: Driver) -> None:
    answering(driver, Response(502, {"content-type": "text/html"}, b"<h1>\0bad\0 gateway</h1>"))

    job = await driver.run(await driver.enqueue("charge", CHARGE))

    assert (job["status"], job["attempts"]) == ("waiting", 1)
    kept = await driver.rows("SELECT response FROM ferryman.interactions WHERE status_code = 502")
    assert "bad" in kept[0]["response"]["body"]


async def test_a_payment_in_progress_is_waited_for_and_no_failure_of_the_vendor(
    driver: Driver,
) -> None:
    answering(driver, Response(200, JSON, json.dumps(intent(status="processing")).encode()))

    job = await driver.run(await driver.enqueue("charge", CHARGE))

    assert (job["status"], job["pending"], job["attempts"]) == ("waiting", True, 0)
    assert job["result"]["status"] == "processing"
    (state,) = await driver.rows("SELECT * FROM ferryman.vendor_states WHERE vendor = 'stripe'")
    assert state["failures"] == 0


async def test_an_amount_that_differs_is_for_a_person(driver: Driver) -> None:
    answering(driver, Response(200, JSON, json.dumps(intent(amount=9999)).encode()))

    job = await driver.run(await driver.enqueue("charge", CHARGE))

    assert (job["status"], job["error"]["code"]) == ("unknown", "amount_mismatch")


async def test_a_missing_credential_pauses_the_vendor(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STRIPE_SECRET_KEY")

    job = await driver.run(await driver.enqueue("charge", CHARGE))

    assert (job["status"], job["attempts"]) == ("waiting", 0)
    assert "STRIPE_SECRET_KEY" in job["reason"]
    (state,) = await driver.rows("SELECT * FROM ferryman.vendor_states WHERE vendor = 'stripe'")
    assert state["paused_at"] is not None
    assert state["pause_fingerprint"] is not None


async def test_a_throttle_while_an_earlier_request_is_in_doubt_clears_nothing(
    driver: Driver,
) -> None:
    answering(driver, Unknown("cut"))
    job_id = await driver.enqueue("charge", CHARGE)
    await driver.run(job_id)
    answering(driver, Response(429, {}, b""))

    job = await driver.run(job_id)

    assert job["status"] == "waiting"
    doubts = await driver.rows("SELECT attempt FROM ferryman.sends WHERE answered_at IS NULL")
    assert doubts == [{"attempt": 1}]


async def test_a_refusal_of_the_request_while_one_is_in_doubt_proves_no_absence(
    driver: Driver,
) -> None:
    answering(driver, Unknown("cut"))
    job_id = await driver.enqueue("charge", CHARGE)
    await driver.run(job_id)
    missing = {"error": {"type": "invalid_request_error", "code": "resource_missing"}}
    answering(driver, Response(404, JSON, json.dumps(missing).encode()))

    job = await driver.run(job_id)

    assert job["status"] == "unknown"


async def test_a_repeat_sends_the_stored_bytes(driver: Driver) -> None:
    answering(driver, Unknown("cut"))
    job_id = await driver.enqueue("charge", CHARGE)
    await driver.run(job_id)
    # As if another version of ferryman built the request in another way.
    await driver.rows(
        "UPDATE ferryman.jobs SET args = args || '{\"amount\": 777}' WHERE id = :id", id=job_id
    )
    driver.vendor._answer = stripe

    await driver.run(job_id)

    bodies = [r.body for r, _ in driver.vendor.requests if r.url.endswith("/payment_intents")]
    assert len(bodies) == 2
    assert bodies[0] == bodies[1]


async def test_a_repeat_beyond_the_vendor_s_window_is_not_sent(driver: Driver) -> None:
    answering(driver, Unknown("cut"))
    job_id = await driver.enqueue("charge", CHARGE)
    await driver.run(job_id)
    await driver.rows("UPDATE ferryman.sends SET repeat_until = now()")
    sent = len(driver.vendor.requests)

    job = await driver.run(job_id)

    assert job["status"] == "unknown"
    assert len(driver.vendor.requests) == sent


@pytest.mark.parametrize(
    ("kind", "vendor"), [("refund", "stripe"), ("charge", "sendgrid"), ("send_email", "sendgrid")]
)
async def test_a_message_of_another_kind_or_queue_takes_nothing(
    driver: Driver, kind: str, vendor: str
) -> None:
    job_id = await driver.enqueue("charge", CHARGE)

    begun = await Execution.begin(driver.runtime, driver._kinds[kind], job_id, vendor)

    assert begun is None
    (job,) = await driver.rows("SELECT * FROM ferryman.jobs WHERE id = :id", id=job_id)
    assert (job["status"], job["attempts"]) == ("waiting", 0)


async def test_an_expired_job_is_failed_without_a_call(driver: Driver) -> None:
    job_id = await driver.enqueue("charge", CHARGE)
    await driver.rows("UPDATE ferryman.jobs SET due_at = now() - interval '2 hours'")

    job = await driver.run(job_id)

    assert (job["status"], job["error"]["code"]) == ("failed", "expired")
    assert driver.vendor.requests == []


class Walk:
    """The statements of the walk on one waiting job."""

    def __init__(self, driver: Driver, job_id: UUID) -> None:
        self.driver = driver
        self.job_id = job_id
        self.worker = driver.runtime.heartbeat.lease.worker

    async def claim(self) -> int:
        wish = Claim(self.job_id, "charge", "stripe", uuid7(), self.worker, 60)
        claimed = await self.driver.ledger.claim(wish)
        assert claimed is not None
        return claimed.fence

    def close(self, fence: int, status: str) -> Any:
        return self.driver.ledger.close(Close(self.job_id, fence, status, status))

    def leave(self, fence: int) -> Any:
        mark = Leaving(self.job_id, fence, "charge", "k", "key", 60, {"body": "x"})
        return self.driver.ledger.leave(mark)

    async def lose(self) -> None:
        """What a rescuer does to the job of a worker whose lease ran out."""
        await self.driver.rows(
            "UPDATE ferryman.jobs SET status = 'waiting', worker_id = NULL WHERE id = :id",
            id=self.job_id,
        )

    async def status(self) -> str:
        (job,) = await self.driver.rows(
            "SELECT status FROM ferryman.jobs WHERE id = :id", id=self.job_id
        )
        return str(job["status"])


@pytest.fixture
async def walk(driver: Driver) -> Walk:
    return Walk(driver, await driver.enqueue("charge", CHARGE))


async def test_a_stale_attempt_loses_within_one_group(walk: Walk) -> None:
    stale = await walk.claim()
    await walk.lose()
    current = await walk.claim()

    left = await asyncio.gather(walk.leave(stale), walk.leave(current))
    closed = await asyncio.gather(walk.close(current, "succeeded"), walk.close(stale, "failed"))

    assert left == [Left.LEASE_LOST, Left.YES]
    assert closed == ["succeeded", None]
    assert await walk.status() == "succeeded"


async def test_a_close_repeated_after_a_lost_commit_is_no_lost_lease(walk: Walk) -> None:
    fence = await walk.claim()

    assert await walk.close(fence, "succeeded") == "succeeded"
    assert await walk.close(fence, "succeeded") == "succeeded"
    assert await walk.close(fence, "failed") is None
    assert await walk.status() == "succeeded"


async def test_a_claim_repeated_after_a_lost_commit_is_the_same_attempt(walk: Walk) -> None:
    wish = Claim(walk.job_id, "charge", "stripe", uuid7(), walk.worker, 60)

    first = await walk.driver.ledger.claim(wish)
    again = await walk.driver.ledger.claim(wish)
    other = await walk.driver.ledger.claim(
        Claim(walk.job_id, "charge", "stripe", uuid7(), walk.worker, 60)
    )

    assert first is not None
    assert again is not None
    assert (first.fence, first.attempts) == (again.fence, again.attempts) == (1, 1)
    assert other is None


async def test_a_park_touches_waiting_jobs_of_its_vendor_only(walk: Walk) -> None:
    park = walk.driver.ledger.park

    assert await park(Park(walk.job_id, "sendgrid", "no", 60)) is False
    assert await park(Park(walk.job_id, "stripe", "later", 0)) is True
    await walk.claim()
    assert await park(Park(walk.job_id, "stripe", "later", 0)) is False


async def test_no_effect_answers_one_request_only(walk: Walk) -> None:
    first = await walk.claim()
    await walk.leave(first)
    await walk.close(first, "waiting")
    second = await walk.claim()
    await walk.leave(second)

    await walk.driver.ledger.no_effect(NoEffect(walk.job_id, "charge", second))

    doubts = await walk.driver.rows("SELECT attempt FROM ferryman.sends WHERE answered_at IS NULL")
    assert doubts == [{"attempt": first}]


async def test_throttled_jobs_say_so_and_keep_their_attempts(driver: Driver) -> None:
    answering(driver, Throttled("limit", retry_after=9))

    job = await driver.run(await driver.enqueue("charge", CHARGE))

    assert (job["status"], job["attempts"]) == ("waiting", 0)
    (state,) = await driver.rows(
        "SELECT cooldown_until > now() + interval '5 s' AS cool FROM ferryman.vendor_states"
        " WHERE vendor = 'stripe'"
    )
    assert state["cool"] is True


async def test_a_refund_of_a_charge_that_failed_says_so(driver: Driver) -> None:
    declined = {"error": {"type": "card_error", "code": "card_declined"}}
    answering(driver, Response(402, JSON, json.dumps(declined).encode()))
    charge = await driver.enqueue("charge", CHARGE)
    await driver.run(charge)

    job = await driver.run(await driver.enqueue("refund", {"charge": str(charge)}))

    assert (job["status"], job["error"]["code"]) == ("failed", "charge_failed")


async def test_a_job_planned_for_the_past_runs_now(driver: Driver) -> None:
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)

    job = await driver.run(await driver.enqueue("charge", CHARGE, run_at=long_ago))

    assert job["status"] == "succeeded"


async def test_a_job_that_called_nobody_says_nothing_of_the_vendor(driver: Driver) -> None:
    bulk = {"subject": "Hi", "text": "Hello", "recipients": [{"to": "a@example.com"}]}
    job_id = await driver.enqueue("bulk_email", bulk)
    await driver.rows(
        "UPDATE ferryman.vendor_states SET breaker = 'open', probe_at = now()"
        " WHERE vendor = 'sendgrid'"
    )

    job = await driver.run(job_id)

    (state,) = await driver.rows(
        "SELECT breaker, probe_until FROM ferryman.vendor_states WHERE vendor = 'sendgrid'"
    )
    assert job["status"] == "succeeded"
    assert state == {"breaker": "half-open", "probe_until": None}
