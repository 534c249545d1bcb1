"""Enqueue a job, and look at jobs.

Through the HTTP API where FERRYMAN_URL is set (with FERRYMAN_API_TOKEN), else straight into the
database of FERRYMAN_DATABASE_URL.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID

from ferryman import _times
from ferryman._door import door
from ferryman._job import Job
from ferryman._join import ajoin, join
from ferryman._order import Order, order
from ferryman.errors import InvalidArguments
from ferryman.requests import Request


def enqueue(
    asked: str | Request,
    /,
    *,
    key: str | None = None,
    run_at: datetime | str | None = None,
    expires_at: datetime | str | None = None,
    priority: str = "normal",
    vendor: str | None = None,
    connection: Any = None,
    **args: Any,
) -> Job:
    """Store a job; a worker runs it.

    `asked` is a kind with its arguments as keywords, or a request such as `ferryman.Charge(…)`.
    `key`: the same key and arguments return the job that exists, so that nothing happens twice.
    `connection`: store it within this transaction, to be committed or rolled back by you.

    Raises InvalidArguments (nothing is stored), KeyConflict, KeyInFlight, Unreachable, and
    MissingSetting where it is not known whom to talk to.
    """
    made = order(
        asked, args, key=key, run_at=run_at, expires_at=expires_at, priority=priority, vendor=vendor
    )
    if connection is not None:
        return _joined(made, join(connection, made))
    return _enqueued(made)


async def aenqueue(
    asked: str | Request,
    /,
    *,
    key: str | None = None,
    run_at: datetime | str | None = None,
    expires_at: datetime | str | None = None,
    priority: str = "normal",
    vendor: str | None = None,
    connection: Any = None,
    **args: Any,
) -> Job:
    """`enqueue` for event loops; `connection` is then an asynchronous one."""
    made = order(
        asked, args, key=key, run_at=run_at, expires_at=expires_at, priority=priority, vendor=vendor
    )
    if connection is not None:
        return _joined(made, await ajoin(connection, made))
    return await asyncio.to_thread(_enqueued, made)


def job(id: UUID | str) -> Job:
    """A job by its id. Raises NotFound."""
    return Job(as_id(id)).refresh()


def jobs(
    *,
    status: str | None = None,
    kind: str | None = None,
    vendor: str | None = None,
    key: str | None = None,
    code: str | None = None,
    batch: UUID | str | None = None,
    since: datetime | str | None = None,
    limit: int = 100,
) -> list[Job]:
    """The newest jobs that meet all the conditions; `since` is about when they were made, `code`
    about their error."""
    filters = {
        "status": status,
        "kind": kind,
        "vendor": vendor,
        "key": key,
        "code": code,
        "batch": None if batch is None else str(as_id(batch, "batch")),
        "since": None if since is None else _times.rfc3339(_times.moment("since", since)),
    }
    given = {name: value for name, value in filters.items() if value is not None}
    return [Job(UUID(found["id"]), found) for found in door().jobs(given, limit)]


def as_id(given: UUID | str, field: str = "id") -> UUID:
    """An id from its text. Raises InvalidArguments."""
    try:
        return given if isinstance(given, UUID) else UUID(given)
    except (ValueError, AttributeError, TypeError):
        raise InvalidArguments(
            field, "must be a UUID such as 0190b5f2-7a3c-7cc1-8a51-5d0b1f0e6a11"
        ) from None


def _enqueued(made: Order) -> Job:
    document = door().enqueue(made)
    return Job(UUID(document["id"]), document)


def _joined(made: Order, id: UUID) -> Job:
    # An existing job is looked at when somebody asks for more than its id.
    new = {"id": str(id), "kind": made.request.kind, "status": "waiting"}
    return Job(id, new if id == made.id else None)
