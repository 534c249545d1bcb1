"""procrastinate: PostgreSQL is its queue, and its tables are the nearest thing to a ledger."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import psycopg

from bench.measure import Run, measured, ready, started
from bench.place import Place

PACKAGES: tuple[str, ...] = ("procrastinate",)
CONNECTIONS = 20
DONE = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'"


def run(place: Place, base_url: str, jobs: int, processes: int, concurrency: int) -> Run:
    """One measured run."""
    database = place.fresh_database("peer")
    env = {
        "BENCH_DATABASE": database,
        "BENCH_VENDOR": base_url,
        "BENCH_CONCURRENCY": str(concurrency),
    }
    asyncio.run(_prepare(database))
    with (
        psycopg.connect(database, autocommit=True) as ledger,
        started(["-m", __name__], env, processes) as workers,
    ):
        return measured(
            workers,
            jobs,
            lambda count: asyncio.run(_enqueue(database, count)),
            lambda: _done(ledger),
        )


async def _prepare(database: str) -> None:
    async with application(database).open_async() as app:
        await app.schema_manager.apply_schema_async()


async def _enqueue(database: str, jobs: int) -> None:
    async with application(database).open_async() as app:
        orders = [{"amount": 1000 + n, "currency": "usd"} for n in range(jobs)]
        await app.tasks["charge"].batch_defer_async(*orders)


def _done(ledger: psycopg.Connection[tuple[int]]) -> int:
    row = ledger.execute(DONE).fetchone()
    assert row is not None
    return row[0]


def application(database: str) -> Any:
    """The application with its one task."""
    import aiohttp
    import procrastinate

    connector = procrastinate.PsycopgConnector(conninfo=database, max_size=CONNECTIONS)
    app = procrastinate.App(connector=connector)
    sessions: list[aiohttp.ClientSession] = []

    @app.task(name="charge")
    async def charge(**order: Any) -> None:
        if not sessions:
            sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        url = f"{os.environ['BENCH_VENDOR']}/v1/payment_intents"
        async with sessions[0].post(url, data=order, raise_for_status=True) as answer:
            await answer.read()

    return app


async def work() -> None:
    """A worker process, until it is terminated."""
    async with application(os.environ["BENCH_DATABASE"]).open_async() as app:
        ready()
        await app.run_worker_async(
            concurrency=int(os.environ["BENCH_CONCURRENCY"]), delete_jobs="never"
        )


def main() -> None:
    import uvloop

    uvloop.run(work())


if __name__ == "__main__":
    main()
