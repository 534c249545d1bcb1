"""Jobs in doubt: looked up, settled by a late proof, cancelled, or sent again by a person."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from adapters._base import Request, Response, Unavailable, Unknown
from models import workers
from tasks import _settle
from tests.adapters.doubles import Answer
from tests.tasks.driver import Driver, driving
from worker.verdict import Cancelled, LeaseLost

CHARGE = {
    "customer": "user-1",
    "amount": 1250,
    "currency": "usd",
    "payment_method": "pm_card_visa",
}
MAIL = {"to": "ada@example.com", "subject": "Hello", "text": "Hi"}
JSON = {"content-type": "application/json"}
WHO = "a test"


class Stripe:
    """Stripe with one customer, whose payments are in `made`; `charge` answers the POST."""

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.charge: Callable[[dict[str, Any]], Answer] = self.take

    def take(self, intent: dict[str, Any]) -> Answer:
        self.made.append(intent)
        return ok(intent)

    def take_but_lose_the_answer(self, intent: dict[str, Any]) -> Answer:
        self.made.append(intent)
        return Unknown("cut")

    def __call__(self, request: Request) -> Answer:
        path = request.url.partition("?")[0]
        if path.endswith("/customers"):
            return ok({"id": "cus_1", "object": "customer"})
        if path.endswith("/mail/send"):
            return Unknown("cut")
        if request.method == "GET":
            return ok({"object": "list", "data": self.made, "has_more": False})
        self.keys.append(request.headers["Idempotency-Key"])
        return self.charge(intent(self.keys[-1].split(":")[0]))


def intent(job: str, **changes: Any) -> dict[str, Any]:
    made = {"object": "payment_intent", "status": "succeeded", "amount": 1250, "currency": "usd"}
    return {**made, "id": f"pi_{uuid4().hex}", "created": 1, "metadata": {"job": job}, **changes}


def ok(body: dict[str, Any], **headers: str) -> Response:
    return Response(200, JSON | headers, json.dumps(body).encode())


def stored_500(_: Any) -> Answer:
    return Response(500, {**JSON, "idempotent-replayed": "true"}, b"{}")


@pytest.fixture
def stripe() -> Stripe:
    return Stripe()


@pytest.fixture
async def driver(ledger_url: str, stripe: Stripe, vendor_keys: None) -> AsyncIterator[Driver]:
    async with driving(ledger_url, stripe) as made:
        yield made


async def doubted(driver: Driver, stripe: Stripe, answer: Callable[[Any], Answer]) -> UUID:
    """A charge whose only request got no answer, and whose vendor key dedupes no longer."""
    stripe.charge = answer
    job_id = await driver.enqueue("charge", CHARGE)
    await driver.run(job_id)
    await driver.rows("UPDATE ferryman.sends SET repeat_until = now()")
    return job_id


async def interventions(driver: Driver, job_id: UUID) -> list[tuple[str, str, str]]:
    rows = await driver.rows(
        "SELECT action, was, became FROM ferryman.interventions WHERE job_id = :id ORDER BY id",
        id=job_id,
    )
    return [(row["action"], row["was"], row["became"]) for row in rows]


async def test_beyond_the_window_it_is_looked_up_and_found(driver: Driver, stripe: Stripe) -> None:
    job_id = await doubted(driver, stripe, stripe.take_but_lose_the_answer)

    waits = await driver.run(job_id)
    found = await driver.run(job_id)

    assert (waits["status"], waits["look_at"] is not None) == ("unknown", True)
    assert (found["status"], found["result"]["vendor_reference"]) == (
        "succeeded",
        stripe.made[0]["id"],
    )
    assert len(stripe.keys) == 1
    assert len(await driver.rows("SELECT FROM ferryman.charges")) == 1
    assert not await driver.rows("SELECT FROM ferryman.sends WHERE answered_at IS NULL")
    outcomes = await driver.rows("SELECT outcome FROM ferryman.attempts ORDER BY number")
    assert [row["outcome"] for row in outcomes] == ["retry", "unknown", "succeeded"]


async def test_proven_absence_makes_a_new_key_that_is_recorded(
    driver: Driver, stripe: Stripe
) -> None:
    job_id = await doubted(driver, stripe, lambda _: Unknown("cut"))
    await driver.run(job_id)

    absent = await driver.run(job_id)
    stripe.charge = stripe.take
    found = await driver.run(job_id)

    assert (absent["status"], absent["round"]) == ("waiting", 1)
    assert found["status"] == "succeeded"
    assert stripe.keys == [f"{job_id}:charge", f"{job_id}:charge:1"]
    recorded = await driver.rows(
        "SELECT vendor_key FROM ferryman.sends WHERE step = 'charge' ORDER BY attempt"
    )
    assert [row["vendor_key"] for row in recorded] == stripe.keys


async def test_a_stored_failure_is_not_asked_for_again_and_again(
    driver: Driver, stripe: Stripe
) -> None:
    stripe.charge = stored_500
    job_id = await driver.enqueue("charge", CHARGE)

    stored = await driver.run(job_id)
    await driver.run(job_id)
    stripe.charge = stripe.take
    done = await driver.run(job_id)

    assert (stored["status"], done["status"]) == ("unknown", "succeeded")
    assert len(stripe.keys) == len(set(stripe.keys)) == 2


async def test_attempts_used_up_and_absence_proven_is_a_failure(
    driver: Driver, stripe: Stripe
) -> None:
    job_id = await doubted(driver, stripe, lambda _: Unknown("cut"))
    await driver.rows("UPDATE ferryman.jobs SET attempts = 5")
    await driver.run(job_id)

    job = await driver.run(job_id)

    assert (job["status"], job["error"]["code"]) == ("failed", "attempts_used")


async def test_a_look_up_that_cannot_tell_leaves_the_doubt(driver: Driver, stripe: Stripe) -> None:
    job_id = await doubted(driver, stripe, lambda _: Unknown("cut"))
    await driver.run(job_id)
    driver.vendor._answer = lambda _: Unavailable("down")

    job = await driver.run(job_id)

    assert (job["status"], job["looks"]) == ("unknown", 1)
    assert job["look_at"] is not None
    assert await driver.rows("SELECT FROM ferryman.sends WHERE answered_at IS NULL")


async def test_a_worker_that_dies_during_a_look_up_sends_nothing_again(
    driver: Driver, stripe: Stripe
) -> None:
    stripe.charge = stored_500
    job_id = await driver.enqueue("charge", CHARGE)
    await driver.run(job_id)
    await driver.claim(job_id)
    await driver.rows("UPDATE ferryman.workers SET lease_until = '-infinity'")

    async with driver.ledger.transaction() as connection:
        rescued = await workers.rescue(
            connection, max_crashes=3, overdue_seconds=30, looks=_settle.looks()
        )

    # The window of its key is open, so anything but a look-up would have been sent again.
    assert [row["status"] for row in rescued] == ["unknown"]
    (job,) = await driver.rows("SELECT * FROM ferryman.jobs")
    assert job["look_at"] is not None


async def test_an_effect_seen_twice_is_for_a_person(driver: Driver, stripe: Stripe) -> None:
    job_id = await doubted(driver, stripe, stripe.take_but_lose_the_answer)
    stripe.made.append(intent(str(job_id)))
    await driver.run(job_id)

    job = await driver.run(job_id)

    assert (job["status"], job["error"]["code"], job["look_at"]) == (
        "unknown",
        "several_effects",
        None,
    )


@pytest.mark.parametrize("state", ["waiting", "unknown"])
async def test_an_answer_that_comes_after_the_lease_was_lost_settles_the_job(
    driver: Driver, state: str
) -> None:
    job_id = await driver.enqueue("charge", CHARGE)
    execution = await driver.claim(job_id)
    done = await execution._run()
    await driver.rows("UPDATE ferryman.jobs SET status = :state", state=state)
    with pytest.raises(LeaseLost):
        await execution._succeed(done)

    (job,) = await driver.rows("SELECT * FROM ferryman.jobs")

    assert (job["status"], job["result"]["amount"]) == ("succeeded", 1250)
    assert len(await driver.rows("SELECT FROM ferryman.charges")) == 1
    assert await interventions(driver, job_id) == [("settle", state, "succeeded")]


async def test_an_effect_of_a_cancelled_job_is_recorded_and_flagged_once(driver: Driver) -> None:
    job_id = await driver.enqueue("charge", CHARGE)
    execution = await driver.claim(job_id)
    done = await execution._run()
    await driver.rows("UPDATE ferryman.jobs SET status = 'cancelled'")

    for _ in range(2):
        async with driver.ledger.transaction() as connection:
            assert not await _settle.prove(connection, job_id, done, who=WHO)

    (job,) = await driver.rows("SELECT * FROM ferryman.jobs")
    assert job["status"] == "cancelled"
    assert "a person should look" in job["reason"]
    assert len(await driver.rows("SELECT FROM ferryman.charges")) == 1
    assert await interventions(driver, job_id) == [("late proof", "cancelled", "cancelled")]


async def test_a_refusal_after_the_lease_was_lost_ends_the_job(
    driver: Driver, stripe: Stripe
) -> None:
    declined = {"error": {"type": "card_error", "code": "card_declined"}}
    stripe.charge = lambda _: Response(402, JSON, json.dumps(declined).encode())
    job_id = await driver.enqueue("charge", CHARGE)
    execution = await driver.claim(job_id)
    with pytest.raises(Exception, match="refused") as refused:
        await execution.perform()
    await driver.rows("UPDATE ferryman.jobs SET status = 'unknown'")

    with pytest.raises(LeaseLost):
        await execution.end(refused.value)

    (job,) = await driver.rows("SELECT * FROM ferryman.jobs")
    assert (job["status"], job["error"]["code"]) == ("failed", "card_declined")


async def cancelled(driver: Driver, job_id: UUID) -> bool:
    async with driver.ledger.transaction() as connection:
        return await _settle.cancel(connection, job_id, who=WHO)


async def retried(driver: Driver, job_id: UUID) -> str | None:
    async with driver.ledger.transaction() as connection:
        return await _settle.retry(connection, job_id, who=WHO)


async def test_a_waiting_job_is_cancelled_at_once(driver: Driver, stripe: Stripe) -> None:
    job_id = await driver.enqueue("charge", CHARGE)

    assert await cancelled(driver, job_id) is True
    assert await cancelled(driver, job_id) is True

    (job,) = await driver.rows("SELECT * FROM ferryman.jobs")
    assert (job["status"], job["finished_at"] is not None) == ("cancelled", True)
    assert stripe.keys == []
    assert await interventions(driver, job_id) == [("cancel", "waiting", "cancelled")]


async def test_a_cancelled_refund_gives_back_what_it_had_set_aside(
    driver: Driver, stripe: Stripe
) -> None:
    charge = await driver.enqueue("charge", CHARGE)
    await driver.run(charge)
    refund = await driver.enqueue("refund", {"charge": str(charge)})
    driver.vendor._answer = lambda request: (
        Response(429, {"retry-after": "0"}, b"")
        if request.url.endswith("/refunds")
        else stripe(request)
    )
    await driver.run(refund)
    (before,) = await driver.rows("SELECT reserved FROM ferryman.charges")

    assert await cancelled(driver, refund) is True

    (after,) = await driver.rows("SELECT reserved FROM ferryman.charges")
    assert (before["reserved"], after["reserved"]) == (1250, 0)


async def test_a_running_job_stops_before_its_next_request(driver: Driver, stripe: Stripe) -> None:
    job_id = await driver.enqueue("charge", CHARGE)
    execution = await driver.claim(job_id)

    assert await cancelled(driver, job_id) is False
    with pytest.raises(Cancelled) as stopped:
        await execution.perform()
    await execution.end(stopped.value)

    (job,) = await driver.rows("SELECT * FROM ferryman.jobs")
    assert job["status"] == "cancelled"
    assert driver.vendor.requests == []


async def test_a_cancel_while_the_request_is_out_does_not_lose_its_success(
    driver: Driver, stripe: Stripe
) -> None:
    job_id = await driver.enqueue("charge", CHARGE)
    execution = await driver.claim(job_id)
    done = await execution._run()

    assert await cancelled(driver, job_id) is False
    assert done is not None
    await execution._succeed(done)

    (job,) = await driver.rows("SELECT * FROM ferryman.jobs")
    assert job["status"] == "succeeded"


@pytest.mark.parametrize("taken", [True, False])
async def test_a_cancel_in_doubt_ends_as_what_a_look_up_finds(
    driver: Driver, stripe: Stripe, taken: bool
) -> None:
    stripe.charge = stripe.take_but_lose_the_answer if taken else lambda _: Unknown("cut")
    job_id = await driver.enqueue("charge", CHARGE)
    await driver.run(job_id)

    assert await cancelled(driver, job_id) is False
    job = await driver.run(job_id)

    assert job["status"] == ("succeeded" if taken else "cancelled")
    assert len(stripe.keys) == 1


async def test_a_cancel_during_an_attempt_that_loses_its_answer(
    driver: Driver, stripe: Stripe
) -> None:
    stripe.charge = lambda _: Unknown("cut")
    job_id = await driver.enqueue("charge", CHARGE)
    execution = await driver.claim(job_id)
    with pytest.raises(Unknown) as lost:
        await execution.perform()

    assert await cancelled(driver, job_id) is False
    await execution.end(lost.value)

    (job,) = await driver.rows("SELECT * FROM ferryman.jobs")
    assert (job["status"], job["look_at"] is not None) == ("unknown", True)
    assert (await driver.run(job_id))["status"] == "cancelled"


async def test_what_has_ended_is_not_cancelled(driver: Driver) -> None:
    job_id = await driver.enqueue("charge", CHARGE)
    await driver.run(job_id)

    with pytest.raises(_settle.NotAllowed, match="succeeded"):
        await cancelled(driver, job_id)
    with pytest.raises(_settle.NoSuchJob):
        await cancelled(driver, uuid4())


async def test_a_declined_charge_is_sent_again_under_a_new_key(
    driver: Driver, stripe: Stripe
) -> None:
    declined = {"error": {"type": "card_error", "code": "card_declined"}}
    stripe.charge = lambda _: Response(402, JSON, json.dumps(declined).encode())
    job_id = await driver.enqueue("charge", CHARGE)
    await driver.run(job_id)
    stripe.charge = stripe.take

    assert await retried(driver, job_id) is None
    job = await driver.run(job_id)

    assert (job["status"], job["attempts"]) == ("succeeded", 1)
    assert stripe.keys == [f"{job_id}:charge", f"{job_id}:charge:1"]
    assert await interventions(driver, job_id) == [("retry", "failed", "waiting")]


async def test_an_unknown_job_keeps_its_key_while_the_vendor_dedupes(
    driver: Driver, stripe: Stripe
) -> None:
    stripe.charge = lambda _: ok(intent("x", amount=1))
    job_id = await driver.enqueue("charge", CHARGE)
    await driver.run(job_id)

    assert await retried(driver, job_id) is None
    await driver.run(job_id)

    assert stripe.keys == [f"{job_id}:charge"] * 2


async def test_beyond_the_window_a_person_is_warned(driver: Driver, stripe: Stripe) -> None:
    job_id = await doubted(driver, stripe, lambda _: Unknown("cut"))
    await driver.run(job_id)
    stripe.charge = stripe.take

    warning = await retried(driver, job_id)
    job = await driver.run(job_id)

    assert warning is not None
    assert "twice" in warning
    assert job["status"] == "succeeded"
    assert stripe.keys == [f"{job_id}:charge", f"{job_id}:charge:1"]


async def test_a_mail_in_doubt_is_sent_again_only_by_a_person(
    driver: Driver, stripe: Stripe
) -> None:
    job_id = await driver.enqueue("send_email", MAIL)
    unknown = await driver.run(job_id)
    (before,) = await driver.rows("SELECT status FROM ferryman.emails")

    warning = await retried(driver, job_id)
    driver.vendor._answer = lambda _: Response(202, {"x-message-id": "m"}, b"")
    job = await driver.run(job_id)

    assert (unknown["status"], unknown["look_at"], before["status"]) == ("unknown", None, "unknown")
    assert "twice" in (warning or "")
    assert job["status"] == "succeeded"
    (after,) = await driver.rows("SELECT status FROM ferryman.emails")
    assert after["status"] == "sent"


@pytest.mark.parametrize(("outcome", "row"), [("succeeded", "sent"), ("failed", "failed")])
async def test_a_person_resolves_a_mail(driver: Driver, outcome: Any, row: str) -> None:
    job_id = await driver.enqueue("send_email", MAIL)
    await driver.run(job_id)

    async with driver.ledger.transaction() as connection:
        await _settle.resolve(connection, job_id, outcome, who=WHO, note="seen in the mailbox")

    (job,) = await driver.rows("SELECT * FROM ferryman.jobs")
    (email,) = await driver.rows("SELECT * FROM ferryman.emails")
    assert (job["status"], email["status"]) == (outcome, row)
    async with driver.ledger.transaction() as connection:
        with pytest.raises(_settle.NotAllowed):
            await _settle.resolve(connection, job_id, outcome, who=WHO, note="again")


async def test_a_charge_resolved_by_a_person_is_refunded_at_the_vendor_s(
    driver: Driver, stripe: Stripe
) -> None:
    stripe.charge = lambda _: ok(intent("x", amount=1))
    job_id = await driver.enqueue("charge", CHARGE)
    await driver.run(job_id)
    async with driver.ledger.transaction() as connection:
        await _settle.resolve(connection, job_id, "succeeded", who=WHO, note="seen")

    refund = await driver.run(await driver.enqueue("refund", {"charge": str(job_id)}))

    assert (refund["status"], refund["error"]["code"]) == ("failed", "payment_not_known")
    (charge,) = await driver.rows("SELECT * FROM ferryman.charges")
    assert (charge["amount"], charge["reserved"]) == (1250, 0)


async def test_failed_jobs_are_counted_and_replayed_by_filter(
    driver: Driver, stripe: Stripe
) -> None:
    declined = {"error": {"type": "card_error", "code": "card_declined"}}
    stripe.charge = lambda _: Response(402, JSON, json.dumps(declined).encode())
    jobs = [await driver.enqueue("charge", CHARGE) for _ in range(3)]
    for job_id in jobs:
        await driver.run(job_id)
    other = await driver.enqueue("charge", {**CHARGE, "amount": -1})
    await driver.run(other)
    meant = _settle.Filters(kind="charge", code="card_declined")

    async with driver.ledger.transaction() as connection:
        assert await _settle.failed(connection, meant) == 3
        assert await _settle.failed(connection, _settle.Filters(vendor="s3")) == 0
        assert await _settle.retry_failed(connection, meant, who=WHO) == 3

    rows = await driver.rows("SELECT id, status, round FROM ferryman.jobs ORDER BY id")
    assert [(row["status"], row["round"]) for row in rows] == [("waiting", 1)] * 3 + [("failed", 0)]


async def test_what_waits_too_long_ends_without_a_claim(driver: Driver, stripe: Stripe) -> None:
    plain = await driver.enqueue("charge", CHARGE)
    doubtful = await doubted(driver, stripe, lambda _: Unknown("cut"))
    later = await driver.enqueue("charge", CHARGE, run_at="2030-01-01T00:00:00Z")
    await driver.rows("UPDATE ferryman.jobs SET expires_at = now() - interval '1 s'")
    await driver.rows("UPDATE ferryman.jobs SET expires_at = NULL WHERE id = :id", id=later)

    async with driver.ledger.transaction() as connection:
        late = await workers.expired(connection)
        ended = await workers.expire(connection, late, looks=_settle.looks())

    fates = {row["id"]: row["status"] for row in ended}
    assert fates == {plain: "failed", doubtful: "unknown"}
    (job,) = await driver.rows("SELECT * FROM ferryman.jobs WHERE id = :id", id=plain)
    assert job["error"]["code"] == "expired"


async def test_the_longest_wait_counts_from_when_it_was_due(driver: Driver) -> None:
    job_id = await driver.enqueue("charge", CHARGE)
    await driver.rows(
        "UPDATE ferryman.jobs SET created_at = now() - interval '9 hours',"
        " due_at = now() - interval '1 hour' WHERE id = :id",
        id=job_id,
    )

    async with driver.ledger.transaction() as connection:
        early = await workers.stale(connection, 7200)
        late = await workers.stale(connection, 1800)

    assert (early, late) == ([], [job_id])
