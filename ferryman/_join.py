"""Enqueue within the application's own transaction: committed with it, rolled back with it.

Drivers are recognised by the names of their classes, since most are not installed. Nothing here
commits, rolls back or closes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

from ferryman._order import Order
from ferryman._statement import ENQUEUE, ENQUEUE_MANY, Statement, refusals

Given = Mapping[str, str | None]
TAKEN = (
    "a connection of psycopg, psycopg2, asyncpg or Django, or a connection or session of SQLAlchemy"
)


def join(connection: Any, order: Order) -> UUID:
    """The id of the new job, or of the one that the key names.

    Raises KeyConflict, KeyInFlight or InvalidArguments; as after any failed statement, the
    transaction can then only be rolled back (or its savepoint). Raises TypeError for anything
    that is no connection, or an asynchronous one.
    """
    return UUID(_joined(connection, ENQUEUE, order.parameters()))


async def ajoin(connection: Any, order: Order) -> UUID:
    """The same for a connection of an event loop."""
    return UUID(await _ajoined(connection, ENQUEUE, order.parameters()))


def join_many(connection: Any, rows: str, first: int) -> list[UUID]:
    """The ids of many jobs, given as a JSON array, in order; `first` is the place of the first in
    messages. Raises as `join` does."""
    return _ids(_joined(connection, ENQUEUE_MANY, {"jobs": rows, "first": str(first)}))


async def ajoin_many(connection: Any, rows: str, first: int) -> list[UUID]:
    """The same for a connection of an event loop."""
    return _ids(await _ajoined(connection, ENQUEUE_MANY, {"jobs": rows, "first": str(first)}))


def _joined(connection: Any, statement: Statement, given: Given) -> str:
    if _asynchronous(connection):
        raise TypeError("this connection is asynchronous: use `await ferryman.aenqueue…(…)`")
    execute = _chosen(connection, SYNC)
    with refusals():
        return str(execute(connection, statement, given))


async def _ajoined(connection: Any, statement: Statement, given: Given) -> str:
    if not _asynchronous(connection):
        _chosen(connection, SYNC)
        raise TypeError("this connection is not asynchronous: use `ferryman.enqueue…(…)`")
    execute = _chosen(connection, ASYNC)
    with refusals():
        return str(await execute(connection, statement, given))


def _ids(written: str) -> list[UUID]:
    return [UUID(one) for one in json.loads(written)]


def _asynchronous(connection: Any) -> bool:
    return "asyncpg" in _roots(connection) or any(
        made.__name__.startswith(("Async", "async_")) for made in type(connection).__mro__
    )


def _roots(connection: Any) -> set[str]:
    """The packages that the object's class and its bases come from."""
    return {made.__module__.partition(".")[0] for made in type(connection).__mro__}


def _chosen(connection: Any, table: Mapping[str, tuple[str, Any]]) -> Any:
    roots = _roots(connection)
    # Django alone names the kind of its database.
    if getattr(connection, "vendor", "postgresql") == "postgresql":
        for root, (needed, execute) in table.items():
            # An engine or a pool lacks it: they have no transaction that could be joined.
            if root in roots and hasattr(connection, needed):
                return execute
    raise TypeError(f"`connection` must be {TAKEN}, to PostgreSQL")


def _psycopg(connection: Any, statement: Statement, given: Given) -> str:
    import psycopg

    # Not connection.cursor(): the application may have set a factory for cursors or rows.
    with psycopg.Cursor(connection, row_factory=psycopg.rows.tuple_row) as cursor:
        return _first(cursor.execute(statement.pyformat, given).fetchone())


def _dbapi(connection: Any, statement: Statement, given: Given) -> str:
    with connection.cursor() as cursor:
        cursor.execute(statement.pyformat, given)
        return _first(cursor.fetchone())


def _sqlalchemy(connection: Any, statement: Statement, given: Given) -> str:
    return str(connection.execute(_text(statement), given).scalar_one())


async def _apsycopg(connection: Any, statement: Statement, given: Given) -> str:
    import psycopg

    async with psycopg.AsyncCursor(connection, row_factory=psycopg.rows.tuple_row) as cursor:
        await cursor.execute(statement.pyformat, given)
        return _first(await cursor.fetchone())


async def _asyncpg(connection: Any, statement: Statement, given: Given) -> str:
    values = (given[name] for name in statement.names)
    return str(await connection.fetchval(statement.numbered, *values))


async def _asqlalchemy(connection: Any, statement: Statement, given: Given) -> str:
    return str((await connection.execute(_text(statement), given)).scalar_one())


def _text(statement: Statement) -> Any:
    # Loaded, since the connection came from there. The client itself never imports it.
    return sys.modules["sqlalchemy"].text(statement.named)


def _first(row: Any) -> str:
    return str(next(iter(row.values())) if isinstance(row, Mapping) else row[0])


# By package: what a connection of it has, and how it is used.
SYNC: dict[str, tuple[str, Callable[[Any, Statement, Given], str]]] = {
    "psycopg": ("cursor", _psycopg),
    "psycopg2": ("cursor", _dbapi),
    "django": ("cursor", _dbapi),
    "sqlalchemy": ("execute", _sqlalchemy),
}
ASYNC: dict[str, tuple[str, Callable[[Any, Statement, Given], Awaitable[str]]]] = {
    "psycopg": ("cursor", _apsycopg),
    "asyncpg": ("is_in_transaction", _asyncpg),
    "sqlalchemy": ("execute", _asqlalchemy),
}
