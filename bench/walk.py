"""The full walk: ledger row, relay, claim, mark, call, redacted interaction, close."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

import psycopg

from bench.measure import ROOT, Run, measured, started
from bench.place import Place

ENQUEUE = """
SELECT count(ferryman.enqueue('charge', jsonb_build_object(
  'customer', 'user-1', 'amount', 1000 + n, 'currency', 'usd', 'payment_method', 'pm_card_visa')))
  FROM generate_series(1, %s) AS n
"""
DONE = "SELECT count(*) FROM ferryman.jobs WHERE status = 'succeeded'"

# Of one vendor only: what a process needs for others would be measured with it.
CREDENTIALS = {
    "stripe": {"STRIPE_SECRET_KEY": "sk_test_bench"},
    "sendgrid": {"SENDGRID_API_KEY": "bench", "FROM_EMAIL": "bench@example.com"},
    "s3": {
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_EC2_METADATA_DISABLED": "true",
    },
    "mixpanel": {
        "MIXPANEL_SERVICE_ACCOUNT": "bench",
        "MIXPANEL_SERVICE_SECRET": "bench",
        "MIXPANEL_PROJECT_TOKEN": "bench",
        "MIXPANEL_PROJECT_ID": "1",
    },
}

Ledger = psycopg.Connection[tuple[int]]


def run(
    place: Place, base_url: str, jobs: int, processes: int, concurrency: int, window: int = 1000
) -> Run:
    """One measured run on an empty ledger. `window`: messages that the queue may hold."""
    database = new_ledger(place, "walk")
    with (
        psycopg.connect(database, autocommit=True) as ledger,
        workers(place, database, base_url, processes, concurrency, window) as running,
    ):
        return measured(running, jobs, lambda count: enqueue(ledger, count), lambda: done(ledger))


def new_ledger(place: Place, name: str) -> str:
    """The address of a database with an empty ledger."""
    database = place.fresh_database(name)
    subprocess.run(
        [sys.executable, "-m", "models.migrate"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "FERRYMAN_DATABASE_URL": database},
        check=True,
        capture_output=True,
    )
    return database


@contextlib.contextmanager
def workers(
    place: Place,
    database: str,
    base_url: str,
    processes: int,
    concurrency: int,
    window: int = 1000,
    vendor: str = "stripe",
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Ferryman's worker processes on that ledger, with an empty broker."""
    place.empty_broker()
    env = {
        "FERRYMAN_DATABASE_URL": database,
        "FERRYMAN_BROKER_URL": place.broker,
        "FERRYMAN_CONCURRENCY": str(concurrency),
        "FERRYMAN_RELAY_WINDOW": str(window),
        # The vendor's own limit would be all that is measured.
        "FERRYMAN_RATE_PER_SECOND": "0",
        "FERRYMAN_POLL_SECONDS": "0",
        **CREDENTIALS[vendor],
        f"{vendor.upper()}_BASE_URL": base_url,
    }
    with started(["-m", "worker"], env, processes) as running:
        yield running


def enqueue(ledger: Ledger, jobs: int) -> None:
    ledger.execute(ENQUEUE, (jobs,))


def done(ledger: Ledger) -> int:
    row = ledger.execute(DONE).fetchone()
    assert row is not None
    return row[0]
