"""Connections to the ledger. Settings give plain `postgresql://` URLs; the driver is our choice."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson
from sqlalchemy import Engine, TextClause, create_engine, text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

# Without server-side prepared statements a PgBouncer in transaction mode may stand between.
# A network that falls silent must not hold a heartbeat for the system's quarter of an hour.
CONNECT_ARGS = {
    "prepare_threshold": None,
    "connect_timeout": 5,
    "application_name": "ferryman",
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
# An escaped NUL, but not the text of one (a backslash that is itself escaped).
NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def driver_url(url: str) -> str:
    """The same address with SQLAlchemy's name for psycopg 3."""
    scheme, _, rest = url.partition("://")
    if scheme not in ("postgresql", "postgres"):
        raise ValueError("FERRYMAN_DATABASE_URL must start with postgresql://")
    return f"postgresql+psycopg://{rest}"


def dumps(value: Any) -> str:
    """JSON for a statement's parameter: UUIDs and datetimes as strings. PostgreSQL takes no NUL,
    and one in a vendor's answer must not keep a whole group from being written."""
    written = orjson.dumps(value).decode()
    return NUL.sub(r"\1\\ufffd", written) if "\\u0000" in written else written


def loads_any(stored: str) -> Any:
    """What PostgreSQL keeps as JSON, where one that is read must not hold up the others. It keeps
    larger numbers than a float takes, and deeper levels than anybody reads: then None."""
    try:
        return orjson.loads(stored)
    except orjson.JSONDecodeError:
        try:
            return json.loads(stored)
        except (ValueError, RecursionError):
            return None


def driver_sql(statement: str | TextClause) -> str:
    """A statement with `:names`, as psycopg itself takes it."""
    clause = text(statement) if isinstance(statement, str) else statement
    return str(
        clause.compile(
            dialect=PGDialect_psycopg()  # type: ignore[no-untyped-call]
        )
    )


def async_engine(url: str, *, connections: int, pre_ping: bool = False) -> AsyncEngine:
    """An engine for an event loop that never holds more than `connections`. `pre_ping`: each is
    tried before it is used, so that none is found dead in the middle of a job."""
    return create_async_engine(
        driver_url(url),
        pool_size=connections,
        max_overflow=0,
        pool_pre_ping=pre_ping,
        connect_args=CONNECT_ARGS,
        hide_parameters=True,  # an error's text must not carry a payload into a log
        json_serializer=dumps,
        json_deserializer=orjson.loads,
    )


def sync_engine(url: str) -> Engine:
    """An engine of one connection, for a thread that must not depend on the event loop."""
    return create_engine(
        driver_url(url),
        pool_size=1,
        max_overflow=0,
        connect_args=CONNECT_ARGS,
        hide_parameters=True,  # an error's text must not carry a payload into a log
        json_serializer=dumps,
        json_deserializer=orjson.loads,
    )
