"""Many jobs at once: what is taken, what is refused and where, and what is stored then."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
import respx
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

import ferryman
from ferryman import _many
from tests.client.conftest import CHARGE

Ledger = psycopg.Connection[dict[str, Any]]
MANNER = {
    "run_at": "2030-01-31T09:00:00Z",
    "expires_at": "2030-02-01T00:00:00Z",
    "priority": "high",
    "vendor": "stripe",
}
API = "http://ferryman.test:8080"


@pytest.fixture
def ledger(use: Callable[..., None], database_url: str) -> Iterator[Ledger]:
    """The ledger of the whole run, emptied, which the settings name."""
    use(FERRYMAN_DATABASE_URL=database_url)
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as connection:
        for table in ("jobs", "job_keys", "batches"):
            connection.execute(f"DELETE FROM ferryman.{table}")
        yield connection


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of ten."""
    monkeypatch.setattr(_many, "CHUNK", 10)
    monkeypatch.setattr(_many, "JOINED_CHUNK", 10)


def charge(n: int, **changes: Any) -> dict[str, Any]:
    return {"kind": "charge", "args": {**CHARGE, "amount": n + 1}, **changes}


def amounts(ledger: Ledger) -> dict[UUID, int]:
    rows = ledger.execute("SELECT id, args FROM ferryman.jobs ORDER BY id").fetchall()
    return {row["id"]: row["args"]["amount"] for row in rows}


def test_the_ids_are_in_the_order_of_the_jobs(ledger: Ledger) -> None:
    ids = ferryman.enqueue_many(charge(n) for n in range(2500))
    stored = amounts(ledger)
    assert [stored[one] for one in ids] == list(range(1, 2501))
    assert (ids[-1], ids[1:3], len(ids)) == (list(ids)[-1], list(ids)[1:3], 2500)
    with pytest.raises(IndexError):
        ids[2500]


def test_each_form_of_a_job(ledger: Ledger) -> None:
    typed = ferryman.Charge(**CHARGE)
    jobs = [
        typed,
        ferryman.order(typed, key="typed", **MANNER),
        ferryman.order("charge", key="words", **MANNER, **CHARGE),
        {"kind": "charge", "args": CHARGE, "key": "mapping", **MANNER},
    ]
    ids = ferryman.enqueue_many(jobs)
    columns = "key, kind, vendor, args, priority, run_at::text, expires_at::text, due_at::text"
    query = f"SELECT {columns} FROM ferryman.jobs WHERE id = %s"
    plain, *others = [ledger.execute(query, (one,)).fetchone() for one in ids]
    assert plain is not None
    assert (plain["key"], plain["priority"], plain["args"]) == (None, "normal", CHARGE)
    alone = [
        ferryman.enqueue("charge", key=key, **MANNER, **CHARGE).id
        for key in ("typed", "words", "mapping")
    ]
    assert alone == list(ids[1:])
    assert [other and other.pop("key") for other in others] == ["typed", "words", "mapping"]
    ferryman.enqueue("charge", key="alone", **MANNER, **CHARGE)
    one = ledger.execute(f"SELECT {columns} FROM ferryman.jobs WHERE key = 'alone'").fetchone()
    assert one is not None
    del one["key"]
    assert others == [one] * 3


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (charge(-1), "jobs[25].amount"),
        ({"kind": "nothing", "args": {}}, "jobs[25].kind"),
        ({"args": CHARGE}, "jobs[25].kind"),
        ({**charge(1), "runat": "x"}, "jobs[25].runat"),
        ({**charge(1), "key": ""}, "jobs[25].key"),
        ({**charge(1), "args": 5}, "jobs[25].args"),
        (5, "jobs[25].job"),
    ],
)
def test_a_bad_job_is_named_and_its_chunk_is_not_stored(
    ledger: Ledger, small: None, bad: Any, field: str
) -> None:
    jobs = [*(charge(n) for n in range(25)), bad, charge(1)]
    with pytest.raises(ferryman.InvalidArguments) as refused:
        ferryman.enqueue_many(jobs)
    assert (refused.value.field, list(refused.value.stored)) == (field, [])
    assert amounts(ledger) == {}
    with pytest.raises(ferryman.InvalidArguments) as refused:
        ferryman.enqueue_many(iter(jobs))
    assert refused.value.field == field
    assert list(refused.value.stored) == list(amounts(ledger))
    assert len(refused.value.stored) == 20


