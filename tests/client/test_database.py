"""Straight into the database: keys, refusals, lost connections, and what is read back."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.rows import dict_row

import ferryman
from ferryman import _database as _database_door
from ferryman._database import MOST_IDLE, Database
from ferryman._door import command_line_door
from ferryman._order import order
from ferryman.cli import main
from tests.client.conftest import CHARGE


@pytest.fixture(autouse=True)
def _database(use: Callable[..., None], database_url: str) -> None:
    use(FERRYMAN_DATABASE_URL=database_url)


@pytest.fixture
def ledger(database_url: str) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


def count(ledger: psycopg.Connection[dict[str, Any]], key: str) -> int:
    found = ledger.execute("SELECT count(*) AS n FROM ferryman.jobs WHERE key = %s", (key,))
    row = found.fetchone()
    return int(row["n"]) if row else -1


def test_what_is_enqueued_stands_in_the_ledger(ledger: psycopg.Connection[dict[str, Any]]) -> None:
    key = str(uuid4())
    made = ferryman.enqueue(
        "charge",
        key=key,
        run_at="2030-01-31T10:00:00+01:00",
        expires_at="2030-02-01T00:00:00Z",
        priority="high",
        vendor="stripe",
        metadata={"note": "ä%(x)s 100% :y"},
        **CHARGE,
    )
    row = ledger.execute("SELECT * FROM ferryman.jobs WHERE id = %s", (made.id,)).fetchone()
    assert row is not None
    assert row["args"] == {**CHARGE, "metadata": {"note": "ä%(x)s 100% :y"}}
    assert (row["status"], row["priority"], row["vendor"]) == ("waiting", "high", "stripe")
    assert made.id.version == 7
    assert made.status == "waiting"
    seen = ferryman.job(made.id).document
    assert seen["run_at"] == "2030-01-31T09:00:00Z"
    assert seen["expires_at"] == "2030-02-01T00:00:00Z"
    assert "args" not in seen


def test_the_same_key_is_the_same_job(ledger: psycopg.Connection[dict[str, Any]]) -> None:
    key = str(uuid4())
    first = ferryman.enqueue("charge", key=key, **CHARGE)
    ledger.execute(
        "UPDATE ferryman.jobs SET status = 'failed', error = '{\"code\": \"x\"}' WHERE id = %s",
        (first.id,),
    )
    assert [job.id for job in ferryman.jobs(code="x", key=key)] == [first.id]
    assert ferryman.jobs(code="y", key=key) == []
    again = ferryman.enqueue(ferryman.Charge(**CHARGE), key=key)
    assert again.id == first.id
    assert (again.status, again.error) == ("failed", {"code": "x"})
    with pytest.raises(ferryman.KeyConflict, match="Use a new key"):
        ferryman.enqueue("charge", key=key, **{**CHARGE, "amount": 1})
    assert count(ledger, key) == 1


def test_refusals_of_the_database_name_the_field() -> None:
    with pytest.raises(ferryman.InvalidArguments) as refused:
        ferryman.enqueue("charge", vendor="sendgrid", **CHARGE)
    assert refused.value.field == "vendor"
    assert refused.value.message == "that vendor cannot do this kind of job"


def test_a_key_in_an_open_transaction_stalls_nobody(database_url: str) -> None:
    key = str(uuid4())
    with psycopg.connect(database_url) as holder:
        ferryman.enqueue("charge", key=key, connection=holder, **CHARGE)
        begun = time.monotonic()
        with pytest.raises(ferryman.KeyInFlight):
            ferryman.enqueue("charge", key=key, **CHARGE)
        assert 0.9 < time.monotonic() - begun < 3
        holder.rollback()
    assert ferryman.enqueue("charge", key=key, **CHARGE).status == "waiting"


def test_the_limit_of_the_wait_goes_with_its_statement(database_url: str) -> None:
    """Behind a PgBouncer the next caller on that connection is somebody else."""
    door = Database(database_url)
    door.enqueue(order("charge", CHARGE))
    assert door._rows("SHOW lock_timeout", {}) == [{"lock_timeout": "0"}]


def test_a_lost_connection_is_replaced_unseen(ledger: psycopg.Connection[dict[str, Any]]) -> None:
    ferryman.enqueue("charge", **CHARGE)
    kill = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'ferryman-client' AND datname = current_database()"
    )
    assert ledger.execute(kill).fetchall()
    assert ferryman.enqueue("charge", **CHARGE).status == "waiting"


def test_a_repeated_order_is_one_job(
    database_url: str, ledger: psycopg.Connection[dict[str, Any]]
) -> None:
    made = order("charge", CHARGE)
    door = Database(database_url)
    assert door.enqueue(made) == door.enqueue(made)
    rows = ledger.execute("SELECT 1 FROM ferryman.jobs WHERE id = %s", (made.id,)).fetchall()
    assert len(rows) == 1


def test_threads_share_a_few_connections(
    database_url: str, ledger: psycopg.Connection[dict[str, Any]]
) -> None:
    door = Database(database_url)
    made: list[str] = []

    def work() -> None:
        made.extend(door.enqueue(order("charge", CHARGE))["id"] for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(MOST_IDLE + 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 5 * len(threads)
    assert len(door._idle) <= MOST_IDLE


async def test_from_an_event_loop() -> None:
    made = await ferryman.aenqueue("charge", **CHARGE)
    assert (await made.arefresh()).status == "waiting"


def test_waiting_sees_the_end(ledger: psycopg.Connection[dict[str, Any]]) -> None:
    made = ferryman.enqueue("charge", run_at="2090-01-01T00:00:00Z", **CHARGE)
    end = threading.Timer(
        0.2,
        lambda: ledger.execute(
            "UPDATE ferryman.jobs SET status = 'succeeded', result = '{\"amount\": 1250}'"
            " WHERE id = %s",
            (made.id,),
        ),
    )
    end.start()
    assert made.wait(timeout=10).result == {"amount": 1250}
    end.join()


def test_jobs_are_listed_by_all_their_conditions(
    ledger: psycopg.Connection[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ferryman._database.PAGE", 2)
    customer = {**CHARGE, "customer": str(uuid4())}
    made = [ferryman.enqueue("charge", **customer) for _ in range(5)]
    found = ferryman.jobs(kind="charge", vendor="stripe", status="waiting", limit=5)
    assert [job.id for job in found] == [job.id for job in reversed(made)]
    assert len(ferryman.jobs(limit=3)) == 3
    assert ferryman.jobs(since="2090-01-01T00:00:00Z") == []
    assert ferryman.jobs(kind="refund", vendor="sendgrid") == []
    assert ferryman.jobs(batch=uuid4()) == []


def test_a_dry_run_tells_its_plan_without_an_api(
    ledger: psycopg.Connection[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In more pages than one."""
    monkeypatch.setattr(_database_door, "PAGE", 2)
    made = ferryman.enqueue("sync_objects", source="s3://photos", destination="s3://backup").id
    actions = dict(zip("abcüz", ("copy", "keep", "delete", "copy", "refuse"), strict=True))
    for key, action in actions.items():
        ledger.execute(
            "INSERT INTO ferryman.objects (job_id, key, action, outcome, size)"
            " VALUES (%s, %s, %s, 'planned', 1)",
            (made, key, action),
        )
    ledger.execute(
        "UPDATE ferryman.jobs SET status = 'succeeded', finished_at = now() WHERE id = %s", (made,)
    )
    asked = list(command_line_door().objects(made, ("copy", "delete", "refuse")))
    assert [(one["key"], one["action"]) for one in asked] == [
        *(("a", "copy"), ("c", "delete"), ("z", "refuse"), ("ü", "copy")),
    ]
    assert isinstance(asked[0]["at"], str)


