"""Which jobs go to the broker now, and how a foreign message becomes a job. For a thread of its
own: plain psycopg, one connection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from models.engine import CONNECT_ARGS, dumps
from models.tables import RIDE
from models.vendors import STATE_COLUMNS, State

CHANNEL = "ferryman"
# Any number: it only has to be the same in every relay.
LOCK = 727_101

TRY_LOCK = "SELECT pg_try_advisory_xact_lock(%s)"
STATES = f"SELECT {STATE_COLUMNS} FROM ferryman.vendor_states WHERE account = 'default'"

# Of a batch no more go than are wanted under way, lest a single job waits behind a million. They
# are looked for among the first of their priority only, so that a look costs the same however many
# wait.
#
# An empty queue with published jobs means that the broker lost them. They go again after 5 s,
# doubling: a worker may also hold them in its memory, and a second message does no harm. One may
# also be lost while others stand in the queue, by a worker that died with it: that takes a minute.
#
# A job that rides is not published: the load is that takes it.
PUBLISH = f"""
WITH v AS (
  SELECT * FROM jsonb_to_recordset(%(rooms)s::jsonb)
      AS v(vendor text, room int, parts int, again int, empty boolean)
), due AS (
  SELECT j.id FROM v
    CROSS JOIN unnest(ARRAY['high', 'normal']::ferryman.priority[]) AS p(priority)
    CROSS JOIN LATERAL (
      SELECT id FROM ferryman.jobs
       WHERE vendor = v.vendor AND priority = p.priority AND status = 'waiting'
         AND published_at IS NULL AND NOT ({RIDE}) AND run_at <= now()
       ORDER BY run_at LIMIT v.room FOR UPDATE SKIP LOCKED) AS j
), ranked AS (
  SELECT j.id, v.parts,
         CASE WHEN j.batch_id IS NOT NULL THEN row_number() OVER (
           PARTITION BY v.vendor, j.batch_id IS NULL ORDER BY j.run_at) END AS nth
    FROM v CROSS JOIN LATERAL (
      SELECT id, batch_id, run_at FROM ferryman.jobs
       WHERE vendor = v.vendor AND priority = 'low' AND status = 'waiting'
         AND published_at IS NULL AND NOT ({RIDE}) AND run_at <= now()
       ORDER BY run_at LIMIT v.room) AS j
), low AS (
  SELECT j.id FROM ranked r CROSS JOIN LATERAL (
      SELECT id FROM ferryman.jobs
       WHERE id = r.id AND status = 'waiting' AND published_at IS NULL
         FOR UPDATE SKIP LOCKED) AS j
   WHERE r.nth IS NULL OR r.parts IS NULL OR r.nth <= r.parts
), lost AS (
  SELECT j.id FROM v CROSS JOIN LATERAL (
      SELECT id FROM ferryman.jobs
       WHERE vendor = v.vendor AND status = 'waiting' AND run_at <= now()
         AND published_at < now() - make_interval(
               secs => CASE WHEN v.empty THEN 5 ELSE 60 END * 2 ^ least(publishes - 1, 6))
       ORDER BY published_at LIMIT v.again FOR UPDATE SKIP LOCKED) AS j
), looks AS (
  SELECT j.id FROM v CROSS JOIN LATERAL (
      SELECT id FROM ferryman.jobs
       WHERE vendor = v.vendor AND status = 'unknown' AND look_at <= now()
         AND (published_at IS NULL OR published_at < now() - interval '1 minute')
       ORDER BY look_at LIMIT v.room FOR UPDATE SKIP LOCKED) AS j
)
UPDATE ferryman.jobs j SET published_at = now(), publishes = publishes + 1
 WHERE j.id IN (SELECT id FROM due UNION ALL SELECT id FROM low UNION ALL SELECT id FROM lost
                UNION ALL SELECT id FROM looks)
RETURNING j.id, j.kind, j.vendor, j.priority, j.run_at
"""

# In the queue or in a worker's memory. What has been there for long was lost, or stands behind a
# slow vendor's calls.
PUBLISHED = """
SELECT vendor, count(*) AS n FROM ferryman.jobs
 WHERE vendor = ANY(%s) AND status = 'waiting' AND published_at > now() - interval '10 s'
 GROUP BY vendor
