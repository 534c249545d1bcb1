"""What an application writes by hand around a queue that keeps no ledger: one statement to claim
a job, one to record the attempt before its call, one to close both. Row by row."""

from __future__ import annotations

import psycopg

SCHEMA = """
CREATE TABLE jobs (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(), args jsonb NOT NULL,
  status text NOT NULL DEFAULT 'waiting', fence bigint NOT NULL DEFAULT 0, result jsonb,
  created_at timestamptz NOT NULL DEFAULT now(), finished_at timestamptz);
CREATE INDEX ON jobs (status, created_at);
CREATE TABLE attempts (
  job_id uuid, number bigint, request jsonb NOT NULL, response jsonb,
  started_at timestamptz NOT NULL DEFAULT now(), finished_at timestamptz,
  PRIMARY KEY (job_id, number));
"""
ENQUEUE = """
INSERT INTO jobs (args)
SELECT jsonb_build_object('customer', 'user-1', 'amount', 1000 + n, 'currency', 'usd')
  FROM generate_series(1, %s) AS n RETURNING id::text
"""
DONE = "SELECT count(*) FROM jobs WHERE status = 'succeeded'"

# asyncpg's way to write parameters; psycopg's is made of it.
CLAIM = """
UPDATE jobs SET status = 'running', fence = fence + 1
 WHERE id = $1 AND status = 'waiting' RETURNING args, fence
"""
ATTEMPT = "INSERT INTO attempts (job_id, number, request) VALUES ($1, $2, $3)"
CLOSE = """
WITH a AS (
  UPDATE attempts SET response = $3, finished_at = now() WHERE job_id = $1 AND number = $2
)
UPDATE jobs SET status = 'succeeded', result = $3, finished_at = now()
 WHERE id = $1 AND fence = $2 AND status = 'running'
"""

Ledger = psycopg.Connection[tuple[int]]


def enqueue(ledger: Ledger, jobs: int) -> list[str]:
    """Store jobs; their ids."""
    return [str(job) for (job,) in ledger.execute(ENQUEUE, (jobs,))]


def done(ledger: Ledger) -> int:
    row = ledger.execute(DONE).fetchone()
    assert row is not None
    return row[0]
