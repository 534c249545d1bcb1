"""Whatever happens to a batch, in whatever order: its counts sum up, nobody gets a mail twice."""

from __future__ import annotations

import json
import random
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from adapters._base import NotSent, Request, Response, Unknown
from adapters._news import MailNews
from ferryman.policies import policy
from models import suppressions, workers
from models.walk import write
from tasks import _batch, _hear_mail, _settle
from tasks._base import Heard
from tests.adapters.doubles import Answer
from tests.tasks.driver import WORKER, Driver
from tests.tasks.mails import ACCEPTED, Script, addressed, batch, many
from worker.heartbeat import Lease

STEPS = 30
# The breaker is open, or somebody else is at it.
NotToBeHad = AssertionError


class Moody(Script):
    """A vendor that answers in any way; `got`: how often it took a mail to each."""

    def __init__(self, random: random.Random) -> None:
        super().__init__()
        self.random = random
        self.got: Counter[str] = Counter()

    def __call__(self, request: Request) -> Answer:
        to = addressed(request)
        mood = self.random.choice(("yes", "lost", "lost", "some", "no", "away", "not sent"))
        if mood in ("yes", "lost"):
            self.got.update(to)
            return ACCEPTED if mood == "yes" else Unknown("no answer came")
        if mood == "some":
            bad = self.random.sample(range(len(to)), self.random.randint(1, len(to)))
            errors = [{"field": f"personalizations.{n}.to.0.email"} for n in bad]
            return Response(400, {}, json.dumps({"errors": errors}).encode())
        if mood == "not sent":
            return NotSent("nobody there")
        return Response(400 if mood == "no" else 429, {}, b"{}")


class World:
    def __init__(self, driver: Driver, vendor: Moody, bulk: UUID, *, bold: bool) -> None:
        self.driver, self.vendor, self.bulk = driver, vendor, bulk
        self.random = vendor.random
        self.bold = bold

    async def some(self, *statuses: str) -> UUID | None:
        rows = await self.driver.rows(
            "SELECT id FROM ferryman.jobs WHERE batch_id = :id AND id <> :id"
            " AND status = ANY(:statuses) ORDER BY id",
            id=self.bulk,
            statuses=list(statuses),
        )
        return self.random.choice(rows)["id"] if rows else None

    async def run(self) -> None:
        if (job := await self.some("waiting")) is not None:
            with suppress(NotToBeHad):
                await self.driver.run(job)

    async def die(self) -> None:
        """Before, during or after the request; the next worker finds what it left."""
        if (job := await self.some("waiting")) is None:
            return
        try:
            begun = await self.driver.claim(job)
        except NotToBeHad:
            return
        if self.random.random() < 0.7:
            with suppress(Exception):
                await begun._run()
        await self.step(self.random.choice(("pause", "cancel", "retry_failed", "resume")))
        await self.driver.rows("UPDATE ferryman.workers SET lease_until = '-infinity'")
        async with self.driver.ledger.transaction() as connection:
            fates = await workers.rescue(
                connection, max_crashes=99, overdue_seconds=30, looks=_settle.looks()
            )
            kinds = _settle.kinds()
            for fate in fates:
                kind = kinds[fate["kind"]]
                rows = {
                    "unknown": kind.in_doubt,
                    "failed": kind.refused,
                    "cancelled": kind.cancelled,
                }
                if fate["status"] in rows:
                    await write(connection, [rows[fate["status"]](fate["id"])])
        worker = uuid7()
        await self.driver.rows(WORKER, id=worker)
        self.driver.runtime.heartbeat.lease = Lease(worker, float("inf"))

    async def step(self, name: str | None = None) -> None:
        chosen = name or self.random.choice(("pause", "resume", "retry_failed", "retry_failed"))
        if chosen == "cancel" and self.random.random() < 0.8:
            return
        async with self.driver.ledger.transaction() as connection:
            with suppress(_settle.NotAllowed):
                await getattr(_batch, chosen)(connection, self.bulk, who="test")

    async def person(self) -> None:
        # What is unknown may come twice when a person has it sent again.
        statuses = ("failed", "unknown") if self.bold else ("failed",)
        if (job := await self.some(*statuses)) is None:
            return
        async with self.driver.ledger.transaction() as connection:
            with suppress(_settle.NotAllowed):
                await _settle.retry(connection, job, who="test")

    async def hear(self) -> None:
        got = [to for to, count in self.vendor.got.items() if count]
        rows = await self.driver.rows(
            "SELECT id, job_id FROM ferryman.emails WHERE batch_id = :id AND recipient = ANY(:got)"
            " ORDER BY id",
            id=self.bulk,
            got=got,
        )
        if not rows:
            return
        row = self.random.choice(rows)
        what = self.random.choice(("processed", "delivered", "bounced", "opened"))
        told = MailNews(
            at=datetime.now(UTC),
            what=what,
            email=row["id"],
            job=row["job_id"],
            suppress="bounce" if what == "bounced" else None,
        )
        async with self.driver.ledger.transaction() as connection:
            await _hear_mail.hear_all(connection, [Heard("sendgrid", told, "e", uuid7())])

    async def suppress(self) -> None:
        row = {"channel": "email", "reason": "manual", "source": "test"}
        address = f"user{self.random.randrange(12)}@example.com"
        async with self.driver.ledger.transaction() as connection:
            await suppressions.add(connection, [{**row, "address": address}])


@pytest.mark.parametrize("seed", [0, 4, 5])
async def test_the_counts_sum_up_at_every_moment(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    vendor = Moody(random.Random(seed))
    driver.vendor._answer = vendor
    small = policy("sendgrid").model_copy(update={"batch_size": 3, "max_attempts": 2})
    monkeypatch.setattr("worker.execution.policy", lambda _: small)
    monkeypatch.setattr("tasks._batch.policy", lambda _: small)
    bulk = await driver.enqueue("bulk_email", many(12))
    await driver.run(bulk)
    world = World(driver, vendor, bulk, bold=seed == 0)
    moves: list[Any] = [world.run] * 4
    moves += [
        world.die,
        world.die,
        world.step,
        world.step,
        world.person,
        world.hear,
        world.suppress,
    ]
    done = []
    for _ in range(STEPS):
        await driver.rows(
            "UPDATE ferryman.vendor_states SET cooldown_until = NULL, paused_at = NULL"
        )
        driver.runtime.breakers._seen_at = float("-inf")
        move = vendor.random.choice(moves)
        done.append(move.__name__)
        await move()
        shown = await batch(driver, bulk)
        assert shown["total"] == 12, done
    if not world.bold:
        assert max(vendor.got.values(), default=0) <= 1, done
