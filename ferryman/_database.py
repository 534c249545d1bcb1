"""Ferryman's database, as its client sees it: `ferryman.enqueue`, `ferryman.batch` and the
published columns of `ferryman.jobs`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, BinaryIO
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
from psycopg.rows import dict_row
from uuid_utils.compat import uuid7

from ferryman import uploads
from ferryman._door import ENDED, Answer, Document
from ferryman._order import Order, rows
from ferryman._statement import ENQUEUE_ALONE, ENQUEUE_EACH_ALONE, named, refusals
from ferryman._times import rfc3339
from ferryman.errors import FerrymanError, InvalidArguments, InvalidSetting, NotFound, Unreachable

Connection = psycopg.Connection[dict[str, Any]]
Parameters = Mapping[str, Any]

CONNECT_SECONDS = 3
# A connection on which nothing is acknowledged for so long is given up by the system.
SILENCE_MS = 10_000
MOST_IDLE = 8
PAGE = 200
SHORTEST_POLL, LONGEST_POLL = 0.05, 0.5

COLUMNS = (
    "id, kind, vendor, status, ferryman.reason(jobs) AS reason, priority::text, attempts, run_at,"
    " expires_at, result, error, key, batch_id, created_at, finished_at"
)
JOB = f"SELECT {COLUMNS} FROM ferryman.jobs WHERE id = %(id)s"  # noqa: S608  # our own columns
JOBS = f"""
    SELECT {COLUMNS} FROM ferryman.jobs
     WHERE (%(status)s::text IS NULL OR status = %(status)s)
       AND (%(kind)s::text IS NULL OR kind = %(kind)s)
       AND (%(vendor)s::text IS NULL OR vendor = %(vendor)s)
       AND (%(key)s::text IS NULL OR key = %(key)s)
       AND (%(code)s::text IS NULL OR error->>'code' = %(code)s)
       AND (%(batch)s::uuid IS NULL OR batch_id = %(batch)s)
       AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s)
       AND (%(before)s::uuid IS NULL OR (created_at, id) <
            (SELECT b.created_at, b.id FROM ferryman.jobs b WHERE b.id = %(before)s))
     ORDER BY created_at DESC, id DESC LIMIT %(limit)s
"""  # noqa: S608  # our own columns
STATES = "SELECT id, status, error FROM ferryman.jobs WHERE id = ANY(%(ids)s)"
BATCH = "SELECT ferryman.batch(%(id)s) AS batch"
OBJECTS = """
SELECT key, bucket, action, outcome, reason, size, last_modified, etag, version, checksum, at
  FROM ferryman.objects WHERE job_id = %(id)s AND key > %(after)s AND action = ANY(%(actions)s)
 ORDER BY key LIMIT %(limit)s
