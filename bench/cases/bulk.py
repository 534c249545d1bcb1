"""Jobs posted as JSON lines, beside the same written plainly."""

from __future__ import annotations

import statistics

import psycopg
from rich.table import Table

from bench import post
from bench.cases.post import Server
from bench.contest import console
from bench.place import Place
from models.migrate import migrate

JOBS = 30_000
WARM = 1000
# The plain one looks at no keys here: with them it would need a statement a line.
WAYS: dict[str, tuple[Server, bool]] = {
    "ferryman": (post.ours, False),
    "ferryman, each with a key": (post.ours, True),
    "plain, SQLAlchemy": (post.plain, False),
}


def main(place: Place) -> None:
    jobs = place.jobs(JOBS)
    database = place.fresh_database("bulk")
    migrate(database)
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(place.rounds):
        for name, (server, keyed) in WAYS.items():
            rates[name].append(_run(server, database, jobs, keyed=keyed))
    table = Table("", "jobs/s", "jobs/s of each run")
    for name, found in rates.items():
        each = ", ".join(f"{rate:.0f}" for rate in found)
        table.add_row(name, f"{statistics.median(found):.0f}", each)
    title = f"\n{jobs} lines in one request; median of {place.rounds} interleaved runs"
    console.print(title, table)


def _run(server: Server, database: str, jobs: int, *, keyed: bool) -> float:
    with psycopg.connect(database, autocommit=True) as ledger:
        ledger.execute("TRUNCATE ferryman.jobs, ferryman.job_keys")
    with server(database) as url:
        post.bulk(url, WARM, keyed=keyed)
        return post.bulk(url, jobs, keyed=keyed)
