"""A job joins the application's transaction: committed with it, rolled back with it, by every
driver; and what the application has set for that driver does not come in the way."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import psycopg
import psycopg2
import psycopg2.extras
import pytest
from psycopg.rows import dict_row
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

import ferryman
from tests.client.conftest import CHARGE


def dialect(url: str, driver: str) -> str:
    return url.replace("postgresql://", f"postgresql+{driver}://")


@contextmanager
def psycopg_(url: str) -> Iterator[Any]:
    with psycopg.connect(url) as connection:
        yield connection


@contextmanager
def psycopg_with_rows_as_dicts(url: str) -> Iterator[Any]:
    with psycopg.connect(url, row_factory=dict_row, cursor_factory=psycopg.RawCursor) as connection:
        yield connection


@contextmanager
def psycopg2_(url: str) -> Iterator[Any]:
    connection = psycopg2.connect(url)
    yield connection
    connection.close()


@contextmanager
def psycopg2_with_rows_as_dicts(url: str) -> Iterator[Any]:
    connection = psycopg2.connect(url, cursor_factory=psycopg2.extras.RealDictCursor)
    yield connection
    connection.close()


class Django:
    """As `django.db.connection` looks from outside; Django itself is not installed here."""

    vendor = "postgresql"

    def __init__(self, url: str) -> None:
        self._connection = psycopg2.connect(url)
        self.cursor = self._connection.cursor
        self.commit, self.rollback = self._connection.commit, self._connection.rollback
        self.close = self._connection.close


Django.__module__ = "django.utils.connection"


@contextmanager
def django(url: str) -> Iterator[Any]:
    connection = Django(url)
    yield connection
    connection.close()


def sqlalchemy_connection(driver: str) -> Callable[[str], Any]:
    @contextmanager
    def opened(url: str) -> Iterator[Any]:
        engine = create_engine(dialect(url, driver))
        with engine.connect() as connection:
            yield connection
        engine.dispose()

    return opened


@contextmanager
def sqlalchemy_session(url: str) -> Iterator[Any]:
    engine = create_engine(dialect(url, "psycopg"))
    with Session(engine) as session:
        yield session
    engine.dispose()


@contextmanager
def sqlalchemy_scoped_session(url: str) -> Iterator[Any]:
    engine = create_engine(dialect(url, "psycopg2"))
    session = scoped_session(sessionmaker(engine))
    yield session
    session.remove()
    engine.dispose()


SYNC = [
    psycopg_,
    psycopg_with_rows_as_dicts,
    psycopg2_,
    psycopg2_with_rows_as_dicts,
    django,
    sqlalchemy_connection("psycopg"),
    sqlalchemy_connection("psycopg2"),
    sqlalchemy_session,
    sqlalchemy_scoped_session,
]


@asynccontextmanager
async def apsycopg(url: str) -> AsyncIterator[Any]:
    async with await psycopg.AsyncConnection.connect(url, row_factory=dict_row) as connection:
        yield connection


class Transaction:
    """asyncpg's transactions have methods of their own; the connection's is what is joined."""

    def __init__(self, connection: Any) -> None:
        self.joined = connection
        self._transaction = connection.transaction()
        self.commit, self.rollback = self._transaction.commit, self._transaction.rollback

    async def begin(self) -> None:
        await self._transaction.start()


@asynccontextmanager
async def asyncpg_with_codecs(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url)
    for name in ("json", "jsonb"):
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=json.dumps, decoder=json.loads
        )
    transaction = Transaction(connection)
    await transaction.begin()
    yield transaction
    await connection.close()


@asynccontextmanager
async def asyncpg_pool(url: str) -> AsyncIterator[Any]:
    async with asyncpg.create_pool(url, min_size=1) as pool, pool.acquire() as connection:
        transaction = Transaction(connection)
        await transaction.begin()
        yield transaction


def asqlalchemy_connection(driver: str) -> Callable[[str], Any]:
    @asynccontextmanager
    async def opened(url: str) -> AsyncIterator[Any]:
        engine = create_async_engine(dialect(url, driver))
        async with engine.connect() as connection:
            yield connection
        await engine.dispose()

    return opened


@asynccontextmanager
async def asqlalchemy_session(url: str) -> AsyncIterator[Any]:
    engine = create_async_engine(dialect(url, "asyncpg"))
    async with AsyncSession(engine) as session:
        yield session
    await engine.dispose()


ASYNC = [
    apsycopg,
    asyncpg_with_codecs,
    asyncpg_pool,
    asqlalchemy_connection("psycopg"),
    asqlalchemy_connection("asyncpg"),
    asqlalchemy_session,
]


@pytest.fixture
def seen(database_url: str) -> Iterator[Callable[[UUID], dict[str, Any] | None]]:
    """What another connection sees of a job."""
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as connection:
        yield lambda job: connection.execute(
            "SELECT * FROM ferryman.jobs WHERE id = %s", (job,)
        ).fetchone()


Seen = Callable[[UUID], dict[str, Any] | None]
ARGS = {**CHARGE, "metadata": {"note": "100 %(x)s :y $1 'ä'"}}
MANNER: dict[str, Any] = {"run_at": "2030-01-31T09:00:00Z", "priority": "low"}


@pytest.mark.parametrize("opened", SYNC)
def test_joined(opened: Callable[[str], Any], database_url: str, seen: Seen) -> None:
    with opened(database_url) as connection:
        lost = ferryman.enqueue("charge", connection=connection, **ARGS)
        connection.rollback()
        kept = ferryman.enqueue("charge", connection=connection, **MANNER, **ARGS)
        assert seen(kept.id) is None
        assert kept.status == "waiting"
        connection.commit()
    assert seen(lost.id) is None
    row = seen(kept.id)
    assert row is not None
    assert (row["args"], row["priority"]) == (ARGS, "low")
    assert row["run_at"].isoformat() == "2030-01-31T09:00:00+00:00"


@pytest.mark.parametrize("opened", SYNC)
def test_keys_in_a_joined_transaction(opened: Callable[[str], Any], database_url: str) -> None:
    key = str(uuid4())
    with opened(database_url) as connection:
        first = ferryman.enqueue("charge", key=key, connection=connection, **CHARGE)
        again = ferryman.enqueue("charge", key=key, connection=connection, **CHARGE)
        connection.commit()
        assert again.id == first.id
        with pytest.raises(ferryman.KeyConflict):
            ferryman.enqueue("charge", key=key, connection=connection, **{**CHARGE, "amount": 1})
        connection.rollback()
        with pytest.raises(ferryman.InvalidArguments, match=r"^vendor: that vendor cannot"):
            ferryman.enqueue("charge", vendor="sendgrid", connection=connection, **CHARGE)
        connection.rollback()


@pytest.mark.parametrize("opened", ASYNC)
async def test_joined_in_an_event_loop(
    opened: Callable[[str], Any], database_url: str, seen: Seen
) -> None:
    async with opened(database_url) as connection:
        joined = getattr(connection, "joined", connection)
        with pytest.raises(TypeError, match="aenqueue"):
            ferryman.enqueue("charge", connection=joined, **CHARGE)
        kept = await ferryman.aenqueue("charge", connection=joined, **MANNER, **ARGS)
        assert seen(kept.id) is None
        await connection.commit()
    row = seen(kept.id)
    assert row is not None
    assert (row["args"], row["priority"]) == (ARGS, "low")
    async with opened(database_url) as connection:
        joined = getattr(connection, "joined", connection)
        lost = await ferryman.aenqueue("charge", connection=joined, **CHARGE)
        await connection.rollback()
    assert seen(lost.id) is None


@pytest.mark.parametrize("opened", ASYNC)
async def test_keys_in_a_joined_transaction_of_an_event_loop(
    opened: Callable[[str], Any], database_url: str
) -> None:
    key = str(uuid4())
    async with opened(database_url) as connection:
        joined = getattr(connection, "joined", connection)
        await ferryman.aenqueue("charge", key=key, connection=joined, **CHARGE)
        with pytest.raises(ferryman.KeyConflict):
            await ferryman.aenqueue("charge", key=key, connection=joined, **{**CHARGE, "amount": 1})
        await connection.rollback()


def test_a_bad_argument_leaves_the_transaction_as_it_was(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TEMPORARY TABLE orders (n integer)")
        with pytest.raises(ferryman.InvalidArguments):
            ferryman.enqueue("charge", connection=connection, **{**CHARGE, "amount": 1.5})
        connection.execute("INSERT INTO orders VALUES (1)")


def test_an_error_of_the_application_s_own_stays_its_own(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        with pytest.raises(psycopg.errors.SyntaxError):
            connection.execute("SELEKT")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            ferryman.enqueue("charge", connection=connection, **CHARGE)


def test_plain_sql_is_the_same_door(database_url: str) -> None:
    key = str(uuid4())
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "SELECT ferryman.enqueue('charge', %s::jsonb, key => %s)", (json.dumps(CHARGE), key)
        ).fetchone()
        assert row is not None
        assert ferryman.enqueue("charge", key=key, connection=connection, **CHARGE).id == row[0]
        connection.rollback()


class MySql(Django):
    vendor = "mysql"


MySql.__module__ = "django.db.backends.mysql.base"


@pytest.mark.parametrize("given", ["connection", object(), 5])
async def test_what_is_no_connection_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match="`connection` must be a connection of psycopg"):
        ferryman.enqueue("charge", connection=given, **CHARGE)
    with pytest.raises(TypeError, match="`connection` must be a connection of psycopg"):
        await ferryman.aenqueue("charge", connection=given, **CHARGE)


async def test_neither_pools_nor_engines_nor_other_databases(database_url: str) -> None:
    engine = create_engine(dialect(database_url, "psycopg"))
    other = MySql(database_url)
    for given in (engine, other):
        with pytest.raises(TypeError, match="to PostgreSQL"):
            ferryman.enqueue("charge", connection=given, **CHARGE)
    other.close()
    async with asyncpg.create_pool(database_url, min_size=1) as pool:
        with pytest.raises(TypeError, match="to PostgreSQL"):
            await ferryman.aenqueue("charge", connection=pool, **CHARGE)
    with psycopg.connect(database_url) as connection, pytest.raises(TypeError, match="enqueue"):
        await ferryman.aenqueue("charge", connection=connection, **CHARGE)
