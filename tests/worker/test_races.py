"""What meets in the act: a cancel and a lost answer, a zombie and a person, a mark and a SIGTERM.

Each of these once did its effect twice, lost a reservation, or left a job without an end.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from adapters._base import Request, Response, Unavailable, Unknown
from ferryman.policies import policies
from models import settle
from tasks import _settle
from tasks._base import Done
from tests.adapters.doubles import Answer
from tests.tasks.driver import Driver, driving
from worker.breakers import Breakers
from worker.verdict import HandedBack, LeaseLost

CHARGE = {
    "customer": "user-1",
    "amount": 1250,
    "currency": "usd",
    "payment_method": "pm_card_visa",
}
MAIL = {"to": "ada@example.com", "subject": "Hello", "text": "Hi"}
JSON = {"content-type": "application/json"}
ACCEPTED = Response(202, {"x-message-id": "m"}, b"")
WHO = "a test"
WAITS = "SELECT FROM pg_locks WHERE NOT granted"


class Vendors:
    """Stripe and SendGrid in one. `answers` has the answer to a path's end, in place of ours."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.refunds: list[dict[str, Any]] = []
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> Answer:
        self.requests.append(request)
        path = request.url.partition("?")[0]
        if request.method == "GET":
            return ok({"object": "list", "data": self.refunds, "has_more": False})
        for end, answer in self.answers.items():
            if path.endswith(end):
                found: Answer = answer(request) if callable(answer) else answer
                return found
        if path.endswith("/mail/send"):
            return ACCEPTED
        if path.endswith("/customers"):
            return ok({"id": f"cus_{uuid4().hex}", "object": "customer"})
        if path.endswith("/refunds"):
            return ok(self.refund(request))
        return ok(made("payment_intent", None))

    def refund(self, request: Request) -> dict[str, Any]:
        """A refund that takes effect."""
        self.refunds.append(made("refund", request.headers["Idempotency-Key"].split(":")[0]))
        return self.refunds[-1]

    def keys(self, end: str) -> list[str]:
        found = (r for r in self.requests if r.url.endswith(end) and r.method == "POST")
        return [request.headers["Idempotency-Key"] for request in found]


def made(kind: str, job: str | None) -> dict[str, Any]:
    """An object as Stripe shows it, of the whole amount."""
    told = {"object": kind, "status": "succeeded", "amount": 1250, "currency": "usd", "created": 1}
    return {**told, "id": f"{kind}_{uuid4().hex}", "metadata": {"job": job}}


def ok(body: dict[str, Any]) -> Response:
    return Response(200, JSON, json.dumps(body).encode())


@pytest.fixture
def vendors() -> Vendors:
    return Vendors()


@pytest.fixture
async def driver(ledger_url: str, vendors: Vendors, vendor_keys: None) -> AsyncIterator[Driver]:
    async with driving(ledger_url, vendors) as made:
        yield made


async def refund(driver: Driver) -> UUID:
    """A refund of all of a charge that was taken."""
    charge = await driver.enqueue("charge", CHARGE)
    await driver.run(charge)
    return await driver.enqueue("refund", {"charge": str(charge)})


async def sums(driver: Driver) -> tuple[int, int]:
    (row,) = await driver.rows("SELECT reserved, refunded FROM ferryman.charges")
    return row["reserved"], row["refunded"]


async def cancelled(driver: Driver, job_id: UUID) -> bool:
    async with driver.ledger.transaction() as connection:
        return await _settle.cancel(connection, job_id, who=WHO)


async def resolved_as_failed(driver: Driver, job_id: UUID) -> None:
    await driver.rows("UPDATE ferryman.jobs SET status = 'unknown' WHERE id = :id", id=job_id)
    async with driver.ledger.transaction() as connection:
        await _settle.resolve(connection, job_id, "failed", who=WHO, note="not seen")


async def test_a_cancel_of_a_refund_that_loses_its_answer_keeps_its_reservation(
    driver: Driver, vendors: Vendors
) -> None:
    def cut(request: Request) -> Answer:
        vendors.refund(request)
        return Unknown("cut")

    vendors.answers["/refunds"] = cut
    job_id = await refund(driver)
    execution = await driver.claim(job_id)
    with pytest.raises(Unknown) as lost:
        await execution.perform()
    assert await cancelled(driver, job_id) is False
    await execution.end(lost.value)
    assert await sums(driver) == (1250, 0)

    job = await driver.run(job_id)

    assert job["status"] == "succeeded"
    assert await sums(driver) == (0, 1250)


async def test_a_refund_that_succeeded_after_a_person_gave_it_up_is_counted(
    driver: Driver,
) -> None:
    job_id = await refund(driver)
    execution = await driver.claim(job_id)
    done = await execution._run()
    await resolved_as_failed(driver, job_id)
    assert done is not None

    with pytest.raises(LeaseLost):
        await execution._succeed(done)

    assert await sums(driver) == (0, 1250)


async def test_a_zombie_sets_nothing_aside(driver: Driver) -> None:
    job_id = await refund(driver)
    execution = await driver.claim(job_id)
    await driver.rows("UPDATE ferryman.jobs SET status = 'waiting' WHERE id = :id", id=job_id)
    assert await cancelled(driver, job_id) is True

    with pytest.raises(LeaseLost):
        await execution.perform()

    assert await sums(driver) == (0, 0)


