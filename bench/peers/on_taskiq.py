"""taskiq on its Redis broker, with a ledger written by hand: asyncpg, row by row."""

from __future__ import annotations

import os
from uuid import UUID, uuid4

import psycopg
import redis

from bench.measure import Run, measured, ready, started
from bench.peers import ledger as rows
from bench.place import Place

PACKAGES: tuple[str, ...] = ("taskiq", "taskiq_redis", "asyncpg")
QUEUE = "peer"
TASK = "bench.charge"
CONNECTIONS = 20


def run(place: Place, base_url: str, jobs: int, processes: int, concurrency: int) -> Run:
    """One measured run."""
    place.empty_broker()
    database = place.fresh_database("peer")
    env = {
        "BENCH_DATABASE": database,
        "BENCH_BROKER": place.broker,
        "BENCH_VENDOR": base_url,
        "BENCH_CONCURRENCY": str(concurrency),
    }
    with (
        psycopg.connect(database, autocommit=True) as ledger,
        redis.Redis.from_url(place.broker) as queue,
    ):
        ledger.execute(rows.SCHEMA)
        with started(["-m", __name__], env, processes) as workers:
            return measured(
                workers,
                jobs,
                lambda count: _publish(queue, rows.enqueue(ledger, count)),
                lambda: rows.done(ledger),
            )


def _publish(queue: redis.Redis, ids: list[str]) -> None:
    from taskiq import TaskiqMessage
    from taskiq.formatters.json_formatter import JSONFormatter

    formatter = JSONFormatter()
    pipeline = queue.pipeline(transaction=False)
    for job in ids:
        message = TaskiqMessage(
            task_id=str(uuid4()), task_name=TASK, labels={}, args=[job], kwargs={}
        )
        pipeline.lpush(QUEUE, formatter.dumps(message).message)
    pipeline.execute()


async def work() -> None:
    """A worker process, until it is terminated."""
    import aiohttp
    import asyncpg
    import orjson
    from taskiq.api import run_receiver_task
    from taskiq_redis import ListQueueBroker

    broker = ListQueueBroker(os.environ["BENCH_BROKER"], queue_name=QUEUE)
    pool = await asyncpg.create_pool(
        os.environ["BENCH_DATABASE"], min_size=CONNECTIONS, max_size=CONNECTIONS
    )
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    url = f"{os.environ['BENCH_VENDOR']}/v1/payment_intents"

    @broker.task(task_name=TASK)
    async def charge(job: str) -> None:
        key = UUID(job)
        claimed = await pool.fetchrow(rows.CLAIM, key)
        if claimed is None:
            return
        form = orjson.loads(claimed["args"])
        await pool.execute(rows.ATTEMPT, key, claimed["fence"], claimed["args"])
        async with session.post(url, data=form, raise_for_status=True) as answer:
            body = await answer.text()
        await pool.execute(rows.CLOSE, key, claimed["fence"], body)

    ready()
    await run_receiver_task(
        broker, max_async_tasks=int(os.environ["BENCH_CONCURRENCY"]), run_startup=True
    )


def main() -> None:
    import uvloop

    uvloop.run(work())


if __name__ == "__main__":
    main()