def test_an_error_of_the_generator_s_own_tells_what_is_stored(ledger: Ledger, small: None) -> None:
    def jobs() -> Iterator[dict[str, Any]]:
        yield from (charge(n) for n in range(15))
        raise OSError("the file ends here")

    with pytest.raises(OSError, match="ends here") as failed:
        ferryman.enqueue_many(jobs())
    assert failed.value.__notes__ == ["ferryman: the first 10 jobs are stored"]
    assert len(amounts(ledger)) == 10


def test_one_job_for_each_key(ledger: Ledger) -> None:
    known = ferryman.enqueue("charge", key="a", **CHARGE)
    keyed = [{"kind": "charge", "args": CHARGE, "key": key} for key in ("b", "a", "c", "b")]
    b, a, c, again = ids = ferryman.enqueue_many(keyed)
    assert (a, again) == (known.id, b)
    assert set(amounts(ledger)) == {a, b, c}
    assert list(ferryman.enqueue_many(keyed)) == list(ids)


def test_a_key_with_other_arguments_keeps_only_its_job_out(ledger: Ledger, small: None) -> None:
    ferryman.enqueue("charge", key="a", **CHARGE)
    jobs = [charge(n, key="a") if n == 12 else charge(n) for n in range(30)]
    with pytest.raises(ferryman.KeyConflict, match=r"^jobs\[12\]: The key already names") as failed:
        ferryman.enqueue_many(jobs)
    stored = failed.value.stored
    assert [place for place, one in enumerate(stored) if one is None] == [12]
    assert len(stored) == 20
    assert set(stored) - {None} <= set(amounts(ledger))
    assert len(amounts(ledger)) == 20


def test_a_vendor_that_cannot_is_named(ledger: Ledger) -> None:
    with pytest.raises(ferryman.InvalidArguments, match=r"^jobs\[1\]\.vendor: that vendor cannot"):
        ferryman.enqueue_many([charge(1), charge(2, vendor="sendgrid")])


def test_a_key_in_an_open_transaction_keeps_only_its_job_out(ledger: Ledger) -> None:
    with ledger.transaction():
        ferryman.enqueue("charge", key="busy", connection=ledger, **CHARGE)
        began = time.monotonic()
        jobs = [charge(n, key="busy" if n == 42 else f"k-{n}") for n in range(100)]
        with pytest.raises(ferryman.KeyInFlight, match=r"^jobs\[42\]: ") as failed:
            ferryman.enqueue_many(jobs)
        assert time.monotonic() - began < 2.5
        alone = ferryman.enqueue_many([charge(n, key=f"other-{n}") for n in range(100)])
        assert time.monotonic() - began < 3
    assert [place for place, one in enumerate(failed.value.stored) if one is None] == [42]
    assert len(amounts(ledger)) == 200
    assert len(set(alone)) == 100


