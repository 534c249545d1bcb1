"""A payment vendor's sandbox and a ledger beside each other, and what moves between them: jobs one
attempt at a time, events one batch at a time. The same tests run for each vendor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from adapters._base import Event, Response, adapter
from adapters._http import Client, HttpCall
from ferryman.policies import policy
from ferryman.testing import Sandbox
from models import events as ledger
from models.events import Received
from tasks import _inbox, _settle
from tests.adapters.doubles import Notes
from tests.tasks.driver import Driver, driving


@dataclass(frozen=True)
class Purse:
    """How a vendor's test payment methods are called."""

    vendor: str
    pays: str
    declines: str
    asks: str


PURSES = [
    Purse("stripe", "pm_card_visa", "pm_card_chargeDeclined", "pm_card_threeDSecure2Required"),
    Purse("paypal", "vault_ok", "vault_declined", "paypal"),
]


class Bank:
    """One vendor, one ledger."""

    def __init__(self, purse: Purse, sandbox: Sandbox, driver: Driver, client: Client) -> None:
        self.purse = purse
        self.vendor = purse.vendor
        self.sandbox = sandbox
        self.driver = driver
        self.client = client
        self._users = 0

    async def enqueue(self, kind: str, args: dict[str, Any], **options: Any) -> UUID:
        return await self.driver.enqueue(kind, args, vendor=self.vendor, **options)

    async def charge(self, amount: int = 1000, **changes: Any) -> UUID:
        """A charge that nobody has run yet."""
        self._users += 1
        args = {
            "customer": f"user-{self._users}",
            "amount": amount,
            "currency": "usd",
            "payment_method": self.purse.pays,
        }
        return await self.enqueue("charge", {**args, **changes})

    async def charged(self, amount: int = 1000, **changes: Any) -> UUID:
        """A charge that has succeeded."""
        job_id = await self.charge(amount, **changes)
        job = await self.run(job_id)
        assert job["status"] == "succeeded", job
        return job_id

    async def refund(self, charge: UUID, amount: int | None = None) -> UUID:
        args: dict[str, Any] = {"charge": str(charge)}
        return await self.enqueue("refund", args | ({"amount": amount} if amount else {}))

    async def run(self, job_id: UUID) -> dict[str, Any]:
        """One attempt; the job as it is afterwards."""
        return await self.driver.run(job_id)

    async def finish(self, job_id: UUID, attempts: int = 8) -> dict[str, Any]:
        """Attempts until the job has ended, or waits for its payer."""
        for _ in range(attempts):
            job = await self.job(job_id)
            goes_on = job["status"] == "waiting" or job["look_at"]
            if not goes_on or job["pending"]:
                break
            await self.run(job_id)
        return await self.job(job_id)

    async def job(self, job_id: UUID) -> dict[str, Any]:
        (row,) = await self.driver.rows(
            "SELECT j.*, ferryman.result(j) AS shown FROM ferryman.jobs j WHERE id = :id", id=job_id
        )
        return row

    async def row(self, charge: UUID) -> dict[str, Any]:
        """The charge in the ledger."""
        (row,) = await self.driver.rows("SELECT * FROM ferryman.charges WHERE id = :id", id=charge)
        return row

    async def cancel(self, job_id: UUID) -> bool:
        async with self.driver.ledger.transaction() as connection:
            return await _settle.cancel(connection, job_id, who="a test")

    # --- the vendor's side

    def effects(self, kind: str | None = None) -> list[dict[str, Any]]:
        return self.sandbox.effects(vendor=self.vendor, kind=kind)

    def payment(self, row: dict[str, Any]) -> dict[str, Any]:
        """How the vendor's dashboard names a payment."""
        if self.vendor == "stripe":
            return {"payment_intent": row["vendor_reference"]}
        if row["vendor_reference"]:
            return {"capture": row["vendor_reference"]}
        return {"order": row["vendor_session"]}

    def approve(self, row: dict[str, Any]) -> None:
        """The payer agrees."""
        if self.vendor == "stripe":
            self.sandbox.dashboard("stripe", "authenticate", **self.payment(row))
        else:
            self.sandbox.dashboard("paypal", "approve", **self.payment(row))

    def give_back(self, row: dict[str, Any], amount: int) -> str:
        """A person refunds in the vendor's own pages; the vendor's id of the refund."""
        found = self.sandbox.dashboard(
            self.vendor, "refund", **self.payment(row), amount=self._theirs(amount)
        )
        return str(found["id"])

    def refunds_may_fail(self) -> None:
        """From now on they are what this vendor lets fail later."""
        if self.vendor == "paypal":  # only what is pending does
            self.sandbox.dashboard("paypal", "settings", pending_refunds=True)

    def fail_refund(self, reference: str) -> None:
        """A bank sends a refund back."""
        if self.vendor == "stripe":
            self.sandbox.dashboard("stripe", "fail_refund", refund=reference)
        else:
            self.sandbox.dashboard("paypal", "settle", id=reference, succeeds=False)
            self.sandbox.dashboard("paypal", "settings", pending_refunds=False)

    def end_dispute(self, row: dict[str, Any]) -> None:
        """It is decided in our favour."""
        if self.vendor == "stripe":
            self.sandbox.dashboard("stripe", "close_dispute", outcome="won", **self.payment(row))
        else:
            self.sandbox.dashboard("paypal", "resolve", favour="SELLER", **self.payment(row))

    def balance(self) -> int:
        """What the vendor holds for us, in cents."""
        found = self.sandbox.dashboard(self.vendor, "balance")
        return int(found.get("usd", found.get("USD", 0)))

    def _theirs(self, amount: int) -> Any:
        return amount

    async def ledger_balance(self) -> int:
        (row,) = await self.driver.rows(
            "SELECT coalesce(sum(amount - refunded), 0)::bigint AS n FROM ferryman.charges"
            " WHERE status IN ('succeeded', 'partially_refunded', 'refunded', 'disputed')"
        )
        return int(row["n"])

    # --- what the vendor tells

    async def told(self) -> list[Event]:
        """Every event that the vendor has, oldest first."""
        call = HttpCall(self.vendor, self.client, policy(self.vendor), Notes())
        now = datetime.now(UTC)
        span = (now - timedelta(hours=1), now + timedelta(minutes=1))
        found = [event async for event in adapter(self.vendor).events(call, *span)]
        found.reverse()  # both list the newest first
        return sorted(found, key=lambda event: event.at)

    async def hear(self, events: Sequence[Event] | None = None) -> None:
        """Events arrive and are read: all that the vendor has, or those given, in that order. Then
        what they made to be read again is read."""
        for event in await self.told() if events is None else events:
            row = Received(uuid7(), self.vendor, event.id, event.type, event.at, event.payload)
            async with self.driver.ledger.transaction() as connection:
                await ledger.store(connection, [row])
            while await _inbox.drain(self.driver.ledger):
                pass
            await self.read_again()

    async def read_again(self) -> None:
        for job in await self.driver.rows(
            "SELECT id FROM ferryman.jobs WHERE kind = 'refresh_charge' AND status = 'waiting'"
        ):
            done = await self.run(job["id"])
            assert done["status"] == "succeeded", done

    async def together(self, jobs: Sequence[UUID]) -> list[dict[str, Any]]:
        """One attempt of each, all at once."""
        return await asyncio.gather(*(self.run(job) for job in jobs))


def environment(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the adapters of this process at the fakes."""
    for name, value in sandbox.environment().items():
        monkeypatch.setenv(name, value)


@asynccontextmanager
async def banking(purse: Purse, url: str, sandbox: Sandbox) -> AsyncIterator[Bank]:
    """A bank over the ledger at that address; the environment points at the sandbox already."""
    client = Client(policy(purse.vendor))
    async with driving(url, _nobody, lambda _: client) as driver:
        yield Bank(purse, sandbox, driver, client)
    await client.close()


def _nobody(_: Any) -> Response:
    return cast(Response, None)
