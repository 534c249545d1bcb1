"""Throughput with 1,000,000 jobs waiting beside that with 1,000: half planned, half due."""

from __future__ import annotations

import statistics
import time

import psycopg

from bench import walk
from bench.contest import console
from bench.measure import reach
from bench.place import Place
from bench.vendor import served_by, vendor

FEW = 1000
MANY = 1_000_000
JOBS = 3000
WARM = 500
LATENCY = 0.05
PROCESSES = 2
CONCURRENCY = 50

# As `ferryman.enqueue` would leave them, without a million calls of it.
STORE = """
INSERT INTO ferryman.jobs (id, kind, vendor, args, run_at, due_at)
SELECT gen_random_uuid(), 'charge', 'stripe', jsonb_build_object('customer', 'user-1',
         'amount', 1000 + n, 'currency', 'usd', 'payment_method', 'pm_card_visa'), at, at
  FROM generate_series(1, %(count)s) AS n,
       LATERAL (SELECT now() + CAST(%(later)s AS interval) + n * interval '1 ms' AS at) AS t
"""


def main(place: Place) -> None:
    many = place.jobs(MANY)
    ledgers = {FEW: walk.new_ledger(place, "few"), many: walk.new_ledger(place, "many")}
    for waiting, database in ledgers.items():
        _fill(database, waiting)
    found: dict[int, list[float]] = {waiting: [] for waiting in ledgers}
    with vendor(LATENCY) as url:
        for _ in range(place.rounds):
            for waiting, database in ledgers.items():
                found[waiting].append(_rate(place, database, url, place.jobs(JOBS)))
    console.print(
        f"\n{place.jobs(JOBS)} jobs of one {LATENCY * 1000:.0f} ms call after {place.jobs(WARM)}"
        f" to warm up; {PROCESSES} processes x {CONCURRENCY} in flight; half of the waiting jobs"
        f" planned for tomorrow, half due and beyond the window of 1000; median of {place.rounds}"
    )
    for waiting, rates in found.items():
        each = ", ".join(f"{rate:.0f}" for rate in rates)
        console.print(f"{waiting} waiting: {statistics.median(rates):.0f} jobs/s ({each})")
    ratio = statistics.median(found[many]) / statistics.median(found[FEW])
    console.print(f"{many} waiting / {FEW} waiting: throughput {ratio:.2f}")


def _fill(database: str, waiting: int) -> None:
    """The waiting jobs; the few that are due are added to by each run."""
    with psycopg.connect(database, autocommit=True) as ledger:
        ledger.execute(STORE, {"count": waiting // 2, "later": "1 day"})
        ledger.execute(STORE, {"count": waiting // 2, "later": "-1 day"})
        ledger.execute("VACUUM ANALYZE ferryman.jobs")


def _rate(place: Place, database: str, url: str, jobs: int) -> float:
    """Jobs a second while as many jobs are due as before: what a run does is put in again."""
    warm = place.jobs(WARM)
    with psycopg.connect(database, autocommit=True) as ledger:
        ledger.execute(STORE, {"count": jobs + warm, "later": "-1 day"})
        before = served_by(url)
        with walk.workers(place, database, url, PROCESSES, CONCURRENCY) as running:
            reach(running, lambda: served_by(url), before + warm)
            began, first = time.monotonic(), served_by(url)
            reach(running, lambda: served_by(url), first + jobs - warm)
            return (served_by(url) - first) / (time.monotonic() - began)
