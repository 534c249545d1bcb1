"""`python -m bench.enqueue`: how fast jobs are enqueued, beside a bare loop of Celery's `.delay()`.

Interleaved runs on this machine, medians. `ledger and queue` ends when the relay, alone, has put
every job's message into its vendor's queue.
"""

from __future__ import annotations

import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import psycopg
import redis
from celery import Celery
from rich.console import Console
from rich.table import Table

import ferryman
from ferryman.settings import settings
from models.migrate import migrate
from worker.relay import Relay
from worker.supervisor.servers import embedded

ARGS: dict[str, Any] = {"customer": "user-42", "currency": "usd", "payment_method": "pm_card_visa"}
# Of a vendor without a rate: of another the relay publishes no more than is due.
QUEUE = "ferryman.sendgrid"
MAIL: dict[str, Any] = {"to": "ada@example.com", "subject": "Your order", "text": "On its way."}
LISTENING = "SELECT FROM pg_stat_activity WHERE application_name = 'ferryman'"

Measured = dict[str, Callable[[int], float]]


@click.command(help=__doc__)
@click.option("--jobs", default=20_000, show_default=True, help="Jobs of a run in bulk.")
@click.option("--single", default=2000, show_default=True, help="Jobs of a run one by one.")
@click.option("--rounds", default=3, show_default=True, help="Interleaved runs of each.")
def main(jobs: int, single: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder, embedded(Path(folder)) as servers:
        found = measure(servers.database, servers.broker, jobs, single, rounds)
    base, *_ = (statistics.median(rates) for rates in found.values())
    table = Table("", "jobs/s", "x .delay()", "jobs/s of each run")
    for name, rates in found.items():
        rate = statistics.median(rates)
        each = ", ".join(f"{one:.0f}" for one in rates)
        table.add_row(name, f"{rate:.0f}", f"{rate / base:.2f}", each)
    Console().print(f"{jobs} jobs in bulk, {single} one by one; median of {rounds} runs", table)


def measure(
    database: str, broker: str, jobs: int, single: int, rounds: int
) -> dict[str, list[float]]:
    """Jobs a second of each way, a figure a round; the first way is the bare loop."""
    os.environ |= {"FERRYMAN_DATABASE_URL": database, "FERRYMAN_RELAY_WINDOW": str(jobs)}
    settings.cache_clear()
    migrate(database)
    with redis.Redis.from_url(broker) as queue, psycopg.connect(database, autocommit=True) as sql:
        ways = _ways(database, broker, queue)
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, run in ways.items():
                queue.flushall()
                sql.execute("TRUNCATE ferryman.jobs, ferryman.job_keys")
                count = jobs if "many" in name else single
                found[name].append(count / run(count))
    return found


def _ways(database: str, broker: str, queue: redis.Redis) -> Measured:
    app = Celery("bench", broker=broker)
    app.conf.task_ignore_result = True

    @app.task(name="bench.charge")
    def task(**_: object) -> None:
        """Never run here."""

    def delay(count: int) -> None:
        for n in range(count):
            task.delay(amount=n + 1, **ARGS)

    def one_by_one(count: int) -> None:
        for n in range(count):
            ferryman.enqueue("charge", amount=n + 1, **ARGS)

    def typed(count: int) -> float:
        made = [ferryman.Charge(amount=n + 1, **ARGS) for n in range(count)]
        return _seconds(lambda: ferryman.enqueue_many(made))

    def to_the_queue(count: int) -> float:
        made = [ferryman.SendEmail(**MAIL) for _ in range(count)]
        with _relay(database, broker):
            return _seconds(
                lambda: ferryman.enqueue_many(made), lambda: int(queue.llen(QUEUE)) == count
            )

    return {
        "bare .delay() loop": lambda count: _seconds(lambda: delay(count)),
        "enqueue, one by one": lambda count: _seconds(lambda: one_by_one(count)),
        "enqueue_many of requests, ledger": typed,
        "enqueue_many, making the requests, ledger": lambda count: _seconds(
            lambda: ferryman.enqueue_many(_charges(count))
        ),
        "enqueue_many of requests, ledger and queue": to_the_queue,
    }


def _charges(count: int) -> Iterator[ferryman.Charge]:
    return (ferryman.Charge(amount=n + 1, **ARGS) for n in range(count))


def _seconds(work: Callable[[], object], done: Callable[[], bool] = lambda: True) -> float:
    began = time.perf_counter()
    work()
    while not done():
        time.sleep(0.005)
    return time.perf_counter() - began


@contextmanager
def _relay(database: str, broker: str) -> Iterator[None]:
    """The relay without a consumer, in a process of its own as in a worker's life."""
    process = get_context("spawn").Process(target=_serve, args=(database, broker), daemon=True)
    process.start()
    with psycopg.connect(database, autocommit=True) as sql:
        while not sql.execute(LISTENING).fetchall():
            time.sleep(0.05)
    try:
        yield
    finally:
        process.terminate()
        process.join()


def _serve(database: str, broker: str) -> None:
    Relay(database, broker).start()
    signal.pause()


if __name__ == "__main__":
    main()
