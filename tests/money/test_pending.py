"""A payment that waits for its payer, and what befalls its job: crashes, cancels, faults."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from models import workers
from tasks._settle import looks
from tests.money.bank import PURSES, Bank

pytestmark = pytest.mark.parametrize("bank", PURSES[:1], indirect=True, ids=["stripe"])


async def waiting(bank: Bank, **changes: Any) -> UUID:
    """A charge whose payer is asked."""
    job_id = await bank.charge(1000, payment_method=bank.purse.asks, **changes)
    assert (await bank.run(job_id))["pending"]
    return job_id


async def test_a_worker_that_dies_while_it_looks_leaves_the_job_waiting(bank: Bank) -> None:
    job_id = await waiting(bank)
    for _ in range(2):
        await bank.driver.claim(job_id)
        await _dies(bank)

        job = await bank.job(job_id)
        assert (job["status"], job["pending"]) == ("waiting", True)

    bank.approve(await bank.row(job_id))
    assert (await bank.run(job_id))["status"] == "succeeded"


async def test_a_poisonous_one_is_for_a_person_not_failed(bank: Bank) -> None:
    job_id = await waiting(bank)
    await bank.driver.rows("UPDATE ferryman.jobs SET crashes = 2")
    await bank.driver.claim(job_id)

    await _dies(bank)

    assert (await bank.job(job_id))["status"] == "unknown"


async def _dies(bank: Bank) -> None:
    await bank.driver.rows("UPDATE ferryman.workers SET lease_until = now() - interval '1 s'")
    async with bank.driver.ledger.transaction() as connection:
        await workers.rescue(connection, max_crashes=3, overdue_seconds=30, looks=looks())
    await bank.driver.rows(
        "INSERT INTO ferryman.workers (id, name, lease_until) VALUES (:id, 'test', 'infinity')",
        id=bank.driver.runtime.heartbeat.lease.worker,
    )


async def test_a_cancel_during_a_look_stops_the_payment_at_the_next(bank: Bank) -> None:
    job_id = await waiting(bank)
    execution = await bank.driver.claim(job_id)
    assert not await bank.cancel(job_id)
    with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever ends the attempt
        await execution.perform()
    await execution.end(raised.value)

    job = await bank.job(job_id)
    assert (job["status"], job["pending"]) == ("waiting", True)
    assert (await bank.run(job_id))["status"] == "cancelled"
    assert len(bank.effects("cancellation")) == 1


async def test_the_sweep_leaves_it_alone_and_it_is_there_in_time(bank: Bank) -> None:
    job_id = await waiting(bank)
    await bank.driver.rows("UPDATE ferryman.jobs SET expires_at = now() - interval '1 s'")
    async with bank.driver.ledger.transaction() as connection:
        assert await workers.expired(connection) == []

    assert (await bank.run(job_id))["error"]["code"] == "expired"


@pytest.mark.parametrize("fault", ["drop_before", "error_before"])
async def test_a_vendor_that_cannot_be_asked_proves_nothing(bank: Bank, fault: str) -> None:
    job_id = await waiting(bank)
    bank.sandbox.script([{"vendor": "stripe", "method": "GET", "do": fault}])
    for _ in range(7):
        job = await bank.run(job_id)
        assert (job["status"], job["pending"]) == ("waiting", True)
        await bank.driver.rows("UPDATE ferryman.vendor_states SET breaker = 'closed', failures = 0")

    bank.sandbox.script([])
    bank.approve(await bank.row(job_id))
    assert (await bank.finish(job_id))["status"] in ("waiting", "succeeded")
    assert len(bank.effects("charge")) == 1


async def test_a_cancel_whose_answer_is_lost_is_asked_again(bank: Bank) -> None:
    job_id = await waiting(bank)
    bank.sandbox.script(
        [
            {
                "vendor": "stripe",
                "method": "POST",
                "path": "/v1/payment_intents/*/cancel",
                "do": "drop_after",
                "when": {"nth": [1]},
            }
        ]
    )
    await bank.cancel(job_id)

    first, second = await bank.run(job_id), await bank.run(job_id)

    assert (first["status"], first["pending"]) == ("waiting", True)
    assert second["status"] == "cancelled"
    assert len(bank.effects("cancellation")) == 1


async def test_a_payment_that_takes_days_is_not_late(bank: Bank) -> None:
    """Only a payer can be late, not a bank."""
    job_id = await bank.charge(1000, payment_method="pm_usBankAccount_success")
    await bank.run(job_id)
    await bank.driver.rows("UPDATE ferryman.jobs SET due_at = now() - interval '9 days'")
    await bank.driver.rows("UPDATE ferryman.charges SET created_at = now() - interval '9 days'")

    job = await bank.run(job_id)
    assert (job["status"], job["result"]["status"]) == ("waiting", "processing")

    bank.sandbox.dashboard("stripe", "settle", **bank.payment(await bank.row(job_id)))
    assert (await bank.run(job_id))["status"] == "succeeded"
    assert bank.balance() == await bank.ledger_balance() == 1000