"""

# Those of batches that are under way: in the queue, in a worker's memory, or running. One whose
# message was lost counts until it is published again, one whose worker died until its lease ends.
# A paused one waits for a day that never comes.
PARTS = """
SELECT vendor, sum(n)::int AS n FROM (
  SELECT vendor, count(*) AS n FROM ferryman.jobs
   WHERE vendor = ANY(%(vendors)s) AND status = 'waiting' AND published_at IS NOT NULL
     AND priority = 'low' AND batch_id IS NOT NULL AND run_at <= now() GROUP BY vendor
   UNION ALL
  SELECT vendor, count(*) FROM ferryman.jobs
   WHERE vendor = ANY(%(vendors)s) AND status = 'running'
     AND priority = 'low' AND batch_id IS NOT NULL GROUP BY vendor) AS of_both
 GROUP BY vendor
"""

ENQUEUE = """
SELECT ferryman.enqueue(%(kind)s, %(args)s, run_at => %(run_at)s, id => %(id)s)
"""


@dataclass(frozen=True)
class Room:
    """How many messages a vendor's queue may take: new ones, of which `parts` of batches (None: as
    many as there are), and `again` those that may be lost. `empty`: it holds none now."""

    vendor: str
    room: int
    parts: int | None
    again: int
    empty: bool


@dataclass(frozen=True)
class Due:
    """A job to be published."""

    id: UUID
    kind: str
    vendor: str
    priority: str
    run_at: datetime


@dataclass(frozen=True)
class Foreign:
    """A message of an application's own Celery."""

    id: UUID
    kind: str
    args: dict[str, Any]
    run_at: datetime | None


def connect(url: str) -> psycopg.Connection[Any]:
    """A connection that listens for new jobs, where the server lets it."""
    arguments: dict[str, Any] = {**CONNECT_ARGS}
    connection = psycopg.connect(url, autocommit=True, row_factory=dict_row, **arguments)
    # A host that dies within a tick must not keep the lock from all other relays.
    connection.execute("SET idle_in_transaction_session_timeout = '10s'")
    connection.execute("SET tcp_keepalives_idle = 10")
    connection.execute("SET tcp_keepalives_interval = 5")
    connection.execute(f"LISTEN {CHANNEL}")
    return connection


def states(connection: psycopg.Connection[Any]) -> dict[str, State]:
    with connection.cursor(row_factory=class_row(State)) as cursor:
        return {state.vendor: state for state in cursor.execute(STATES)}


def lock(connection: psycopg.Connection[Any]) -> bool:
    """Whether this relay is the one that acts, until the transaction ends."""
    row = connection.execute(TRY_LOCK, (LOCK,)).fetchone()
    return bool(row and row["pg_try_advisory_xact_lock"])


def publish(connection: psycopg.Connection[Any], rooms: Sequence[Room]) -> list[Due]:
    """Mark what is due as published, within each vendor's room; best first."""
    with connection.cursor(row_factory=class_row(Due)) as cursor:
        found = cursor.execute(PUBLISH, {"rooms": dumps(rooms)}).fetchall()
    order = {"high": 0, "normal": 1, "low": 2}
    return sorted(found, key=lambda due: (order[due.priority], due.run_at))


def published(connection: psycopg.Connection[Any], vendors: Sequence[str]) -> dict[str, int]:
    """How many jobs of each vendor were published a short while ago, and do not run yet."""
    rows = connection.execute(PUBLISHED, (list(vendors),)).fetchall() if vendors else []
    return {row["vendor"]: row["n"] for row in rows}


def parts(connection: psycopg.Connection[Any], vendors: Sequence[str]) -> dict[str, int]:
    """How many jobs of batches are under way to each vendor."""
    rows = connection.execute(PARTS, {"vendors": list(vendors)}).fetchall() if vendors else []
    return {row["vendor"]: row["n"] for row in rows}


def receive(connection: psycopg.Connection[Any], message: Foreign) -> None:
    """Store a foreign message as a job, once for its id. Raises psycopg.Error on a bad one."""
    connection.execute(
        ENQUEUE,
        {
            "kind": message.kind,
            "args": Jsonb(message.args),
            "run_at": message.run_at,
            "id": message.id,
        },
    )