async def test_a_planned_batch_is_not_cancelled_behind_its_parts(driver: Driver) -> None:
    recipients = [{"to": "a@example.com"}, {"to": "b@example.com"}]
    job_id = await driver.enqueue(
        "bulk_email", {"recipients": recipients, "subject": "Hello", "text": "Hi"}
    )
    execution = await driver.claim(job_id)
    await execution._run()
    await execution.end(HandedBack())

    assert await cancelled(driver, job_id) is False
    job = await driver.run(job_id)

    assert job["status"] == "succeeded"
    assert len(await driver.rows("SELECT FROM ferryman.jobs WHERE kind = 'bulk_email_part'")) == 1


async def test_a_corrected_sender_gets_out(
    driver: Driver, vendors: Vendors, monkeypatch: pytest.MonkeyPatch
) -> None:
    def picky(request: Request) -> Answer:
        refused = Response(403, JSON, b'{"errors":[{"field":"from"}]}')
        return refused if b"sender@" in request.body else ACCEPTED

    vendors.answers["/mail/send"] = picky
    job_id = await driver.enqueue("send_email", MAIL)
    await driver.run(job_id)
    monkeypatch.setenv("FROM_EMAIL", "right@example.com")
    await driver.rows("UPDATE ferryman.vendor_states SET paused_at = NULL")
    driver.runtime.breakers = Breakers(driver.ledger, policies())

    assert (await driver.run(job_id))["status"] == "succeeded"


async def test_a_failure_kept_under_a_customer_s_key_holds_up_no_other_charge(
    driver: Driver, vendors: Vendors
) -> None:
    def kept(request: Request) -> Answer:
        if len(set(vendors.keys("/customers"))) > 1:
            return ok({"id": "cus_2", "object": "customer"})
        return Response(500, {**JSON, "idempotent-replayed": "true"}, b"{}")

    vendors.answers["/customers"] = kept
    job_id = await driver.enqueue("charge", CHARGE)
    await driver.run(job_id)
    await driver.run(job_id)

    assert (await driver.run(job_id))["status"] == "succeeded"
    assert len(vendors.keys("/customers")) == 2


async def test_looks_that_were_only_throttled_are_not_used_up(
    driver: Driver, vendors: Vendors
) -> None:
    vendors.answers["/payment_intents"] = Unknown("cut")
    job_id = await driver.enqueue("charge", CHARGE)
    await driver.run(job_id)
    await driver.rows("UPDATE ferryman.sends SET repeat_until = now()")
    await driver.run(job_id)
    driver.vendor._answer = lambda _: Response(429, {"retry-after": "0"}, b"")
    throttled = await driver.run(job_id)
    await driver.rows("UPDATE ferryman.vendor_states SET cooldown_until = NULL")
    driver.runtime.breakers = Breakers(driver.ledger, policies())
    driver.vendor._answer = lambda _: Unavailable("down")

    job = await driver.run(job_id)

    assert (throttled["looks"], job["looks"]) == (0, 1)
    assert job["look_at"] is not None


async def test_an_attempt_that_ends_while_its_mark_is_committed_makes_no_doubt(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await driver.enqueue("send_email", MAIL)
    execution = await driver.claim(job_id)
    leave = driver.ledger.leave
    performing = asyncio.ensure_future(execution.perform())

    async def stopped_meanwhile(mark: Any) -> Any:
        asyncio.get_running_loop().call_soon(performing.cancel)
        return await leave(mark)

    monkeypatch.setattr(driver.ledger, "leave", stopped_meanwhile)
    with pytest.raises(HandedBack) as handed_back:
        await performing
    await execution.end(handed_back.value)
    monkeypatch.setattr(driver.ledger, "leave", leave)

    assert driver.vendor.requests == []
    assert (await driver.run(job_id))["status"] == "succeeded"


async def test_a_second_effect_of_a_job_that_succeeded_is_flagged(driver: Driver) -> None:
    job_id = await driver.enqueue("charge", CHARGE)
    job = await driver.run(job_id)
    row = {**job["result"], "vendor_reference": "pi_other"}

    async with driver.ledger.transaction() as connection:
        await _settle.prove(connection, job_id, Done(row, {"charges": [row]}), who=WHO)

    (job,) = await driver.rows("SELECT * FROM ferryman.jobs")
    assert "second time" in job["reason"]


async def test_a_mail_that_was_sent_after_a_person_gave_it_up_says_so(driver: Driver) -> None:
    job_id = await driver.enqueue("send_email", MAIL)
    execution = await driver.claim(job_id)
    done = await execution._run()
    await driver.rows("UPDATE ferryman.mails SET status = 'unknown'")
    await resolved_as_failed(driver, job_id)
    assert done is not None

    with pytest.raises(LeaseLost):
        await execution._succeed(done)

    assert await driver.rows("SELECT status FROM ferryman.emails") == [{"status": "sent"}]


async def test_who_waits_for_a_job_sees_the_doubt_that_arose_meanwhile(
    driver: Driver, ledger_url: str
) -> None:
    job_id = await driver.enqueue("charge", CHARGE)

    async def locked() -> Any:
        async with driver.ledger.transaction() as connection:
            return await settle.lock(connection, job_id)

    async with await psycopg.AsyncConnection.connect(ledger_url) as other:
        await other.execute("SELECT FROM ferryman.jobs FOR UPDATE")
        waiting = asyncio.ensure_future(locked())
        while not await driver.rows(WAITS):  # noqa: ASYNC110 - another session tells
            await asyncio.sleep(0.01)
        await other.execute(
            "INSERT INTO ferryman.sends (job_id, step, attempt, vendor_key, repeat, request)"
            " VALUES (%s, 'charge', 1, 'k', 'key', '{}')",
            (job_id,),
        )
        await other.execute("UPDATE ferryman.jobs SET reason = 'x'")

    assert (await waiting)["doubtful"] is True
