"""dramatiq on its Redis broker, threads, with a ledger written by hand: psycopg, row by row."""

from __future__ import annotations

import os
import queue
import signal
from typing import Any

import psycopg

from bench.measure import Run, measured, ready, started
from bench.peers import ledger as rows
from bench.place import Place

PACKAGES: tuple[str, ...] = ("dramatiq",)
# A connection a thread would be more than PostgreSQL has for two processes.
CONNECTIONS = 20
MOST_THREADS = 1000


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
    with psycopg.connect(database, autocommit=True) as ledger:
        ledger.execute(rows.SCHEMA)
        with started(["-m", __name__], env, processes) as workers:
            return measured(
                workers,
                jobs,
                lambda count: _publish(place.broker, rows.enqueue(ledger, count)),
                lambda: rows.done(ledger),
            )


def _publish(url: str, ids: list[str]) -> None:
    from dramatiq import Message
    from dramatiq.brokers.redis import RedisBroker

    broker = RedisBroker(url=url)
    broker.declare_queue("default")
    for job in ids:
        broker.enqueue(
            Message(queue_name="default", actor_name="charge", args=(job,), kwargs={}, options={})
        )


def work() -> None:
    """A worker process, until it is terminated."""
    import dramatiq
    import orjson
    import urllib3
    from dramatiq.brokers.redis import RedisBroker

    broker = RedisBroker(url=os.environ["BENCH_BROKER"])
    dramatiq.set_broker(broker)
    web = urllib3.PoolManager(maxsize=MOST_THREADS, retries=False, timeout=30)
    url = f"{os.environ['BENCH_VENDOR']}/v1/payment_intents"
    claim, attempt, close = (_named(s) for s in (rows.CLAIM, rows.ATTEMPT, rows.CLOSE))
    connections: queue.SimpleQueue[psycopg.Connection[Any]] = queue.SimpleQueue()
    for _ in range(CONNECTIONS):
        connections.put(psycopg.connect(os.environ["BENCH_DATABASE"], autocommit=True))

    def execute(statement: str, *values: Any) -> tuple[Any, ...] | None:
        names = {f"p{n}": value for n, value in enumerate(values, 1)}
        connection = connections.get()
        try:
            cursor = connection.execute(statement, names)
            return cursor.fetchone() if cursor.description else None
        finally:
            connections.put(connection)

    @dramatiq.actor
    def charge(job: str) -> None:
        claimed = execute(claim, job)
        if claimed is None:
            return
        args, fence = claimed
        execute(attempt, job, fence, orjson.dumps(args).decode())
        answer = web.request("POST", url, fields=args, encode_multipart=False)
        execute(close, job, fence, answer.data.decode())

    stop = queue.SimpleQueue[int]()
    signal.signal(signal.SIGTERM, lambda number, _: stop.put(number))
    worker = dramatiq.Worker(broker, worker_threads=int(os.environ["BENCH_CONCURRENCY"]))
    worker.start()
    ready()
    stop.get()
    worker.stop()


def _named(statement: str) -> str:
    for number in (1, 2, 3):
        statement = statement.replace(f"${number}", f"%(p{number})s")
    return statement


if __name__ == "__main__":
    work()
