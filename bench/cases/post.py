"""Jobs posted one by one, each committed before its answer, beside the same written plainly."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import psycopg

from bench import post
from bench.contest import report_loads
from bench.http_load import Load, load
from bench.place import Place
from models.migrate import migrate

REQUESTS = 10_000
CONNECTIONS = 50
WARM = 1000

Server = Callable[[str], AbstractContextManager[str]]

CONTESTANTS: dict[str, Server] = {"ferryman": post.ours, "plain, SQLAlchemy": post.plain}


def main(place: Place) -> None:
    database = place.fresh_database("post")
    migrate(database)
    for keyed in (False, True):
        _case(place, database, keyed=keyed)


def _case(place: Place, database: str, *, keyed: bool) -> None:
    requests = place.jobs(REQUESTS)
    runs: dict[str, list[Load]] = {name: [] for name in CONTESTANTS}
    for _ in range(place.rounds):
        for name, server in CONTESTANTS.items():
            runs[name].append(_run(server, database, requests, keyed=keyed))
    manner = "each with a key" if keyed else "without keys"
    report_loads(
        f"{requests} charges {manner}, {CONNECTIONS} connections, one server process", runs
    )


def _run(server: Server, database: str, requests: int, *, keyed: bool) -> Load:
    """One server's figures, over an empty table. Raises RuntimeError where a job is missing."""
    with psycopg.connect(database, autocommit=True) as ledger:
        ledger.execute("TRUNCATE ferryman.jobs, ferryman.job_keys")
        with server(database) as url:
            make = post.requests(keyed=keyed)
            made = load(url, make, requests=requests, connections=CONNECTIONS, warm=WARM)
        stored = ledger.execute("SELECT count(*) FROM ferryman.jobs").fetchone()
    if set(made.statuses) != {201} or stored != (requests + WARM,):
        raise RuntimeError(f"answered {made.statuses}, stored {stored}")
    return made
