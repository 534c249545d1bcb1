"""`bulk_email`: plan a batch. Each recipient gets a row, each request to the vendor a job.

The bulk job sends nothing itself: it has succeeded when its plan is made.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters._mail import Letter, Mailer
from ferryman import requests
from models import mail_plan
from models.engine import dumps
from models.mail_plan import Plan
from tasks import _bulk, _recipients
from tasks._base import Attempt, Done, Job, timestamp
from tasks._batch import part_size
from tasks._plan import Planner
from tasks._unsubscribe import Unsubscribe

Row = dict[str, Any]

# What concerns the list, and no single mail.
NOT_OF_THE_LETTER = frozenset(
    {"recipients", "upload", "per_minute", "max_bounce_rate", "max_complaint_rate"}
)


class BulkEmail(Job[requests.BulkEmail]):
    request = requests.BulkEmail
    large = True
    deadline_seconds = 1800.0  # ten million recipients take some minutes

    async def run(self, attempt: Attempt[requests.BulkEmail]) -> Done:
        vendor = cast(Mailer, attempt.adapter)
        shared = _frozen(attempt)
        vendor.check(Letter.of(shared))
        planner = _planner(attempt, vendor, shared)
        return await _bulk.planned(attempt, partial(_plan, attempt, planner, shared))


def _frozen(attempt: Attempt[requests.BulkEmail]) -> Row:
    """The letter, as every attempt of every part is to send it."""
    shared = attempt.args.model_dump(exclude=set(NOT_OF_THE_LETTER))
    if shared["template"] is not None:
        shared["data"] = {"timestamp": timestamp(datetime.now(UTC)), **(shared["data"] or {})}
    return shared


def _planner(attempt: Attempt[requests.BulkEmail], vendor: Mailer, shared: Row) -> Planner:
    args = attempt.args
    return Planner(
        attempt.id,
        attempt.vendor,
        size=part_size(attempt.policy, args.per_minute),
        most_bytes=attempt.policy.batch_bytes,
        shared_bytes=len(dumps(shared["data"])),
        problem=vendor.address_problem,
        takes_data=args.template is not None,
        unsubscribe=Unsubscribe(args.unsubscribe_url, shared["data"]),
    )


async def _plan(
    attempt: Attempt[requests.BulkEmail], planner: Planner, shared: Row, connection: AsyncConnection
) -> Row | None:
    args = attempt.args
    await mail_plan.copy(connection, _ahead(_lines(attempt, planner)))
    planner.close()
    plan = Plan(
        batch=attempt.id,
        letter=shared,
        invalid=planner.invalid,
        parts=planner.parts,
        first=planner.first,
        last=planner.last,
        per_minute=args.per_minute,
        max_bounce_rate=args.max_bounce_rate,
        max_complaint_rate=args.max_complaint_rate,
    )
    return await mail_plan.plan(connection, plan)


async def _lines(attempt: Attempt[requests.BulkEmail], planner: Planner) -> AsyncIterator[bytes]:
    given = ((row.to, row.data) for row in attempt.args.recipients or ())
    async for chunk in _recipients.chunks(attempt.ledger, given, attempt.args.upload):
        yield await asyncio.to_thread(planner.lines, chunk)


async def _ahead(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same; the next piece is made while the database takes this one."""
    making = asyncio.create_task(_next(lines))
    try:
        while (piece := await making) is not None:
            making = asyncio.create_task(_next(lines))
            yield piece
    finally:
        making.cancel()


async def _next(lines: AsyncIterator[bytes]) -> bytes | None:
    return await anext(lines, None)
