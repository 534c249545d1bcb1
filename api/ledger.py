"""How a request reaches the ledger: short transactions, bounded in time, errors as problems."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import Depends, Request
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from api.problems import Problem, invalid
from models import jobs

Answer = TypeVar("Answer")
Work = Callable[[AsyncConnection], Awaitable[Answer]]

LINGER_SECONDS = 0.02
AGAIN = {"Retry-After": "1"}

# SQLSTATEs for a schema that is not there, or not the one of this version.
NO_SCHEMA = {"3F000", "42P01", "42703", "42883"}


class Ledger:
    """The ledger of one API process. `patience_seconds` bounds every look at it."""

    def __init__(self, engine: AsyncEngine, *, patience_seconds: float = 5.0) -> None:
        self.patience_seconds = patience_seconds
        self._engine = engine
        # Then the worker is most likely on this machine as well, and sees the same folders.
        self.local = engine.url.host in (None, "localhost", "127.0.0.1", "::1")
        self._asked: set[UUID] = set()
        self._look: asyncio.Task[dict[UUID, str]] | None = None

    async def run(
        self, work: Work[Answer], *, seconds: float | None = None, twice: bool = True
    ) -> Answer:
        """Do `work` in one transaction, once more after a lost connection unless that is not safe.

        Raises Problem: 503 when the ledger does not answer in time.
        """
        trial = self._twice(work) if twice else self._once(work)
        return await _bounded(trial, seconds or self.patience_seconds)

    async def status(self, id: UUID) -> str | None:
        """The job's status, or None where there is no such job. Raises Problem as `run` does.

        Any number of clients that wait for their jobs share one look at the ledger.
        """
        self._asked.add(id)
        if self._look is None:
            self._look = asyncio.create_task(self._statuses())
            self._look.add_done_callback(_look_at)
        # Who goes away must not take the answer from the others.
        found = await asyncio.shield(self._look)
        return found.get(id)

    async def dispose(self) -> None:
        await self._engine.dispose()

    async def _statuses(self) -> dict[UUID, str]:
        await asyncio.sleep(LINGER_SECONDS)
        ids, self._asked, self._look = self._asked, set(), None
        return await self.run(lambda connection: jobs.statuses(connection, ids))

    async def _twice(self, work: Work[Answer]) -> Answer:
        try:
            return await self._once(work)
        except DBAPIError as error:
            # After a restart of the database, kept connections turn out to be dead.
            if not error.connection_invalidated:
                raise
        return await self._once(work)

    async def _once(self, work: Work[Answer]) -> Answer:
        async with self._engine.begin() as connection:
            return await work(connection)


async def _of(request: Request) -> Ledger:
    found: Ledger = request.app.state.ledger
    return found


TheLedger = Annotated[Ledger, Depends(_of)]


async def _bounded(work: Coroutine[Any, Any, Answer], seconds: float) -> Answer:
    """Not `asyncio.timeout`: the driver, cancelled, waits on for a server that is silent."""
    task = asyncio.create_task(work)
    task.add_done_callback(_look_at)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if not done:
            raise down("It did not answer in time.")
        return task.result()
    except DBAPIError as error:
        if (problem := _problem(error)) is None:
            raise
        raise problem from None
    finally:
        task.cancel()


def _look_at(task: asyncio.Task[Any]) -> None:
    # An error nobody fetches is logged by asyncio with its text, which may quote a payload.
    if not task.cancelled():
        task.exception()


def down(detail: str) -> Problem:
    """A 503: nothing is known to have been stored."""
    return Problem("ledger-down", detail, headers=AGAIN)


def _problem(error: DBAPIError) -> Problem | None:
    """What a SQLSTATE means to the client; None for a surprise."""
    state = str(getattr(error.orig, "sqlstate", None) or "")
    match state:
        case "FE409":
            return Problem("key-conflict", "Use a new key, or the same arguments.", field="key")
        case "FE404" | "FE422":
            return invalid(*_told(error))
        case "55P03":
            return Problem(
                "key-in-flight",
                "Try again when that transaction has ended.",
                field="key",
                headers=AGAIN,
            )
    if state in NO_SCHEMA:
        return down("Its schema is not that of this version: run `ferryman migrate`.")
    if isinstance(error, OperationalError | InterfaceError):
        return down("It cannot be reached.")
    return None


def _told(error: DBAPIError) -> tuple[str, str]:
    """The field and the message of an error raised by `ferryman.enqueue`."""
    message: str = getattr(error.orig, "diag").message_primary  # noqa: B009
    field, _, rest = message.partition(": ")
    return field, rest
