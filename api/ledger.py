"""How a request reaches the ledger: short transactions, bounded in time, errors as problems."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, TypeVar
from uuid import UUID

import psycopg
from fastapi import Depends, Request
from psycopg.conninfo import make_conninfo
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from api.problems import Problem, invalid
from models import enqueue, jobs
from models.enqueue import BUSY, Stored, Wish
from models.group import GroupCommit, LedgerDown, Line
from models.jobs import Progress

Answer = TypeVar("Answer")
Row = dict[str, Any]
Work = Callable[[AsyncConnection], Awaitable[Answer]]

LINGER_SECONDS = 0.02
STORE_LINGER_SECONDS = 0.002
# A ledger that restarts is waited for so long.
RESTART_SECONDS = 1.0
AGAIN = {"Retry-After": "1"}

# SQLSTATEs for a schema that is not there, or not the one of this version.
NO_SCHEMA = {"3F000", "42P01", "42703", "42883"}


def conninfo(engine: AsyncEngine) -> str:
    """The engine's address as the driver itself takes it. Not as a URL: SQLAlchemy writes a space
    as a plus, which libpq reads as a plus. Raises ValueError."""
    named: dict[str, Any] = {**engine.url.query}
    named |= engine.url.translate_connect_args(username="user", database="dbname")
    try:
        return make_conninfo(**named)
    except psycopg.ProgrammingError as error:
        raise ValueError(f"FERRYMAN_DATABASE_URL: {error}") from None


class Ledger:
    """The ledger of one API process. `patience_seconds` bounds every look at it."""

    def __init__(self, engine: AsyncEngine, *, patience_seconds: float = 5.0) -> None:
        self.patience_seconds = patience_seconds
        self._engine = engine
        # Then the worker is most likely on this machine as well, and sees the same folders.
        self.local = engine.url.host in (None, "localhost", "127.0.0.1", "::1")
        self._line = Line(conninfo(engine))
        self._store = enqueue.Groups(
            self._line,
            enqueue.store,
            size=enqueue.size_of,
            patience_seconds=RESTART_SECONDS,
            linger_seconds=STORE_LINGER_SECONDS,
        )
        self._shown: GroupCommit[UUID, Row | None] = GroupCommit(
            self._line, enqueue.look, patience_seconds=RESTART_SECONDS, linger_seconds=0
        )
        self._asked: set[UUID] = set()
        self._look: asyncio.Task[dict[UUID, Progress]] | None = None

    async def run(
        self, work: Work[Answer], *, seconds: float | None = None, twice: bool = True
    ) -> Answer:
        """Do `work` in one transaction, once more after a lost connection unless that is not safe.

        Raises Problem: 503 when the ledger does not answer in time.
        """
        trial = self._twice(work) if twice else self._once(work)
        return await _bounded(trial, seconds or self.patience_seconds)

    async def store(self, job: str, charge: UUID | None) -> Stored:
        """Store a job in one transaction with those of other requests; see `models.enqueue`.

        Raises Problem: 503 when the ledger does not answer in time. Then the job is not stored,
        unless the connection broke at the commit itself; one that is only slow is waited for.
        """
        try:
            return await self._grouped(lambda patience: self._store(Wish(job, patience, charge)))
        except psycopg.errors.LockNotAvailable:
            return Stored(state=BUSY)

    async def job(self, id: UUID) -> Row | None:
        """The job as its client sees it, looked at together with those that others ask for.

        Raises Problem: 503 when the ledger does not answer in time.
        """
        return await self._grouped(lambda _: self._shown(id))

    async def _grouped(self, work: Callable[[asyncio.Timeout], Awaitable[Answer]]) -> Answer:
        try:
            async with asyncio.timeout(self.patience_seconds) as patience:
                return await work(patience)
        except TimeoutError:
            raise down("It did not answer in time.") from None
        except LedgerDown:
            raise down("It cannot be reached.") from None
        except psycopg.errors.LockNotAvailable:
            raise
        except psycopg.Error as error:
            if (problem := _problem(error)) is None:
                raise
            raise problem from None

    async def progress(self, id: UUID) -> Progress | None:
        """How far the job is, or None where there is no such job. Raises Problem as `run` does.

        Any number of clients that wait for their jobs share one look at the ledger.
        """
        self._asked.add(id)
        if self._look is None:
            self._look = asyncio.create_task(self._progress())
            self._look.add_done_callback(_look_at)
        # Who goes away must not take the answer from the others.
        found = await asyncio.shield(self._look)
        return found.get(id)

    async def dispose(self) -> None:
        await self._line.close()
        await self._engine.dispose()

    async def _progress(self) -> dict[UUID, Progress]:
        await asyncio.sleep(LINGER_SECONDS)
        ids, self._asked, self._look = self._asked, set(), None
        return await self.run(lambda connection: jobs.progress(connection, ids))

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


def refused(state: str, words: str) -> Problem:
    """What an answer of `ferryman.enqueue_each` means to the client."""
    field, _, message = words.partition(": ")
    match state:
        case "FE409":
            return Problem("key-conflict", "Use a new key, or the same arguments.", field="key")
        case enqueue.BUSY:
            detail = "Try again when that transaction has ended."
            return Problem("key-in-flight", detail, field="key", headers=AGAIN)
        case _:
            return invalid(field, message)


def _problem(error: DBAPIError | psycopg.Error) -> Problem | None:
    """What a database's error means to the client; None for a surprise."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    state = str(getattr(cause, "sqlstate", None) or "")
    if state in ("FE404", "FE409", "FE422", BUSY):
        return refused(state, _told(cause))
    if state in NO_SCHEMA:
        return down("Its schema is not that of this version: run `ferryman migrate`.")
    if isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError):
        return down("It cannot be reached.")
    return None


def _told(error: Any) -> str:
    """The message of an error raised by `ferryman.enqueue`: a field, and what is wrong with it."""
    return str(error.diag.message_primary)
