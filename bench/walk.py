"""The full walk: ledger row, relay, claim, mark, call, redacted interaction, close."""

from __future__ import annotations

import tempfile
from pathlib import Path

import psycopg
import redis

from bench.measure import Run, measured, started
from models.migrate import migrate

ENQUEUE = """
SELECT count(ferryman.enqueue('charge', jsonb_build_object(
  'customer', 'user-1', 'amount', 1000 + n, 'currency', 'usd', 'payment_method', 'pm_card_visa')))
  FROM generate_series(1, %s) AS n
"""
DONE = "SELECT count(*) FROM ferryman.jobs WHERE status = 'succeeded'"


def run(
    database: str, broker: str, base_url: str, jobs: int, processes: int, concurrency: int
) -> Run:
    """One measured run on an empty ledger."""
    with (
        tempfile.TemporaryDirectory() as folder,
        redis.Redis.from_url(broker) as queue,
        psycopg.connect(database, autocommit=True) as connection,
    ):
        queue.flushall()
        connection.execute("DROP SCHEMA IF EXISTS ferryman CASCADE")
        migrate(database)
        ready = Path(folder) / "ready"
        env = {
            "FERRYMAN_DATABASE_URL": database,
            "FERRYMAN_BROKER_URL": broker,
            "FERRYMAN_CONCURRENCY": str(concurrency),
            "STRIPE_BASE_URL": base_url,
            "STRIPE_SECRET_KEY": "sk_test_bench",
            "READY": str(ready),
        }
        with started(
            ["-m", "worker"], env, processes, lambda number: Path(f"{ready}{number}").exists()
        ) as workers:
            return measured(
                workers,
                jobs,
                lambda: _enqueue(connection, jobs),
                lambda: _count(connection),
            )


def _enqueue(connection: psycopg.Connection[tuple[int]], jobs: int) -> None:
    connection.execute(ENQUEUE, (jobs,))


def _count(connection: psycopg.Connection[tuple[int]]) -> int:
    row = connection.execute(DONE).fetchone()
    assert row is not None
    return row[0]
