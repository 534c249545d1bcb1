"""The full walk beside bare Celery: 50 ms calls, same processes, same calls in flight."""

from __future__ import annotations

from bench import bare, walk
from bench.contest import interleaved, report
from bench.place import Place
from bench.vendor import vendor

JOBS = 3000
LATENCY = 0.05
PROCESSES = 2
CONCURRENCY = 50


def main(place: Place) -> None:
    jobs = place.jobs(JOBS)
    with vendor(LATENCY) as url:
        runs = interleaved(
            {
                "bare Celery": lambda: bare.run(place, url, jobs, PROCESSES, CONCURRENCY),
                "ferryman": lambda: walk.run(place, url, jobs, PROCESSES, CONCURRENCY),
            },
            place.rounds,
        )
    report(
        f"{jobs} jobs of one {LATENCY * 1000:.0f} ms call; {PROCESSES} processes"
        f" x {CONCURRENCY} in flight; bare Celery: threads pool, urllib3, nothing persisted",
        runs,
    )
