"""What does the ledger say? Jobs, mails, events, by the columns that others may read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
from psycopg.rows import class_row, dict_row

from sandbox.demo.orders import KINDS, OWN

Connection = psycopg.Connection[dict[str, Any]]

JOBS = """
SELECT j.id::text, kind, vendor, status, reason, attempts, key, result, error ->> 'code' AS code,
       (SELECT coalesce(array_agg(coalesce(outcome, 'running') ORDER BY number), '{}')
          FROM ferryman.attempts a WHERE a.job_id = j.id) AS runs
  FROM ferryman.jobs j ORDER BY j.id
"""
MAILS = """
SELECT id::text, job_id::text, batch_id::text, status, delivery FROM ferryman.emails ORDER BY id
"""
# HubSpot's number of an event is a part of the id that it has here.
EVENTS = """
SELECT CASE vendor WHEN 'hubspot' THEN split_part(event_id, ':', 1) ELSE event_id END AS id,
       vendor, type, handled_at IS NOT NULL AS handled FROM ferryman.events
"""
SUPPRESSED = "SELECT address, reason FROM ferryman.suppressions"
COUNTS = "SELECT kind, status, count(*) FROM ferryman.jobs GROUP BY kind, status"
ENDED = """
SELECT count(*) FILTER (WHERE id = ANY(%s::uuid[])) AS there,
       count(*) FILTER (WHERE status IN ('waiting', 'running')) AS open
  FROM ferryman.jobs
"""
MOST_REASONS = 3


@dataclass(frozen=True)
class Job:
    """`runs`: how each of its attempts ended. `code`: why it failed."""

    id: str
    kind: str
    vendor: str
    status: str
    reason: str | None
    attempts: int
    key: str | None
    result: dict[str, Any] | None
    code: str | None
    runs: list[str]


@dataclass(frozen=True)
class Mail:
    """One recipient's mail: a single one's id is that of its job. `delivery`: what the vendor has
    told since."""

    id: str
    job_id: str
    batch_id: str | None
    status: str
    delivery: str | None


@dataclass(frozen=True)
class Event:
    """What a vendor told by itself; `id` is the vendor's."""

    id: str
    vendor: str
    type: str
    handled: bool


@dataclass(frozen=True)
class Counts:
    """How many jobs of each kind are in each state, and why some wait."""

    by_kind: dict[str, Counter[str]]
    reasons: list[tuple[str, int]]


class Ledger:
    """Looks into the ledger at one moment."""

    def __init__(self, connection: Connection, api_url: str) -> None:
        self._connection = connection
        self._waiting = f"{api_url}/v1/jobs?status=waiting&limit=200"

    def jobs(self) -> list[Job]:
        with self._connection.cursor(row_factory=class_row(Job)) as cursor:
            return cursor.execute(JOBS).fetchall()

    def mails(self) -> list[Mail]:
        with self._connection.cursor(row_factory=class_row(Mail)) as cursor:
            return cursor.execute(MAILS).fetchall()

    def events(self) -> list[Event]:
        with self._connection.cursor(row_factory=class_row(Event)) as cursor:
            return cursor.execute(EVENTS).fetchall()

    def suppressed(self) -> dict[str, str]:
        """To whom nothing more is sent, and why."""
        return {row["address"]: row["reason"] for row in self._connection.execute(SUPPRESSED)}

    def counts(self) -> Counts:
        by_kind: dict[str, Counter[str]] = {k: Counter() for k in (*KINDS, *OWN)}
        for row in self._connection.execute(COUNTS):
            by_kind[row["kind"]][row["status"]] = row["count"]
        waits = any(count["waiting"] for count in by_kind.values())
        return Counts(by_kind, self._reasons() if waits else [])

    def ended(self, ids: Collection[str]) -> bool:
        """Whether all of these jobs are there and have ended, and no other job is open."""
        row = self._connection.execute(ENDED, (list(ids),)).fetchone()
        return row == {"there": len(ids), "open": 0}

    def _reasons(self) -> list[tuple[str, int]]:
        """From the API: that a vendor is unavailable is told when it is read, not stored."""
        jobs = httpx.get(self._waiting, trust_env=False).raise_for_status().json()["jobs"]
        return Counter(j["reason"] for j in jobs if j["reason"]).most_common(MOST_REASONS)


@contextmanager
def opened(database_url: str, api_url: str) -> Iterator[Ledger]:
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as connection:
        yield Ledger(connection, api_url)