"""
UPLOAD = "SELECT ferryman.upload(%(id)s) AS upload"
PIECE = "SELECT ferryman.upload_piece(%(id)s, %(place)s, %(content)b)"
UPLOADED = """
SELECT ferryman.upload_done(%(temporary)s, %(id)s, %(format)s, %(rows)s, %(bytes)s)
"""
NO_SCHEMA = ("42883", "42P01", "3F000")


class Database:
    """A door to the database at `url`. Connections are kept for the next call, whatever its
    thread: a new one for each call takes ten times as long."""

    def __init__(self, url: str) -> None:
        self._url = url
        # No host: a socket of this machine.
        self.local = urlsplit(url).hostname in (None, "localhost", "127.0.0.1", "::1")
        self._idle: deque[Connection] = deque()

    def enqueue(self, order: Order) -> Document:
        with refusals():
            row = self._rows(ENQUEUE_ALONE, order.parameters())[0]
        if row["id"] != str(order.id):
            return self.job(UUID(row["id"]))
        return {"id": row["id"], "kind": order.request.kind, "status": "waiting", "key": order.key}

    def enqueue_many(self, orders: Sequence[Order]) -> list[Answer]:
        answers: list[Answer] = [order.id for order in orders]
        for row in self._rows(ENQUEUE_EACH_ALONE, {"jobs": rows(orders)}):
            refused = row["state"] and named(row["state"], row["problem"])
            answers[row["place"]] = refused or UUID(row["id"])
        return answers

    def job(self, id: UUID, wait: float = 0) -> Document:
        until = time.monotonic() + wait
        pause = SHORTEST_POLL
        while True:
            rows = self._rows(JOB, {"id": id})
            if not rows:
                raise NotFound()
            left = until - time.monotonic()
            if rows[0]["status"] in ENDED or left <= 0:
                return _document(rows[0])
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, LONGEST_POLL)

    def jobs(self, filters: Mapping[str, str], limit: int) -> Iterator[Document]:
        names = ("status", "kind", "vendor", "key", "code", "batch", "since", "before")
        asked: dict[str, Any] = {name: filters.get(name) for name in names}
        while limit > 0:
            rows = self._rows(JOBS, {**asked, "limit": min(limit, PAGE)})
            yield from map(_document, rows)
            if len(rows) < PAGE:
                return
            limit -= len(rows)
            asked["before"] = rows[-1]["id"]

    def states(self, ids: Sequence[UUID]) -> list[Document]:
        return [_document(row) for row in self._rows(STATES, {"ids": list(ids)})]

    def batch(self, id: UUID) -> Document:
        found: Document | None = self._rows(BATCH, {"id": id})[0]["batch"]
        if found is None:
            raise NotFound()
        return found

    def objects(self, id: UUID, actions: Sequence[str]) -> Iterator[Document]:
        asked: dict[str, Any] = {"id": id, "actions": list(actions), "after": "", "limit": PAGE}
        while rows := self._rows(OBJECTS, asked):
            yield from map(_document, rows)
            asked["after"] = rows[-1]["key"]

    def upload(self, file: BinaryIO, format: str) -> Document:
        found = uploads.inspected(file, format)
        if (known := self._upload(found.id)) is None:
            self._send(file, found)
            known = self._upload(found.id)
        if known is None:
            raise NotFound()
        return known

    def _upload(self, id: UUID) -> Document | None:
        known: Document | None = self._rows(UPLOAD, {"id": id})[0]["upload"]
        return known

    def _send(self, file: BinaryIO, found: uploads.List) -> None:
        temporary, identity = uuid7(), uploads.Identity(found.format)
        for place, piece in enumerate(uploads.pieces(file)):
            identity.add(piece)
            self._rows(PIECE, {"id": temporary, "place": place, "content": piece})
        if identity.id() != found.id:
            raise InvalidArguments("source", "changed while it was read")
        with refusals():
            self._rows(UPLOADED, {"temporary": temporary, **vars(found)})

    def _rows(self, query: str, parameters: Parameters) -> list[dict[str, Any]]:
        """Ask on a kept connection; where that has died meanwhile, once more on a new one.

        To ask twice is safe: an order carries its job's id.
        """
        while True:
            connection, kept = self._connection()
            try:
                rows = connection.execute(query, parameters).fetchall()
            except psycopg.Error as error:
                self._put_back(connection)
                if connection.broken and kept:
                    continue
                raise _ours(error) or error from None
            self._put_back(connection)
            return rows

    def _connection(self) -> tuple[Connection, bool]:
        try:
            return self._idle.pop(), True
        except IndexError:
            return self._connect(), False

    def _put_back(self, connection: Connection) -> None:
        if connection.broken or len(self._idle) >= MOST_IDLE:
            connection.close()
        else:
            self._idle.append(connection)

    def _connect(self) -> Connection:
        try:
            made = psycopg.connect(
                self._url,
                autocommit=True,
                row_factory=dict_row,
                prepare_threshold=None,
                connect_timeout=CONNECT_SECONDS,
                tcp_user_timeout=SILENCE_MS,
                application_name="ferryman-client",
            )
            _prepare(made)
            return made
        except psycopg.OperationalError as error:
            raise Unreachable(
                f"the database does not answer; nothing was stored ({_line(error)})"
            ) from None
        except psycopg.ProgrammingError:
            # Its message would repeat the address, and the password in it.
            raise InvalidSetting(
                "FERRYMAN_DATABASE_URL", "must be like postgresql://user:password@host:5432/name"
            ) from None


def _prepare(connection: Connection) -> None:
    """Let the server keep the plans of our statements, unless a PgBouncer stands between: that
    tells another process id than its server has, and the next transaction may meet another one."""
    found = connection.execute("SELECT pg_backend_pid() AS pid").fetchone()
    if found is not None and found["pid"] == connection.info.backend_pid:
        connection.prepare_threshold = 0


def _ours(error: psycopg.Error) -> FerrymanError | None:
    if error.sqlstate in NO_SCHEMA:
        return Unreachable("the database has no ledger of this version: run `ferryman migrate`")
    if error.sqlstate == "42501":
        return Unreachable(f"the database's user may not do this ({_line(error)})")
    if error.sqlstate is None or error.sqlstate.startswith(("57P", "08")):
        return Unreachable(f"the connection to the database broke ({_line(error)})")
    return None


def _line(error: psycopg.Error) -> str:
    return str(error).partition("\n")[0].strip()


def _document(row: dict[str, Any]) -> Document:
    return {name: _json(value) for name, value in row.items()}


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return rfc3339(value)
    return str(value) if isinstance(value, UUID) else value
