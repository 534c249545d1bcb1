"""Enqueue to start on an idle system: from the enqueue to the attempt, and to the request."""

from __future__ import annotations

import random
import statistics
import time

import psycopg

from bench import walk
from bench.contest import console
from bench.measure import until
from bench.place import Place
from bench.vendor import vendor

JOBS = 200
WARM = 20
LATENCY = 0.05
PROCESSES = 2
CONCURRENCY = 50

# By PostgreSQL's clock alone: the transaction that enqueued, the claim's, the mark's.
WAITED = """
SELECT extract(epoch FROM a.started_at - j.created_at)::float8 * 1000,
       extract(epoch FROM s.sent_at - j.created_at)::float8 * 1000
  FROM ferryman.jobs j
  JOIN ferryman.attempts a ON a.job_id = j.id AND a.number = 1
  JOIN ferryman.sends s ON s.job_id = j.id AND s.step = 'charge' AND s.attempt = 1
 ORDER BY j.created_at OFFSET %s
"""


def main(place: Place) -> None:
    jobs = place.jobs(JOBS)
    database = walk.new_ledger(place, "walk")
    with (
        vendor(LATENCY) as url,
        psycopg.connect(database, autocommit=True) as ledger,
        walk.workers(place, database, url, PROCESSES, CONCURRENCY),
    ):
        for _ in range(WARM + jobs):
            walk.enqueue(ledger, 1)
            # At no fixed distance, so that no clock of a worker's falls in step.
            time.sleep(random.uniform(0.05, 0.25))
        until(lambda: walk.done(ledger) == WARM + jobs)
        waited = ledger.execute(WAITED, (WARM,)).fetchall()
    console.print(f"\n{jobs} jobs one at a time, 50 to 250 ms apart; {PROCESSES} idle processes")
    for name, values in zip(("attempt started", "request marked"), _columns(waited), strict=True):
        console.print(f"enqueued to {name}: {_spread(values)}")


def _columns(rows: list[tuple[float, float]]) -> list[tuple[float, ...]]:
    return list(zip(*rows, strict=True))


def _spread(values: tuple[float, ...]) -> str:
    cuts = statistics.quantiles(values, n=100)
    return f"median {cuts[49]:.1f} ms, p95 {cuts[94]:.1f} ms, longest {max(values):.1f} ms"
