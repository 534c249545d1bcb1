"""What becomes of the jobs of a dead worker: doubt decides."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from adapters._base import Unknown
from models import workers
from models.walk import Claim, Leaving, Left
from tests.tasks.driver import Driver, driving

CHARGE = {"customer": "u", "amount": 1, "currency": "usd", "payment_method": "pm"}
LOOKS = {"charge": {"stripe": 5.0}}


class Morgue:
    """Workers that die with jobs in their hands."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    async def job(self) -> UUID:
        return await self.driver.enqueue("charge", CHARGE)

    async def held(self, *jobs: UUID) -> dict[UUID, int]:
        """The fences of jobs that a new worker has claimed."""
        worker = uuid7()
        await self.driver.rows(
            "INSERT INTO ferryman.workers (id, name, lease_until)"
            " VALUES (:id, 'doomed', now() + interval '1 hour')",
            id=worker,
        )
        await self.driver.rows("UPDATE ferryman.jobs SET run_at = now() WHERE status = 'waiting'")
        fences = {}
        for job_id in jobs:
            claimed = await self.driver.ledger.claim(
                Claim(job_id, "charge", "stripe", uuid7(), worker, 60)
            )
            if claimed is not None:
                fences[job_id] = claimed.fence
        return fences

    async def sent(self, job_id: UUID, fence: int, repeat: str, seconds: float | None) -> None:
        mark = Leaving(job_id, fence, "charge", "k", repeat, seconds, {"body": "x"})
        assert await self.driver.ledger.leave(mark) is Left.YES

    async def die_and_rescue(self, max_crashes: int = 3) -> dict[UUID, str]:
        await self.driver.rows(
            "UPDATE ferryman.workers SET lease_until = now() - interval '1 s' WHERE name = 'doomed'"
        )
        async with self.driver.ledger.transaction() as connection:
            rows = await workers.rescue(
                connection, max_crashes=max_crashes, overdue_seconds=30, looks=LOOKS
            )
        return {row["id"]: row["status"] for row in rows}

    async def row(self, job_id: UUID) -> dict[str, Any]:
        (found,) = await self.driver.rows("SELECT * FROM ferryman.jobs WHERE id = :id", id=job_id)
        return found


@pytest.fixture
async def morgue(ledger_url: str) -> AsyncIterator[Morgue]:
    async with driving(ledger_url, lambda _: Unknown("nobody calls here")) as driver:
        yield Morgue(driver)


@pytest.mark.parametrize(
    ("repeat", "seconds", "fate"),
    [
        (None, None, "waiting"),
        ("key", 3600, "waiting"),
        ("key", -1, "unknown"),
        ("natural", None, "waiting"),
        ("never", None, "unknown"),
        ("look-up", None, "unknown"),
    ],
)
async def test_doubt_decides(
    morgue: Morgue, repeat: str | None, seconds: float | None, fate: str
) -> None:
    job_id = await morgue.job()
    fences = await morgue.held(job_id)
    if repeat:
        await morgue.sent(job_id, fences[job_id], repeat, seconds)

    assert await morgue.die_and_rescue() == {job_id: fate}
    (attempt,) = await morgue.driver.rows("SELECT outcome FROM ferryman.attempts")
    assert attempt == {"outcome": "lease_lost"}


async def test_a_living_worker_keeps_its_jobs(morgue: Morgue) -> None:
    job_id = await morgue.job()
    await morgue.held(job_id)
    async with morgue.driver.ledger.transaction() as connection:
        rescued = await workers.rescue(connection, max_crashes=3, overdue_seconds=30, looks={})
        assert rescued == []

    assert (await morgue.row(job_id))["status"] == "running"


async def test_only_the_poisonous_job_ends(morgue: Morgue) -> None:
    poison, *innocents = [await morgue.job() for _ in range(5)]
    # All die together once; from then on each worker takes one suspect at a time.
    await morgue.held(poison, *innocents)
    await morgue.die_and_rescue()
    for _ in range(2):
        held = await morgue.held(poison, *innocents)
        assert list(held) == [poison]
        fates = await morgue.die_and_rescue()

    assert fates == {poison: "failed"}
    assert (await morgue.row(poison))["error"]["code"] == "poison"
    assert [(await morgue.row(job))["crashes"] for job in innocents] == [1, 1, 1, 1]


async def test_poison_that_may_have_had_its_effect_is_unknown(morgue: Morgue) -> None:
    job_id = await morgue.job()
    for _ in range(3):
        fences = await morgue.held(job_id)
        await morgue.sent(job_id, fences[job_id], "key", 3600)
        fates = await morgue.die_and_rescue()

    assert fates == {job_id: "unknown"}


async def test_what_stood_in_a_dead_worker_s_memory_is_published_again(morgue: Morgue) -> None:
    held, in_memory = await morgue.job(), await morgue.job()
    await morgue.driver.rows("UPDATE ferryman.jobs SET published_at = now(), publishes = 3")
    await morgue.held(held)

    await morgue.die_and_rescue()

    row = await morgue.row(in_memory)
    assert (row["published_at"], row["publishes"]) == (None, 0)


async def test_a_frozen_worker_that_wakes_up_has_lost_its_lease(morgue: Morgue) -> None:
    job_id = await morgue.job()
    fences = await morgue.held(job_id)
    await morgue.die_and_rescue()

    mark = Leaving(job_id, fences[job_id], "charge", "k", "key", 60, {"body": "x"})
    assert await morgue.driver.ledger.leave(mark) is Left.LEASE_LOST
    assert await morgue.driver.rows("SELECT FROM ferryman.workers WHERE name = 'doomed'") == []


async def test_a_worker_that_ended_in_order_makes_no_suspects(morgue: Morgue) -> None:
    job_id = await morgue.job()
    await morgue.held(job_id)
    await morgue.driver.rows("DELETE FROM ferryman.workers WHERE name = 'doomed'")

    assert await morgue.die_and_rescue() == {job_id: "waiting"}

    assert (await morgue.row(job_id))["crashes"] == 0