def test_opposite_orders_of_keys_never_deadlock(ledger: Ledger) -> None:
    errors: list[BaseException] = []

    def enqueued(step: int) -> None:
        try:
            for turn in range(10):
                keys = [f"{turn}-{n}" for n in range(300)][::step]
                ferryman.enqueue_many([charge(0, key=key) for key in keys])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=enqueued, args=(step,)) for step in (1, -1, 1, -1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(amounts(ledger)) == 3000


def test_within_the_application_s_transaction_all_or_none(ledger: Ledger, small: None) -> None:
    jobs = [charge(n, key=f"k-{n}") for n in range(25)]
    with ledger.transaction(force_rollback=True):
        assert len(ferryman.enqueue_many(jobs, connection=ledger)) == 25
    assert amounts(ledger) == {}
    ferryman.enqueue("charge", key="k-12", **CHARGE)
    with pytest.raises(ferryman.KeyConflict, match=r"^jobs\[12\]: "), ledger.transaction():
        ferryman.enqueue_many(jobs, connection=ledger)
    jobs[12] = charge(12, vendor="sendgrid")
    refused = pytest.raises(ferryman.InvalidArguments, match=r"^jobs\[12\]\.vendor")
    with refused, ledger.transaction():
        ferryman.enqueue_many(jobs, connection=ledger)
    assert len(amounts(ledger)) == 1


async def test_from_an_event_loop(ledger: Ledger, database_url: str) -> None:
    jobs = [charge(n) for n in range(5)]
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        joined = await ferryman.aenqueue_many(jobs, connection=connection)
        assert amounts(ledger) == {}
    alone, more = await asyncio.gather(
        ferryman.aenqueue_many(jobs), ferryman.aenqueue_many(iter(jobs))
    )
    assert set(amounts(ledger)) == {*joined, *alone, *more}


def test_memory_does_not_grow_with_a_generator(ledger: Ledger) -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        ids = ferryman.enqueue_many(charge(0) for _ in range(count))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(ids) == count
        return most

    peak(2000)
    assert peak(12_000) < 1.5 * peak(4000)


def test_a_connection_lost_at_the_commit_makes_no_second_job(ledger: Ledger) -> None:
    ferryman.enqueue_many([charge(0)])
    ledger.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'ferryman-client' AND datname = current_database()"
    )
    assert len(ferryman.enqueue_many(charge(n) for n in range(1500))) == 1500
    assert len(amounts(ledger)) == 1501


def test_the_sql_door_alone(ledger: Ledger) -> None:
    jobs = [charge(0), {"kind": "bulk_email", "args": {"recipients": []}}, charge(1, key="a")]
    query = "SELECT ferryman.enqueue_many(%s) AS id"
    ids = [row["id"] for row in ledger.execute(query, (Jsonb(jobs),))]
    batch = ledger.execute("SELECT ferryman.batch(%s) AS batch", (ids[1],)).fetchone()
    assert batch is not None
    assert batch["batch"]["id"] == str(ids[1])
    again = ledger.execute(query, (Jsonb([charge(1, key="a")]),)).fetchone()
    assert again == {"id": ids[2]}
    assert ledger.execute(query, (Jsonb([]),)).fetchall() == []


@pytest.mark.parametrize(
    ("bad", "state", "words"),
    [
        ({"kind": "nothing", "args": {}}, "FE404", "kind: there is no kind of job with that name"),
        ({"kind": "charge"}, "FE422", "args: must be a JSON object"),
        (5, "FE422", "job: must be a JSON object"),
        (charge(0, key=""), "FE422", "key: must have 1 to 255 characters"),
        (charge(0, run_at="soon"), "FE422", "run_at: must lie between"),
        (charge(0, expires_at="infinity"), "FE422", "expires_at: must lie between"),
        (charge(0, priority="urgent"), "FE422", "priority: must be high, normal or low"),
        (charge(0, vendor="sendgrid"), "FE422", "vendor: that vendor cannot"),
        (charge(0, id="x"), "FE422", "id: must be a UUID"),
        (charge(0, runat="x"), "FE422", "job: has a field that is not known"),
        ({"kind": "sync_objects", "args": {}}, "FE422", "vendor: none can do this kind"),
    ],
)
def test_what_the_sql_door_refuses(ledger: Ledger, bad: Any, state: str, words: str) -> None:
    with ledger.transaction(force_rollback=True):
        # A kind that only the arguments can bring to a vendor.
        ledger.execute("UPDATE ferryman.routes SET is_default = false WHERE kind = 'sync_objects'")
        with pytest.raises(psycopg.Error) as refused:
            ledger.execute("SELECT ferryman.enqueue_many(%s)", (Jsonb([charge(0), bad]),))
    assert refused.value.sqlstate == state
    assert str(refused.value).startswith(f"jobs[1].{words}")
    assert amounts(ledger) == {}