def test_what_is_not_there() -> None:
    with pytest.raises(ferryman.NotFound, match=r"no job or batch.*not committed yet"):
        ferryman.job(uuid4()).wait()
    result = CliRunner().invoke(main, ["batch", str(uuid4())])
    assert (result.exit_code, result.stdout) == (2, "")


def test_the_command_line_works_without_an_api(
    ledger: psycopg.Connection[dict[str, Any]],
) -> None:
    key = str(uuid4())
    words = ["enqueue", "charge", "--args", json.dumps(CHARGE), "--key", key]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    made = result.stdout.splitlines()[-1]
    assert json.loads(CliRunner().invoke(main, ["job", made, "--json"]).stdout)["key"] == key
    assert made in CliRunner().invoke(main, ["jobs", "--status", "waiting"]).stdout
    conflict = CliRunner().invoke(
        main, [*words[:3], json.dumps({**CHARGE, "amount": 1}), *words[4:]]
    )
    assert conflict.exit_code == 2
    assert "other arguments" in conflict.stderr
    ledger.execute(
        "INSERT INTO ferryman.batches (id, job_id, total, planned_at) VALUES (%s, %s, 3, now())",
        (made, made),
    )
    for part, (status, size) in enumerate((("waiting", 1), ("sent", 2))):
        ledger.execute(
            "INSERT INTO ferryman.parts (job_id, batch_id, part, status, size)"
            " VALUES (%s, %s, %s, %s, %s)",
            (uuid4(), made, part, status, size),
        )
    batch = json.loads(CliRunner().invoke(main, ["batch", made, "--json"]).stdout)
    assert (batch["status"], batch["total"], batch["counts"]["sent"]) == ("running", 3, 2)


def test_a_database_that_is_down_is_told_at_once_without_the_password(
    use: Callable[..., None],
) -> None:
    use(FERRYMAN_DATABASE_URL="postgresql://user:hidden@127.0.0.1:1/none")
    begun = time.monotonic()
    with pytest.raises(ferryman.Unreachable, match="nothing was stored") as refused:
        ferryman.enqueue("charge", **CHARGE)
    assert time.monotonic() - begun < 3
    assert "hidden" not in str(refused.value)


def test_an_address_that_is_none_is_not_repeated(use: Callable[..., None]) -> None:
    use(FERRYMAN_DATABASE_URL="postgresql://user:hidden@host/x?nope=1")
    with pytest.raises(ferryman.InvalidSetting) as refused:
        ferryman.enqueue("charge", **CHARGE)
    assert "hidden" not in str(refused.value)


def test_a_database_without_the_schema(
    use: Callable[..., None], database_url: str, ledger: psycopg.Connection[dict[str, Any]]
) -> None:
    name = f"empty_{uuid4().hex}"
    ledger.execute(f"CREATE DATABASE {name}")
    use(FERRYMAN_DATABASE_URL=urlsplit(database_url)._replace(path=f"/{name}").geturl())
    with pytest.raises(ferryman.Unreachable, match="run `ferryman migrate`"):
        ferryman.enqueue("charge", **CHARGE)
    with pytest.raises(ferryman.Unreachable, match="run `ferryman migrate`"):
        ferryman.jobs()
    ledger.execute(f"DROP DATABASE {name} WITH (FORCE)")
