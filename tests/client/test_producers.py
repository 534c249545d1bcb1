"""Producers that die, and a broker that is away: a job is there exactly if its transaction is."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from uuid import UUID

import httpx
import psycopg
import pytest

import ferryman
from tests.chaos.conftest import long
from tests.client.conftest import CHARGE
from tests.harness import ROOT, Harness, until

# Says which job it made, then waits to be killed, before its COMMIT or right after it.
PRODUCER = """
import sys, time, psycopg, ferryman
with psycopg.connect(sys.argv[1]) as connection:
    connection.execute("INSERT INTO orders VALUES (%s)", (sys.argv[2],))
    args = {"currency": "usd", "amount": 1250, "payment_method": "pm_card_visa"}
    jobs = [ferryman.Charge(customer=f"user-{n}", **args) for n in range(int(sys.argv[3]))]
    made = ferryman.enqueue_many(jobs, connection=connection)
    if sys.argv[2] == "after":
        connection.commit()
    print(*made, flush=True)
    time.sleep(60)
"""
IN_TRANSACTION = """
SELECT FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'
"""


@pytest.fixture
def orders(ledger_url: str) -> Iterator[psycopg.Connection[tuple[str]]]:
    """The application's own table, in the ledger's database."""
    with psycopg.connect(ledger_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE orders (said text)")
        yield connection


def killed(url: str, when: str, jobs: int = 2) -> list[UUID]:
    """The jobs of a producer that was killed before or after its COMMIT."""
    with subprocess.Popen(
        [sys.executable, "-c", PRODUCER, url, when, str(jobs)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout
        told = process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    return [UUID(one) for one in told.split()]


def test_killed_right_after_its_commit_the_jobs_run(
    orders: psycopg.Connection[tuple[str]], harness: Harness
) -> None:
    jobs = killed(harness.database, "after")
    harness.worker()
    assert harness.all_ended(jobs) == {"succeeded": 2}
    assert orders.execute("SELECT said FROM orders").fetchall() == [("after",)]


def test_killed_before_its_commit_there_is_nothing(
    orders: psycopg.Connection[tuple[str]], harness: Harness
) -> None:
    jobs = killed(harness.database, "before")
    assert len(jobs) == 2
    until(lambda: not harness.rows(IN_TRANSACTION), what="the server has noticed")
    for table in ("orders", "ferryman.jobs"):
        assert harness.row(f"SELECT count(*) AS n FROM {table}")["n"] == 0


def test_rolled_back_there_is_nothing_and_keys_are_free(
    use: Callable[..., None], ledger_url: str
) -> None:
    use(FERRYMAN_DATABASE_URL=ledger_url)
    jobs = [ferryman.order("charge", key=f"order-{n}", **CHARGE) for n in range(100)]
    with psycopg.connect(ledger_url) as connection:
        ferryman.enqueue_many(jobs, connection=connection)
        connection.rollback()
        assert connection.execute("SELECT FROM ferryman.jobs").fetchall() == []
    assert len(set(ferryman.enqueue_many(jobs))) == 100


def test_an_open_transaction_that_holds_a_key_stalls_nobody_else(
    use: Callable[..., None], ledger_url: str
) -> None:
    use(FERRYMAN_DATABASE_URL=ledger_url)
    with psycopg.connect(ledger_url) as connection:
        ferryman.enqueue("charge", key="held", connection=connection, **CHARGE)
        began = time.monotonic()
        for n in range(50):
            ferryman.enqueue("charge", key=f"free-{n}", **CHARGE)
        assert time.monotonic() - began < 1
        with pytest.raises(ferryman.KeyInFlight):
            ferryman.enqueue("charge", key="held", **CHARGE)
        assert 0.9 < time.monotonic() - began < 3
    assert ferryman.enqueue("charge", key="held", **CHARGE).status == "waiting"


@pytest.fixture
def silent() -> Iterator[str]:
    """A broker that takes connections and never says a word."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


@pytest.mark.parametrize("away", [pytest.param("refused", marks=long), "silent"])
def test_a_broker_that_is_away_delays_no_producer(
    use: Callable[..., None], harness: Harness, silent: str, away: str
) -> None:
    broker = silent if away == "silent" else "redis://127.0.0.1:1/0"
    use(FERRYMAN_DATABASE_URL=harness.database, FERRYMAN_BROKER_URL=broker)
    ferryman.enqueue("charge", **CHARGE)  # the first one also imports and connects
    began = time.monotonic()
    jobs = [ferryman.enqueue("charge", **CHARGE).id]
    assert time.monotonic() - began < 1
    began = time.monotonic()
    jobs += ferryman.enqueue_many([ferryman.Charge(**CHARGE)] * 10)
    assert time.monotonic() - began < 1
    body = {"kind": "charge", "args": CHARGE}
    with httpx.Client(base_url=harness.api(FERRYMAN_BROKER_URL=broker), timeout=1) as client:
        answer = client.post("/v1/jobs", json=body)
        assert answer.status_code == 201
        jobs.append(UUID(answer.json()["id"]))
    harness.worker()
    assert harness.all_ended(jobs) == {"succeeded": 12}
