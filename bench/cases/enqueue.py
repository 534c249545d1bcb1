"""Enqueue, one by one and in bulk, beside a bare loop of Celery's `.delay()`."""

from __future__ import annotations

import statistics

from rich.table import Table

from bench.contest import console
from bench.enqueue import measure
from bench.place import Place

JOBS = 20_000
SINGLE = 2000


def main(place: Place) -> None:
    jobs, single = place.jobs(JOBS), place.jobs(SINGLE)
    database = place.fresh_database("enqueue")
    found = measure(database, place.broker, jobs, single, place.rounds)
    base, *_ = (statistics.median(rates) for rates in found.values())
    table = Table("", "jobs/s", "x .delay()", "jobs/s of each run")
    for name, rates in found.items():
        rate = statistics.median(rates)
        each = ", ".join(f"{one:.0f}" for one in rates)
        table.add_row(name, f"{rate:.0f}", f"{rate / base:.2f}", each)
    console.print(
        f"\n{jobs} jobs in bulk, {single} one by one; median of {place.rounds} runs", table
    )
