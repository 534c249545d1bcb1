"""Webhooks accepted, verified and committed before the answer, beside the same written plainly."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import psycopg
from rich.table import Table

from bench import webhook
from bench.contest import console
from bench.http_load import Load, load, median
from bench.place import Place
from models.migrate import migrate

REQUESTS = 10_000
CONNECTIONS = 50
OURS = "ferryman"

Server = Callable[[str, str], AbstractContextManager[str]]

CONTESTANTS: dict[str, Server] = {
    OURS: webhook.ours,
    "plain, psycopg": partial(webhook.plain, "psycopg"),
    "plain, SQLAlchemy": partial(webhook.plain, "sqlalchemy"),
}


def main(place: Place) -> None:
    requests = place.jobs(REQUESTS)
    database = place.fresh_database("webhook")
    migrate(database)
    runs: dict[str, list[Load]] = {name: [] for name in CONTESTANTS}
    for _ in range(place.rounds):
        for name, server in CONTESTANTS.items():
            runs[name].append(_run(server, database, requests))
    console.print(
        f"\n{requests} signed events of 2 KB, {CONNECTIONS} connections, one server process;"
        f" median of {place.rounds} interleaved runs",
        _table(runs),
    )
    ours = median(runs[OURS])
    for name, found in runs.items():
        if name != OURS:
            ratio = ours.per_second / median(found).per_second
            console.print(f"{OURS} / {name}: {ratio:.2f} times the requests a second")


def _run(server: Server, database: str, requests: int) -> Load:
    """One server's figures, over an empty table. Raises RuntimeError where an event is missing."""
    key = webhook.secret()
    with psycopg.connect(database, autocommit=True) as ledger:
        ledger.execute("TRUNCATE ferryman.events")
        with server(database, key) as url:
            made = load(
                url, webhook.requests(key), requests=requests, connections=CONNECTIONS, warm=1000
            )
        stored = ledger.execute("SELECT count(*) FROM ferryman.events").fetchone()
    if set(made.statuses) != {200} or stored != (requests + 1000,):
        raise RuntimeError(f"answered {made.statuses}, stored {stored}")
    return made


def _table(runs: dict[str, list[Load]]) -> Table:
    table = Table("", "requests/s", "p50 ms", "p99 ms", "requests/s of each run")
    for name, found in runs.items():
        middle = median(found)
        each = ", ".join(f"{run.per_second:.0f}" for run in found)
        figures = (middle.per_second, middle.p50_ms, middle.p99_ms)
        table.add_row(
            name, *(f"{figure:.{n}f}" for figure, n in zip(figures, (0, 1, 1), strict=True)), each
        )
    return table