def test_the_vendor_of_each_is_chosen_as_for_one(ledger: Ledger) -> None:
    first = ferryman.enqueue("charge", **CHARGE)
    jobs = [
        {"kind": "sync_objects", "args": {"source": "s3://photos", "destination": "s3://backup"}},
        {"kind": "refund", "args": {"charge": str(first.id)}},
        {"kind": "send_email", "args": {"to": "ada@example.com", "subject": "x", "text": "y"}},
    ]
    query = "SELECT vendor FROM ferryman.jobs WHERE id = %s"
    many = [ledger.execute(query, (one,)).fetchone() for one in ferryman.enqueue_many(jobs)]
    alone = [
        ledger.execute(query, (ferryman.enqueue(job["kind"], **job["args"]).id,)).fetchone()  # type: ignore[arg-type]
        for job in jobs
    ]
    assert many == alone
    assert None not in many


def test_one_wake_up_for_all(ledger: Ledger, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as relay:
        relay.execute("LISTEN ferryman")
        ferryman.enqueue_many([charge(n) for n in range(100)])
        assert [told.payload for told in relay.notifies(timeout=1, stop_after=2)] == [""]


@respx.mock
def test_through_the_api(use: Callable[..., None]) -> None:
    use(FERRYMAN_URL=API, FERRYMAN_API_TOKEN="one")
    ids = [str(uuid4()) for _ in range(2)]
    conflict = {"type": "/problems/key-conflict", "title": "x", "status": 409, "detail": "x"}
    told = [{"id": ids[0]}, {"error": conflict, "line": 2}, {"id": ids[1]}]
    route = respx.post(f"{API}/v1/jobs/bulk").respond(
        200, text="".join(json.dumps(line) + "\n" for line in told)
    )
    jobs = [charge(0), charge(1, key="ä"), charge(2)]
    with pytest.raises(ferryman.KeyConflict, match=r"^jobs\[1\]: ") as failed:
        ferryman.enqueue_many(jobs)
    assert failed.value.stored == [UUID(ids[0]), None, UUID(ids[1])]
    request = route.calls.last.request
    assert request.headers["content-type"] == "application/x-ndjson"
    sent = [json.loads(line) for line in request.content.splitlines()]
    assert [line["args"] for line in sent] == [job["args"] for job in jobs]


@respx.mock
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (httpx.Response(200, text="<html>"), "not ferryman's API"),
        (httpx.Response(200, text=""), "not ferryman's API"),
        (httpx.Response(404, text="{}"), "not ferryman's API"),
        (
            httpx.Response(
                200,
                text='{"error": {"status": 503, "title": "x", "detail": "is away"}, "line": 1}',
            ),
            "is away",
        ),
    ],
)
def test_an_api_that_does_not_answer_for_all(
    use: Callable[..., None], answer: httpx.Response, message: str
) -> None:
    use(FERRYMAN_URL=API)
    respx.post(f"{API}/v1/jobs/bulk").mock(return_value=answer)
    with pytest.raises(ferryman.Unreachable, match=message):
        ferryman.enqueue_many([charge(0), charge(1)])


def test_through_a_real_api(use: Callable[..., None], harness: Any) -> None:
    use(FERRYMAN_URL=harness.api())
    ids = ferryman.enqueue_many(charge(n) for n in range(1500))
    rows = harness.rows("SELECT id, args FROM ferryman.jobs")
    amounts = {row["id"]: row["args"]["amount"] for row in rows}
    assert [amounts[one] for one in ids] == list(range(1, 1501))
