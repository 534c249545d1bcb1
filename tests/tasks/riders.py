"""Riders and their loads, one at a time, on a real ledger, with a scripted vendor."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from adapters._base import Request, Response
from tasks._load import SIZES
from tests.adapters.doubles import Answer
from tests.tasks.driver import Driver, driving_as

Row = dict[str, Any]

NAMES = (
    "MIXPANEL_SERVICE_ACCOUNT",
    "MIXPANEL_SERVICE_SECRET",
    "MIXPANEL_PROJECT_TOKEN",
    "SEGMENT_WRITE_KEY",
    "HUBSPOT_ACCESS_TOKEN",
)
LOAD = "INSERT INTO ferryman.jobs (id, kind, vendor, args) VALUES (:id, :kind, :vendor, '{}')"


class Vendors:
    """Mixpanel, Segment and HubSpot, which take all but what they are told to refuse. `before`:
    what they say first, in this order; None: what they would say."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.before: list[Answer | Callable[[Request], Answer] | None] = []
        self.bad: set[str] = set()

    def __call__(self, request: Request) -> Answer:
        self.requests.append(request)
        if self.before and (answer := self.before.pop(0)) is not None:
            return answer(request) if callable(answer) else answer
        sent = self.sent(request)
        if "/import" in request.url:
            return self._imported(sent)
        if "hubapi" in request.url:
            return _saved(sent["inputs"], self.bad)
        return Response(200, {}, b'{"success": true}' if "segment" in request.url else b"1")

    def _imported(self, sent: list[Row]) -> Response:
        names = [one["event"] for one in sent]
        failed = [
            {"index": place, "field": "properties.price", "message": "no"}
            for place, name in enumerate(names)
            if name in self.bad
        ]
        told = {"num_records_imported": len(sent) - len(failed), "failed_records": failed}
        return Response(400 if failed else 200, {}, json.dumps(told).encode())

    def sent(self, request: Request | None = None) -> Any:
        """What the last request, or this one, holds."""
        body = (request or self.requests[-1]).body
        return json.loads(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)

    def events(self) -> list[list[str]]:
        """The names of the events of each request."""
        return [[one["event"] for one in self.sent(request)] for request in self.requests]


def _saved(inputs: list[Row], bad: set[str]) -> Response:
    """`bad`: addresses that it does not take."""
    results, errors = [], []
    for place, one in enumerate(inputs):
        trace = one["objectWriteTraceId"]
        if one["id"] in bad:
            context = {"objectWriteTraceId": [trace]}
            error = {"category": "VALIDATION_ERROR", "message": "INVALID_EMAIL"}
            errors.append({**error, "context": context})
        else:
            result = {"id": str(500 + place), "properties": {}}
            results.append({**result, "objectWriteTraceId": trace})
    told = {"results": results, "errors": errors}
    return Response(207 if errors else 200, {}, json.dumps(told).encode())


class Station(Driver):
    """Where riders wait for their loads."""

    vendors: Vendors

    async def event(self, event: str = "Signed in", **more: Any) -> UUID:
        options = {name: more.pop(name) for name in ("vendor", "expires_at") if name in more}
        return await self.enqueue("track_event", {"user": "u", "event": event, **more}, **options)

    async def load(self, kind: str, vendor: str) -> UUID:
        """A load that waits; the relay makes these."""
        job_id = uuid7()
        await self.rows(LOAD, id=job_id, kind=f"{kind}_load", vendor=vendor)
        return job_id

    async def ride(self, kind: str = "track_event", vendor: str = "mixpanel") -> Row:
        """One load of those that are due; its job as it is afterwards."""
        return await self.run(await self.load(kind, vendor))

    async def job(self, id: UUID) -> Row:
        (row,) = await self.rows("SELECT * FROM ferryman.jobs WHERE id = :id", id=id)
        return row

    async def statuses(self, *ids: UUID) -> list[str]:
        return [(await self.job(job_id))["status"] for job_id in ids]

    async def due(self, *ids: UUID) -> None:
        """Whatever they wait for is over."""
        for job_id in ids:
            await self.rows("UPDATE ferryman.jobs SET run_at = now() WHERE id = :id", id=job_id)

    async def doubts(self, id: UUID) -> list[Row]:
        return await self.rows(
            "SELECT step, vendor_key, repeat FROM ferryman.sends"
            " WHERE job_id = :id AND answered_at IS NULL",
            id=id,
        )


@asynccontextmanager
async def station(url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Station]:
    """On a ledger in which nobody else waits, and no vendor is paused."""
    for name in NAMES:
        monkeypatch.setenv(name, "planted")
    monkeypatch.setenv("MIXPANEL_PROJECT_ID", "4711")
    vendors = Vendors()
    async with driving_as(Station, url, vendors) as made:
        made.vendors = vendors
        SIZES.forget()
        await made.rows("DELETE FROM ferryman.jobs WHERE status IN ('waiting', 'running')")
        await made.rows(
            "UPDATE ferryman.vendor_states SET paused_at = NULL, cooldown_until = NULL,"
            " breaker = 'closed', failures = 0"
        )
        yield made
