"""PostgreSQL gone, cut off, blocked, or given what it cannot store, in the middle of jobs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.chaos.conftest import Accounted, Scale, long
from tests.chaos.people import CHARGES, MAILS, PATIENT, mail, mark, outcomes
from tests.chaos.servers import Breakable
from tests.chaos.wire import wired
from tests.harness import Harness, until

SUCCEEDED = "SELECT FROM ferryman.jobs WHERE status = 'succeeded'"
# By what each statement is known on the wire.
CLAIM = (b"INSERT INTO ferryman.attempts",)
LEAVE = (b"INSERT INTO ferryman.sends",)
CLOSE = (b"INSERT INTO ferryman.interactions", b"COMMIT")


@long
def test_stopped_at_once_in_the_middle_of_a_run(
    broken: Harness, servers_to_break: Breakable, scale: Scale, accounted: Accounted
) -> None:
    broken.sandbox.script([{**CHARGES, "do": "latency", "seconds": 0.3}])
    jobs = [broken.charge(n=n) for n in range(80)]
    workers = [broken.worker(FERRYMAN_CONCURRENCY="4") for _ in range(2)]
    for n in range(scale(1, 4)):
        until(lambda least=20 * (n + 1): len(broken.rows(SUCCEEDED)) >= least, 60)
        servers_to_break.stop_database()
        time.sleep(scale(3, 10))
        servers_to_break.start_database(broken)

    assert broken.all_ended(jobs, seconds=60) == {"succeeded": 80}
    assert [worker.poll() for worker in workers] == [None, None]
    accounted(broken, jobs)


@long
def test_gone_for_longer_than_the_lease_nobody_rescues_live_work(
    broken: Harness, servers_to_break: Breakable, accounted: Accounted
) -> None:
    """Every lease is old when the database comes back. The workers are alive, and so are their
    calls: a mail that was taken from its worker would end as unknown."""
    slow = {"do": "latency", "seconds": 8}
    broken.sandbox.script([{**CHARGES, **slow}, {**MAILS, **slow}])
    for _ in range(2):
        broken.worker(FERRYMAN_CONCURRENCY="4")
    jobs = [mail(broken), broken.charge()]
    until(mark(broken, jobs[0], "mail"), what="the mail was sent")
    until(mark(broken, jobs[1], "charge"), what="the charge was sent")

    servers_to_break.stop_database()
    time.sleep(3)
    servers_to_break.start_database(broken)

    assert broken.all_ended(jobs) == {"succeeded": 2}
    assert [outcomes(broken, job) for job in jobs] == [["succeeded"], ["succeeded"]]
    accounted(broken, jobs)


@pytest.mark.parametrize("statement", [CLAIM, LEAVE, CLOSE], ids=["claim", "send", "close"])
def test_cut_off_at_the_commit_of(
    harness: Harness, statement: tuple[bytes, ...], accounted: Accounted
) -> None:
    """The ledger has it, and the worker does not know."""
    with wired(harness.database) as wire:
        worker = harness.worker(FERRYMAN_DATABASE_URL=wire.url)
        cut = wire.cut_at(*statement)
        jobs = [mail(harness), harness.charge()]

        assert harness.all_ended(jobs) == {"succeeded": 2}

        assert cut.done.is_set()
        assert worker.poll() is None
        assert [outcomes(harness, job) for job in jobs] == [["succeeded"], ["succeeded"]]
        accounted(harness, jobs)
        harness.kill(worker)


@long
def test_one_vendors_nul_bytes_keep_no_other_job_of_its_group_from_being_closed(
    harness: Harness, accounted: Accounted
) -> None:
    harness.sandbox.script(
        [
            {**CHARGES, "do": "latency", "seconds": 0.5},
            {
                **CHARGES,
                "contains": "nul",
                "when": {"first": 3},
                "do": "garble",
                "body": '{"id": "\0", "error": "\\u0000 \\\\u0000"}',
            },
        ]
    )
    harness.worker(**PATIENT)
    jobs = [harness.charge(n=n, description="nul" if n % 7 == 0 else "plain") for n in range(21)]

    assert harness.all_ended(jobs) == {"succeeded": 21}

    assert len(harness.rows("SELECT FROM ferryman.attempts WHERE outcome = 'retry'")) == 3
    accounted(harness, jobs)


@long
def test_writers_that_deadlock_with_a_group(harness: Harness, accounted: Accounted) -> None:
    """An application locks a job of the group, and then another: PostgreSQL ends one of the two,
    here the group, which waited first."""
    late = {"contains": "late", "do": "latency", "seconds": 0.7}
    harness.sandbox.script([{**CHARGES, "do": "latency", "seconds": 0.7}, {**CHARGES, **late}])
    harness.worker()
    first = harness.charge(customer="u")
    jobs = sorted(harness.charge(n=n, customer="u", description="late") for n in range(10))
    until(lambda: len(sent(harness)) == 11, what="all were sent")
    with harness.connection.transaction(), another(harness) as other:
        harness.rows(LOCK, (jobs[-1],))
        with other.transaction():
            other.execute(LOCK, (first,))
            until(lambda: waits(harness), what="the first one's close waits")
            time.sleep(1)  # for all others to end, so that they are one group
        held = until(lambda: locked(harness), what="the next group waits for the last job")
        harness.rows(LOCK, (held[0],))

    assert harness.all_ended([first, *jobs]) == {"succeeded": 11}
    assert harness.row(DEADLOCKS)["deadlocks"] == 1
    assert [outcomes(harness, job) for job in jobs] == [["succeeded"]] * 10
    accounted(harness, [first, *jobs])


LOCK = "SELECT FROM ferryman.jobs WHERE id = %s FOR UPDATE"
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


def sent(harness: Harness) -> list[dict[str, Any]]:
    return harness.rows("SELECT FROM ferryman.sends WHERE step = 'charge' AND answered_at IS NULL")


@contextmanager
def another(harness: Harness) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    with psycopg.connect(harness.database, autocommit=True, row_factory=dict_row) as made:
        yield made


def waits(harness: Harness) -> bool:
    """Whether somebody waits for a lock. Within one transaction the answer never changes."""
    query = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s"
    with another(harness) as other:
        return bool(other.execute(query, (other.info.dbname,)).fetchall())


def locked(harness: Harness) -> list[UUID]:
    """The running jobs that somebody else has locked, while it waits for more."""
    if not waits(harness):
        return []
    running = "SELECT id FROM ferryman.jobs WHERE status = 'running'"
    with another(harness) as other:
        free = {row["id"] for row in other.execute(f"{running} FOR UPDATE SKIP LOCKED")}
    ours = harness.rows(f"{running} ORDER BY id")[-1]["id"]
    return [row["id"] for row in harness.rows(running) if row["id"] not in free | {ours}]


FULL = """
CREATE FUNCTION ferryman.full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
"""


@contextmanager
def full_disk(harness: Harness, operation: str) -> Iterator[None]:
    """The database answers as one does whose disk is full, for as long as the block lasts."""
    table = operation.rpartition(" ")[2]
    harness.connection.execute(FULL)
    harness.connection.execute(
        f"CREATE TRIGGER full_disk BEFORE {operation.replace(' ', ' ON ', 1)}"
        " FOR EACH ROW EXECUTE FUNCTION ferryman.full_disk()"
    )
    yield
    harness.connection.execute(f"DROP TRIGGER full_disk ON {table}")


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param("INSERT ferryman.attempts", marks=long),
        pytest.param("INSERT ferryman.sends", marks=long),
        "INSERT ferryman.interactions",
    ],
    ids=["claim", "send", "close"],
)
def test_a_disk_that_is_full_for_a_while_at_the(
    harness: Harness, operation: str, accounted: Accounted
) -> None:
    """Nothing is wrong with the jobs, and what was proven stays proven."""
    harness.worker(**PATIENT)
    with full_disk(harness, operation):
        jobs = [mail(harness), harness.charge()]
        time.sleep(1)

    assert harness.all_ended(jobs) == {"succeeded": 2}
    accounted(harness, jobs)
