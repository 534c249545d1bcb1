"""Runs of `sync_objects` with all its parts, in turn, on a real ledger and real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from adapters import _base
from adapters._base import Call, VendorError
from adapters._http import Client
from adapters._storage import Placed
from adapters.s3 import Adapter
from ferryman.policies import policy
from tasks._base import Done, Wait
from tests import moto
from tests.tasks.driver import Driver, driving
from worker import execution

Row = dict[str, Any]

BUCKET, OTHER = "ferryman-tests", "ferryman-copies"
TREE = {
    "a.txt": b"a",
    "a/b.txt": b"in a folder",
    "a/b/c/deep.json": b"{}",
    "empty": b"",
    ".hidden": b"seen all the same",
    "ü & +=%20#?.bin": bytes(range(256)),
}


@dataclass(frozen=True)
class Journal:
    """What the ledger says of a sync's requests: of the job's own and of its parts'."""

    left: list[Row]
    interactions: list[Row]

    @property
    def answers(self) -> list[str]:
        return [mark["step"] for mark in self.left if mark["answered_at"]]


class Syncs:
    """`adapters`: what is in the place of a vendor's own adapter, by the vendor's name."""

    def __init__(self, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
        self.driver = driver
        self.adapters: dict[str, Any] = {}
        self.journal = Journal([], [])
        monkeypatch.setattr(execution, "adapter", self._adapter)

    async def __call__(
        self, source: str | Path, destination: str | Path, id: UUID | None = None, **options: Any
    ) -> Done:
        """One attempt of the job, and of each of its parts; the same id means the same job once
        more. Raises what the job raised, or a part that is to be tried again."""
        self.id = id or uuid7()
        if not await self.job(self.id):
            await self.begin(source, destination, self.id, **options)
        return await self.go_on()

    async def begin(
        self, source: str | Path, destination: str | Path, id: UUID | None = None, **options: Any
    ) -> UUID:
        """The job, before its first attempt."""
        args = {"source": address(source), "destination": address(destination), **options}
        self.id = id or uuid7()
        await self.driver.enqueue("sync_objects", args, id=self.id)
        return self.id

    async def go_on(self) -> Done:
        try:
            while isinstance(error := await self.attempt(self.id), Wait):
                await self.parts()
        finally:
            self.journal = await self._journal()
        if error is not None:
            raise error
        job = await self.job(self.id)
        assert job is not None
        assert job["status"] == "succeeded", job
        return Done(job["result"])

    async def attempt(self, id: UUID) -> BaseException | None:
        """One attempt of a job; what it raised."""
        begun = await self.driver.claim(id)
        try:
            await begun.perform()
        except Exception as error:
            await begun.end(error)
            return error
        return None

    async def parts(self) -> None:
        """An attempt of each part that may begin. Raises what one did that is to be tried again."""
        due = await self.due()
        assert due, "it waits for nothing"
        raised = {part: await self.attempt(part) for part in due}
        for part in await self.due():
            if error := raised.get(part):
                raise error

    async def due(self) -> list[UUID]:
        """Parts that are not over, and not held either."""
        rows = await self.driver.rows(
            "SELECT id FROM ferryman.jobs WHERE batch_id = :id AND id <> :id"
            " AND status = 'waiting' AND run_at < '9000-01-01' ORDER BY id",
            id=self.id,
        )
        return [row["id"] for row in rows]

    async def job(self, id: UUID) -> Row | None:
        rows = await self.driver.rows("SELECT * FROM ferryman.jobs WHERE id = :id", id=id)
        return rows[0] if rows else None

    async def batch(self) -> Row:
        """As the API shows it; its counts must agree with its total."""
        (row,) = await self.driver.rows("SELECT ferryman.batch(:id) AS batch", id=self.id)
        shown: Row = row["batch"]
        assert sum(count for count in shown["counts"].values()) == shown["total"], shown
        return shown

    async def rows(self) -> dict[str, Row]:
        """What the ledger says of the last job's objects."""
        found = await self.driver.rows(
            "SELECT * FROM ferryman.objects WHERE job_id = :id ORDER BY key", id=self.id
        )
        return {row["key"]: row for row in found}

    async def told(self, column: str = "outcome") -> dict[str, str]:
        return {key: row[column] for key, row in (await self.rows()).items()}

    def methods(self, method: str) -> int:
        return sum(seen["method"] == method for seen in self.journal.interactions)

    async def _journal(self) -> Journal:
        of_all = "WHERE job_id IN (SELECT id FROM ferryman.jobs WHERE batch_id = :id)"
        left = await self.driver.rows(
            f"SELECT * FROM ferryman.sends {of_all} ORDER BY sent_at", id=self.id
        )
        seen = await self.driver.rows(
            f"SELECT * FROM ferryman.interactions {of_all} ORDER BY at", id=self.id
        )
        return Journal(left, seen)

    def _adapter(self, vendor: str) -> Any:
        return self.adapters.get(vendor) or _base.adapter(vendor)


class S3Syncs(Syncs):
    """Between folders and two of moto's buckets."""

    def __init__(self, driver: Driver, monkeypatch: pytest.MonkeyPatch, server: str) -> None:
        super().__init__(driver, monkeypatch)
        self.server = server
        self.s3 = moto.oracle(server)

    def put(self, key: str, data: bytes, bucket: str = BUCKET, **more: Any) -> None:
        self.s3.put_object(Bucket=bucket, Key=key, Body=data, **more)

    def holds(self, bucket: str = BUCKET) -> dict[str, bytes]:
        return moto.holds(self.server, bucket)

    def uses(self, flaky: Flaky) -> Flaky:
        self.adapters["s3"] = flaky
        return flaky


class Flaky(Adapter):
    """Fails to store the keys in `fails`, with the error given for each."""

    def __init__(self, **fails: VendorError) -> None:
        super().__init__()
        self.fails = fails
        self.puts = 0

    async def put(self, call: Call, bucket: str, key: str, *what: Any, **how: Any) -> Placed:
        self.puts += 1
        if error := self.fails.get(key) or self.fails.get("all"):
            raise error
        return await super().put(call, bucket, key, *what, **how)


@asynccontextmanager
async def s3_syncs(
    server: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[S3Syncs]:
    """On moto's server, which is empty then, and a ledger that others use as well."""
    for name, value in {**moto.ENVIRONMENT, "S3_BASE_URL": server}.items():
        monkeypatch.setenv(name, value)
    moto.reset(server)
    clients = {"s3": Client(policy("s3"))}
    async with driving(database_url, _nothing, clients.__getitem__) as driver:
        await driver.rows(
            "UPDATE ferryman.vendor_states SET paused_at = NULL, cooldown_until = NULL"
        )
        made = S3Syncs(driver, monkeypatch, server)
        for bucket in (BUCKET, OTHER):
            made.s3.create_bucket(Bucket=bucket)
        yield made
    await clients["s3"].close()


def _nothing(_: object) -> Any:
    raise AssertionError("a request to a scripted vendor")


def address(place: str | Path) -> str:
    return f"file://{place}" if isinstance(place, Path) else place


def under(prefix: str, found: Mapping[str, bytes]) -> dict[str, bytes]:
    return {f"{prefix}/{key}": data for key, data in found.items()}
